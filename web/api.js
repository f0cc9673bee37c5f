/* api.js - the way to the daemon: requests with the token, and one stream of events that comes back by
 * itself.  The routes: docs/HTTP.md. */

const KEY = "token";

/* The token comes once, behind the # of the address, and is taken out of it at once. */
function takeToken() {
  const match = location.hash.match(/^#t=([\w.~-]+)(.*)$/);
  if (match) {
    sessionStorage.setItem(KEY, match[1]);
    history.replaceState(null, "", location.pathname + (match[2].startsWith("/") ? `#${match[2]}` : ""));
  }
  return sessionStorage.getItem(KEY) || "";
}
let token = takeToken();

export const hasToken = () => token !== "";
export function setToken(value) {
  token = value.trim();
  sessionStorage.setItem(KEY, token);
}

export class Refused extends Error {
  constructor(status, body) {
    const error = body?.error || {};
    super(error.message || (status === 401 ? "the daemon does not know this token" : `the daemon answered ${status}`));
    this.status = status;
    this.type = error.type;
    this.body = body;
  }
}

const headers = (more) => ({...(token && {Authorization: `Bearer ${token}`}), ...more});

async function call(method, path, body, signal) {
  const answer = await fetch(path, {
    method, signal, cache: "no-store", credentials: "omit",
    headers: headers(body !== undefined && {"Content-Type": "application/json"}),
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const value = await answer.json().catch(() => null);
  if (!answer.ok) throw new Refused(answer.status, value);
  return value;
}

export const get = (path, signal) => call("GET", path, undefined, signal);
export const post = (path, body, signal) => call("POST", path, body, signal);
export const remove = (path) => call("DELETE", path);

/* Reads server-sent events from a response: fn({id, event, data}) for each. */
async function readEvents(response, fn) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const {value, done} = await reader.read();
    if (done) return;
    rest += value;
    for (let end; (end = rest.search(/\r?\n\r?\n/)) >= 0;) {
      const event = {id: null, event: "message", data: ""};
      for (const line of rest.slice(0, end).split(/\r?\n/)) {
        const [, field, text] = line.match(/^(\w+): ?(.*)$/) || [];
        if (field === "data") event.data += (event.data && "\n") + text;
        else if (field) event[field] = text;
      }
      rest = rest.slice(end).replace(/^\r?\n\r?\n/, "");
      if (event.data) fn(event);
    }
  }
}

/* Keeps one stream open for as long as the page is.  state: "connecting", "live", "refused" (with why),
 * "lost" (with retry: the time in ms of the next try). */
export function follow({onEvent, onState}) {
  let lastId = null, tries = 0, timer = 0, aborter = null;

  async function open() {
    clearTimeout(timer);
    aborter?.abort();
    const mine = aborter = new AbortController();
    /* silence is told from calm by the daemon's comment every 15 s */
    let silence = 0;
    const heard = () => {
      clearTimeout(silence);
      silence = setTimeout(() => mine.abort(), 40000);
    };
    try {
      onState({state: "connecting"});
      heard();
      const response = await fetch("api/v1/events", {
        signal: mine.signal, cache: "no-store", credentials: "omit",
        headers: headers(lastId && {"Last-Event-ID": lastId}),
      });
      if (response.status === 401 || response.status === 403) {
        const refused = new Refused(response.status, await response.json().catch(() => null));
        onState({state: "refused", why: refused.message});
        return;
      }
      if (!response.ok) throw new Error(`the daemon answered ${response.status}`);
      const watched = new Response(response.body.pipeThrough(new TransformStream({
        transform(chunk, controller) {
          heard();
          controller.enqueue(chunk);
        },
      })));
      tries = 0;
      onState({state: "live"});
      await readEvents(watched, (event) => {
        if (event.id) lastId = event.id;
        onEvent(event.event, JSON.parse(event.data));
      });
    } catch { /* lost, whatever the reason: told below */ } finally {
      clearTimeout(silence);
    }
    if (aborter !== mine) return;
    const wait = Math.min(10000, 500 * 2 ** tries++) * (0.8 + 0.4 * Math.random());
    onState({state: "lost", retry: Date.now() + wait});
    timer = setTimeout(open, wait);
  }

  addEventListener("online", open);
  open();
  return {again: open};
}

/* One chat answer, as it is made: fn(piece) for each; resolves to what the engine counted. */
export async function chat(model, messages, fn, signal) {
  const response = await fetch("v1/chat/completions", {
    method: "POST", signal, cache: "no-store", credentials: "omit",
    headers: headers({"Content-Type": "application/json"}),
    body: JSON.stringify({model, messages, stream: true, max_tokens: 256, stream_options: {include_usage: true}}),
  });
  if (!response.ok) throw new Refused(response.status, await response.json().catch(() => null));
  let counted = {};
  await readEvents(response, ({data}) => {
    if (data === "[DONE]") return;
    const value = JSON.parse(data);
    const delta = value.choices?.[0]?.delta;
    const piece = delta?.content ?? delta?.reasoning_content;
    if (piece) fn(piece);
    if (value.timings) counted = {...counted, ...value.timings};
    if (value.usage) counted.usage = value.usage;
  });
  return counted;
}
