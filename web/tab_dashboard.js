/* tab_dashboard.js - how the cards are, at a glance. */

import {h} from "./dom.js";
import {chart} from "./chart.js";
import {NONE, bytes, celsius, clock, duration, number, perSecond, percent, permille, tokens, watts} from "./units.js";
import {badge, card, cardParts, empty, gpuColour, launchState, legend, memoryBar, memoryText, spark, state, table, tile} from "./parts.js";
import {get} from "./api.js";
import {changed, remember, store} from "./store.js";
import {topology} from "./topology.js";

const STALE_NS = 5e9;
const trace = (gpu, reading) => store.history.get(`${gpu.index}.${reading}`);

/* ---- the verdict: one line that says whether to look any further ---- */

const severity = (alert) => alert.level === "warning" ? "warn" : "bad";

function verdict(view) {
  const alerts = view.alerts || [], launches = view.launches || [];
  const running = launches.filter((launch) => launch.state === "ready").length;
  const failed = launches.filter((launch) => launch.failed).length;
  if (store.connection.state === "lost") return ["warn", "The daemon does not answer", `what is shown is of ${clock(view.time_ns / 1e6)}; it is tried again`];
  if (view.machine_problem) return ["bad", "The driver does not answer", view.machine_problem];
  if (view.machine_age_ns > STALE_NS) return ["warn", `The figures are ${duration(view.machine_age_ns)} old`, "the driver is slow to answer"];
  if (alerts.length) {
    const worst = alerts.some((alert) => severity(alert) === "bad") ? "bad" : "warn";
    return [worst, alerts.length === 1 ? "One alert" : `${alerts.length} alerts`, alerts[0].text];
  }
  if (failed) return ["warn", failed === 1 ? "A launch failed" : `${failed} launches failed`, launches.find((l) => l.failed).text];
  if (!view.machine?.gpus?.length) return ["warn", "No GPU was found", "dualgpuopt gpus says what was tried"];
  return ["good", "All is well", running ? `${running} model${running > 1 ? "s" : ""} served` : "nothing runs"];
}

function head(view) {
  const [kind, title, text] = verdict(view), gpus = view.machine?.gpus || [];
  const sum = (field) => gpus.every((gpu) => typeof gpu[field] === "number") && gpus.length ? gpus.reduce((all, gpu) => all + gpu[field], 0) : undefined;
  const speed = engineSpeed(view);
  const loads = (view.launches || []).map((launch) => launch.engine?.busy).filter((n) => typeof n === "number");
  const busy = loads.length ? loads.reduce((a, b) => a + b, 0) : undefined;
  return h("div", {class: `verdict ${kind}`},
    h("div", {class: "verdict-words"}, h("h1", null, state(kind, title)), h("p", null, text)),
    h("div", {class: "verdict-tiles"},
      tile("memory free", bytes(sum("free_bytes"), 1), h("small", null, `of ${bytes(sum("total_bytes"), 0)}`)),
      tile("power", watts(sum("power_mw"))),
      speed !== undefined ? tile("generating", perSecond(speed)) : tile("requests now", busy === undefined ? NONE : number(busy))));
}

/* Tokens a second of all engines that tell it. */
function engineSpeed(view) {
  const known = (view.launches || []).map((launch) => launch.engine?.generated_tokens_per_s)
    .filter((value) => typeof value === "number");
  return known.length ? known.reduce((a, b) => a + b, 0) : undefined;
}

/* ---- a card ---- */

const reading = (gpu, name, field, text, options) => tile(name, text,
  spark(trace(gpu, field), {colour: gpuColour(gpu.index), ...options}));

/* What slows the card; an idle card is not slowed by anything. */
const THROTTLE = {
  clock_setting: "clocks were set by hand", power_cap: "at its power limit", hardware: "the board slows it", sync_boost: "held with another card",
  heat: "slowed by heat", hardware_heat: "the board cools it", power_brake: "the power supply holds it", display: "held by a display",
};

function troubles(gpu) {
  const list = (gpu.throttle || []).filter((why) => why !== "idle").map((why) => [THROTTLE[why] || why, /heat|hardware|brake/.test(why) ? "bad" : "warn"]);
  if (gpu.temperature_c >= (gpu.slowdown_temperature_c || 90) - 6) list.push([`hot: ${celsius(gpu.temperature_c)}`, "warn"]);
  if (gpu.xid_count) list.push([`driver error Xid ${gpu.xid_last}, ${gpu.xid_count} in all`, "bad"]);
  if (gpu.ecc_uncorrected) list.push([`${gpu.ecc_uncorrected} memory errors not corrected`, "bad"]);
  if (gpu.remap_pending || gpu.remap_failed) list.push(["memory rows wait for a reset", "bad"]);
  return list.length ? h("p", {class: "badges"}, list.map(([text, kind]) => badge(text, kind))) : null;
}

/* What not every card tells, in one line. */
function facts(gpu) {
  const list = [];
  if (typeof gpu.memory_temperature_c === "number") list.push(`memory ${celsius(gpu.memory_temperature_c)}`);
  if (typeof gpu.fan_permille === "number") list.push(`fan ${permille(gpu.fan_permille)}`);
  if (typeof gpu.performance_state === "number") list.push(`P${gpu.performance_state}`);
  for (const [way, name] of [["pcie", "PCIe"], ["nvlink", "NVLink"]])
    if (typeof gpu[`${way}_rx_bytes_per_s`] === "number")
      list.push(`${name} in ${bytes(gpu[`${way}_rx_bytes_per_s`], 1)}/s, out ${bytes(gpu[`${way}_tx_bytes_per_s`], 1)}/s`);
  if (gpu.unattributed_bytes > 64 * 2 ** 20) list.push(`${bytes(gpu.unattributed_bytes)} used by nobody known`);
  return list;
}

function consumers(gpu, launches) {
  const ours = new Map(launches.map((launch) => [launch.pid, launch.name]));
  const list = (gpu.processes || []).slice().sort((a, b) => (b.used_bytes || 0) - (a.used_bytes || 0)).slice(0, 4);
  if (!list.length) return null;
  return h("ul", {class: "consumers"}, list.map((process) => h("li", {key: process.pid},
    h("span", {class: "name"}, ours.get(process.pid) || process.name || `process ${process.pid}`,
      ours.has(process.pid) ? badge("ours", "good") : process.role && process.role !== "other" && badge(process.role)),
    h("span", {class: "quiet"}, `pid ${process.pid}`), h("span", {class: "right"}, bytes(process.used_bytes)))),
    gpu.processes_not_listed ? h("li", {class: "quiet"}, `${gpu.processes_not_listed} more`) : null);
}

function gpuCard(view, gpu) {
  const launches = (view.launches || []).filter((launch) => launch.plan?.devices?.some((d) => d.gpu_index === gpu.index));
  const {parts, planned} = cardParts(gpu, launches);
  const names = [...new Set(launches.map((l) => l.plan.devices.find((d) => d.gpu_index === gpu.index).name))];
  const link = gpu.pcie_gen ? `PCIe ${gpu.pcie_gen} ×${gpu.pcie_width}` : null;
  const slow = gpu.pcie_width < gpu.pcie_width_max;
  const base = (gpu.reserved_bytes || 0) + parts.others;
  const marks = planned ? [{bytes: base + planned, text: `planned: ${bytes(planned)} of ours`}] : [];
  return card(null, {class: "gpu", key: `gpu${gpu.index}`, label: `GPU ${gpu.index}, ${gpu.name}`},
    h("header", {class: "card-head", style: {"--line": `var(${gpuColour(gpu.index)})`}},
      h("h2", {class: "gpu-name"}, h("span", {class: "gpu-dot", "aria-hidden": "true"}), gpu.name || "GPU"),
      h("span", {class: "side"}, names.map((name) => badge(name, "name")), badge(`GPU ${gpu.index}`),
        link && badge(link, slow ? "warn" : "", slow ? `the card could do ×${gpu.pcie_width_max}` : "the link at this moment; it drops when idle"))),
    gpu.problem && h("p", {class: "problem"}, gpu.problem),
    h("div", {class: "gpu-memory"}, h("span", {class: "big"}, memoryText(gpu)), h("span", {class: "quiet"}, "memory in use"),
      h("span", {class: "right"}, `${bytes(gpu.free_bytes, 1)} free`)),
    memoryBar(`Memory of GPU ${gpu.index}`, parts, gpu.total_bytes, {marks}),
    legend(["weights", "context", "compute", "overhead", "others", "reserved", "free"]),
    h("div", {class: "tiles"},
      reading(gpu, "busy", "busy_permille", permille(gpu.busy_permille), {most: 1000}),
      reading(gpu, "memory bus", "memory_busy_permille", permille(gpu.memory_busy_permille), {most: 1000}),
      reading(gpu, "power", "power_mw", gpu.power_limit_mw ? `${watts(gpu.power_mw).replace(" W", "")} / ${watts(gpu.power_limit_mw)}` : watts(gpu.power_mw), {most: gpu.power_limit_mw}),
      reading(gpu, "temperature", "temperature_c", celsius(gpu.temperature_c), {most: 95}),
      reading(gpu, "core clock", "core_clock_mhz", gpu.core_clock_mhz ? `${number(gpu.core_clock_mhz)} MHz` : NONE),
      tile("memory clock", gpu.memory_clock_mhz ? `${number(gpu.memory_clock_mhz)} MHz` : NONE)),
    troubles(gpu),
    facts(gpu).length > 0 && h("p", {class: "quiet facts-line"}, facts(gpu).join(" · ")),
    consumers(gpu, view.launches || []));
}

/* ---- beside the cards ---- */

/* How unevenly the cards are filled: the greatest difference of used shares. */
function imbalance(machine) {
  const shares = machine.gpus.filter((gpu) => gpu.total_bytes && typeof gpu.used_bytes === "number").map((gpu) => gpu.used_bytes / gpu.total_bytes);
  return shares.length > 1 ? (Math.max(...shares) - Math.min(...shares)) * 100 : undefined;
}

function peers(machine) {
  const links = machine.links || [];
  if (!links.length) return null;
  if (links.every((link) => link.p2p === true)) return badge("peer to peer", "good", "cards read each other's memory directly");
  if (links.some((link) => link.p2p === false)) return badge("no peer to peer", "warn", "what goes from card to card goes through the host");
  return badge("peer to peer unknown");
}

function engines(view) {
  const launches = (view.launches || []).filter((launch) => launch.state !== "ended");
  if (!launches.length)
    return card("Models", {}, empty("Nothing is served", "Plan one under Optimizer and launch it, or ask for a model by name on /v1."));
  return card("Models", {}, table("Models that are served", [
    {name: "model", cell: (l) => h("a", {href: `#/launcher/${l.id}`}, l.name)},
    {name: "state", cell: (l) => launchState(l)},
    {name: "context", right: true, cell: (l) => tokens(l.plan?.context_tokens)},
    {name: "slots", right: true, cell: (l) => l.plan ? `${l.engine?.busy ?? l.active_request_count ?? 0} / ${l.engine?.slots ?? l.plan.slot_count}` : NONE, title: "busy of all"},
    {name: "cache in use", right: true, cell: (l) => permille(l.engine?.kv_permille)},
    {name: "generating", right: true, cell: (l) => perSecond(l.engine?.generated_tokens_per_s)},
    {name: "requests", right: true, cell: (l) => number(l.request_count)},
    {name: "predicted", right: true, cell: (l) => perSecond(l.plan?.predicted?.decode_tokens_per_second)},
    {name: "plan = measured", cell: (l) => !l.comparison ? NONE : l.comparison.equal === false ? state("warn", "differs") : state("good", "as planned")},
  ], launches, {key: (l) => l.id}));
}

function alertList(view) {
  const alerts = view.alerts || [];
  if (alerts.length < 2) return null; /* one is the verdict itself */
  return card(`Alerts`, {class: "alerts"}, h("ul", {class: "alert-list"}, alerts.map((alert) => h("li", {key: alert.id ?? alert.text},
    state(severity(alert), `${(alert.rule || "alert").replaceAll("_", " ")}: ${alert.level}`), h("span", null, alert.text),
    alert.time_ns && h("time", {class: "quiet"}, `for ${duration(Math.max(0, view.time_ns - alert.time_ns))}`)))));
}

function minutes(view) {
  const gpus = view.machine.gpus, to = view.time_ns / 1e6;
  const first = Math.min(to - 60000, ...gpus.map((gpu) => trace(gpu, "used_bytes")?.[0]?.t ?? to));
  return {
    from: first, to, unit: (v, short) => bytes(v, short ? 0 : 2), binary: true, least: 0,
    series: gpus.map((gpu) => ({name: `GPU ${gpu.index}`, colour: gpuColour(gpu.index), fill: true,
      points: trace(gpu, "used_bytes") || []})),
    levels: gpus.map((gpu) => ({name: `GPU ${gpu.index} holds ${bytes(gpu.total_bytes, 0)}`, value: gpu.total_bytes, colour: gpuColour(gpu.index)})),
  };
}

export const title = "Dashboard";

export function draw() {
  const {view} = store;
  const machine = view.machine || {gpus: []};
  const uneven = imbalance(machine);
  return [
    head(view),
    alertList(view),
    h("div", {class: "gpus", key: "gpus"}, machine.gpus.map((gpu) => gpuCard(view, gpu))),
    h("div", {class: "two even", key: "below"},
      card("The last minutes", {class: "wide"},
        chart(h, "minutes", minutes(view), {height: 280, label: "Memory in use of each GPU"})),
      card("How they are linked", {side: peers(machine)}, topology(machine),
        uneven !== undefined && h("div", {class: "meter-row"},
          h("span", {id: "uneven"}, "imbalance of memory"),
          h("meter", {min: 0, max: 100, high: 50, low: 25, optimum: 0, value: uneven, "aria-labelledby": "uneven"}),
          h("b", null, percent(uneven))))),
    engines(view),
  ];
}

/* What was before the page was opened, so that the curves need not start anew. */
export async function open() {
  const now = store.view.time_ns;
  if (trace({index: store.view.machine?.gpus?.[0]?.index}, "used_bytes")?.length > 60) return;
  try {
    const {series} = await get(`api/v1/timeline?since_ns=${now - 600e9}&until_ns=${now}&points=240&series=used`);
    for (const s of series) {
      if (s.pid || (s.kind || s.name) !== "used") continue;
      const key = `${s.gpu}.used_bytes`, newer = store.history.get(key) || [];
      store.history.delete(key);
      for (const p of s.points) remember(key, p.time_ns / 1e6, p.mean ?? p.last);
      for (const p of newer) remember(key, p.t, p.v);
    }
    changed();
  } catch { /* a daemon without a timeline: the curves begin now */ }
}
