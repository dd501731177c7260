// The change of the ring that is under way, and how fast it goes.

import { bytes, clock, count, element, plural, reconcile, setAttribute, setText, span }
  from "./console-dom.js";

const KINDS = {
  add: (subject) => `Adding ${subject}`, drain: (subject) => `Draining ${subject}`,
  remove: (subject) => `Removing ${subject}`, split: () => "Splitting every partition",
};

/** The pace is taken from so long. Units: milliseconds. */
const PACE_MILLISECONDS = 60_000;

/** What this page has seen of a change. */
export class MoveProgress {
  #number = null;
  #seen = [];
  #changedAt = 0;
  /** The change that ended while this page looked. */
  ended = null;

  /** Units: as `Date.now()`. */
  take(ring, now) {
    const { change } = ring;
    if (!change) {
      if (this.#number !== null) this.ended = { ...this.last, time: now };
      this.#number = null;
      return;
    }
    this.last = change;
    const key = `${change.number} ${change.turnedBack}`;
    if (key !== this.#number) {
      this.#number = key;
      this.#seen = [];
      this.#changedAt = now;
    }
    const before = this.#seen.at(-1);
    if (!before || before.done !== change.done) this.#changedAt = now;
    this.#seen.push({ time: now, done: change.done });
    while (this.#seen.length > 2 && now - this.#seen[0].time > PACE_MILLISECONDS) {
      this.#seen.shift();
    }
    this.standingSeconds = (now - this.#changedAt) / 1_000;
  }

  standingSeconds = 0;

  /** Partitions per second; undefined while none was finished. */
  get pace() {
    const [first, last] = [this.#seen[0], this.#seen.at(-1)];
    if (!first || last.done <= first.done || last.time - first.time < 1_000) return undefined;
    return (last.done - first.done) * 1_000 / (last.time - first.time);
  }
}

export class MovesView {
  constructor(root, progress) {
    this.root = root;
    this.progress = progress;
    this.title = element("p", { class: "strong" });
    this.bar = element("progress", { "aria-label": "Partitions moved" });
    this.text = element("p");
    this.learners = element("ul");
    this.limits = element("p", { class: "about" });
    root.append(this.title, this.bar, this.text, this.learners, this.limits);
  }

  update(model) {
    if (!model) return;
    const { ring, shards } = model;
    const { change } = ring;
    setAttribute(this.root, "data-moving", String(change !== null));
    setAttribute(this.bar, "hidden", change === null);
    setAttribute(this.text, "hidden", change === null);
    if (change) this.#show(change);
    else setText(this.title, this.#rest());
    const learners = shards.filter((shard) => shard.learns > 0);
    reconcile(this.learners, learners, (shard) => shard.key, () => element("li"), (item, shard) =>
      setText(item, shard.node ? `${shard.key} learns ${plural(shard.learns, "partition")}`
        : `${plural(shard.learns, "partition")} of ${shard.key} wait until it is back`));
    setText(this.limits, `At most ${plural(ring.movesMax, "partition")} at a time, `
      + `${bytes(Number(ring.bytesPerSecond))}/s read by each shard.`);
  }

  #rest() {
    const { ended } = this.progress;
    if (!ended) return "Nothing moves.";
    const what = KINDS[ended.kind]?.(ended.subject) ?? ended.kind;
    return `Nothing moves. ${what} ended at ${clock(ended.time)}`
      + `${ended.turnedBack ? ", turned back" : ""}.`;
  }

  #show(change) {
    const back = change.turnedBack ? ": being turned back" : "";
    setText(this.title, `${KINDS[change.kind]?.(change.subject) ?? change.kind}${back}`);
    setAttribute(this.root, "data-kind", change.kind);
    setAttribute(this.bar, "max", Math.max(1, change.total));
    setAttribute(this.bar, "value", change.done);
    let text = `${count(change.done)} of ${plural(change.total, "partition")} `
      + `${change.kind === "split" ? "cut" : "moved"}`;
    if (change.underWay > 0) text += `, ${count(change.underWay)} under way`;
    const { pace, standingSeconds } = this.progress;
    const left = change.total - change.done;
    if (standingSeconds > 20) text += `; none finished for ${span(standingSeconds)}`;
    else if (pace && left > 0) text += `; about ${span(left / pace)} left at the present pace`;
    setText(this.text, `${text}.`);
  }
}
