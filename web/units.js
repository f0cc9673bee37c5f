/* units.js - numbers as people read them, as the command line writes them.  What is not known is a dash,
 * never 0. */

export const NONE = "–";
const known = (value) => typeof value === "number" && Number.isFinite(value);

export function bytes(value, digits = 2) {
  if (!known(value)) return NONE;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  for (; Math.abs(value) >= 1024 && at < units.length - 1; at++) value /= 1024;
  return `${value.toFixed(at ? digits : 0)} ${units[at]}`;
}

/* 16.2 of 24 GiB: one unit for both. */
export function share(part, whole) {
  if (!known(part) || !known(whole)) return `${bytes(part)} of ${bytes(whole)}`;
  return `${(part / 2 ** 30).toFixed(1)} of ${bytes(whole, 1)}`;
}

export const number = (value, digits = 0) => known(value)
  ? value.toLocaleString("en", {maximumFractionDigits: digits, minimumFractionDigits: digits}).replaceAll(",", "\u202f") : NONE;
export const percent = (value, digits = 0) => known(value) ? `${value.toFixed(digits)} %` : NONE;
export const permille = (value) => known(value) ? percent(value / 10) : NONE;
export const watts = (mw) => known(mw) ? `${Math.round(mw / 1000)} W` : NONE;
export const celsius = (value) => known(value) ? `${value} °C` : NONE;
export const rate = (value) => known(value) ? `${(value / 1e9).toFixed(value < 1e10 ? 1 : 0)} GB/s` : NONE;
export const tokens = (value) => known(value) ? (value >= 1024 && value % 1024 === 0 ? `${value / 1024}k` : number(value)) : NONE;
/* "8.03 B", "4.98 M". */
export const parameters = (value) => known(value) ? value >= 1e9 ? `${(value / 1e9).toFixed(value < 1e10 ? 2 : 1)} B` : `${(value / 1e6).toFixed(2)} M` : NONE;
export const speed = (value) => number(value, value < 100 ? 1 : 0);
export const perSecond = (value) => known(value) ? `${number(value, value < 100 ? 1 : 0)} tokens/s` : NONE;

export function duration(ns) {
  if (!known(ns)) return NONE;
  const s = ns / 1e9;
  if (s < 1e-6) return `${Math.round(ns)} ns`;
  if (s < 1e-3) return `${(s * 1e6).toFixed(1)} µs`;
  if (s < 1) return `${(s * 1e3).toFixed(1)} ms`;
  if (s < 60) return `${s.toFixed(s < 10 ? 1 : 0)} s`;
  const m = Math.floor(s / 60), two = (n) => String(Math.floor(n)).padStart(2, "0");
  if (m < 60) return `${m}m${two(s % 60)}s`;
  if (m < 1440) return `${Math.floor(m / 60)}h${two(m % 60)}m`;
  return `${Math.floor(m / 1440)}d${two((m % 1440) / 60)}h`;
}

export const ago = (ns) => ns < 1e9 ? "just now" : `${duration(ns)} ago`;
export const clock = (ms, seconds = true) => new Date(ms).toLocaleTimeString("en-GB",
  seconds ? {} : {hour: "2-digit", minute: "2-digit"});
export const day = (ms) => new Date(ms).toLocaleString("en-GB",
  {day: "numeric", month: "short", hour: "2-digit", minute: "2-digit"});

/* "3090" of "NVIDIA GeForce RTX 3090": what fits in a picture. */
export const shortName = (name) => (name || "GPU").replace(/^(NVIDIA|AMD|Intel)\s+/i, "").replace(/^(GeForce|Radeon)\s+/i, "");
