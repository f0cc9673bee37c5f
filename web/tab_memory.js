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
  before: "", later: "", marked: null, /* two marks, and what was between them */
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
      get(`api/v1/timeline?since_ns=${ns(from)}&until_ns=${ns(to)}&points=${Math.min(800, Math.max(120, innerWidth))}&series=${my.kind === "used" ? "used,planned" : my.kind}`),
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

const highest = (series) => Math.max(0, ...series.flatMap((s) => s.points.map((p) => p.max ?? p.v)));

/* Of a series, the newest value at or before each time; null where it has none near. */
function valueAt(points, t, within) {
  let found = null;
  for (const p of points) {
    if (p.t > t + within / 2) break;
    found = p;
  }
  return found && t - found.t <= within ? found.v : null;
}

/* The newest value before a time. */
function valueBefore(points, t) {
  return points.findLast((p) => p.t < t)?.v ?? null;
}

/* What a card would hold if each launch took what its plan says: the others' bytes as they are, and the plans.
 * A driver that lists no process leaves what was used before the launch; without either there is no line. */
function asPlanned(whole, measured, planned) {
  const usual = whole.points.length > 1 ? (whole.points.at(-1).t - whole.points[0].t) / (whole.points.length - 1) : 1000;
  const within = Math.max(3000, usual * 2.5), points = [];
  for (const p of whole.points) {
    let sum = 0, ours = 0, begin = 0, any = false, listed = true;
    for (const plan of planned) {
      const wanted = valueAt(plan.points, p.t, within), own = measured.find((m) => m.pid === plan.pid);
      if (wanted === null) continue;
      any = true;
      sum += wanted;
      if (own) ours += valueAt(own.points, p.t, within) || 0;
      else {
        listed = false;
        begin = begin ? Math.min(begin, plan.points[0].t) : plan.points[0].t;
      }
    }
    const others = listed ? Math.max(0, p.v - ours) : valueBefore(whole.points, begin);
    if (any && others !== null) points.push({t: p.t, v: others + sum});
  }
  return points;
}

function plannedSeries(cards, names) {
  const all = my.timeline?.series || [], of = (kind, gpu) => all.filter((s) => s.kind === kind && s.gpu === gpu && s.pid);
  if (my.processes) return all.filter((s) => s.kind === "planned").map((s) => ({name: `plan of ${names.get(s.pid) || `pid ${s.pid}`} on GPU ${s.gpu}`, colour: "--mark", dash: 2, points: s.points}));
  return cards.map((s) => ({name: `GPU ${s.gpu} as planned`, colour: gpuColour(s.gpu), dash: 2, points: asPlanned(s, of("used", s.gpu), of("planned", s.gpu))})).filter((s) => s.points.length);
}

/* A daemon that is younger than the window would leave most of it empty. */
function sinceStart(from) {
  const began = (store.view.daemon?.started_ns || 0) / 1e6, first = Math.min(...(my.timeline?.series || []).filter((s) => s.points.length).map((s) => s.points[0].t));
  return my.zoom || !(first > from) ? from : Math.max(from, Math.min(first, began, store.view.time_ns / 1e6 - 60000));
}

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
    from: sinceStart(timeline?.from ?? Date.now() - 300000), to: timeline?.to ?? Date.now(), unit, binary: my.kind === "used", least: 0,
    most: my.kind === "utilisation" ? 100 : undefined,
    series: [...cards.map((s) => ({name: `GPU ${s.gpu}`, colour: gpuColour(s.gpu), dash: s.gpu, fill: true, points: s.points})),
      ...(my.kind === "used" ? plannedSeries(cards, names) : []),
      ...others.map((s, i) => ({name: `${names.get(s.pid) || `pid ${s.pid}`}${s.gpu === undefined ? "" : ` on GPU ${s.gpu}`}`, colour: gpuColour(2 + i), dash: i, points: s.points}))],
    levels: my.kind === "used" ? gpus.map((gpu) => ({name: `GPU ${gpu.index} holds ${bytes(gpu.total_bytes, 0)}`, value: gpu.total_bytes, colour: gpuColour(gpu.index),
      fit: highest(shown) > gpu.total_bytes * 0.4})) : [], /* a card that is nearly empty would flatten all that moves */
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
      const plan = data.series.find((other) => other.name === `GPU ${s.gpu} as planned`)?.points.at(-1);
      return `GPU ${s.gpu}: now ${unit(s.points.at(-1).v)}, between ${unit(least)} and ${unit(most)}${plan ? `; as planned it would be ${unit(plan.v)}` : ""}. `;
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
        s.pattern && s.pattern !== "unknown" && badge(s.pattern.replaceAll("_", " ")),
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

/* ---- between two marks ---- */

const QUIET_S = 20; /* before the first mark and behind the second: what holds then is compared */

const marks = () => (my.timeline?.events || []).filter((e) => e.kind === "mark").slice(-30);

/* Mean, least and greatest of each card and program in a window. */
async function levels(from, to) {
  const ns = (ms) => `${Math.round(ms)}000000`;
  const {series} = readTimeline(await get(`api/v1/timeline?since_ns=${ns(from)}&until_ns=${ns(to)}&points=40&series=used`));
  const rows = new Map();
  for (const s of series) {
    const points = s.points.filter((p) => p.t >= from && p.t <= to);
    if (!points.length) continue;
    rows.set(`${s.gpu}-${s.pid}`, {gpu: s.gpu, pid: s.pid, mean: points.reduce((sum, p) => sum + p.v, 0) / points.length,
      spread: Math.max(...points.map((p) => p.max ?? p.v)) - Math.min(...points.map((p) => p.min ?? p.v))});
  }
  return rows;
}

async function betweenMarks() {
  const list = marks(), first = list.find((m) => String(m.t) === my.before), second = list.find((m) => String(m.t) === my.later);
  my.marked = null;
  if (!first || (!second && my.later !== "now")) { changed(); return; }
  const end = second ? second.t : store.view.time_ns / 1e6 - QUIET_S * 1000;
  try {
    const [was, is] = await Promise.all([levels(first.t - QUIET_S * 1000, first.t), levels(end, end + QUIET_S * 1000)]);
    my.marked = [...new Set([...was.keys(), ...is.keys()])].map((key) => ({key, before: was.get(key), after: is.get(key)}))
      .sort((a, b) => (a.before || a.after).gpu - (b.before || b.after).gpu || (a.before || a.after).pid - (b.before || b.after).pid);
  } catch (error) {
    my.error = error.message;
  }
  changed();
}

/* Not more than what moves by itself is no difference. */
function markedDifference({before, after}) {
  if (!before) return badge("new", "warn");
  if (!after) return badge("gone");
  const delta = after.mean - before.mean, noise = Math.max(before.spread, after.spread, MIB);
  return Math.abs(delta) <= noise ? h("span", {class: "quiet", title: `it moves by ${bytes(noise)} by itself`}, "within its noise")
    : h("b", {class: delta > 0 ? "more" : "less"}, `${delta > 0 ? "+" : "−"}${bytes(Math.abs(delta))}`);
}

function markedTable() {
  const names = new Map((store.view.launches || []).map((launch) => [launch.pid, launch.name]));
  for (const gpu of store.view.machine?.gpus || []) for (const p of gpu.processes || []) if (!names.has(p.pid)) names.set(p.pid, p.name);
  const of = (row) => row.before || row.after;
  if (!my.marked.length) return empty("No readings around these marks");
  return table("Between two marks", [
    {name: "what", cell: (row) => of(row).pid ? names.get(of(row).pid) || `pid ${of(row).pid}` : "whole card"},
    {name: "GPU", cell: (row) => of(row).gpu},
    {name: "before", right: true, cell: (row) => bytes(row.before?.mean)},
    {name: "after", right: true, cell: (row) => bytes(row.after?.mean)},
    {name: "difference", right: true, cell: markedDifference},
  ], my.marked, {key: (row) => row.key});
}

function markChoice() {
  const list = marks();
  if (!list.length) return null;
  const pick = (id, label, more) => h("label", {class: "mark-pick"}, label, h("select", {value: my[id], on: {change: (e) => { my[id] = e.target.value; betweenMarks(); }}},
    h("option", {value: ""}, "a mark"), list.map((m) => h("option", {key: String(m.t), value: String(m.t), selected: String(m.t) === my[id]}, `${clock(m.t)} ${m.text}`)), more));
  return h("div", {class: "mark-choice"}, h("h3", null, "Between two marks"),
    h("div", {class: "actions"}, pick("before", "before ", null), pick("later", "after ", h("option", {value: "now", selected: my.later === "now"}, "now"))),
    my.marked && markedTable());
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
    ], rows, {key: (row) => row.key}) : empty("No baseline yet", "Set one, do something, and see what it took."),
    markChoice());
}

function happenings() {
  const changes = (my.profile?.changes || []).slice(-12).reverse();
  if (!changes.length) return null;
  return card("Steps", {key: "changes"}, h("ul", {class: "deeds"}, changes.map((change, i) => h("li", {key: i},
    h("b", {class: change.delta_mib > 0 ? "more" : "less"}, `${change.delta_mib > 0 ? "+" : "−"}${number(Math.abs(change.delta_mib))} MiB`),
    ` on ${change.gpu_count > 1 ? `${change.gpu_count} GPUs at once` : `GPU ${change.gpu}`}`, change.name || change.pid ? [` by ${change.name || "process"} (${change.pid})${change.how ? `, which ${change.how}` : ""}`,
      change.command ? h("code", {class: "quiet"}, ` ${change.command}`) : null] : ""))));
}

export function draw() {
  const uneven = my.profile?.imbalance;
  return [picture(), h("div", {class: "two", key: "two"}, verdicts(), compare()), consumers(), happenings(),
    typeof uneven === "number" ? h("p", {class: "quiet", key: "uneven"}, `imbalance between the cards: ${percent(uneven * 100, 1)}`) : null];
}
