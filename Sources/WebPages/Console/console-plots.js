// The last hour as lines, from what the nodes measured of themselves.

import { amount, clock, count, element, latency, reconcile, setAttribute, setText, svg }
  from "./console-dom.js";
import { HISTORY_SPAN_MILLISECONDS } from "./console-data.js";

const HEIGHT = 190;
const MARGIN = { left: 58, right: 10, top: 10, bottom: 34 };
const STEP_MILLISECONDS = 10_000;
/** A node's newest sample is not waited for longer than that. */
const LAG_MILLISECONDS = 40_000;
const TIME_TICK_MILLISECONDS = 600_000;

const sum = (values) => values.reduce((one, other) => one + other, 0);
const most = (values) => Math.max(...values);
const perSecond = (value) => `${amount(value)}/s`;
const latencyAxis = (value) => latency(value).replace(/\.0+ /, " ");

/** Several nodes' values are put together by `fold`. */
const PLOTS = [
  {
    id: "rate", title: "Messages per second", unit: "per second", format: perSecond,
    axis: amount, lines: [
      { name: "sends answered by gateways", role: "gateway", value: "sends", fold: sum },
      { name: "commands committed by shards", role: "shard", value: "commands", fold: sum },
    ],
  }, {
    id: "latency", title: "Send latency, of the slowest gateway", unit: "logarithmic", isLog: true,
    format: latency, axis: latencyAxis, lines: [
      { name: "p50", role: "gateway", value: "sendP50", fold: most },
      { name: "p99", role: "gateway", value: "sendP99", fold: most },
    ],
  }, {
    id: "sessions", title: "Sessions", unit: "clients signed in", isCount: true, format: count,
    axis: count, lines: [{ name: "sessions", role: "gateway", value: "sessions", fold: sum }],
  }, {
    id: "fsync", title: "Fsync latency, of the slowest shard", unit: "logarithmic", isLog: true,
    format: latency, axis: latencyAxis, lines: [
      { name: "mean of 10 s", role: "shard", value: "syncSeconds", fold: most },
    ],
  },
];

/** For each step the values of the sample that is nearest, or undefined. */
function aligned(history, intervalMilliseconds, first, length) {
  const steps = new Array(length);
  const distances = new Float64Array(length).fill(Infinity);
  for (const [time, values] of history) {
    const from = Math.ceil((time - intervalMilliseconds * 0.95 - first) / STEP_MILLISECONDS);
    const to = Math.floor((time + intervalMilliseconds * 0.95 - first) / STEP_MILLISECONDS);
    for (let step = Math.max(0, from); step <= Math.min(length - 1, to); step += 1) {
      const distance = Math.abs(first + step * STEP_MILLISECONDS - time);
      if (distance >= distances[step]) continue;
      distances[step] = distance;
      steps[step] = values;
    }
  }
  return steps;
}

function collect(nodes) {
  const now = Date.now();
  let last = now;
  for (const { state, data } of nodes) {
    if (state !== "up" || data.history.size === 0) continue;
    last = Math.min(last, Math.max(...data.history.keys()));
  }
  last = Math.max(last, now - LAG_MILLISECONDS);
  last = Math.floor(last / STEP_MILLISECONDS) * STEP_MILLISECONDS;
  // Some nodes' oldest samples are a little younger than others'.
  const length = HISTORY_SPAN_MILLISECONDS / STEP_MILLISECONDS - 2;
  const first = last - (length - 1) * STEP_MILLISECONDS;
  const byName = new Map(nodes.map((node) => [node.name, node]));
  const series = [...byName.values()].filter(({ data }) => data.history.size > 0)
    .map(({ name, role, data }) => ({
      name, role, steps: aligned(data.history, data.historyIntervalSeconds * 1_000, first, length),
    }));
  return { first, length, series };
}

/** Round numbers up to a maximum; of what is counted, whole ones. */
function linearTicks(highest, isCount) {
  const rough = Math.max((highest || 1) / 4, isCount ? 1 : 0);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power)
    .find((size) => size >= rough && (!isCount || Number.isInteger(size)));
  const ticks = [];
  for (let place = 0; place < 6 && (place === 0 || ticks.at(-1) < highest); place += 1) {
    ticks.push(place * step);
  }
  return ticks;
}

function logTicks(lowest, highest) {
  const ticks = [];
  const low = Math.floor(Math.log10(lowest));
  const high = Math.max(low + 1, Math.ceil(Math.log10(highest)));
  for (let power = low; power <= high; power += 1) ticks.push(10 ** power);
  return ticks;
}

class Plot {
  #lines = [];
  #data = null;

  constructor(spec, moved) {
    this.spec = spec;
    this.grid = svg("g", { class: "grid" });
    this.away = svg("path", { class: "away" });
    this.paths = spec.lines.map((_, place) => svg("path", { class: `line line${place}` }));
    this.cursor = svg("path", { class: "crosshair" });
    this.drawing = svg("svg", { role: "img", height: HEIGHT }, this.grid, this.away,
      ...this.paths, this.cursor);
    this.items = spec.lines.map((line, place) => element("li", {},
      svg("svg", { viewBox: "0 0 24 8", class: "sample" },
        svg("path", { class: `line line${place}`, d: "M0 4H24" })), element("span")));
    this.readout = element("p", { class: "readout" });
    this.figure = element("figure", { id: `plot-${spec.id}`, tabindex: 0 },
      element("figcaption", {}, spec.title, element("small", {}, ` ${spec.unit}`)),
      this.drawing, element("ul", {}, ...this.items), this.readout);
    this.drawing.addEventListener("pointermove", (event) => {
      const left = event.clientX - this.drawing.getBoundingClientRect().left - MARGIN.left;
      moved(Math.round(left / this.#width() * (this.#data.length - 1)));
    });
    this.drawing.addEventListener("pointerleave", () => moved(null));
    this.figure.addEventListener("blur", () => moved(null));
    this.figure.addEventListener("keydown", (event) => {
      const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -30, PageDown: 30 };
      if (event.key in steps) moved((at) => (at ?? this.#data.length - 1) + steps[event.key]);
      else if (event.key === "Escape") moved(null);
      else return;
      event.preventDefault();
    });
  }

  #width() {
    return Math.max(100, this.drawing.clientWidth - MARGIN.left - MARGIN.right);
  }

  #x(step) { return MARGIN.left + step / (this.#data.length - 1) * this.#width(); }

  draw(data) {
    this.#data = data;
    this.#lines = this.spec.lines.map((line) => {
      const series = data.series.filter((one) => one.role === line.role);
      return Array.from({ length: data.length }, (_, step) => {
        const values = series.map((one) => one.steps[step]?.[line.value])
          .filter((value) => value !== undefined && !(this.spec.isLog && value <= 0));
        return values.length > 0 ? line.fold(values) : undefined;
      });
    });
    const known = this.#lines.flat().filter((value) => value !== undefined);
    const ticks = this.spec.isLog
      ? logTicks(Math.min(...known, 0.01), Math.max(...known, 0.001))
      : linearTicks(Math.max(...known, 1), this.spec.isCount);
    const scale = this.spec.isLog ? Math.log10 : (value) => value;
    const [low, high] = [scale(ticks[0]), scale(ticks.at(-1))];
    const height = HEIGHT - MARGIN.top - MARGIN.bottom;
    const y = (value) => MARGIN.top + height * (1 - (scale(value) - low) / (high - low));
    this.#drawGrid(ticks, y);
    this.paths.forEach((path, place) => setAttribute(path, "d", this.#path(place, y)));
    setAttribute(this.away, "d", this.#awayPath());
    this.#describe();
  }

  /** A new piece of the line begins after each gap. */
  #path(place, y) {
    let text = "";
    let isOpen = false;
    this.#lines[place].forEach((value, step) => {
      if (value !== undefined) {
        const spot = `${this.#x(step).toFixed(1)} ${y(value).toFixed(1)}`;
        // A single point is seen by its round caps.
        text += isOpen ? `L${spot}` : `M${spot}h0`;
      }
      isOpen = value !== undefined;
    });
    return text;
  }

  #missing(step) {
    const roles = new Set(this.spec.lines.map((line) => line.role));
    const series = this.#data.series.filter((one) => roles.has(one.role));
    const missing = series.filter((one) => one.steps[step] === undefined);
    return missing.length < this.#data.series.length ? missing.map((one) => one.name) : [];
  }

  /** A bar along the axis where a node was away, so that a sum is known to lack it. */
  #awayPath() {
    const y = HEIGHT - MARGIN.bottom + 3;
    let text = "";
    for (let step = 0; step < this.#data.length; step += 1) {
      if (this.#missing(step).length === 0) continue;
      text += `M${this.#x(step - 0.5).toFixed(1)} ${y}H${this.#x(step + 0.5).toFixed(1)}`;
    }
    return text;
  }

  #drawGrid(ticks, y) {
    const right = MARGIN.left + this.#width();
    const rows = ticks.map((value) => ({
      key: `y${value}`, text: this.spec.axis(value), x: MARGIN.left - 6, y: y(value) + 4,
      line: `M${MARGIN.left} ${y(value)}H${right}`, anchor: "end",
    }));
    const { first, length } = this.#data;
    const last = first + (length - 1) * STEP_MILLISECONDS;
    const every = TIME_TICK_MILLISECONDS * (this.#width() < 360 ? 2 : 1);
    for (let time = Math.ceil(first / every) * every; time <= last; time += every) {
      const x = this.#x((time - first) / STEP_MILLISECONDS);
      const bottom = HEIGHT - MARGIN.bottom;
      rows.push({ key: `x${time}`, text: clock(time, false), x: Math.min(x, right - 10),
        y: HEIGHT - 12, line: `M${x} ${bottom}v5`, anchor: "middle" });
    }
    reconcile(this.grid, rows, ({ key }) => key, () => svg("g", {}, svg("path"), svg("text")),
      (group, row) => {
        setAttribute(group.firstChild, "d", row.line);
        setAttribute(group.lastChild, "x", row.x);
        setAttribute(group.lastChild, "y", row.y);
        setAttribute(group.lastChild, "text-anchor", row.anchor);
        setText(group.lastChild, row.text);
      });
  }

  #describe() {
    const { format } = this.spec;
    const texts = this.spec.lines.map((line, place) => {
      const known = this.#lines[place].filter((value) => value !== undefined);
      if (known.length === 0) return `${line.name}: nothing measured`;
      const now = this.#lines[place].at(-1);
      return `${line.name}: now ${now === undefined ? "nothing" : format(now)}, `
        + `min ${format(Math.min(...known))}, max ${format(Math.max(...known))}`;
    });
    this.items.forEach((item, place) => setText(item.lastChild, texts[place]));
    setAttribute(this.drawing, "aria-label", `${this.spec.title}. ${texts.join("; ")}.`);
  }

  point(step) {
    if (!this.#data) return;
    const isFocused = document.activeElement === this.figure;
    // Who listens hears the place that the keys have come to, and nothing else.
    setAttribute(this.readout, "aria-live", isFocused ? "polite" : "off");
    if (step === null) {
      setAttribute(this.cursor, "d", "");
      setText(this.readout, "");
      return;
    }
    const x = this.#x(step);
    setAttribute(this.cursor, "d", `M${x} ${MARGIN.top}V${HEIGHT - MARGIN.bottom}`);
    const values = this.spec.lines.map((line, place) => {
      const value = this.#lines[place][step];
      return `${line.name} ${value === undefined ? "–" : this.spec.format(value)}`;
    });
    const missing = this.#missing(step);
    const without = missing.length > 0 ? ` (without ${missing.join(", ")})` : "";
    const time = clock(this.#data.first + step * STEP_MILLISECONDS);
    setText(this.readout, `${time}: ${values.join(", ")}${without}`);
  }
}

export class PlotsView {
  #version = -1;
  #at = null;
  #data = null;

  constructor(root) {
    this.plots = PLOTS.map((spec) => new Plot(spec, (at) => this.#move(at)));
    root.append(...this.plots.map((plot) => plot.figure), element("p", { class: "away-note" },
      "A bar along the time axis: a node was away, or began then to measure."));
    new ResizeObserver(() => this.#draw()).observe(root);
  }

  /** All plots have the same times, so the crosshair goes through all of them. */
  #move(at) {
    if (!this.#data) return;
    const step = typeof at === "function" ? at(this.#at) : at;
    this.#at = step === null ? null : Math.max(0, Math.min(this.#data.length - 1, step));
    for (const plot of this.plots) plot.point(this.#at);
  }

  #draw() {
    if (!this.#data) return;
    for (const plot of this.plots) plot.draw(this.#data);
    if (this.#at !== null) this.#move(this.#at);
  }

  update(source, model) {
    if (!model || source.historyVersion === this.#version) return;
    this.#version = source.historyVersion;
    this.#data = collect(model.nodes);
    this.#draw();
  }
}
