/* tab_resources.js - what runs where: components, lanes, the bus, the VRAM ledger, and the proof that we
 * take none. */

import {get} from "./api.js";
import {h} from "./dom.js";
import {NONE, bytes, duration, number} from "./units.js";
import {badge, card, empty, problem, state, table, tile} from "./parts.js";
import {changed, store} from "./store.js";

const my = {value: null, error: null, at: 0, planned: false};

export const title = "Resources";

async function refresh() {
  my.at = Date.now();
  try {
    my.value = await get("api/v1/resources");
    my.error = null;
  } catch (error) {
    my.error = error.message;
  }
  changed();
}

export const open = refresh;
export function tick() {
  if (Date.now() - my.at > 2500) refresh();
}

function proof(value) {
  const p = value.proof;
  if (!p) return card("VRAM of this program", {key: "proof"}, empty("Not proven in this daemon", "dualgpuopt resources --prove looks."));
  const row = (name, known, good, text) => h("li", null, state(!known ? "idle" : good ? "good" : "bad", `${name}: ${!known ? "cannot be known" : text}`));
  const found = (name, known, list, none) => !list?.length ? row(name, known, true, none)
    : list.map((one) => h("li", {key: one.path}, state(one.allowed ? "good" : "bad", one.path.replace(/.*\/(?=lib)/, "")), h("span", {class: "quiet"}, ` ${one.why || ""}`)));
  return card("VRAM of this program", {key: "proof", class: "proof"},
    h("div", {class: "proof-figure"}, h("span", {class: "big"}, bytes(p.self_vram_bytes)), state(p.proven ? "good" : "warn", p.proven ? "proven" : "not proven")),
    h("p", null, p.sentence),
    h("ul", {class: "plain"},
      row("in the drivers' process lists", p.process_lists_known, !p.own_pid_listed, p.own_pid_listed ? "listed" : "not listed"),
      found("libraries of GPUs", p.libraries_known, p.libraries, "none mapped"), found("devices", p.devices_known, p.devices, "none open")));
}

function ledger(value) {
  const gpus = value.vram?.gpus || [];
  const reserved = (value.vram?.reservations || []).flatMap((r) => (r.gpus.length ? r.gpus : [{}]).map((g) => ({...r, ...g})));
  return card("VRAM ledger", {key: "ledger", side: [badge(`${number(value.vram?.granted)} granted`), badge(`${number(value.vram?.refused)} refused`)]},
    gpus.length ? table("VRAM ledger by GPU", [
      {name: "GPU", cell: (g) => `${g.gpu_index} ${g.gpu_name || ""}`},
      {name: "total", right: true, cell: (g) => bytes(g.total_bytes)},
      {name: "ours planned", right: true, cell: (g) => bytes(g.ours_planned_bytes)},
      {name: "ours measured", right: true, cell: (g) => bytes(g.ours_measured_bytes)},
      {name: "still to come", right: true, cell: (g) => bytes(g.outstanding_bytes), title: "promised and not yet taken"},
      {name: "others", right: true, cell: (g) => bytes(g.unexplained_bytes)},
      {name: "can be promised", right: true, cell: (g) => bytes(g.promisable_bytes)},
      {name: "drift", right: true, cell: (g) => bytes(g.drift_bytes), title: "measured less planned"},
    ], gpus, {key: (g) => g.gpu_index}) : empty("No GPU"),
    reserved.length ? table("Reservations", [
      {name: "whose", cell: (r) => r.what}, {name: "pid", right: true, cell: (r) => r.pid}, {name: "GPU", right: true, cell: (r) => r.gpu_index},
      {name: "planned", right: true, cell: (r) => bytes(r.planned_bytes)}, {name: "measured", right: true, cell: (r) => bytes(r.measured_bytes)},
      {name: "state", cell: (r) => r.state},
    ], reserved, {key: (r) => `${r.id}-${r.gpu_index}`}) : h("p", {class: "quiet"}, "no reservation stands"));
}

function lanes(value) {
  const lanes_ = (value.lanes || []).filter((lane) => lane.name !== "own");
  return card("Lanes", {key: "lanes", side: badge(value.manager?.why || "")}, h("div", {class: "lanes"}, lanes_.map((lane) => h("div", {key: lane.name, class: "lane-box"},
    h("h3", null, lane.name),
    h("div", {class: "workers", role: "img", "aria-label": `${lane.running} of ${lane.workers} workers run`}, Array.from({length: Math.min(32, lane.workers || 0)}, (_, i) => h("i", {key: i, class: i < lane.running ? "on" : i < lane.running + lane.blocked ? "stuck" : ""}))),
    h("dl", null, h("dt", null, "workers"), h("dd", null, `${number(lane.workers)} of ${number(lane.allowed)}`),
      h("dt", null, "waiting"), h("dd", null, `${number(lane.queued)} (most ${number(lane.queued_max)})`),
      h("dt", null, "wait, p99"), h("dd", null, duration(lane.queue_p99_ns)),
      h("dt", null, "done"), h("dd", null, number(lane.taken))), h("p", {class: "quiet"}, lane.policy)))));
}

function components(value) {
  const rows = (value.components || []).filter((c) => my.planned || c.state !== "planned");
  return card("Components", {key: "components", side: h("label", {class: "check"}, h("input", {type: "checkbox", checked: my.planned, on: {change: (e) => { my.planned = e.target.checked; changed(); }}}), "planned ones too")},
    table("Components", [
      {name: "component", cell: (c) => h("span", {title: c.what}, c.name)},
      {name: "what it does", wrap: true, wide: true, cell: (c) => c.what},
      {name: "lane", cell: (c) => c.lane}, {name: "place", cell: (c) => h("span", {title: c.why}, c.place)},
      {name: "done", right: true, cell: (c) => number((c.done || 0) + (c.ran_inline || 0))},
      {name: "failed", right: true, cell: (c) => c.failed ? h("b", {class: "differs"}, number(c.failed)) : "0"},
      {name: "waited, p99", right: true, cell: (c) => duration(c.queue_p99_ns)},
      {name: "took, p99", right: true, cell: (c) => duration(c.run_p99_ns)},
      {name: "VRAM", right: true, cell: (c) => bytes(c.vram_bytes)},
    ], rows, {key: (c) => c.name, rowProps: (c) => ({class: c.done || c.ran_inline || c.failed ? "" : "quiet"})}));
}

function bus(value) {
  const b = value.bus || {};
  return card("Event bus", {key: "bus"}, table("Topics", [
    {name: "topic", cell: (t) => t.name}, {name: "priority", cell: (t) => t.priority}, {name: "drop", cell: (t) => t.drop.replaceAll("_", " ")},
    {name: "published", right: true, cell: (t) => number(t.published)}, {name: "delivered", right: true, cell: (t) => number(t.delivered)},
    {name: "coalesced", right: true, cell: (t) => number(t.coalesced)}, {name: "dropped", right: true, cell: (t) => number(t.dropped)},
  ], b.topics || [], {key: (t) => t.name}),
  (b.subscribers || []).length > 0 && table("Subscribers", [
    {name: "subscriber", cell: (s) => s.name}, {name: "lane", cell: (s) => s.lane}, {name: "delivered", right: true, cell: (s) => number(s.delivered)},
    {name: "failed", right: true, cell: (s) => number(s.failed)}, {name: "slow", right: true, cell: (s) => number(s.slow)},
    {name: "slowest", right: true, cell: (s) => duration(s.slowest_ns)}, {name: "waiting", right: true, cell: (s) => number(s.waiting)},
  ], b.subscribers));
}

function decisions(value) {
  const list = value.decisions || [];
  return h("div", {key: "decisions"}, h("h3", null, "why so many workers"), list.length ? h("ul", {class: "deeds"}, list.slice(-12).reverse().map((d, i) => h("li", {key: i},
    badge(d.lane), h("b", null, ` ${d.before} → ${d.after} `), d.why, h("span", {class: "quiet"}, ` ${duration(d.age_ns)} ago`)))) : empty("No decision yet"));
}

export function draw() {
  const {value} = my;
  if (!value) return my.error ? card(title, {}, problem(my.error)) : card(title, {}, empty("Asking …"));
  const b = value.budget || {};
  return [my.error && problem(my.error),
    h("div", {class: "two", key: "top"}, proof(value), card("Budget", {key: "budget"}, h("div", {class: "tiles"},
      tile("CPUs", number(b.cpus)), tile("engine threads", number(b.engine_threads)), tile("normal", number(b.normal_threads), h("small", null, "threads")),
      tile("background", number(b.background_threads), h("small", null, "threads")),
      tile("a look every", value.sampler ? duration(value.sampler.interval_ns) : NONE, null, {title: value.sampler ? `at the cards: ${value.sampler.why}` : ""}),
      tile("engine delayed", value.pressure ? `${number((value.pressure.engine_run_delay_permille || 0) / 10, 1)} %` : NONE, null, {title: "share of time that engine threads waited for a core"}),
      ...(value.caches || []).map((c) => tile(`cache: ${c.name}`, `${number(c.hits)} hits`, h("small", null, `${number(c.misses)} misses`)))), decisions(value))),
    ledger(value), lanes(value), components(value), bus(value),
    h("p", {class: "quiet", key: "version"}, `daemon ${store.view.version || ""}, pid ${store.view.daemon?.pid ?? NONE}`)];
}
