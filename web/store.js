/* store.js - what the page knows: the newest view, the lines that came, what was chosen.  One object; a
 * change asks for one drawing at the next frame, none while nobody looks. */

export const store = {
  view: null,
  connection: {state: "connecting"},
  lines: new Map(),   /* launch id -> [{sequence, text}] */
  history: new Map(), /* "gpu.reading" -> [{t, v}], the last minutes */
  alertsSeen: new Map(),
};

const LINES_MAX = 3000, HISTORY_MAX = 300;

let asked = false, draw = () => {};
export function onChange(fn) { draw = fn; }
export function changed() {
  if (asked) return;
  asked = true;
  const go = () => {
    asked = false;
    draw();
  };
  if (document.hidden) document.addEventListener("visibilitychange", go, {once: true});
  else requestAnimationFrame(go);
}

/* What moves on a card, for the small curves of the dashboard. */
const READINGS = ["used_bytes", "busy_permille", "memory_busy_permille", "temperature_c", "power_mw",
  "core_clock_mhz"];

export function remember(key, t, v) {
  if (typeof v !== "number") return;
  const list = store.history.get(key) || [];
  if (!list.length) store.history.set(key, list);
  if (list.length && t <= list.at(-1).t) return;
  list.push({t, v});
  if (list.length > HISTORY_MAX) list.shift();
}

function takeView(view) {
  store.view = view;
  const t = view.time_ns / 1e6;
  for (const gpu of view.machine?.gpus || [])
    for (const reading of READINGS) remember(`${gpu.index}.${reading}`, t, gpu[reading]);
  const alive = new Set((view.launches || []).map((launch) => launch.id));
  for (const id of store.lines.keys()) if (!alive.has(id)) store.lines.delete(id);
}

export function addLines(id, lines) {
  const list = store.lines.get(id) || [];
  store.lines.set(id, list);
  const last = list.length ? list.at(-1).sequence : -1;
  for (const line of lines) if (line.sequence > last) list.push(line);
  if (list.length > LINES_MAX) list.splice(0, list.length - LINES_MAX);
}

const launchOf = (id) => store.view?.launches?.find((launch) => launch.id === id);

/* Said to a screen reader; states only, never the figures of each second. */
let spoken = "";
export function say(text) {
  if (text === spoken) return;
  spoken = text;
  document.getElementById("live").textContent = text;
}

export function takeEvent(name, data) {
  if (name === "snapshot") {
    takeView(data);
  } else if (name === "lines") {
    addLines(data.launch, data.lines);
  } else if (name === "launch") {
    const launch = launchOf(data.launch);
    if (launch) Object.assign(launch, {state: data.state, text: data.text, pid: data.pid || launch.pid, port: data.port || launch.port});
    if (data.text) say(`${launch?.name || "launch"}: ${data.state}, ${data.text}`);
  } else if (name === "plan") {
    const launch = launchOf(data.launch);
    if (launch) launch.plan = data.plan;
  } else if (name === "drift") {
    say(`${launchOf(data.launch)?.name || "launch"}: ${data.text}`);
  } else if (name === "alert") {
    if (store.view) {
      const rest = (store.view.alerts || []).filter((alert) => alert.id !== data.id);
      store.view.alerts = data.state === "cleared" ? rest : [...rest, data];
    }
    say(data.text || "an alert changed");
  }
  changed();
}
