/* tab_memory.js - memory over time: who uses it, whether it grows, what repeats, before and after. */

import {get, post} from "./api.js";
import {h} from "./dom.js";
import {chart} from "./chart.js";
import {NONE, bytes, clock, day, duration, number, percent} from "./units.js";
import {badge, card, choice, empty, gpuColour, problem, state, table} from "./parts.js";
import {changed, say, store} from "./store.js";

const MIB = 2 ** 20;
const WINDOWS = [["300", "5 min"], ["3600", "1 h"], ["21600", "6 h"], ["86400", "1 d"], ["604800", "7 d"]];
const KINDS = [["used", "memory"], ["utilisation", "busy"], ["power", "power"], ["temperature", "heat"], ["busy", "requests"], ["tokens_per_second", "tokens/s"]];

const my = {
  window: "300", kind: "used", processes: false, zoom: null, timeline: null, profile: null, error: null, mark: "", baseline: null, after: null, at: 0,
};

export const title = "Memory";

/* ---- asking, every two seconds while the tab is open ---- */

let busy = false;

async function refresh() {
  if (busy || !store.view) return;
  busy = true;
  const now = store.view.time_ns / 1e6;
  const from = my.zoom ? my.zoom[0] : now - Number(my.window) * 1000, to = my.zoom ? my.zoom[1] : now;
  const ns = (ms) => `${Math.round(ms)}000000`;
  try {
    const [timeline, profile] = await Promise.all([
      get(`api/v1/timeline?since_ns=${ns(from)}&until_ns=${ns(to)}&points=${Math.min(800, Math.max(120, innerWidth))}&series=${my.kind}`),
      get("api/v1/profile").catch(() => null),
    ]);
    my.timeline = {...readTimeline(timeline), from, to};
    my.profile = profile;
    my.error = null;
  } catch (error) {
    my.error = error.message;
  }
  busy = false;
  changed();
}

export function open() {
  refresh();
}
export function tick() {
  if (Date.now() - my.at < 2000) return;
  my.at = Date.now();
  if (!my.zoom || !my.timeline) refresh();
}

/* The daemon gives one object a series with columns or points; both become points in ms. */
function readTimeline(value) {
  const series = (value.series || []).map((s) => ({
    kind: s.kind || s.name, gpu: s.gpu, pid: s.pid || 0, name: s.process || s.label || s.name, unit: s.unit,
    points: (s.points || []).map((p) => Array.isArray(p) ? {t: p[0] / 1e6, min: p[1], max: p[2], v: p[3]}
      : {t: p.time_ns / 1e6, min: p.min, max: p.max, v: p.mean ?? p.last ?? p.value}),
  }));
  return {series, events: (value.events || value.marks || []).map((e) => ({t: e.time_ns / 1e6, text: e.text || e.kind, kind: e.kind}))};
}

/* ---- the picture ---- */

function picture() {
  const {timeline} = my, gpus = store.view.machine?.gpus || [];
  const ofCards = !["busy", "tokens_per_second"].includes(my.kind);
  const shown = (timeline?.series || []).filter((s) => s.kind === my.kind);
  const cards = ofCards ? shown.filter((s) => !s.pid && s.gpu !== undefined) : [];
  const names = new Map((store.view.launches || []).map((launch) => [launch.pid, launch.name]));
  for (const gpu of gpus) for (const p of gpu.processes || []) if (!names.has(p.pid)) names.set(p.pid, p.name);
  const others = ofCards ? (my.processes ? shown.filter((s) => s.pid) : []) : shown;
  const units = {
    used: (v, short) => bytes(v, short ? 0 : 2), utilisation: (v) => `${number(v)} %`, power: (v) => `${number(v)} W`,
    temperature: (v) => `${number(v)} °C`, busy: (v) => number(v, v % 1 ? 1 : 0), tokens_per_second: (v) => number(v, 1),
  };
  const unit = units[my.kind] || number;
  const data = {
    from: timeline?.from ?? Date.now() - 300000, to: timeline?.to ?? Date.now(), unit, binary: my.kind === "used", least: 0,
    most: my.kind === "utilisation" ? 100 : undefined,
    series: [...cards.map((s) => ({name: `GPU ${s.gpu}`, colour: gpuColour(s.gpu), dash: s.gpu, fill: true, points: s.points})),
      ...others.map((s, i) => ({name: `${names.get(s.pid) || `pid ${s.pid}`}${s.gpu === undefined ? "" : ` on GPU ${s.gpu}`}`, colour: gpuColour(2 + i), dash: i, points: s.points}))],
    levels: my.kind === "used" ? gpus.map((gpu) => ({name: `GPU ${gpu.index} holds ${bytes(gpu.total_bytes, 0)}`, value: gpu.total_bytes, colour: gpuColour(gpu.index)})) : [],
    marks: timeline?.events || [],
  };
  const zoom = (from, to) => {
    my.zoom = from === null ? null : [from, to];
    my.timeline = my.timeline && {...my.timeline, from: from ?? my.timeline.from, to: to ?? my.timeline.to};
    refresh();
    changed();
  };
  return card("Over time", {key: "timeline", class: "timeline", side: [
    my.kind === "used" && h("label", {class: "check"}, h("input", {type: "checkbox", checked: my.processes, on: {change: (e) => { my.processes = e.target.checked; refresh(); changed(); }}}), "each program"),
    choice("reading", "kind", KINDS, my.kind, (id) => { my.kind = id; refresh(); changed(); }),
    choice("window", "window", WINDOWS, my.zoom ? "" : my.window, (id) => { my.window = id; my.zoom = null; refresh(); changed(); })]},
    my.error && problem(my.error),
    chart(h, "timeline", data, {height: 320, label: `${KINDS.find(([id]) => id === my.kind)[1]} over time`, onZoom: zoom}),
    h("div", {class: "below-chart"},
      h("p", {class: "quiet"}, my.zoom ? [`${day(my.zoom[0])} to ${day(my.zoom[1])} `, h("button", {type: "button", class: "small", on: {click: () => zoom(null, null)}}, "back to now")]
        : "Drag to zoom, double-click to go back; with the keyboard: arrows, + and −, Escape."),
      h("form", {class: "mark-form", on: {submit: (event) => { event.preventDefault(); mark(); }}},
        h("input", {type: "text", "aria-label": "Text of the mark", placeholder: "what happens now", maxlength: "120", value: my.mark, on: {input: (e) => { my.mark = e.target.value; }}}),
        h("button", {type: "submit"}, "Mark"))),
    cards.length ? h("p", {class: "quiet chart-text"}, cards.filter((s) => s.points.length).map((s) => {
      const least = Math.min(...s.points.map((p) => p.min ?? p.v)), most = Math.max(...s.points.map((p) => p.max ?? p.v));
      return `GPU ${s.gpu}: now ${unit(s.points.at(-1).v)}, between ${unit(least)} and ${unit(most)}. `;
    })) : null);
}

async function mark() {
  try {
    await post("api/v1/marks", {text: my.mark || "mark"});
    say("marked");
    my.mark = "";
    refresh();
  } catch (error) {
    my.error = error.message;
  }
  changed();
}

/* ---- verdicts ---- */

const VERDICT = {
  steady: ["good", "steady"], growing: ["warn", "growing"], suspected_leak: ["warn", "leak suspected"], confirmed_leak: ["bad", "leak confirmed"],
};

/* Of a few minutes a slope says nothing. */
const slope = (s) => typeof s?.slope_mib_per_hour === "number" && (s.evidence?.window_seconds >= 600 || s.verdict !== "steady")
  ? `${s.slope_mib_per_hour < 0 ? "−" : "+"}${number(Math.abs(s.slope_mib_per_hour), 1)} MiB/h` : null;

const interval = (range, fn) => Array.isArray(range) ? `${fn(range[0])} to ${range[1] === null ? "never" : fn(range[1])}` : null;

function evidence(series) {
  const e = series.evidence || {};
  const tests = ["sustained", "spread", "not_slowing", "not_random"].filter((test) => test in e);
  return h("div", {class: "evidence"}, h("p", null, e.text),
    tests.length > 0 && h("ul", {class: "tests"}, tests.map((test) => h("li", {key: test}, state(e[test] ? "warn" : "good", `${test.replaceAll("_", " ")}: ${e[test] ? "yes" : "no"}`)))),
    e.window_seconds !== undefined && h("p", {class: "quiet"}, `${number(e.growth_mib, 1)} MiB over ${duration(e.window_seconds * 1e9)}, on the ${e.floor === "idle" ? "idle floor" : "lower envelope"}; Mann-Kendall z ${number(e.mann_kendall_z, 1)}`),
    e.mib_per_request !== undefined && h("p", {class: "quiet"}, `${number(e.mib_per_request, 3)} MiB a request (${interval(e.mib_per_request_interval, (v) => number(v, 3))}) over ${number(e.requests)} requests`));
}

function verdicts() {
  const series = my.profile?.series || [];
  if (!series.length) return card("Does it leak?", {key: "verdicts"}, empty("Nothing to judge yet", "A verdict needs some minutes of readings."));
  const ours = new Map((store.view.launches || []).map((launch) => [launch.pid, launch.name]));
  const sorted = series.slice().sort((a, b) => Object.keys(VERDICT).indexOf(b.verdict) - Object.keys(VERDICT).indexOf(a.verdict));
  return card("Does it leak?", {key: "verdicts"}, h("ul", {class: "verdicts"}, sorted.map((s) => {
    const [kind, text] = VERDICT[s.verdict] || ["idle", s.verdict];
    return h("li", {key: `${s.gpu}-${s.pid}`}, h("details", {open: kind === "bad"},
      h("summary", null, state(kind, text), h("b", null, s.pid ? ours.get(s.pid) || s.name || `pid ${s.pid}` : `GPU ${s.gpu}`),
        h("span", {class: "quiet"}, s.pid ? `on GPU ${s.gpu}` : "the whole card"),
        badge((s.pattern || "unknown").replaceAll("_", " ")),
        slope(s) && h("span", null, slope(s)),
        typeof s.seconds_to_full === "number" && h("span", {class: "quiet"}, `full in ${duration(s.seconds_to_full * 1e9)}${s.seconds_to_full_interval ? ` (${interval(s.seconds_to_full_interval, (v) => v === null ? "never" : duration(v * 1e9))})` : ""}`)),
      evidence(s),
      (s.episodes || []).length ? h("p", {class: "quiet"}, `episodes: ${s.episodes.map((x) => `${x.verdict.replaceAll("_", " ")}, ${number(x.slope_mib_per_hour, 1)} MiB/h`).join("; ")}`) : null));
  })));
}

/* ---- consumers, before and after ---- */

const snapshot = () => ({
  t: store.view.time_ns / 1e6,
  rows: (store.view.machine?.gpus || []).flatMap((gpu) => [
    {key: `gpu${gpu.index}`, gpu: gpu.index, name: "whole card", used: gpu.used_bytes},
    ...(gpu.processes || []).map((p) => ({key: `gpu${gpu.index}-${p.pid}`, gpu: gpu.index, pid: p.pid, name: p.name, used: p.used_bytes})),
  ]),
});

function consumers() {
  const ours = new Map((store.view.launches || []).map((launch) => [launch.pid, launch.name]));
  const series = my.profile?.series || [];
  const rows = snapshot().rows.filter((row) => row.pid);
  const verdict = (row) => series.find((s) => s.pid === row.pid && s.gpu === row.gpu);
  return card("Who uses it", {key: "consumers"}, rows.length ? table("Consumers of GPU memory", [
    {name: "program", cell: (row) => [ours.get(row.pid) || row.name || NONE, ours.has(row.pid) && badge("ours", "good")]},
    {name: "pid", right: true, cell: (row) => row.pid},
    {name: "GPU", cell: (row) => row.gpu},
    {name: "memory", right: true, cell: (row) => bytes(row.used)},
    {name: "since the baseline", right: true, cell: (row) => difference(my.baseline?.rows.find((r) => r.key === row.key)?.used, row.used, my.baseline)},
    {name: "slope", right: true, cell: (row) => slope(verdict(row)) || NONE},
    {name: "verdict", cell: (row) => verdict(row) ? state(...(VERDICT[verdict(row).verdict] || ["idle", verdict(row).verdict])) : NONE},
  ], rows, {key: (row) => row.key}) : empty("No process is listed", "The driver names none, or the cards come from a file."));
}

function difference(before, after, there) {
  if (!there) return NONE;
  if (before === undefined) return badge("new", "warn");
  if (after === undefined) return badge("gone");
  const delta = after - before;
  return Math.abs(delta) < MIB / 2 ? "same" : `${delta > 0 ? "+" : "−"}${bytes(Math.abs(delta))}`;
}

function compare() {
  const after = my.after || (my.baseline && snapshot());
  const rows = my.baseline ? [...new Map([...my.baseline.rows, ...after.rows].map((row) => [row.key, row])).values()] : [];
  const at = (shot, key) => shot?.rows.find((row) => row.key === key)?.used;
  return card("Before and after", {key: "compare", side: h("span", {class: "actions"},
    h("button", {type: "button", class: "small", on: {click: () => { my.baseline = snapshot(); my.after = null; say("baseline set"); changed(); }}}, "Set baseline"),
    my.baseline && h("button", {type: "button", class: "small", on: {click: () => { my.after = snapshot(); changed(); }}}, "Hold this as after"),
    my.baseline && h("button", {type: "button", class: "small", on: {click: () => { my.baseline = my.after = null; changed(); }}}, "Clear"))},
    my.baseline ? table("Before and after", [
      {name: "what", cell: (row) => row.pid ? `${row.name || "process"} (${row.pid})` : row.name},
      {name: "GPU", cell: (row) => row.gpu},
      {name: `before, ${clock(my.baseline.t)}`, right: true, cell: (row) => bytes(at(my.baseline, row.key))},
      {name: `after, ${my.after ? clock(my.after.t) : "now"}`, right: true, cell: (row) => bytes(at(after, row.key))},
      {name: "difference", right: true, cell: (row) => difference(at(my.baseline, row.key), at(after, row.key), true)},
    ], rows, {key: (row) => row.key}) : empty("No baseline yet", "Set one, do something, and see what it took."));
}

function happenings() {
  const changes = (my.profile?.changes || []).slice(-12).reverse();
  if (!changes.length) return null;
  return card("Steps", {key: "changes"}, h("ul", {class: "deeds"}, changes.map((change, i) => h("li", {key: i},
    h("b", {class: change.delta_mib > 0 ? "more" : "less"}, `${change.delta_mib > 0 ? "+" : "−"}${number(Math.abs(change.delta_mib))} MiB`),
    ` on ${change.gpu_count > 1 ? `${change.gpu_count} GPUs at once` : `GPU ${change.gpu}`}`, change.name || change.pid ? ` by ${change.name || `pid ${change.pid}`}` : ""))));
}

export function draw() {
  const uneven = my.profile?.imbalance;
  return [picture(), h("div", {class: "two", key: "two"}, verdicts(), compare()), consumers(), happenings(),
    typeof uneven === "number" ? h("p", {class: "quiet", key: "uneven"}, `imbalance between the cards: ${percent(uneven * 100, 1)}`) : null];
}
