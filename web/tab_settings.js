/* tab_settings.js - the settings in force, where each came from, and changing those that a page may change. */

import {get, post} from "./api.js";
import {h} from "./dom.js";
import {NONE, clock, day, duration, number} from "./units.js";
import {badge, card, choice, copyButton, empty, problem, table} from "./parts.js";
import {changed, say, store} from "./store.js";
import * as groups from "./groups.js";

const my = {value: null, error: null, query: "", only: "given", edit: null}; /* edit: {key, text, problem, busy, quiet: without a form} */

export const title = "Settings";

export async function open() {
  try {
    my.value = await get("api/v1/config");
    my.error = null;
  } catch (error) {
    my.error = error.message;
  }
  changed();
}

/* The daemon answers with all of them, as they are in force a moment later. */
async function save(key, value) {
  my.value = await post("api/v1/config", {key, value});
  say(`${key} saved`);
}

/* ---- one setting ---- */

const ORIGIN = {default: "", file: "name", environment: "warn", flag: "good"};

function origin(row) {
  if (!row.origin) return h("span", {class: "quiet"}, "not set");
  const where = row.origin === "file" ? `file, line ${row.line}` : row.origin === "environment" ? row.variable : row.origin;
  return badge(where, ORIGIN[row.origin]);
}

const fixed = (row) => row.origin === "flag" || row.origin === "environment";
const words = (row) => row.kind === "flag" ? ["true", "false"] : row.kind === "choice" ? row.accepts.split("|") : null;

async function change(row, value) {
  const edit = my.edit;
  edit.busy = true;
  edit.problem = null;
  changed();
  try {
    await save(row.key, value);
    if (my.edit === edit) my.edit = null;
  } catch (error) {
    edit.problem = error.message;
    say(error.message);
  }
  edit.busy = false;
  changed();
}

function editor(row) {
  const {edit} = my, label = `value of ${row.key}`, list = words(row);
  const take = (event) => { edit.text = event.target.value; };
  return h("form", {class: "edit", on: {
    submit: (event) => { event.preventDefault(); change(row, row.kind === "flag" ? edit.text === "true" : edit.text); },
    keydown: (event) => { if (event.key === "Escape") { my.edit = null; changed(); } },
  }},
    list ? h("select", {"aria-label": label, value: edit.text, on: {change: take}, mount: (element) => requestAnimationFrame(() => element.focus())},
      list.map((word) => h("option", {key: word, value: word, selected: word === edit.text}, word)))
      : h("input", {type: "text", "aria-label": label, value: edit.text, placeholder: row.default || row.accepts, maxlength: "255", required: true, on: {input: take},
        mount: (element) => requestAnimationFrame(() => { element.focus(); element.select(); })}),
    h("button", {type: "submit", class: "main small", disabled: edit.busy}, "Save"),
    h("button", {type: "button", class: "small", on: {click: () => { my.edit = null; changed(); }}}, "Cancel"),
    edit.problem && problem(edit.problem));
}

const edits = (row) => my.edit?.key === row.key && (!my.edit.quiet || my.edit.problem);

function value(row) {
  if (edits(row)) return editor(row);
  return ["value" in row ? h("b", null, row.text) : h("span", {class: "quiet"}, row.default || NONE),
    row.origin && row.origin !== "default" && h("span", {class: "narrow-only"}, " ", origin(row))];
}

function actions(row) {
  if (edits(row)) return null;
  if (!row.editable) return copyButton(`dualgpuopt config set ${row.key} ${row.text || (row.accepts || "VALUE").split("|")[0]}`, "copy command");
  if (fixed(row)) return h("span", {class: "quiet", title: "the daemon was started with it, which beats the file"}, "by the start");
  return h("span", {class: "row-actions"},
    h("button", {type: "button", class: "small", "aria-label": `Change ${row.key}`, on: {click: () => {
      my.edit = {key: row.key, text: row.text ?? row.default ?? words(row)?.[0] ?? "", problem: null, busy: false};
      changed();
    }}}, "Change"),
    row.origin === "file" && h("button", {type: "button", class: "small", "aria-label": `Default for ${row.key}`, title: "take it out of the file", on: {click: () => {
      my.edit = {key: row.key, text: row.text, problem: null, busy: true, quiet: true};
      change(row, null);
    }}}, "Default"));
}

/* ---- all of them ---- */

const PACES = new Set(["admission", "oom", "idle-timeout", "keep-engines", "no-on-demand", "request-timeout", "queue-timeout", "restart", "ready-timeout", "stop-timeout"]);
const groupOf = (row) => row.key.startsWith("alerts.") ? "Alerts" : row.key.startsWith("components.") ? "Where work runs"
  : PACES.has(row.key) ? "Launches and requests" : row.editable ? "Plans" : "The owner's: by the command line or the file";
const ORDER = ["Launches and requests", "Plans", "Alerts", "Where work runs"];

function settings() {
  const {value: all} = my, query = my.query.toLowerCase();
  const rows = all.values.filter((row) => (my.only === "all" || (my.only === "given" ? "value" in row : row.origin && row.origin !== "default"))
    && (!query || row.key.includes(query) || row.help.toLowerCase().includes(query)));
  const sorted = new Map(ORDER.map((name) => [name, []]));
  for (const row of rows) sorted.set(groupOf(row), [...(sorted.get(groupOf(row)) || []), row]);
  return card("In force", {side: [h("input", {type: "search", "aria-label": "Search the settings", placeholder: "search", value: my.query, on: {input: (e) => { my.query = e.target.value; changed(); }}}),
    choice("shown", "shown", [["given", "with a value"], ["changed", "changed"], ["all", "all"]], my.only, (id) => { my.only = id; changed(); })]},
    h("p", {class: "quiet"}, "A flag beats the environment, the environment the file, the file the default. ",
      all.from_file ? ["The file is ", h("code", null, all.path), "; a change is noticed at once."] : ["There is no ", h("code", null, all.path || "configuration file"), " yet; the first change makes it."],
      " What names a file, a program or an address is changed by its owner, not by a page."),
    rows.length ? [...sorted].filter(([, list]) => list.length).map(([name, list]) => h("div", {key: name}, h("h3", null, name), table(`Settings: ${name}`, [
      {name: "key", wrap: true, cell: (row) => h("code", null, row.key)},
      {name: "value", wrap: true, cell: value},
      {name: "from", wide: true, cell: origin},
      {name: "what it is", wrap: true, wide: true, cell: (row) => row.help},
      {name: "to change it", cell: actions},
    ], list, {key: (row) => row.key}))) : empty("No setting matches"));
}

function looks() {
  const chosen = document.documentElement.dataset.themeChosen;
  return card("This page", {}, h("div", {class: "control"}, h("span", {class: "label"}, "theme"),
    choice("theme", "theme", [["auto", "as the system"], ["dark", "dark"], ["light", "light"]], chosen, (id) => { globalThis.chooseTheme(id); changed(); })),
    h("p", {class: "quiet"}, "Keys: 1 to 6 choose a tab, ? shows this line, t turns the theme."));
}

function daemon() {
  const {view} = store, d = view.daemon || {}, policy = view.policy || {};
  const rows = [["version", view.version], ["listens on", d.listen], ["pid", d.pid], ["runs since", d.started_ns && `${day(d.started_ns / 1e6)} (${duration(view.time_ns - d.started_ns)})`],
    ["pages open", number(d.clients)], ["admission", policy.admission], ["out of memory", policy.oom],
    ["idle launches stop", policy.idle_timeout_ns ? `after ${duration(policy.idle_timeout_ns)}` : "never"],
    ["machine", view.machine?.source + (view.machine?.driver ? `, driver ${view.machine.driver}` : "")], ["newest look", `${clock(view.time_ns / 1e6)}, ${duration(view.machine_age_ns)} old`]];
  return card("The daemon", {}, h("dl", {class: "facts"}, rows.filter(([, text]) => text !== undefined && text !== null && text !== "").map(([name, text]) => [h("dt", {key: `n${name}`}, name), h("dd", {key: `v${name}`}, String(text))])));
}

export function draw() {
  return [h("div", {class: "two", key: "top"}, looks(), daemon()),
    my.value && groups.draw(my.value.groups, save),
    my.value ? settings() : my.error ? card("In force", {}, problem(my.error)) : card("In force", {}, empty("Asking …"))];
}
