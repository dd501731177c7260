// How many partitions stand how, and a table of them. Of thousands of rows only those in view are
// in the document.

import { count, element, setAttribute, setText } from "./console-dom.js";
import { STATES } from "./console-model.js";

/** As the style sheet has it. Units: CSS pixels. */
const ROW_HEIGHT = 28;
const ROWS_BEYOND = 6;
const COLUMNS = ["Partition", "State", "Leader", "In sync", "Target", "Epoch"];

/** Numbers and ranges of numbers, such as `3 17-20`. */
function numbersIn(text) {
  const ranges = text.split(/[\s,]+/).filter(Boolean).map((part) => {
    const [first, last = first] = part.split("-").map((number) => parseInt(
      number.replace(/^p/, ""), 10));
    return [first, last];
  });
  if (ranges.length === 0) return () => true;
  return (number) => ranges.some(([first, last]) => number >= first && number <= last);
}

function keys(shards) { return shards.map((shard) => shard.key).join(" "); }

export class PartitionsView {
  #shown = [];
  #partitions = null;
  #rows = [];

  constructor(root) {
    this.summary = element("p", { class: "summary" });
    this.state = this.#select("State", ["any state", "not whole", ...STATES]);
    this.node = this.#select("Shard", ["any shard"]);
    this.number = element("input", { type: "search", inputmode: "numeric", autocomplete: "off",
      placeholder: "3 17-20" });
    this.number.addEventListener("input", () => this.#filter());
    this.found = element("output");
    this.above = element("tr", { "aria-hidden": "true" });
    this.below = element("tr", { "aria-hidden": "true" });
    this.body = element("tbody", {}, this.above, this.below);
    this.table = element("table", {}, element("thead", {}, element("tr", {},
      ...COLUMNS.map((name) => element("th", { scope: "col" }, name)))), this.body);
    this.scroller = element("div", { class: "scroller", tabindex: 0, role: "region",
      "aria-label": "Table of partitions" }, this.table);
    this.scroller.addEventListener("scroll", () => this.#render(), { passive: true });
    new ResizeObserver(() => this.#render()).observe(this.scroller);
    root.append(this.summary, element("form", { class: "filters", role: "search" },
      label("State", this.state), label("Shard", this.node), label("Numbers", this.number),
      this.found), this.scroller);
    root.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
  }

  #select(name, options) {
    const select = element("select", { name }, ...options.map((text) =>
      element("option", { value: text }, text)));
    select.addEventListener("change", () => this.#filter());
    return select;
  }

  update(model) {
    if (!model || this.#partitions === model.byNumber) return;
    this.#partitions = model.byNumber;
    const parts = STATES.map((state) => `${count(model.counts[state])} ${state}`);
    setText(this.summary, `${count(model.ring.partitionCount)} partitions: ${parts.join(", ")}`);
    for (const state of STATES) {
      setAttribute(this.summary, `data-${state}`, model.counts[state]);
    }
    this.#updateShards(model.shards.filter((shard) => shard.leads !== undefined));
    this.#filter();
  }

  #updateShards(shards) {
    const names = ["any shard", ...shards.map((shard) => shard.key)];
    const options = [...this.node.options].map((option) => option.value);
    if (names.join("\n") === options.join("\n")) return;
    const chosen = this.node.value;
    this.node.replaceChildren(...names.map((name) => element("option", { value: name }, name)));
    this.node.value = names.includes(chosen) ? chosen : names[0];
  }

  #filter() {
    const state = this.state.value;
    const isState = (partition) => state === "any state" || partition.state === state
      || state === "not whole" && partition.state !== "whole";
    const name = this.node.value;
    const isHeld = (partition) => this.node.selectedIndex <= 0
      || [...partition.inSync, ...partition.target].some((shard) => shard.key === name);
    const isNumber = numbersIn(this.number.value);
    this.#shown = (this.#partitions ?? []).filter((partition) =>
      isNumber(partition.number) && isState(partition) && isHeld(partition));
    setText(this.found, `${count(this.#shown.length)} shown`);
    setAttribute(this.table, "aria-rowcount", this.#shown.length + 1);
    this.#render();
  }

  #render() {
    const size = this.#shown.length;
    const visible = Math.ceil(this.scroller.clientHeight / ROW_HEIGHT) + 2 * ROWS_BEYOND;
    const wanted = Math.floor(this.scroller.scrollTop / ROW_HEIGHT) - ROWS_BEYOND;
    const first = Math.max(0, Math.min(wanted, size - visible));
    const length = Math.min(visible, size - first);
    while (this.#rows.length < length) {
      const row = element("tr", {}, ...COLUMNS.map(() => element("td")));
      this.#rows.push(row);
      this.body.insertBefore(row, this.below);
    }
    while (this.#rows.length > length) this.#rows.pop().remove();
    this.above.style.height = `${first * ROW_HEIGHT}px`;
    this.below.style.height = `${(size - first - length) * ROW_HEIGHT}px`;
    this.#rows.forEach((row, place) => write(row, this.#shown[first + place], first + place));
  }
}

function write(row, partition, place) {
  setAttribute(row, "data-partition", partition.number);
  setAttribute(row, "data-state", partition.state);
  setAttribute(row, "aria-rowindex", place + 2);
  const texts = [
    partition.number, partition.state, partition.leader?.key ?? "–", keys(partition.inSync),
    keys(partition.target), partition.epoch,
  ];
  texts.forEach((text, column) => {
    setText(row.children[column], text);
    if (column === 3 || column === 4) setAttribute(row.children[column], "title", text);
  });
}

function label(text, control) { return element("label", {}, text, " ", control); }
