/* tab_launcher.js - what runs: the exact command, its environment, its log, plan against measured, a
 * chat with it; and starting another. */

import {chat, get, post, remove} from "./api.js";
import {h} from "./dom.js";
import {NONE, ago, bytes, clock, duration, number, perSecond, tokens} from "./units.js";
import {badge, card, choice, copyButton, empty, launchState, problem, originBadge, state, table, tile} from "./parts.js";
import {addLines, changed, say, store} from "./store.js";

const my = {
  id: null, query: "", only: "all", follow: true, asked: new Set(), error: null,
  models: null, presets: [], model: "", preset: "", name: "", ctx: "", parallel: "", admission: "", creating: false,
  talk: new Map(), /* launch id -> {messages, busy, aborter, speed, text} */
};

export const title = "Launcher";

const launches = () => (store.view.launches || []).slice().sort((a, b) => b.id - a.id);
const chosen = () => launches().find((launch) => launch.id === my.id) || null;

export async function open(path) {
  my.creating = path === "new";
  /* one that was just started is not in the view yet: an address is taken at its word */
  if (/^\d+$/.test(path)) my.id = Number(path);
  else if (!chosen()) my.id = launches()[0]?.id ?? null;
  changed();
  loadForm();
}

async function loadForm() {
  try {
    const [{models}, presets] = await Promise.all([get("api/v1/models"), get("api/v1/presets").catch(() => ({presets: []}))]);
    my.models = models;
    my.presets = presets.presets || [];
    if (!my.model) my.model = models[0]?.name || "";
  } catch (error) {
    my.error = error.message;
  }
  changed();
}

async function loadLog(id) {
  if (my.asked.has(id)) return;
  my.asked.add(id);
  try {
    const {lines} = await get(`api/v1/launches/${id}/log?limit=2000`);
    const late = store.lines.get(id) || [];
    store.lines.set(id, []);
    addLines(id, lines);
    addLines(id, late);
    changed();
  } catch { /* an old launch may have none */ }
}

async function act(fn) {
  my.error = null;
  try {
    await fn();
  } catch (error) {
    my.error = error.message;
    say(error.message);
  }
  changed();
}

/* ---- the list ---- */

function list() {
  const all = launches();
  return card("Launches", {class: "launch-list", side: h("button", {type: "button", class: "small", on: {click: () => { my.creating = true; changed(); }}}, "New launch")},
    all.length ? h("ul", null, all.map((launch) => h("li", {key: launch.id},
      h("a", {href: `#/launcher/${launch.id}`, class: launch.id === my.id && !my.creating ? "on" : "", "aria-current": launch.id === my.id && !my.creating ? "true" : false},
        h("span", {class: "name"}, launch.name), launchState(launch),
        h("span", {class: "quiet"}, launch.state === "ended" ? (launch.ended_ns ? `at ${clock(launch.ended_ns / 1e6)}` : "")
          : launch.started_ns ? `started ${ago(store.view.time_ns - launch.started_ns)}` : "")))))
      : empty("Nothing was launched yet", "Choose a model and launch it; or plan it first under Optimizer."),
    (store.view.queue || []).length ? h("p", {class: "quiet"}, `${store.view.queue.length} waiting for memory`) : null);
}

/* ---- a new one ---- */

const field = (id, name, control) => h("div", {class: "control"}, h("label", {for: id}, name), control);

/* A preset brings its model; what is filled in below it wins. */
function usePreset(name) {
  my.preset = name;
  my.model = name ? "" : my.model || my.models?.[0]?.name || "";
  changed();
}

function presetFacts(preset) {
  const said = Object.entries(preset.options).map(([key, text]) => `${key} ${text}`).join(", ");
  return h("p", {class: "quiet", id: "preset-facts"}, `${(preset.model || "").split("/").pop()}${said ? `: ${said}` : ""}`);
}

function form() {
  const refused = my.refused, preset = my.presets.find((p) => p.name === my.preset);
  return card("New launch", {class: "new-launch"},
    my.models && !my.models.length ? empty("No model files were found", "dualgpuopt config set models ~/models") :
      h("form", {on: {submit: (event) => { event.preventDefault(); start(); }}},
        my.presets.length > 0 && field("new-preset", "preset", h("select", {id: "new-preset", value: my.preset, on: {change: (e) => usePreset(e.target.value)}},
          h("option", {value: "", selected: !my.preset}, "none"),
          my.presets.map((p) => h("option", {key: p.name, value: p.name, selected: p.name === my.preset, disabled: !!p.problem}, p.problem ? `${p.name}: cannot be read` : p.name)))),
        preset && presetFacts(preset),
        field("new-model", "model", h("select", {id: "new-model", value: my.model, on: {change: (e) => { my.model = e.target.value; changed(); }}},
          preset && h("option", {key: "", value: "", selected: my.model === ""}, "the preset's own"),
          (my.models || []).map((m) => h("option", {key: m.name, value: m.name, selected: m.name === my.model}, `${m.name} · ${bytes(m.file_bytes, 1)}`)))),
        field("new-name", "name for clients", h("input", {id: "new-name", type: "text", value: my.name, placeholder: my.model || my.preset, maxlength: "64", on: {input: (e) => { my.name = e.target.value; }}})),
        field("new-ctx", "context of each slot", h("input", {id: "new-ctx", type: "text", inputmode: "numeric", value: my.ctx, pattern: "[0-9]*|max", placeholder: preset?.options.ctx ? `the preset's: ${preset.options.ctx}` : "the plan's default; a number, or max", on: {input: (e) => { my.ctx = e.target.value; }}})),
        field("new-parallel", "slots", h("input", {id: "new-parallel", type: "number", min: "1", max: "256", value: my.parallel, placeholder: preset?.options.parallel ? `the preset's: ${preset.options.parallel}` : "1", on: {input: (e) => { my.parallel = e.target.value; }}})),
        h("div", {class: "control"}, h("span", {class: "label"}, "where it does not fit"), choice("where it does not fit", "admission",
          [["", "as configured"], ["refuse", "refuse"], ["queue", "wait"], ["evict", "make room"]], my.admission, (id) => { my.admission = id; changed(); })),
        refused && h("div", {class: "no-fit", role: "alert"}, h("strong", null, state("bad", "Refused")), h("p", null, refused.message),
          refused.body?.would_have_to_stop?.length ? h("p", null, "Would have to stop: ", refused.body.would_have_to_stop.map((id) =>
            h("a", {key: id, href: `#/launcher/${id}`}, `${launches().find((l) => l.id === id)?.name || id} `))) : null),
        h("div", {class: "actions"}, h("button", {type: "submit", class: "main", disabled: !my.model && !my.preset}, "Launch"),
          my.model && h("a", {class: "button", href: `#/optimizer/${encodeURIComponent(my.model)}`}, "plan it first"))));
}

async function start() {
  my.refused = null;
  try {
    const body = {intent: {}};
    if (my.model) body.model = my.model;
    if (my.parallel) body.intent.parallel = Number(my.parallel);
    if (my.ctx) body.intent.ctx = my.ctx === "max" ? "max" : Number(my.ctx);
    if (my.preset) body.preset = my.preset;
    if (my.name) body.name = my.name;
    if (my.admission) body.admission = my.admission;
    const made = await post("api/v1/launches", body);
    my.creating = false;
    my.id = made?.id ?? made?.launch?.id;
    location.hash = `#/launcher/${my.id}`;
  } catch (error) {
    my.refused = error;
    say(error.message);
  }
  changed();
}

/* ---- one launch ---- */

function actions(launch) {
  const runs = !["ended", "stopping"].includes(launch.state);
  return h("div", {class: "actions"},
    runs && h("button", {type: "button", on: {click: () => act(() => post(`api/v1/launches/${launch.id}/stop`, {kill: false}))}}, "Stop"),
    launch.state === "stopping" && h("button", {type: "button", class: "danger", on: {click: () => act(() => post(`api/v1/launches/${launch.id}/stop`, {kill: true}))}}, "Kill now"),
    runs && h("button", {type: "button", "aria-pressed": String(!!launch.pinned), title: "a pinned launch never makes room for another",
      on: {click: () => act(() => post(`api/v1/launches/${launch.id}/pin`, {pinned: !launch.pinned}))}}, launch.pinned ? "Unpin" : "Pin"),
    launch.state === "ended" && h("button", {type: "button", on: {click: () => act(async () => {
      await remove(`api/v1/launches/${launch.id}`);
      my.id = null;
    })}}, "Forget"));
}

function summary(launch) {
  const now = store.view.time_ns;
  return card(launch.name, {key: "summary", side: [originBadge(launch), launch.group && badge(`group ${launch.group}`), launch.preset && badge(`preset ${launch.preset}`), launch.pinned && badge("pinned"), launchState(launch)]},
    launch.text && h("p", null, launch.text),
    my.error && problem(my.error),
    h("div", {class: "tiles"},
      tile("model", launch.model, null, {wide: true}),
      tile("port", launch.port || NONE), tile("pid", launch.pid || NONE),
      tile("loading took", launch.ready_ns ? duration(launch.ready_ns - launch.started_ns) : NONE),
      tile("requests", number(launch.request_count), launch.active_request_count ? h("small", null, `${launch.active_request_count} now`) : null),
      tile("last request", launch.last_request_ns ? ago(now - launch.last_request_ns) : NONE),
      tile("context", tokens(launch.plan?.context_tokens)), tile("restarts", number(launch.restart_count))),
    actions(launch),
    (launch.actions || []).length ? h("ul", {class: "deeds"}, launch.actions.map((deed, i) => h("li", {key: i},
      h("time", {class: "quiet"}, clock(deed.time_ns / 1e6)), " ", h("b", null, deed.what || deed.action), deed.why && ` because ${deed.why}`,
      deed.effect && badge(deed.effect, deed.effect === "ready" ? "good" : "")))) : null);
}

const KINDS = ["weights", "context", "compute"];

function compared(launch) {
  const rows = launch.comparison?.devices;
  if (!rows) return card("Plan against measured", {key: "compared"}, empty(launch.state === "ended" ? "It never became ready" : "Measured once the engine is ready"));
  const cell = (kind) => (row) => {
    const planned = row.planned?.[`${kind}_bytes`], measured = row.measured?.[`${kind}_bytes`];
    if (measured === undefined) return h("span", {class: "quiet"}, bytes(planned));
    /* logs round to 0.01 MiB; the daemon knows what that makes equal */
    const same = row[`${kind}_equal`] || Math.abs(measured - planned) < 2 ** 20 / 100;
    const sign = same ? "=" : measured < planned ? "<" : ">";
    const off = kind === "compute" ? measured - planned > 2 ** 20 / 2 : sign !== "=";
    return h("span", {class: off ? "differs" : ""}, `${bytes(planned)} `, h("b", {class: "sign"}, sign), ` ${bytes(measured)}`);
  };
  const {pool, sentence} = launch.comparison; /* engines of one pool of cache are judged by it */
  const equal = launch.comparison.equal ?? rows.every((row) => row.weights_equal && row.context_equal);
  return card("Plan against measured", {key: "compared", side: equal ? state("good", pool ? "as planned" : "weights and context exact") : state("warn", "differs")},
    pool && h("p", {}, sentence),
    table("Plan against measured by device", [
      {name: "device", cell: (row) => [row.name, row.unplanned && badge("not planned", "warn")]},
      ...KINDS.map((kind) => ({name: `${kind}: planned, measured`, right: true, cell: cell(kind)})),
    ], rows, {key: (row) => row.name}));
}

function command(launch) {
  const argv = launch.plan?.command, environment = launch.plan?.environment || {};
  if (!argv) return null;
  const set = Object.entries(environment).filter(([, value]) => value !== null), gone = Object.entries(environment).filter(([, value]) => value === null);
  const quote = (word) => /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
  const line = [...set.map(([k, v]) => `${k}=${quote(v)}`), ...argv.map(quote)].join(" ");
  return card("Command", {key: "command", side: copyButton(line)},
    h("pre", {class: "command", tabindex: "0", "aria-label": "The exact command"}, line),
    h("details", null, h("summary", null, `environment: ${set.length} set, ${gone.length} taken out`),
      h("ul", {class: "environment"}, set.map(([k, v]) => h("li", {key: k}, h("code", null, `${k}=${v}`))),
        gone.map(([k]) => h("li", {key: k, class: "quiet"}, h("code", null, k), " is taken out")))));
}

/* ---- the log ---- */

function log(launch) {
  loadLog(launch.id);
  const all = store.lines.get(launch.id) || [], query = my.query.toLowerCase();
  const levels = {problems: /\b(error|fail|warn|abort|out of memory|cannot)/i, memory: /buffer size|KV|memory|MiB/i};
  const shown = all.filter((line) => (!query || line.text.toLowerCase().includes(query)) && (my.only === "all" || levels[my.only].test(line.text)));
  const tail = shown.slice(-800);
  return card("Log", {key: "log", class: "log-card", side: h("span", {class: "quiet"}, query || my.only !== "all" ? `${shown.length} of ${all.length} lines` : `${all.length} lines`)},
    h("div", {class: "log-tools"},
      h("input", {type: "search", placeholder: "search", "aria-label": "Search the log", value: my.query, on: {input: (e) => { my.query = e.target.value; changed(); }}}),
      choice("lines shown", "only", [["all", "all"], ["memory", "memory"], ["problems", "problems"]], my.only, (id) => { my.only = id; changed(); }),
      h("label", {class: "check"}, h("input", {type: "checkbox", checked: my.follow, on: {change: (e) => { my.follow = e.target.checked; changed(); }}}), "follow")),
    h("div", {class: "log", tabindex: "0", role: "log", "aria-label": "Log of the engine", "aria-live": "off",
      update: (element) => { if (my.follow) element.scrollTop = element.scrollHeight; },
      mount: (element) => { element.scrollTop = element.scrollHeight; }},
      tail.length ? tail.map((line) => h("div", {key: line.sequence, class: levels.problems.test(line.text) ? "warn-line" : ""},
        query ? highlight(line.text, query) : line.text)) : h("div", {class: "quiet"}, all.length ? "no line matches" : "no lines yet")));
}

function highlight(text, query) {
  const at = text.toLowerCase().indexOf(query);
  return at < 0 ? text : [text.slice(0, at), h("mark", null, text.slice(at, at + query.length)), text.slice(at + query.length)];
}

/* ---- a chat ---- */

function talkOf(id) {
  if (!my.talk.has(id)) my.talk.set(id, {messages: [], busy: false, text: "", speed: null, error: null});
  return my.talk.get(id);
}

async function send(launch) {
  const talk = talkOf(launch.id), text = talk.text.trim();
  if (!text || talk.busy) return;
  talk.messages.push({role: "user", content: text});
  const answer = {role: "assistant", content: ""};
  talk.text = "";
  talk.error = null;
  talk.busy = true;
  talk.aborter = new AbortController();
  const asked = talk.messages.map(({role, content}) => ({role, content}));
  talk.messages.push(answer);
  changed();
  const start = performance.now();
  let pieces = 0;
  try {
    const counted = await chat(launch.name, asked, (piece) => {
      pieces++;
      answer.content += piece;
      talk.speed = `${number(pieces / ((performance.now() - start) / 1000), 1)} tokens/s`;
      changed();
    }, talk.aborter.signal);
    const n = counted.usage?.completion_tokens ?? counted.predicted_n ?? pieces;
    talk.speed = `${number(n)} tokens${counted.predicted_per_second ? `, ${number(counted.predicted_per_second, 1)} tokens/s` : `, ${number(n / ((performance.now() - start) / 1000), 1)} tokens/s`}`;
    say("answered");
  } catch (error) {
    if (error.name !== "AbortError") talk.error = error.message;
  }
  talk.busy = false;
  changed();
}

function conversation(launch) {
  const talk = talkOf(launch.id);
  if (launch.state !== "ready" && !talk.messages.length) return null;
  return card("Try it", {key: "chat", class: "chat", side: talk.speed && h("span", {class: "quiet"}, talk.speed)},
    launch.simulated && h("p", {class: "quiet"}, "SIMULATED cards, and perhaps a model of random weights: expect gibberish."),
    h("div", {class: "messages", "aria-live": "off", tabindex: "0", role: "log", "aria-label": "Chat"}, talk.messages.map((message, i) => h("div", {key: i, class: `message ${message.role}`},
      h("b", null, message.role === "user" ? "you" : launch.name), h("p", null, message.content || (talk.busy ? "…" : "(nothing)"))))),
    talk.error && problem(talk.error),
    h("form", {class: "ask", on: {submit: (event) => { event.preventDefault(); send(launch); }}},
      h("input", {type: "text", id: "ask", "aria-label": "Message", placeholder: "Ask something", value: talk.text, disabled: launch.state !== "ready",
        on: {input: (e) => { talk.text = e.target.value; }}}),
      talk.busy ? h("button", {type: "button", on: {click: () => talk.aborter.abort()}}, "Stop")
        : h("button", {type: "submit", class: "main", disabled: launch.state !== "ready"}, "Send")));
}

export function draw() {
  const launch = chosen();
  const detail = my.creating || my.id === null ? form()
    : !launch ? card("Launch", {}, empty(`There is no launch ${my.id}`, "It was forgotten, or has not begun yet."))
    : [summary(launch), conversation(launch), compared(launch), command(launch), log(launch)];
  return h("div", {class: "split-view"}, h("div", {class: "left"}, list()), h("div", {class: "right-side", key: my.creating ? "new" : launch?.id}, detail));
}
