/* app.js - the page: tabs, the connection, one drawing for each change. */

import {follow, hasToken, setToken} from "./api.js";
import {h, render} from "./dom.js";
import {badge, card, originBadge, state} from "./parts.js";
import {changed, onChange, say, store, takeEvent} from "./store.js";
import * as dashboard from "./tab_dashboard.js";
import * as optimizer from "./tab_optimizer.js";
import * as launcher from "./tab_launcher.js";
import * as memory from "./tab_memory.js";
import * as resources from "./tab_resources.js";
import * as settings from "./tab_settings.js";

const TABS = {dashboard, optimizer, launcher, memory, resources, settings};
const main = document.getElementById("main");
let tab = "", stream = null, wanted = "";

/* ---- which tab: #/name or #/name/more ---- */

function route() {
  const [, name, more] = location.hash.match(/^#\/(\w+)(?:\/(.*))?$/) || [];
  const next = name in TABS ? name : "dashboard";
  const fresh = next !== tab;
  tab = next;
  document.title = `${TABS[tab].title} · DualGPUOptimizer`;
  if (fresh) render(main);
  wanted = more || "";
  if (store.view) TABS[tab].open?.(wanted);
  changed();
  if (fresh) requestAnimationFrame(() => {
    scrollTo(0, 0);
    document.querySelector("#tabs .on")?.scrollIntoView({block: "nearest", inline: "center"}); /* on a narrow screen */
  });
}

/* ---- the frame ---- */

function connection() {
  const {state: now, why, retry} = store.connection;
  if (now === "live") return state("good", "live");
  if (now === "connecting") return state("busy", "connecting");
  if (now === "refused") return h("span", {title: why}, state("bad", "token needed"));
  const wait = Math.max(0, Math.ceil((retry - Date.now()) / 1000));
  return h("button", {type: "button", class: "small", on: {click: () => stream.again()}, title: "try now"}, state("warn", wait ? `lost, again in ${wait} s` : "trying again"));
}

function turnTheme() {
  globalThis.chooseTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  changed();
}

function frame() {
  const alerts = store.view?.alerts?.length || 0;
  const dark = document.documentElement.dataset.theme === "dark";
  render(document.getElementById("tabs"), Object.entries(TABS).map(([id, {title}]) => h("a", {key: id, href: `#/${id}`, class: id === tab ? "on" : "",
    "aria-current": id === tab ? "page" : false}, title, id === "dashboard" && alerts ? badge(String(alerts), "bad", `${alerts} alerts`) : null)));
  render(document.getElementById("status"), originBadge(store.view), connection(),
    h("button", {type: "button", class: "icon", "aria-label": dark ? "Light theme" : "Dark theme", title: "theme (t)", on: {click: turnTheme}},
      h("svg", {viewBox: "0 0 24 24", width: 18, height: 18, "aria-hidden": "true"}, dark
        ? h("path", {d: "M12 4V2m0 20v-2m8-8h2M2 12h2m13.7-5.7 1.4-1.4M4.9 19.1l1.4-1.4m0-11.4L4.9 4.9m14.2 14.2-1.4-1.4M16 12a4 4 0 1 1-8 0 4 4 0 0 1 8 0Z"})
        : h("path", {d: "M20 14.5A8 8 0 0 1 9.5 4 8 8 0 1 0 20 14.5Z"}))));
}

/* ---- the token ---- */

function askToken() {
  return card("The daemon asks for a token", {class: "token"},
    h("p", null, "It printed one when it started, with the address of this page: ", h("code", null, "http://127.0.0.1:…/#t=TOKEN"), "."),
    h("form", {on: {submit: (event) => {
      event.preventDefault();
      setToken(event.target.elements.token.value);
      stream.again();
    }}},
      h("label", {for: "token"}, "token"), h("input", {id: "token", name: "token", type: "password", autocomplete: "off", required: true}),
      h("button", {type: "submit", class: "main"}, "Open")),
    hasToken() && store.connection.why && h("p", {class: "problem", role: "alert"}, store.connection.why));
}

function draw() {
  frame();
  document.body.classList.toggle("lost", store.connection.state === "lost");
  if (store.connection.state === "refused") render(main, h("h1", {class: "unseen"}, "Token"), askToken());
  else if (store.view) render(main, tab !== "dashboard" && h("h1", {class: "unseen"}, TABS[tab].title), TABS[tab].draw());
  else render(main, h("h1", {class: "unseen"}, "DualGPUOptimizer"), h("p", {class: "quiet waiting"}, store.connection.state === "lost" ? "The daemon does not answer. It is tried again." : "Waiting for the daemon …"));
}

/* ---- keys ---- */

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, canvas")) return;
  const id = Object.keys(TABS)[Number(event.key) - 1];
  if (id) location.hash = `#/${id}`;
  else if (event.key === "t") turnTheme();
  else if (event.key === "?") location.hash = "#/settings";
});

/* ---- start ---- */

onChange(draw);
addEventListener("hashchange", route);
addEventListener("themechange", changed);
route();
draw();
stream = follow({
  onEvent: (name, data) => {
    const first = !store.view;
    takeEvent(name, data);
    if (first && store.view) TABS[tab].open?.(wanted);
    TABS[tab].tick?.();
  },
  onState: (now) => {
    if (now.state !== store.connection.state && now.state !== "connecting") say(now.state === "live" ? "connected" : now.state === "lost" ? "connection lost" : "token needed");
    store.connection = now.state === "connecting" && store.connection.state === "lost" ? {...store.connection, retry: Date.now()} : now;
    changed();
  },
});
setInterval(() => { if (store.connection.state === "lost") changed(); }, 1000);
