/* tab_settings.js - the settings in force, where each came from, and how to change it. */

import {get} from "./api.js";
import {h} from "./dom.js";
import {NONE, clock, day, duration, number} from "./units.js";
import {badge, card, choice, copyButton, empty, problem, table} from "./parts.js";
import {changed, store} from "./store.js";

const my = {value: null, error: null, query: "", only: "given"};

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

const ORIGIN = {default: "", file: "name", environment: "warn", flag: "good"};

function origin(row) {
  if (!row.origin) return h("span", {class: "quiet"}, "not set");
  const where = row.origin === "file" ? `file, line ${row.line}` : row.origin === "environment" ? row.variable : row.origin;
  return badge(where, ORIGIN[row.origin]);
}

const groupOf = (key) => key.startsWith("alerts.") ? "Alerts" : key.startsWith("components.") ? "Places of components" : key === "models" ? "Models" : "Options";

function settings() {
  const {value} = my, query = my.query.toLowerCase();
  const rows = value.values.filter((row) => (my.only === "all" || (my.only === "given" ? "value" in row : row.origin && row.origin !== "default"))
    && (!query || row.key.includes(query) || row.help.toLowerCase().includes(query)));
  const groups = new Map();
  for (const row of rows) groups.set(groupOf(row.key), [...(groups.get(groupOf(row.key)) || []), row]);
  return card("In force", {side: [h("input", {type: "search", "aria-label": "Search the settings", placeholder: "search", value: my.query, on: {input: (e) => { my.query = e.target.value; changed(); }}}),
    choice("shown", "shown", [["given", "with a value"], ["changed", "changed"], ["all", "all"]], my.only, (id) => { my.only = id; changed(); })]},
    h("p", {class: "quiet"}, "A flag beats the environment, the environment the file, the file the default. ",
      value.from_file ? ["The file is ", h("code", null, value.path), "; a change is noticed at once."] : ["There is no ", h("code", null, value.path || "configuration file"), " yet."]),
    rows.length ? [...groups].map(([name, list]) => h("div", {key: name}, h("h3", null, name), table(`Settings: ${name}`, [
      {name: "key", cell: (row) => h("code", null, row.key)},
      {name: "value", wrap: true, cell: (row) => "value" in row ? h("b", null, row.text) : h("span", {class: "quiet"}, NONE)},
      {name: "from", cell: origin},
      {name: "what it is", wrap: true, cell: (row) => row.help},
      {name: "to change it", cell: (row) => copyButton(`dualgpuopt config set ${row.key} ${row.text || (row.accepts || "VALUE").split("|")[0]}`, "copy command")},
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
    my.value ? settings() : my.error ? card("In force", {}, problem(my.error)) : card("In force", {}, empty("Asking …"))];
}
