/* chart.js - readings over time on a canvas: lines with the span between least and greatest behind them,
 * levels (capacity, plan), marks of what happened; a cursor that reads values, zoom by dragging.
 *
 * data: {from, to,                      ms
 *        series: [{name, colour, dash, fill, points: [{t, v, min, max}]}],   colour: a CSS variable
 *        levels: [{name, value, colour}], marks: [{t, text}],
 *        unit: fn(value) -> text, least, most}   least and most of the axis; left out: by the data
 * A gap between two points that is much longer than their spans is shown as a gap. */

import {clock, day} from "./units.js";

const DASHES = [[], [7, 4], [2, 3], [10, 3, 2, 3]];
const STEPS_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800];

function niceStep(span, count, binary) {
  const raw = span / count;
  if (!(raw > 0)) return 1;
  if (binary) return 2 ** Math.ceil(Math.log2(raw));
  const power = 10 ** Math.floor(Math.log10(raw));
  return [1, 2, 2.5, 5, 10].map((m) => m * power).find((step) => step >= raw);
}

export class Chart {
  constructor(element, {height = 220, label = "chart", onZoom = null} = {}) {
    this.element = element;
    this.label = label;
    this.onZoom = onZoom;
    this.data = null;
    this.cursor = null; /* px */
    this.drag = null;
    this.pad = {left: 58, right: 14, top: 12, bottom: 22};
    element.classList.add("chart");
    element.style.setProperty("height", `${height / 16}rem`); /* it grows with the type of large screens */
    this.canvas = document.createElement("canvas");
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", label);
    this.canvas.tabIndex = 0;
    this.tip = document.createElement("div");
    this.tip.className = "chart-tip";
    this.tip.hidden = true;
    element.replaceChildren(this.canvas, this.tip);
    this.context = this.canvas.getContext("2d", {willReadFrequently: true}); /* stays in CPU memory */
    this.watcher = new ResizeObserver(() => this.draw());
    this.watcher.observe(element);
    this.redraw = () => this.draw();
    addEventListener("themechange", this.redraw);
    this.listen();
  }

  free() {
    this.watcher.disconnect();
    removeEventListener("themechange", this.redraw);
  }

  set(data) {
    this.data = data;
    this.canvas.setAttribute("aria-label", this.describe());
    this.draw();
  }

  describe() {
    const {series = [], unit} = this.data || {};
    const said = series.filter((s) => s.points.length).map((s) => `${s.name} ${unit(s.points.at(-1).v)}`);
    return `${this.label}: ${said.length ? said.join(", ") : "no readings yet"}`;
  }

  /* ---- places ---- */

  get width() { return this.element.clientWidth; }
  get height() { return this.element.clientHeight; }
  x(t) {
    const {from, to} = this.data;
    return this.pad.left + (t - from) / (to - from || 1) * (this.width - this.pad.left - this.pad.right);
  }
  time(x) {
    const {from, to} = this.data;
    return from + (x - this.pad.left) / (this.width - this.pad.left - this.pad.right) * (to - from);
  }
  y(v) {
    const {least, most} = this.range;
    return this.height - this.pad.bottom - (v - least) / (most - least || 1) * (this.height - this.pad.top - this.pad.bottom);
  }

  findRange() {
    const {series, levels = [], least, most} = this.data;
    let low = Infinity, high = -Infinity;
    for (const s of series)
      for (const p of s.points) {
        low = Math.min(low, p.min ?? p.v);
        high = Math.max(high, p.max ?? p.v);
      }
    for (const level of levels) if (level.fit !== false) high = Math.max(high, level.value);
    if (low > high) [low, high] = [0, 1];
    low = least ?? low;
    high = most ?? high + (high - low || 1) * 0.06;
    this.range = {least: low, most: high > low ? high : low + 1};
  }

  /* ---- drawing ---- */

  colour(name) {
    return name.startsWith("--") ? getComputedStyle(document.documentElement).getPropertyValue(name).trim() : name;
  }

  draw() {
    if (!this.data || !this.width || document.hidden) return;
    const {context: c} = this, scale = devicePixelRatio || 1;
    const width = Math.round(this.width * scale), height = Math.round(this.height * scale);
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
    c.setTransform(scale, 0, 0, scale, 0, 0);
    c.clearRect(0, 0, this.width, this.height);
    const {fontFamily, fontSize} = getComputedStyle(document.body);
    this.type = Math.max(11, parseFloat(fontSize) * 0.73);
    c.font = `${this.type}px ${fontFamily}`;
    this.pad = {left: this.type * 5.3, right: 14, top: 12, bottom: this.type * 2};
    this.findRange();
    this.drawGrid();
    c.save();
    c.beginPath();
    c.rect(this.pad.left, 0, this.width - this.pad.left - this.pad.right, this.height - this.pad.bottom + 1);
    c.clip();
    this.drawMarks();
    this.data.series.forEach((s, i) => this.drawSeries(s, i));
    this.drawLevels();
    c.restore();
    if (!this.data.series.some((s) => s.points.length)) this.drawNothing();
    this.drawCursor();
  }

  drawNothing() {
    const {context: c} = this;
    c.fillStyle = this.colour("--muted");
    c.textAlign = "center";
    c.textBaseline = "middle";
    c.fillText("no readings in this span yet", (this.width + this.pad.left) / 2, this.height / 2);
  }

  drawGrid() {
    const {context: c, range: {least, most}} = this, {from, to, unit, binary} = this.data;
    const step = niceStep(most - least, Math.max(2, (this.height - 40) / 44), binary);
    c.lineWidth = 1;
    c.textBaseline = "middle";
    c.textAlign = "right";
    for (let v = Math.ceil(least / step) * step; v <= most; v += step) {
      const y = Math.round(this.y(v)) + 0.5;
      c.strokeStyle = this.colour("--grid");
      c.beginPath();
      c.moveTo(this.pad.left, y);
      c.lineTo(this.width - this.pad.right, y);
      c.stroke();
      c.fillStyle = this.colour("--muted");
      c.fillText(unit(v, true), this.pad.left - 8, y);
    }
    const span = (to - from) / 1000, most_ticks = Math.max(2, (this.width - 80) / 90);
    const tick = (STEPS_S.find((s) => span / s <= most_ticks) || 604800) * 1000;
    const shift = new Date().getTimezoneOffset() * 60000;
    c.textAlign = "center";
    c.textBaseline = "top";
    for (let t = Math.ceil((from - shift) / tick) * tick + shift; t <= to; t += tick) {
      const x = this.x(t);
      c.strokeStyle = this.colour("--grid");
      c.beginPath();
      c.moveTo(x, this.height - this.pad.bottom);
      c.lineTo(x, this.height - this.pad.bottom + 4);
      c.stroke();
      c.fillStyle = this.colour("--muted");
      const text = tick >= 86400000 ? day(t).replace(/,? \d\d:\d\d$/, "") : clock(t, tick < 60000);
      const half = c.measureText(text).width / 2;
      if (x - half > this.pad.left - 30 && x + half < this.width) c.fillText(text, x, this.height - this.pad.bottom + 7);
    }
  }

  /* Runs of points without a gap. */
  runs(points) {
    const runs = [];
    let run = null, before = 0, usual = Infinity;
    for (let i = 1; i < points.length; i++) usual = Math.min(usual, points[i].t - points[i - 1].t);
    for (const p of points) {
      if (!run || p.t - before > Math.max(5000, usual * 4)) runs.push(run = []);
      run.push(p);
      before = p.t;
    }
    return runs;
  }

  drawSeries(s, index) {
    const {context: c} = this, colour = this.colour(s.colour), floor = this.height - this.pad.bottom;
    for (const run of this.runs(s.points)) {
      if (run.some((p) => p.max > p.min)) {
        c.globalAlpha = 0.18;
        c.fillStyle = colour;
        c.beginPath();
        run.forEach((p, i) => c[i ? "lineTo" : "moveTo"](this.x(p.t), this.y(p.max ?? p.v)));
        for (let i = run.length - 1; i >= 0; i--) c.lineTo(this.x(run[i].t), this.y(run[i].min ?? run[i].v));
        c.fill();
      }
      if (s.fill) {
        const fade = c.createLinearGradient(0, this.pad.top, 0, floor);
        c.globalAlpha = 0.22;
        fade.addColorStop(0, colour);
        fade.addColorStop(1, `${colour}00`); /* hex, as all of ours */
        c.fillStyle = fade;
        c.beginPath();
        c.moveTo(this.x(run[0].t), floor);
        for (const p of run) c.lineTo(this.x(p.t), this.y(p.v));
        c.lineTo(this.x(run.at(-1).t), floor);
        c.fill();
      }
      c.globalAlpha = 1;
      c.strokeStyle = colour;
      c.lineWidth = 1.75;
      c.lineJoin = "round";
      c.setLineDash(DASHES[(s.dash ?? index) % DASHES.length]);
      c.beginPath();
      run.forEach((p, i) => c[i ? "lineTo" : "moveTo"](this.x(p.t), this.y(p.v)));
      c.stroke();
      c.setLineDash([]);
      if (run.length === 1) {
        c.fillStyle = colour;
        c.beginPath();
        c.arc(this.x(run[0].t), this.y(run[0].v), 2.5, 0, 7);
        c.fill();
      }
    }
    c.globalAlpha = 1;
  }

  drawLevels() {
    const {context: c} = this;
    for (const level of this.data.levels || []) {
      const y = Math.round(this.y(level.value)) + 0.5;
      c.strokeStyle = this.colour(level.colour || "--muted");
      c.lineWidth = 1;
      c.setLineDash([3, 4]);
      c.beginPath();
      c.moveTo(this.pad.left, y);
      c.lineTo(this.width - this.pad.right, y);
      c.stroke();
      c.setLineDash([]);
      c.fillStyle = this.colour(level.colour || "--muted");
      c.textAlign = "right";
      c.textBaseline = y < this.pad.top + 14 ? "top" : "bottom";
      c.fillText(level.name, this.width - this.pad.right - 4, y + (c.textBaseline === "top" ? 3 : -2));
    }
  }

  drawMarks() {
    const {context: c} = this;
    for (const mark of this.data.marks || []) {
      const x = Math.round(this.x(mark.t)) + 0.5;
      if (x < this.pad.left || x > this.width - this.pad.right) continue;
      c.strokeStyle = c.fillStyle = this.colour(mark.colour || "--mark");
      c.globalAlpha = 0.75;
      c.lineWidth = 1;
      c.beginPath();
      c.moveTo(x, this.pad.top - 2);
      c.lineTo(x, this.height - this.pad.bottom);
      c.stroke();
      c.globalAlpha = 1;
      c.beginPath();
      c.moveTo(x - 4, this.pad.top - 8);
      c.lineTo(x + 4, this.pad.top - 8);
      c.lineTo(x, this.pad.top);
      c.fill();
    }
  }

  /* ---- cursor and zoom ---- */

  drawCursor() {
    const {context: c} = this;
    if (this.drag && Math.abs(this.drag.to - this.drag.from) > 3) {
      c.fillStyle = this.colour("--accent");
      c.globalAlpha = 0.16;
      c.fillRect(Math.min(this.drag.from, this.drag.to), this.pad.top, Math.abs(this.drag.to - this.drag.from),
        this.height - this.pad.top - this.pad.bottom);
      c.globalAlpha = 1;
    }
    if (this.cursor === null) {
      this.tip.hidden = true;
      return;
    }
    const x = Math.max(this.pad.left, Math.min(this.width - this.pad.right, this.cursor)), t = this.time(x);
    c.strokeStyle = this.colour("--muted");
    c.beginPath();
    c.moveTo(x + 0.5, this.pad.top);
    c.lineTo(x + 0.5, this.height - this.pad.bottom);
    c.stroke();
    const rows = [];
    for (const s of this.data.series) {
      const p = nearest(s.points, t);
      if (!p || Math.abs(this.x(p.t) - x) > 40) continue;
      c.fillStyle = this.colour(s.colour);
      c.beginPath();
      c.arc(this.x(p.t), this.y(p.v), 3.2, 0, 7);
      c.fill();
      const span = p.max > p.min ? ` (${this.data.unit(p.min)} to ${this.data.unit(p.max)})` : "";
      rows.push([s.colour, `${s.name}  ${this.data.unit(p.v)}${span}`]);
    }
    for (const mark of this.data.marks || [])
      if (Math.abs(this.x(mark.t) - x) < 6) rows.push(["--mark", mark.text]);
    this.showTip(x, clock(t), rows);
  }

  showTip(x, title, rows) {
    const head = document.createElement("b");
    head.textContent = title;
    this.tip.replaceChildren(head, ...rows.map(([colour, text]) => {
      const row = document.createElement("div"), dot = document.createElement("i");
      dot.style.setProperty("background", `var(${colour})`);
      row.append(dot, text);
      return row;
    }));
    this.tip.hidden = false;
    const left = x + 14 + this.tip.offsetWidth > this.width ? x - 14 - this.tip.offsetWidth : x + 14;
    this.tip.style.setProperty("left", `${Math.max(0, left)}px`);
  }

  move(x) {
    this.cursor = x;
    this.draw();
  }

  zoom(from, to) {
    if (this.onZoom && to - from >= 5000) this.onZoom(from, to);
  }

  listen() {
    const {canvas} = this, at = (event) => event.clientX - canvas.getBoundingClientRect().left;
    canvas.addEventListener("pointermove", (event) => {
      if (this.drag) this.drag.to = at(event);
      if (this.data) this.move(at(event));
    });
    canvas.addEventListener("pointerleave", () => { if (!this.drag) this.move(null); });
    canvas.addEventListener("pointerdown", (event) => {
      if (!this.onZoom || event.button !== 0) return;
      this.drag = {from: at(event), to: at(event)};
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointerup", () => {
      const {drag} = this;
      this.drag = null;
      if (drag && Math.abs(drag.to - drag.from) > 6)
        this.zoom(this.time(Math.min(drag.from, drag.to)), this.time(Math.max(drag.from, drag.to)));
      this.draw();
    });
    canvas.addEventListener("dblclick", () => this.onZoom && this.onZoom(null, null));
    canvas.addEventListener("blur", () => this.move(null));
    canvas.addEventListener("keydown", (event) => {
      if (!this.data) return;
      const {from, to} = this.data, middle = this.cursor === null ? (from + to) / 2 : this.time(this.cursor);
      const step = event.shiftKey ? 40 : 8;
      const keys = {
        ArrowLeft: () => this.move((this.cursor ?? this.width) - step),
        ArrowRight: () => this.move((this.cursor ?? 0) + step),
        "+": () => this.zoom(middle - (middle - from) / 2, middle + (to - middle) / 2),
        "-": () => this.zoom(middle - (middle - from) * 2, middle + (to - middle) * 2),
        Escape: () => { this.move(null); this.onZoom && this.onZoom(null, null); },
      };
      if (!(event.key in keys)) return;
      event.preventDefault();
      keys[event.key]();
    });
  }
}

function nearest(points, t) {
  let low = 0, high = points.length - 1;
  if (high < 0) return null;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (points[middle].t < t) low = middle + 1;
    else high = middle;
  }
  const before = points[Math.max(0, low - 1)];
  return Math.abs(before.t - t) < Math.abs(points[low].t - t) ? before : points[low];
}

/* The element of a chart for dom.js: data is read at each render. */
export const chart = (h, key, data, options) => h("div", {
  key, own: true, class: "chart",
  mount: (element) => { element._chart = new Chart(element, options); element._chart.set(data); },
  update: (element) => { element._chart.onZoom = options?.onZoom || null; element._chart.set(data); },
  remove: (element) => element._chart.free(),
});
