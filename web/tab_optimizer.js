/* tab_optimizer.js - which layers go where, redrawn while the sliders move. */

import {get, post} from "./api.js";
import {h} from "./dom.js";
import {bytes, number, parameters, perSecond, percent, speed, tokens} from "./units.js";
import {badge, card, choice, copyButton, empty, gpuColour, legend, memoryBar, problem, originBadge, state, table, tile} from "./parts.js";
import {changed, say, store} from "./store.js";

const my = {
  models: null, folders: [], model: "", shape: null,
  ctx: 8192, ctxMax: false, parallel: 1, kv: "auto", margin: 0, objective: "speed",
  noCpu: false, spread: false, ubatch: 0, beside: true,
  plan: null, base: null, error: null, planning: false, compare: null, query: "",
};
export const optimizer = my;

const KV = [["auto", "auto"], ["f16", "f16"], ["q8_0", "q8_0"], ["q4_0", "q4_0"]];
const GOALS = [["speed", "speed", "the fastest split"], ["context", "context", "the longest context"], ["safe", "safe", "the most memory left free"]];

/* The slider runs over powers of two and what lies half way. */
const CONTEXTS = [512, 1024, 2048, 4096, 6144, 8192, 12288, 16384, 24576, 32768, 49152, 65536, 98304, 131072, 196608, 262144, 393216, 524288, 1048576];
const contexts = () => CONTEXTS.filter((n) => !my.shape?.context_max || n <= my.shape.context_max);
const MARGINS = [0, 256, 512, 1024, 2048, 3072, 4096, 6144, 8192]; /* MiB; 0: the program's own rule */

/* ---- asking ---- */

export function intent() {
  const wish = {ctx: my.ctxMax ? "max" : my.ctx, parallel: my.parallel, objective: my.objective};
  if (my.kv !== "auto") wish.kv_type = my.kv;
  if (my.margin) wish.margin = my.margin * 2 ** 20;
  if (my.ubatch) wish.ubatch = my.ubatch;
  if (my.noCpu) wish.no_cpu_layers = true;
  if (my.spread) wish.spread = true;
  return wish;
}

let asker = null, timer = 0, round = 0;

async function ask() {
  asker?.abort();
  const mine = asker = new AbortController();
  const number_ = ++round;
  my.planning = true;
  changed();
  try {
    const plan = await post("api/v1/plan", {model: my.model, intent: intent(), explain: true, beside: my.beside}, mine.signal);
    my.plan = plan;
    my.error = null;
    my.compare = null;
    say(plan.fits === false ? "the plan does not fit" : `planned: ${perSecond(plan.predicted?.decode_tokens_per_second)}`);
  } catch (error) {
    if (error.name === "AbortError") return;
    my.plan = error.body?.devices ? error.body : null;
    my.error = error.message;
  } finally {
    if (number_ === round) my.planning = false;
    changed();
  }
}

/* At once for the first move, then at most every 90 ms while a slider is drawn. */
function soon() {
  if (!my.model) return;
  clearTimeout(timer);
  timer = setTimeout(ask, my.planning ? 90 : 15);
  changed();
}
const set = (key, value) => { my[key] = value; soon(); };

async function choose(name) {
  my.model = name;
  my.shape = null;
  my.plan = null;
  changed();
  try {
    const model = await get(`api/v1/model?name=${encodeURIComponent(name)}`);
    my.shape = {
      layers: model.layer_count, context_max: model.context_length || model.train_context_tokens || model.context_tokens_trained,
      parameters: model.parameter_count, architecture: model.architecture, file: model.file_bytes, name: model.name,
    };
    if (my.shape.context_max) my.ctx = Math.min(my.ctx, my.shape.context_max);
  } catch { /* the plan says what is wrong with it */ }
  ask();
}

export async function open(name) {
  if (name) my.model = decodeURIComponent(name);
  try {
    const {models, folders} = await get("api/v1/models");
    my.models = models;
    my.folders = folders || [];
    if (!my.model && models.length) my.model = models[0].name;
    if (my.model && !my.plan) choose(my.model);
  } catch (error) {
    my.models = [];
    my.error = error.message;
  }
  changed();
}

/* ---- controls ---- */

const slider = (id, name, text, props, fn) => h("div", {class: "control"},
  h("label", {for: id}, name, h("output", {for: id}, text)),
  h("input", {id, type: "range", ...props, "aria-valuetext": text, on: {input: (event) => fn(Number(event.target.value))}}));

const check = (id, text, value, fn) => h("label", {class: "check", for: id},
  h("input", {id, type: "checkbox", checked: value, on: {change: (event) => fn(event.target.checked)}}), text);

function controls() {
  const all = contexts(), at = my.ctxMax ? all.length : Math.max(0, all.findLastIndex((n) => n <= my.ctx));
  const shape = my.shape;
  return card("What you want", {class: "controls"},
    h("div", {class: "control"}, h("label", {for: "model"}, "model"),
      h("select", {id: "model", value: my.model, on: {change: (event) => choose(event.target.value)}},
        (my.models || []).map((model) => h("option", {key: model.name, value: model.name, selected: model.name === my.model},
          `${model.name} · ${bytes(model.file_bytes, 1)}`)))),
    shape && h("p", {class: "quiet"}, [shape.architecture, shape.layers && `${shape.layers} layers`,
      shape.parameters && `${parameters(shape.parameters)} parameters`,
      shape.context_max && `trained for ${tokens(shape.context_max)} tokens`].filter(Boolean).join(" · ")),
    h("div", {class: "control"}, h("span", {class: "label"}, "goal"), choice("goal", "goal", GOALS, my.objective, (id) => set("objective", id))),
    slider("ctx", "context of each slot", my.ctxMax ? "as long as fits" : `${number(my.ctx)} tokens`,
      {min: 0, max: all.length, step: 1, value: String(at)}, (n) => {
        my.ctxMax = n >= all.length;
        if (!my.ctxMax) my.ctx = all[n];
        soon();
      }),
    slider("parallel", "requests side by side", `${my.parallel} slot${my.parallel > 1 ? "s" : ""}`,
      {min: 1, max: 32, step: 1, value: String(my.parallel)}, (n) => set("parallel", n)),
    h("div", {class: "control"}, h("span", {class: "label"}, "type of the KV cache"), choice("type of the KV cache", "kv", KV, my.kv, (id) => set("kv", id))),
    slider("margin", "margin on each card", my.margin ? bytes(my.margin * 2 ** 20) : "2 %, at least 256 MiB",
      {min: 0, max: MARGINS.length - 1, step: 1, value: String(MARGINS.indexOf(my.margin))}, (n) => set("margin", MARGINS[n])),
    h("details", {class: "more"}, h("summary", null, "more"),
      slider("ubatch", "micro-batch", my.ubatch ? `${my.ubatch} tokens` : "the engine's",
        {min: 0, max: 6, step: 1, value: String([0, 64, 128, 256, 512, 1024, 2048].indexOf(my.ubatch))},
        (n) => set("ubatch", [0, 64, 128, 256, 512, 1024, 2048][n])),
      check("nocpu", "no layers in host memory", my.noCpu, (on) => set("noCpu", on)),
      check("spread", "use every card", my.spread, (on) => set("spread", on)),
      check("beside", "beside what runs now", my.beside, (on) => set("beside", on))),
    h("div", {class: "actions"},
      h("button", {type: "button", class: "main", disabled: !my.plan || my.plan.fits === false || my.planning,
        on: {click: launch}}, "Launch this plan"),
      my.planning && state("busy", "planning")));
}

async function launch() {
  try {
    const made = await post("api/v1/launches", {model: my.model, intent: intent()});
    const id = made?.id ?? made?.launch?.id;
    location.hash = id ? `#/launcher/${id}` : "#/launcher";
  } catch (error) {
    my.error = error.message;
    changed();
  }
}

/* ---- the plan ---- */

const deviceParts = (d) => ({
  weights: d.weights_bytes || 0, context: d.context_bytes || 0, compute: d.compute_bytes || 0, overhead: d.overhead_bytes || 0,
  margin: d.margin_bytes || 0,
  free: Math.max(0, (d.free_bytes || 0) - (d.weights_bytes || 0) - (d.context_bytes || 0) - (d.compute_bytes || 0) - (d.overhead_bytes || 0) - (d.margin_bytes || 0)),
});

const layersText = (d) => {
  const last = d.layer_first + d.layer_count - 1;
  const range = d.layer_count ? (d.layer_count === 1 ? `${d.layer_first}` : `${d.layer_first}–${last}`) : "none";
  return d.holds_output ? `${range} + output` : range;
};

/* Every layer is a cell, in the colour of where it lies. */
function layerStrip(plan, slim = false) {
  const cells = [];
  for (const d of plan.devices)
    for (let i = 0; i < d.layer_count; i++) cells.push({at: d.layer_first + i, gpu: d.gpu_index, name: d.name});
  const host = plan.host?.layer_count || 0;
  cells.sort((a, b) => a.at - b.at);
  const said = plan.devices.map((d) => `${d.name} layers ${layersText(d)}`).join("; ") + (host ? `; ${host} in host memory` : "");
  return h("div", {class: slim ? "strip slim" : "strip", role: "img", "aria-label": `Layers: ${said}`},
    Array.from({length: host}, (_, i) => h("i", {key: `h${i}`, class: "cell host", title: "host memory"})),
    cells.map((c) => h("i", {key: c.at, class: "cell", title: `layer ${c.at}: ${c.name}`, style: {background: `var(${gpuColour(c.gpu)})`}})));
}

function devices(plan) {
  const unused = (store.view.machine?.gpus || []).filter((gpu) => !plan.devices.some((d) => d.gpu_index === gpu.index));
  return [...plan.devices.map((d) => h("div", {key: d.name, class: "device"},
    h("div", {class: "device-head"}, h("b", {style: {"--line": `var(${gpuColour(d.gpu_index)})`}}, h("span", {class: "gpu-dot", "aria-hidden": "true"}), d.name),
      h("span", {class: "quiet"}, d.gpu_name), h("span", {class: "right"}, `${d.layer_count} layer${d.layer_count === 1 ? "" : "s"} · ${layersText(d)}`)),
    memoryBar(`Plan for ${d.name}`, deviceParts(d), d.free_bytes))),
  unused.length > 0 && h("p", {class: "unused"}, state("idle", `not used by this plan: ${unused.map((gpu) => `GPU ${gpu.index} ${gpu.name}`).join(", ")}`))];
}

function deviceTable(plan) {
  const rows = [...plan.devices, {...plan.host, name: "host", isHost: true}];
  const cell = (key) => (d) => d[key] === undefined ? undefined : bytes(d[key]);
  return table("The plan by device", [
    {name: "device", cell: (d) => d.name},
    {name: "layers", cell: (d) => d.isHost ? (d.layer_count ? `${d.layer_count}` : "embeddings") : layersText(d)},
    {name: "weights", right: true, cell: cell("weights_bytes")},
    {name: "context", right: true, cell: cell("context_bytes")},
    {name: "compute", right: true, cell: cell("compute_bytes")},
    {name: "driver", right: true, cell: cell("overhead_bytes")},
    {name: "margin", right: true, cell: cell("margin_bytes")},
    {name: "free before", right: true, cell: cell("free_bytes")},
  ], rows, {key: (d) => d.name});
}

const split = (plan) => plan.devices.map((d) => `${d.name} ${d.layer_count}`).join(" · ") + (plan.host?.layer_count ? ` · host ${plan.host.layer_count}` : "");

function predicted(plan) {
  const p = plan.predicted || {};
  return h("div", {class: "tiles three"},
    tile("decode", speed(p.decode_tokens_per_second), h("small", null, "tokens/s")),
    tile("prefill", speed(p.prefill_tokens_per_second), h("small", null, "tokens/s")),
    tile("above the lower bound", percent((p.lower_bound_gap || 0) * 100, 1), null, {title: "how far from what no split could beat"}),
    tile("context", `${number(plan.context_tokens)}`, h("small", null, plan.slot_count > 1 ? `${plan.slot_count} slots of ${number(plan.context_tokens_per_slot)}` : "tokens")),
    tile("KV cache", `${plan.key_type}${plan.value_type !== plan.key_type ? ` / ${plan.value_type}` : ""}`),
    tile("figures of", `b${plan.engine_build}`, h("small", null, "llama.cpp")));
}

function alternatives(plan) {
  const all = plan.alternatives || [];
  if (!all.length) return null;
  const best = plan.predicted?.decode_tokens_per_second || 0;
  return card("Alternatives, side by side", {}, h("div", {class: "alternatives"}, all.map((other, i) => {
    const rate = other.predicted?.decode_tokens_per_second, versus = best && rate ? (rate / best - 1) * 100 : null;
    const isDefault = /default split/.test(other.why);
    return h("article", {key: i, class: `alternative ${isDefault ? "default" : ""}`},
      h("h3", null, other.why),
      layerStrip(other, true),
      other.devices.map((d) => memoryBar(`${other.why}: ${d.name}`, deviceParts(d), d.free_bytes, {slim: true})),
      h("p", {class: "quiet"}, split(other)),
      h("dl", null,
        h("dt", null, "decode"), h("dd", null, perSecond(rate), versus !== null && Math.abs(versus) >= 0.05 && h("em", {class: versus < 0 ? "less" : "more-speed"}, ` ${versus > 0 ? "+" : "−"}${Math.abs(versus).toFixed(1)} %`)),
        h("dt", null, "context"), h("dd", null, tokens(other.context_tokens)),
        h("dt", null, "cache"), h("dd", null, other.key_type)),
      h("button", {type: "button", class: "small", on: {click: () => take(other)}, "aria-label": `take its settings: ${other.why}`}, "take its settings"));
  })));
}

function take(other) {
  my.ctxMax = false;
  my.ctx = other.context_tokens_per_slot;
  my.kv = KV.some(([id]) => id === other.key_type) ? other.key_type : "auto";
  my.ubatch = other.ubatch_tokens === 512 ? 0 : other.ubatch_tokens;
  if (/left free/.test(other.why)) my.objective = "safe";
  if (/longest context/.test(other.why)) my.objective = "context";
  soon();
}

/* What the engine would do by itself, against this plan. */
function versusDefault(plan) {
  const other = (plan.alternatives || []).find((a) => /default split/.test(a.why));
  if (!other) return null;
  const ours = plan.predicted?.decode_tokens_per_second, theirs = other.predicted?.decode_tokens_per_second;
  if (!ours || !theirs) return null;
  const most = Math.max(ours, theirs);
  const row = (name, value, kind) => h("div", {class: "versus-row"}, h("span", null, name),
    h("div", {class: "versus-track"}, h("div", {class: `versus-bar ${kind}`, style: {width: `${value / most * 100}%`}})), h("b", null, perSecond(value)));
  const gain = (ours / theirs - 1) * 100;
  return card("Against the engine's own split", {side: badge(gain >= 0.05 ? `${gain.toFixed(1)} % faster` : "the same speed", gain >= 0.05 ? "good" : "")},
    row("this plan", ours, "ours"), row("llama.cpp by free memory", theirs, "theirs"));
}

function doesNotFit(plan) {
  return h("div", {class: "no-fit", role: "alert"}, h("strong", null, state("bad", "It does not fit")),
    h("p", null, plan.limiting_device ? `${plan.limiting_device} lacks ${bytes(plan.missing_bytes)}. ` : "", my.error || "",
      " A shorter context, a smaller cache type or fewer slots make room; the bars show the nearest placement."));
}

function result() {
  const {plan} = my;
  if (!plan) return my.error ? card("The plan", {}, problem(my.error)) : card("The plan", {}, empty(my.planning ? "Planning …" : "Choose a model"));
  const fits = plan.fits !== false;
  return [
    card("The plan", {side: [originBadge(plan), fits ? state("good", "fits") : state("bad", "does not fit")], class: "plan", key: "plan"},
      !fits && doesNotFit(plan), layerStrip(plan), devices(plan),
      legend(["weights", "context", "compute", "overhead", "margin", "free"]), predicted(plan), deviceTable(plan)),
    fits && versusDefault(plan),
    alternatives(plan),
    plan.explanation?.length && card("Why", {key: "why"}, h("details", {open: false}, h("summary", null, `how ${plan.explanation.length} numbers were reached`),
      h("ol", {class: "why"}, plan.explanation.map((line, i) => h("li", {key: i}, line))))),
    plan.command && card("The command", {side: copyButton(plan.command.join(" "))}, h("pre", {class: "command", tabindex: "0"}, plan.command.join(" "))),
  ];
}

export const title = "Optimizer";

export function draw() {
  if (my.models && !my.models.length)
    return card("Optimizer", {}, my.error ? problem(my.error) : empty("No model files were found",
      my.folders.length ? `Looked in ${my.folders.join(", ")}.` : "No folder of models is known.",
      "dualgpuopt config set models ~/models"));
  if (!my.models) return card("Optimizer", {}, empty("Looking for models …"));
  return h("div", {class: "split-view"}, h("div", {class: "left"}, controls()), h("div", {class: "right-side"}, result()));
}
