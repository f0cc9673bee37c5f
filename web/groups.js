/* groups.js - which models may run beside each other, shown and changed. */

import {h} from "./dom.js";
import {badge, card, problem} from "./parts.js";
import {changed, say, store} from "./store.js";

const my = {name: "", member: new Map(), problem: null, at: null}; /* at: the group that the problem is about */

const SWITCHES = [
  ["swap", "one at a time", "one member runs at a time; another one that is asked for takes its place"],
  ["exclusive", "without others", "a member runs without launches of other groups or of none"],
  ["persistent", "stays", "no launch of another group ends its members"],
];

async function act(at, fn) {
  my.problem = null;
  my.at = at;
  try {
    await fn();
  } catch (error) {
    my.problem = error.message;
    say(error.message);
  }
  changed();
}

/* What can be a member: launches by their name, and what the other groups have not. */
const known = () => [...new Set((store.view.launches || []).flatMap((launch) => [launch.name, launch.model]))];

const sentence = (group) => `${group.swap ? "One of them runs at a time" : "They may run side by side"}, ${
  group.exclusive ? "without launches of other groups" : "beside launches of other groups"}${
  group.persistent ? "; those do not end them" : ""}.`;

function one(group, save) {
  const key = `groups.${group.name}`, running = new Set((store.view.launches || []).filter((l) => l.state !== "ended").flatMap((l) => [l.name, l.model]));
  const members = (list) => act(group.name, () => save(`${key}.members`, list));
  return h("li", {key: group.name, class: "group"},
    h("div", {class: "group-head"}, h("h3", null, group.name),
      h("button", {type: "button", class: "small", "aria-label": `End group ${group.name}`, on: {click: () => act(group.name, () => save(key, null))}}, "End group")),
    h("ul", {class: "chips", "aria-label": `members of ${group.name}`}, group.members.map((name) => h("li", {key: name, class: running.has(name) ? "on" : ""}, name,
      running.has(name) && h("span", {class: "unseen"}, " runs"),
      group.members.length > 1 && h("button", {type: "button", "aria-label": `Take ${name} out of ${group.name}`, title: "take it out",
        on: {click: () => members(group.members.filter((other) => other !== name))}}, "×")))),
    h("form", {class: "add-member", on: {submit: (event) => {
      event.preventDefault();
      const name = (my.member.get(group.name) || "").trim();
      if (name) members([...group.members, name]).then(() => { if (!my.problem) my.member.set(group.name, ""); changed(); });
    }}},
      h("input", {type: "text", "aria-label": `New member of ${group.name}`, placeholder: "a launch or a model", list: "group-names", maxlength: "255", value: my.member.get(group.name) || "",
        on: {input: (e) => my.member.set(group.name, e.target.value)}}),
      h("button", {type: "submit", class: "small"}, "Add")),
    h("div", {class: "switches"}, SWITCHES.map(([id, name, title]) => h("label", {key: id, class: "check", title},
      h("input", {type: "checkbox", checked: group[id], on: {change: (e) => act(group.name, () => save(`${key}.${id}`, e.target.checked))}}), name))),
    h("p", {class: "quiet"}, sentence(group)),
    my.problem && my.at === group.name && problem(my.problem));
}

function fresh(save) {
  return h("form", {class: "new-group", on: {submit: (event) => {
    event.preventDefault();
    const {group, first} = event.target.elements;
    act("", () => save(`groups.${group.value.trim()}.members`, [first.value.trim()])).then(() => { if (!my.problem) event.target.reset(); });
  }}},
    h("label", {for: "new-group"}, "new group"), h("input", {id: "new-group", name: "group", type: "text", maxlength: "63", required: true, placeholder: "its name"}),
    h("input", {name: "first", type: "text", "aria-label": "First member of the new group", maxlength: "255", required: true, placeholder: "its first member", list: "group-names"}),
    h("button", {type: "submit", class: "small"}, "Make"),
    my.problem && my.at === "" && problem(my.problem));
}

/* groups: as the daemon gives them; save(key, value) -> promise, refused with a sentence. */
export function draw(groups, save) {
  return card("Groups", {key: "groups", side: badge(groups.length ? `${groups.length}` : "none")},
    h("p", {class: "quiet"}, "Which models may run beside each other. Without a group a launch runs wherever it fits."),
    h("datalist", {id: "group-names"}, known().map((name) => h("option", {key: name, value: name}))),
    groups.length > 0 && h("ul", {class: "groups"}, groups.map((group) => one(group, save))),
    fresh(save));
}
