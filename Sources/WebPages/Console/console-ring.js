// The ring as a ring: tokens outside (a track for each zone), partitions inside in the colour of
// their leader, within them how bad those are that are not whole, and innermost what the chosen
// node holds. Angles are positions on the circle of hashes, clockwise from the top.

import { count, element, plural, reconcile, setAttribute, setText, svg } from "./console-dom.js";
import { STATES } from "./console-model.js";

const TOKENS = { inner: 214, outer: 252 };
const PARTITIONS = { inner: 166, outer: 208 };
const TROUBLE = { inner: 146, outer: 162 };
const HELD = { inner: 124, outer: 140 };
/** With more zones than that, ticks would be too short to see: one track for all. */
const TRACKS_MAX = 4;
/** With more partitions than that, lines between them would hide them. */
const LINES_MAX = 512;
/** What is not whole is drawn at least so wide, or one of thousands would not be seen. */
const TROUBLE_WIDTH_MIN = 1 / 500;
/** How much of the inner band a state fills: it is told by height and pattern, not by colour. */
const HEIGHTS = { incomplete: 1 / 3, "below-minimum": 2 / 3, leaderless: 1 };

/** References, which a style sheet of its own could not make to this document's patterns. */
const PATTERNS = {
  "over-incomplete": "url(#hatch)", "over-below-minimum": "url(#cross)", learns: "url(#hatch)",
};

const WORDS = {
  whole: "whole", incomplete: "incomplete", "below-minimum": "below the minimum",
  leaderless: "no leader",
};

function point(radius, share) {
  const angle = share * 2 * Math.PI;
  return `${(radius * Math.sin(angle)).toFixed(2)} ${(-radius * Math.cos(angle)).toFixed(2)}`;
}

/** A stroked arc. Its two ends must differ, so a whole circle is two halves. */
function arc(radius, start, width) {
  if (width > 0.5) return arc(radius, start, 0.5) + arc(radius, start + 0.5, width - 0.5);
  const end = start + width;
  return `M${point(radius, start)}A${radius} ${radius} 0 0 1 ${point(radius, end)}`;
}

function tick(inner, outer, share) {
  return `M${point(inner, share)}L${point(outer, share)}`;
}

/** Neighbours for which `keyOf` is the same become one arc; those without a key are left out. */
function runs(partitions, keyOf, radius, widthMin = 0) {
  const paths = new Map();
  let run = null;
  const close = () => {
    if (!run) return;
    const wider = Math.max(0, widthMin - run.width) / 2;
    const text = arc(radius, run.start - wider, run.width + wider * 2);
    paths.set(run.key, (paths.get(run.key) ?? "") + text);
  };
  for (const partition of partitions) {
    const key = keyOf(partition);
    const isNext = run && Math.abs(run.start + run.width - partition.start) < 1e-12;
    if (isNext && key === run.key) {
      run.width += partition.width;
      continue;
    }
    close();
    run = key === null ? null : { key, start: partition.start, width: partition.width };
  }
  close();
  return paths;
}

const middle = (band) => (band.inner + band.outer) / 2;
const thickness = (band) => band.outer - band.inner;

export class RingView {
  #partitions = [];
  #model = null;
  #drawn = null;
  #chosen = null;
  #at = 0;
  #isPointed = false;

  constructor(root, chosen) {
    this.onChosen = chosen;
    this.patterns = svg("defs", {}, pattern("hatch", "M-2 2L2 -2M0 8L8 0M6 10L10 6"),
      pattern("cross", "M0 0L8 8M0 8L8 0"));
    this.tracks = svg("g", { class: "tracks" });
    this.tokens = svg("g", { class: "tokens" });
    this.leaders = svg("g", { class: "leaders" });
    this.lines = svg("path", { class: "lines" });
    this.trouble = svg("g", { class: "trouble" });
    this.held = svg("g", { class: "held" });
    this.cursor = svg("path", { class: "cursor" });
    this.centre = [svg("text", { class: "large", y: -6 }), svg("text", { y: 22 })];
    this.band = svg("g", {
      tabindex: 0, role: "slider", "aria-label": "Partition at a position of the ring",
      "aria-valuemin": 0, class: "band",
    }, svg("circle", { r: middle(PARTITIONS), class: "focus" }), this.leaders, this.lines,
    this.trouble);
    this.drawing = svg("svg", { viewBox: "-262 -262 524 524", "aria-labelledby": "ring-text" },
      this.patterns, this.tracks, this.tokens, this.band, this.held, ...this.centre);
    // A drawing of its own, so that what is under the pointer moves without the ring's repainting.
    const over = svg("svg", { viewBox: "-262 -262 524 524", class: "over", "aria-hidden": "true" },
      this.cursor);
    this.text = element("p", { id: "ring-text" });
    this.legend = element("div", { class: "legend", role: "group", "aria-label": "Shards" });
    this.detail = element("p", { class: "detail", id: "ring-detail" });
    root.append(element("div", { class: "drawing" }, this.drawing, over),
      element("div", { class: "beside" }, this.text, this.legend, this.detail, key()));
    this.#listen();
  }

  #listen() {
    this.drawing.addEventListener("pointermove", (event) => this.#pointed(event));
    this.drawing.addEventListener("pointerleave", () => {
      this.#isPointed = false;
      this.#showDetail();
    });
    this.drawing.addEventListener("click", (event) => {
      const { radius, share } = this.#position(event);
      if (radius >= TOKENS.inner - 4) this.choose(this.#ownerOfToken(share, radius));
      else if (radius >= PARTITIONS.inner) this.choose(this.#partitionAt(share)?.leader ?? null);
      else this.choose(null);
    });
    this.band.addEventListener("keydown", (event) => this.#keyPressed(event));
    this.band.addEventListener("focus", () => this.#showDetail());
    this.band.addEventListener("blur", () => this.#showDetail());
  }

  #position(event) {
    const box = this.drawing.getBoundingClientRect();
    const scale = 524 / box.width;
    const x = (event.clientX - box.left) * scale - 262;
    const y = (event.clientY - box.top) * scale - 262;
    const share = Math.atan2(x, -y) / 2 / Math.PI;
    return { radius: Math.hypot(x, y), share: share < 0 ? share + 1 : share };
  }

  #placeAt(share) {
    let [low, high] = [0, this.#partitions.length];
    while (low < high) {
      const half = (low + high) >> 1;
      if (this.#partitions[half].start <= share) low = half + 1;
      else high = half;
    }
    return Math.max(0, low - 1);
  }

  #partitionAt(share) { return this.#partitions[this.#placeAt(share)]; }

  #trackOf(zone) {
    const zones = this.#model.zones;
    const isOne = zones.length < 2 || zones.length > TRACKS_MAX;
    const height = thickness(TOKENS) / (isOne ? 1 : zones.length);
    const place = isOne ? 0 : Math.max(0, zones.indexOf(zone));
    const outer = TOKENS.outer - place * height;
    return { inner: outer - height + (isOne ? 0 : 1.5), outer };
  }

  #ownerOfToken(share, radius) {
    let [best, least] = [null, Infinity];
    for (const shard of this.#model?.shards ?? []) {
      const track = this.#trackOf(shard.zone);
      if (radius < track.inner - 4 || radius > track.outer + 4) continue;
      for (const token of shard.tokens ?? []) {
        const apart = Math.abs(token - share);
        if (apart < least) [best, least] = [shard, apart];
      }
    }
    return best;
  }

  #pointed(event) {
    const { radius, share } = this.#position(event);
    this.#isPointed = radius > TROUBLE.inner - 4 && radius < TOKENS.inner
      && this.#partitions.length > 0;
    if (this.#isPointed) this.#at = this.#placeAt(share);
    this.#showDetail();
  }

  #keyPressed(event) {
    const size = this.#partitions.length;
    const steps = {
      ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1,
      PageDown: Math.ceil(size / 16), PageUp: -Math.ceil(size / 16),
      Home: -this.#at, End: size - 1 - this.#at,
    };
    if (event.key === "Enter") this.choose(this.#partitions[this.#at]?.leader ?? null);
    else if (event.key === "Escape") this.choose(null);
    else if (event.key in steps && size > 0) this.#at = (this.#at + steps[event.key] + size) % size;
    else return;
    event.preventDefault();
    this.#showDetail();
  }

  /** Shows what a shard leads and holds; the same again, or none, shows all alike. */
  choose(shard) {
    this.#chosen = shard && shard.key !== this.#chosen ? shard.key : null;
    this.#drawn = null;
    this.update(this.#model);
    this.onChosen(this.#chosen);
  }

  update(model) {
    if (!model) return;
    this.#model = model;
    this.#partitions = model.partitions;
    if (this.#at >= this.#partitions.length) this.#at = 0;
    this.#updateLegend();
    const chosen = model.shards.find((shard) => shard.key === this.#chosen);
    if (this.#drawn !== model.partitions) {
      this.#drawn = model.partitions;
      this.#draw(chosen);
    }
    this.#updateText(chosen);
    this.#showDetail();
  }

  #draw(chosen) {
    const { shards, zones } = this.#model;
    const dim = (shard) => (chosen && shard.key !== chosen.key ? " dim" : "");
    const tracks = zones.length > 0 && zones.length <= TRACKS_MAX ? zones : [""];
    reconcile(this.tracks, tracks, (zone) => zone, () => svg("circle"), (circle, zone) => {
      const track = this.#trackOf(zone);
      setAttribute(circle, "r", middle(track));
      setAttribute(circle, "stroke-width", thickness(track));
    });
    reconcile(this.tokens, shards.filter((shard) => shard.tokens?.length), (shard) => shard.key,
      () => svg("path"), (path, shard) => {
        const { inner, outer } = this.#trackOf(shard.zone);
        setAttribute(path, "class", `node${shard.colour}${dim(shard)}`
          + (shard.node ? "" : " gone"));
        setAttribute(path, "d", shard.tokens.map((share) => tick(inner, outer, share)).join(""));
      });

    const byLeader = runs(this.#partitions, ({ leader }) => leader?.key ?? "", middle(PARTITIONS));
    const known = new Map(shards.map((shard) => [shard.key, shard]));
    this.#paths(this.leaders, byLeader, thickness(PARTITIONS), (name) => {
      const shard = known.get(name);
      return shard ? `node${shard.colour}${dim(shard)}` : "nobody";
    });
    const isLined = this.#partitions.length <= LINES_MAX;
    setAttribute(this.lines, "d", isLined ? this.#partitions.map(({ start }) =>
      tick(PARTITIONS.inner, PARTITIONS.outer, start)).join("") : "");
    this.#drawTrouble();

    const held = !chosen ? new Map() : runs(this.#partitions, ({ inSync, target }) => {
      if (inSync.some((shard) => shard.key === chosen.key)) return "in-sync";
      return target.some((shard) => shard.key === chosen.key) ? "learns" : null;
    }, middle(HELD));
    this.#paths(this.held, held, thickness(HELD), (name) => `${name} node${chosen.colour}`);
  }

  #drawTrouble() {
    const paths = new Map();
    const heights = new Map();
    for (const [state, share] of Object.entries(HEIGHTS)) {
      const height = thickness(TROUBLE) * share;
      const found = runs(this.#partitions, (partition) =>
        (partition.state === state ? state : null), TROUBLE.outer - height / 2, TROUBLE_WIDTH_MIN);
      if (found.has(state)) {
        paths.set(state, found.get(state));
        heights.set(state, height);
      }
      const over = runs(this.#partitions, (partition) =>
        (partition.state === state ? state : null), middle(PARTITIONS));
      if (over.has(state)) paths.set(`over-${state}`, over.get(state));
    }
    this.#paths(this.trouble, paths, thickness(PARTITIONS), (name) => name, heights);
  }

  #paths(group, paths, width, classOf, widths = new Map()) {
    reconcile(group, [...paths], ([name]) => name, () => svg("path"), (path, [name, data]) => {
      setAttribute(path, "class", classOf(name));
      setAttribute(path, "stroke", PATTERNS[name]);
      setAttribute(path, "stroke-width", widths.get(name) ?? width);
      setAttribute(path, "d", data);
    });
  }

  #updateText(chosen) {
    const { ring, counts, zones } = this.#model;
    setText(this.centre[0], count(ring.partitionCount));
    setText(this.centre[1], "partitions");
    const states = STATES.filter((state) => counts[state] > 0)
      .map((state) => `${count(counts[state])} ${WORDS[state]}`).join(", ");
    let text = `${plural(ring.partitionCount, "partition")} on `
      + `${plural(ring.members.length, "member")}, ${ring.replicaCount} replicas each, at least `
      + `${ring.minInSync} in sync: ${states}.`;
    if (zones.some((zone) => zone !== "")) {
      const listed = zones.map((zone) => zone || "none").join(", ");
      text += zones.length > TRACKS_MAX ? ` Zones: ${listed}.`
        : ` Zones, from the outermost track of tokens: ${listed}.`;
    }
    if (chosen) {
      text += ` ${chosen.key} leads ${count(chosen.leads)}, is in sync in `
        + `${count(chosen.inSync)} and should hold ${count(chosen.target)}.`;
    }
    setText(this.text, text);
  }

  #updateLegend() {
    const { zones, shards } = this.#model;
    const groups = zones.map((zone) => ({
      zone, name: zone ? `Zone ${zone}` : zones.length > 1 ? "No zone" : "Members",
      shards: shards.filter((shard) => shard.member && shard.zone === zone),
    }));
    const others = shards.filter((shard) => !shard.member);
    if (others.length > 0) groups.push({ zone: null, name: "Not in the ring", shards: others });
    reconcile(this.legend, groups, ({ zone }) => String(zone), () => element("div", {},
      element("h3"), element("div", { class: "chips" })), (group, { name, shards: listed }) => {
      setText(group.firstChild, name);
      reconcile(group.lastChild, listed, (shard) => shard.key, (shard) => {
        const button = element("button", { type: "button", "data-shard": shard.key },
          element("span", { class: "swatch" }), element("span"));
        button.addEventListener("click", () => this.choose(shard));
        return button;
      }, (button, shard) => {
        setAttribute(button, "aria-pressed", String(shard.key === this.#chosen));
        setAttribute(button.firstChild, "class", `swatch node${shard.colour ?? 0}`);
        setText(button.lastChild, `${shard.key}${shard.state === "gone" ? " (gone)" : ""}`
          + `${shard.isDrained ? " (drained)" : ""}: leads ${count(shard.leads)}, `
          + `holds ${count(shard.inSync)}`);
      });
    });
  }

  #showDetail() {
    const partition = this.#partitions[this.#at];
    const isShown = this.#isPointed || document.activeElement === this.band;
    setAttribute(this.cursor, "d", isShown && partition
      ? arc(middle(PARTITIONS), partition.start, partition.width)
        + tick(TROUBLE.inner, TOKENS.inner, partition.start + partition.width / 2) : "");
    if (!partition) return;
    const text = describe(partition);
    setText(this.detail, isShown ? text
      : "Point at a partition, or go along the ring with the arrow keys; Enter shows its leader.");
    setAttribute(this.band, "aria-valuemax", this.#partitions.length - 1);
    setAttribute(this.band, "aria-valuenow", this.#at);
    setAttribute(this.band, "aria-valuetext", text);
  }
}

function describe(partition) {
  const names = (shards) => shards.map((shard) => shard.key).join(", ") || "nobody";
  const from = Math.floor(partition.start * 2 ** 32).toString(16).padStart(8, "0");
  return `Partition ${partition.number}: ${WORDS[partition.state]}, led by `
    + `${partition.leader?.key ?? "nobody"}, epoch ${partition.epoch}; in sync: `
    + `${names(partition.inSync)}; should be: ${names(partition.target)}; hashes from ${from}…`;
}

function pattern(id, path) {
  return svg("pattern", { id, width: 8, height: 8, patternUnits: "userSpaceOnUse" },
    svg("rect", { width: 8, height: 8, class: "under" }), svg("path", { d: path }));
}

/** What the patterns mean. */
function key() {
  const item = (state) => element("li", {}, svg("svg", { viewBox: "0 0 24 16", class: "sample" },
    svg("path", { class: `over-${state}`, d: "M0 8H24", "stroke-width": 16,
      stroke: PATTERNS[`over-${state}`] ?? null })), WORDS[state]);
  return element("ul", { class: "key", "aria-label": "Patterns" },
    item("incomplete"), item("below-minimum"), item("leaderless"));
}
