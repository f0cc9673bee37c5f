/* parts.js - what several tabs are made of: cards, tiles, the memory bar, tables, badges. */

import {h} from "./dom.js";
import {NONE, bytes, day, share} from "./units.js";

/* The kinds of memory on a card, in the order they are stacked. */
export const KINDS = [
  {id: "weights", name: "weights"},
  {id: "context", name: "context (KV)"},
  {id: "compute", name: "compute"},
  {id: "overhead", name: "driver context"},
  {id: "others", name: "other programs"},
  {id: "reserved", name: "reserved by the driver"},
  {id: "margin", name: "margin"},
  {id: "free", name: "free"},
];

export const gpuColour = (index) => `--gpu${index % 8}`;

export const card = (title, props, ...children) => h("section", {class: `card ${props?.class || ""}`, key: props?.key,
  "aria-label": props?.label || title},
  title && h("header", {class: "card-head"}, h("h2", null, title), props?.side), ...children);

export const badge = (text, kind = "", title) => h("span", {class: `badge ${kind}`, title}, text);

/* State by shape as well as by colour. */
export const SHAPES = {good: "●", busy: "◐", warn: "▲", bad: "■", idle: "○"};
export const state = (kind, text) => h("span", {class: `state ${kind}`}, h("i", {"aria-hidden": "true"}, SHAPES[kind]), text);

export const LAUNCH_STATE = {
  preparing: "busy", waiting: "busy", starting: "busy", loading: "busy", ready: "good", restarting: "warn",
  stopping: "busy", ended: "idle",
};
export const launchState = (launch) => state(launch.failed ? "bad" : LAUNCH_STATE[launch.state] || "idle",
  launch.failed ? "failed" : launch.state);

export const empty = (title, ...more) => h("div", {class: "empty"}, h("strong", null, title), ...more.map((line) => h("p", null, line)));
export const problem = (text) => h("p", {class: "problem", role: "alert"}, h("i", {"aria-hidden": "true"}, SHAPES.bad), text);

export const tile = (name, value, extra, more) => h("div", {class: more?.wide ? "tile double" : "tile", title: more?.title},
  h("span", {class: "tile-name"}, name), h("span", {class: "tile-value"}, value), extra);

/* A small curve without axes; the value stands beside it as text. */
export function spark(points, {colour = "--accent", least = 0, most} = {}) {
  const width = 100, height = 26;
  if (!points || points.length < 2) return h("svg", {class: "spark", viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true"});
  const from = points[0].t, span = points.at(-1).t - from || 1;
  const top = Math.max(most ?? 0, ...points.map((p) => p.v)) || 1;
  const line = points.map((p) => `${((p.t - from) / span * width).toFixed(1)},${(height - 2 - (p.v - least) / (top - least || 1) * (height - 4)).toFixed(1)}`);
  return h("svg", {class: "spark", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true",
    style: {"--line": `var(${colour})`}},
    h("path", {class: "spark-fill", d: `M0,${height}L${line.join("L")}L${width},${height}Z`}),
    h("path", {class: "spark-line", d: `M${line.join("L")}`}));
}

/* parts: {weights: bytes, ...}; total: of the card; marks: [{bytes, text}]; planned levels. */
export function memoryBar(name, parts, total, {marks = [], slim = false} = {}) {
  const shown = KINDS.filter((kind) => parts[kind.id] > 0);
  const sum = shown.reduce((all, kind) => all + parts[kind.id], 0);
  const whole = Math.max(total || 0, sum) || 1;
  const said = shown.map((kind) => `${kind.name} ${bytes(parts[kind.id])}`).join(", ");
  const over = total && sum > total * 1.0001;
  return h("div", {class: `bar ${slim ? "slim" : ""} ${over ? "over" : ""}`, role: "img", "aria-label": `${name}: ${said || "nothing known"}`},
    h("div", {class: "bar-track"},
      shown.map((kind) => h("div", {key: kind.id, class: `bar-part ${kind.id}`, title: `${kind.name}: ${bytes(parts[kind.id])}`,
        style: {width: `${parts[kind.id] / whole * 100}%`}},
        !slim && parts[kind.id] / whole > 0.09 && !["free", "margin", "reserved"].includes(kind.id) && h("span", null, bytes(parts[kind.id], 1))))),
    over && h("div", {class: "bar-end", style: {left: `${total / whole * 100}%`}, title: `the card ends here: ${bytes(total)}`}),
    marks.map((mark) => h("div", {key: mark.text, class: "bar-mark", style: {left: `${Math.min(100, mark.bytes / whole * 100)}%`},
      title: mark.text})));
}

export const legend = (ids) => h("ul", {class: "legend"}, KINDS.filter((kind) => ids.includes(kind.id)).map((kind) =>
  h("li", null, h("i", {class: `bar-part ${kind.id}`, "aria-hidden": "true"}), kind.name)));

/* columns: [{name, right, cell: row -> content, title}] */
export const table = (label, columns, rows, {rowProps, key} = {}) => h("div", {class: "table-wrap", tabindex: "0", role: "region", "aria-label": `${label}, table`},
  h("table", null,
    h("thead", null, h("tr", null, columns.map((column) => h("th", {scope: "col", class: `${column.right ? "right" : ""} ${column.wide ? "wide-only" : ""}`, title: column.title}, column.name)))),
    h("tbody", null, rows.map((row, i) => h("tr", {key: key ? key(row) : undefined, ...(rowProps && rowProps(row))},
      columns.map((column) => h("td", {class: `${column.right ? "right" : ""} ${column.wrap ? "wrap" : ""} ${column.wide ? "wide-only" : ""}`}, column.cell(row, i) ?? NONE)))))));

export const choice = (label, name, options, value, fn) => h("div", {class: "choice", role: "radiogroup", "aria-label": label},
  options.map(([id, text, title]) => h("label", {key: id, class: id === value ? "on" : "", title},
    h("input", {type: "radio", name, value: id, checked: id === value, on: {change: () => fn(id)}}), text)));

export const copyButton = (text, label = "Copy") => h("button", {type: "button", class: "small", on: {click: async (event) => {
  const button = event.currentTarget;
  try {
    await navigator.clipboard.writeText(text);
    button.dataset.said = "copied";
  } catch {
    button.dataset.said = "select it by hand";
  }
  setTimeout(() => delete button.dataset.said, 1500);
}}}, label);

/* What each card's memory is used for: what our launches were measured to hold (planned where it is not
 * known yet), others, the driver's part, free. */
export function cardParts(gpu, launches) {
  const parts = {weights: 0, context: 0, compute: 0, overhead: 0, others: 0, reserved: gpu.reserved_bytes || 0, free: gpu.free_bytes || 0};
  let planned = 0;
  for (const launch of launches || []) {
    const device = launch.plan?.devices?.find((d) => d.gpu_index === gpu.index);
    if (!device || launch.state === "ended" || launch.state === "waiting" || launch.state === "preparing") continue;
    const measured = launch.comparison?.devices?.find((d) => d.name === device.name)?.measured || {};
    const all = {overhead_bytes: device.overhead_bytes};
    for (const kind of ["weights_bytes", "context_bytes", "compute_bytes"]) all[kind] = measured[kind] ?? device[kind] ?? 0;
    planned += (device.weights_bytes || 0) + (device.context_bytes || 0) + (device.compute_bytes || 0) + (device.overhead_bytes || 0);
    if (launch.state !== "ready") continue; /* the bytes come while it loads: the mark shows where to */
    parts.weights += all.weights_bytes;
    parts.context += all.context_bytes;
    parts.compute += all.compute_bytes;
    parts.overhead += all.overhead_bytes || 0;
  }
  const ours = parts.weights + parts.context + parts.compute + parts.overhead;
  const used = gpu.used_bytes ?? ours;
  if (ours > used) parts.overhead = Math.max(0, parts.overhead - (ours - used));
  parts.others = Math.max(0, used - parts.weights - parts.context - parts.compute - parts.overhead);
  return {parts, planned};
}

export const memoryText = (gpu) => share(gpu.used_bytes, gpu.total_bytes);

/** Where the GPUs are not this machine's, now: a machine file, or a recording of a real machine. */
export const originBadge = (view) => view?.simulated ? badge("SIMULATED", "simulated", "these GPUs come from a machine file")
  : view?.recorded && badge(view.recorded_ns ? `recorded ${day(view.recorded_ns / 1e6)}` : "recorded", "simulated", "these readings come from a recording");
