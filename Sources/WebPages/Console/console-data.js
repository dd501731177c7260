// Asks the node that serves this page, and keeps what it said. Nothing here touches the document.

const POLL_MILLISECONDS = 2_000;
const HISTORY_MILLISECONDS = 10_000;
const BACKOFF_MAX_MILLISECONDS = 10_000;
const RING_TIMEOUT_MILLISECONDS = 10_000;
const NODE_TIMEOUT_MILLISECONDS = 5_000;
/** Scrapes kept of each node: a minute of them. */
const SCRAPES_MAX = 31;
export const HISTORY_SPAN_MILLISECONDS = 3_600_000;
/** How long a node that is registered no more is still shown. */
const DEPARTED_MILLISECONDS = 600_000;

/**
 * The samples of a Prometheus text page.
 *
 * Returns a map from the name, with its labels as they were written, to the value.
 */
export function parseMetrics(text) {
  const values = new Map();
  for (const line of text.split("\n")) {
    if (line === "" || line.startsWith("#")) continue;
    const end = line.lastIndexOf(" ");
    const value = Number(line.slice(end + 1).replace("Inf", "Infinity"));
    if (end > 0 && !Number.isNaN(value)) values.set(line.slice(0, end), value);
  }
  return values;
}

/** What one node said of itself during the last minute. */
export class Scrapes {
  #scrapes = [];

  /** Units: milliseconds of a clock that does not jump. */
  add(time, values) {
    const last = this.#scrapes.at(-1);
    const cpu = "process_cpu_seconds_total";
    // A counter that went back belongs to another process: nothing can be compared with it.
    if (last && values.get(cpu) < last.values.get(cpu)) this.#scrapes = [];
    this.#scrapes.push({ time, values });
    if (this.#scrapes.length > SCRAPES_MAX) this.#scrapes.shift();
  }

  get count() { return this.#scrapes.length; }

  value(name) { return this.#scrapes.at(-1)?.values.get(name); }

  /** The sum over all labels; undefined when there is no such metric. */
  sum(name) { return total(this.#scrapes.at(-1)?.values, name); }

  labels(name) {
    const values = this.#scrapes.at(-1)?.values ?? new Map();
    return [...values.keys()].filter((key) => key.startsWith(`${name}{`));
  }

  /** By how much a counter grew since the scrape before, or since the one `seconds` ago. */
  #pair(seconds) {
    const last = this.#scrapes.at(-1);
    if (this.#scrapes.length < 2) return null;
    let place = this.#scrapes.length - 2;
    while (place > 0 && last.time - this.#scrapes[place].time < seconds * 1_000) place -= 1;
    return { first: this.#scrapes[place], last };
  }

  growth(name, seconds = 0) {
    const pair = this.#pair(seconds);
    if (!pair) return undefined;
    const before = total(pair.first.values, name);
    const after = total(pair.last.values, name);
    return before === undefined || after === undefined ? undefined : after - before;
  }

  /** Per second. */
  rate(name, seconds = 0) {
    const pair = this.#pair(seconds);
    const growth = this.growth(name, seconds);
    return growth === undefined ? undefined : growth * 1_000 / (pair.last.time - pair.first.time);
  }

  /** The mean of what a histogram took in; undefined when that was nothing. */
  mean(name, seconds = 0) {
    const taken = this.growth(`${name}_count`, seconds);
    return taken > 0 ? this.growth(`${name}_sum`, seconds) / taken : undefined;
  }

  /** A quantile of what came in, by its place between the bounds of its bucket. */
  quantile(name, share, seconds = 0) {
    const taken = this.growth(`${name}_count`, seconds);
    if (!(taken > 0)) return undefined;
    const bounds = this.labels(`${name}_bucket`)
      .map((key) => [Number(/le="([^"]+)"/.exec(key)[1].replace("+Inf", "Infinity")), key])
      .sort((one, other) => one[0] - other[0]);
    let [lower, below] = [0, 0];
    for (const [bound, key] of bounds) {
      const through = this.growth(key, seconds);
      if (bound !== Infinity && through >= taken * share && through > below) {
        return lower + (bound - lower) * (taken * share - below) / (through - below);
      }
      if (bound !== Infinity) [lower, below] = [bound, through];
    }
    return lower;
  }
}

function total(values, name) {
  if (!values) return undefined;
  if (values.has(name)) return values.get(name);
  let sum;
  for (const [key, value] of values) {
    if (key.startsWith(`${name}{`)) sum = (sum ?? 0) + value;
  }
  return sum;
}

/** Of one node, by its name. */
class NodeData {
  scrapes = new Scrapes();
  /** Since when it does not answer; null while it does. Units: as `Date.now()`. */
  silentSince = null;
  refusal = "";
  answeredAt = null;
  /** What it measured of itself, by the time of the sample. */
  history = new Map();
  historyIntervalSeconds = 10;
  /** How far its newest sample was from this browser's clock when it came. */
  clockMilliseconds = null;
  isAsked = false;
  isHistoryAsked = false;
  historyAskedAt = -Infinity;
}

/** Polls, and calls `changed` after each answer. */
export class Console {
  ring = null;
  ringAt = null;
  /** What the coordinator's absence was told as; null while the ring is answered. */
  coordinatorError = null;
  coordinatorErrorSince = null;
  /** Why the serving node does not answer; null while it does. */
  serverError = null;
  nodes = new Map();
  /** Nodes that were registered while this page looked: name to record and time. */
  departed = new Map();
  /** Grows with each history that came, for who draws it. */
  historyVersion = 0;
  #ringText = "";
  #failures = 0;
  #isRingAsked = false;
  #nextRingAt = 0;
  #timer = null;
  #changed;

  constructor(changed) { this.#changed = changed; }

  start() {
    document.addEventListener("visibilitychange", () => this.#visibilityChanged());
    this.#visibilityChanged();
  }

  #visibilityChanged() {
    clearInterval(this.#timer);
    this.#timer = null;
    if (document.hidden) return;
    this.#nextRingAt = 0;
    this.#timer = setInterval(() => this.#tick(), POLL_MILLISECONDS);
    this.#tick();
  }

  get retrySeconds() {
    return Math.max(0, (this.#nextRingAt - performance.now()) / 1_000);
  }

  #tick() {
    this.#askRing();
    // The nodes are asked through the same server: while it is away there is no use in it.
    if (this.serverError !== null) return;
    for (const node of this.ring?.nodes ?? []) {
      if (node.operator === null) continue;
      this.#askMetrics(node.name);
      this.#askHistory(node.name);
    }
  }

  data(name) {
    if (!this.nodes.has(name)) this.nodes.set(name, new NodeData());
    return this.nodes.get(name);
  }

  async #askRing() {
    // Half a poll's tolerance: timers come a little early or late.
    if (this.#isRingAsked || performance.now() < this.#nextRingAt - POLL_MILLISECONDS / 2) return;
    this.#isRingAsked = true;
    try {
      const response = await fetch("/ring", {
        cache: "no-store", signal: AbortSignal.timeout(RING_TIMEOUT_MILLISECONDS),
      });
      this.#take(response.status, await response.text());
      this.serverError = null;
      this.#failures = 0;
    } catch (error) {
      this.serverError = error.name === "TimeoutError"
        ? `no answer within ${RING_TIMEOUT_MILLISECONDS / 1_000} s` : "no connection";
      this.#failures += 1;
    }
    const wait = Math.min(POLL_MILLISECONDS * 2 ** this.#failures, BACKOFF_MAX_MILLISECONDS);
    this.#nextRingAt = performance.now() + (this.#failures > 0 ? wait : POLL_MILLISECONDS);
    this.#isRingAsked = false;
    this.#changed();
  }

  #take(status, text) {
    let ring = null;
    if (status === 200 || status === 503) {
      try { ring = JSON.parse(text); } catch { ring = null; }
    }
    if (!Array.isArray(ring?.partitions)) {
      this.coordinatorError = text.trim().split("\n")[0].slice(0, 200) || `status ${status}`;
      this.coordinatorErrorSince ??= Date.now();
      return;
    }
    this.coordinatorError = null;
    this.coordinatorErrorSince = null;
    this.ringAt = Date.now();
    // The same ring stays the same object, so that nothing is drawn again for it.
    if (text === this.#ringText) return;
    this.#ringText = text;
    this.#noteDepartures(ring);
    this.ring = ring;
  }

  #noteDepartures(ring) {
    const names = new Set(ring.nodes.map((node) => node.name));
    for (const node of this.ring?.nodes ?? []) {
      if (names.has(node.name)) continue;
      this.departed.set(node.name, { node, time: Date.now() });
      // When it comes back it is another process, of which nothing is known yet.
      const data = this.data(node.name);
      data.silentSince = null;
      data.answeredAt = null;
      data.scrapes = new Scrapes();
    }
    for (const [name, { time }] of this.departed) {
      if (names.has(name) || Date.now() - time > DEPARTED_MILLISECONDS) this.departed.delete(name);
    }
  }

  async #get(name, page) {
    const response = await fetch(`/nodes/${encodeURIComponent(name)}/${page}`, {
      cache: "no-store", signal: AbortSignal.timeout(NODE_TIMEOUT_MILLISECONDS),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(text.trim().split("\n")[0].slice(0, 200));
    return text;
  }

  async #askMetrics(name) {
    const data = this.data(name);
    if (data.isAsked) return;
    data.isAsked = true;
    try {
      const values = parseMetrics(await this.#get(name, "metrics"));
      data.scrapes.add(performance.now(), values);
      data.answeredAt = Date.now();
      data.silentSince = null;
    } catch (error) {
      // Without a connection it is the serving node that is away, and nothing is known of this one.
      if (!(error instanceof TypeError) && !this.departed.has(name)) this.#noteSilence(data, error);
    }
    data.isAsked = false;
    this.#changed();
  }

  #noteSilence(data, error) {
    data.silentSince ??= Date.now();
    data.refusal = error.name === "TimeoutError" ? "no answer in time" : error.message;
  }

  async #askHistory(name) {
    const data = this.data(name);
    const now = performance.now();
    if (data.isHistoryAsked || now - data.historyAskedAt < HISTORY_MILLISECONDS - 500) return;
    data.isHistoryAsked = true;
    data.historyAskedAt = now;
    try {
      const history = JSON.parse(await this.#get(name, "history"));
      data.historyIntervalSeconds = history.intervalSeconds;
      // What a node knew before it was restarted is kept: its memory begins anew.
      for (const { time, values } of history.samples) data.history.set(time, values);
      this.historyVersion += 1;
      const newest = history.samples.at(-1)?.time;
      if (newest) data.clockMilliseconds = newest - Date.now();
      for (const time of data.history.keys()) {
        if (time < Date.now() - HISTORY_SPAN_MILLISECONDS - 60_000) data.history.delete(time);
      }
    } catch {
      // The metrics page says already that it does not answer.
    }
    data.isHistoryAsked = false;
    this.#changed();
  }
}
