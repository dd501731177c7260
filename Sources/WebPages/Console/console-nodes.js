// One card for each node, in place: what is said of it changes, the card stays.

import {
  amount, bytes, clock, count, element, latency, reconcile, setAttribute, setText, withUnit,
} from "./console-dom.js";

const FSYNC = "martlet_store_synced_write_seconds";

const STATE_WORDS = {
  up: "up", silent: "does not answer", gone: "gone", unasked: "registered, not asked",
  asked: "asking …",
};

/** What is measured: a name and a text; null leaves the row out. */
function rows(node) {
  const { scrapes } = node;
  const value = (name) => scrapes?.value(name);
  const rate = (name) => scrapes?.rate(name);
  const process = [
    ["CPU", withUnit(amount(rate("process_cpu_seconds_total")), " cores")],
    ["Memory", bytes(value("process_resident_memory_bytes"))],
    ["Open files", withUnit(count(value("process_open_fds")),
      ` of ${count(value("process_max_fds"))}`)],
  ];
  return node.role === "shard" ? [...ofShard(node, value, rate), ...process]
    : [...ofGateway(scrapes, value, rate), ...process];
}

function ofShard(node, value, rate) {
  const { scrapes } = node;
  const hasCommands = value("martlet_commands_total") !== undefined;
  const free = value("martlet_disk_free_bytes");
  const size = value("martlet_disk_bytes");
  return [
    ["Leads", count(node.leads)],
    ["Holds", node.inSync === node.target ? count(node.inSync)
      : `${count(node.inSync)}, should ${count(node.target)}`],
    hasCommands ? ["Commands", withUnit(amount(rate("martlet_commands_total")), "/s")]
      : ["Entries", withUnit(amount(rate("martlet_store_entries_total")), "/s")],
    ["Fsync", latency(scrapes?.mean(FSYNC))],
    ["Fsyncs", withUnit(amount(rate(`${FSYNC}_count`)), "/s")],
    ["Queue", bytes(value("martlet_store_queue_bytes"))],
    ["Disk used", size > 0 ? `${bytes(size - free)}, ${Math.round((1 - free / size) * 100)}%`
      : "–"],
    ["Disk free", bytes(free)],
    ["Log", bytes(value("martlet_log_bytes"))],
  ];
}

function ofGateway(scrapes, value, rate) {
  const sends = "martlet_send_seconds";
  const quantile = (share) => latency(scrapes?.quantile(sends, share, 10));
  return [
    ["Sessions", count(value("martlet_sessions"))],
    ["Connections", count(scrapes?.sum("martlet_public_connections"))],
    ["Sends", withUnit(amount(rate(`${sends}_count`)), "/s")],
    ["Send p50", quantile(0.5)],
    ["Send p99", quantile(0.99)],
    ["Pending", count(value("martlet_pending_requests"))],
    ["Refusals", withUnit(count(scrapes?.growth("martlet_public_refusals_total", 60)),
      " in 1 min")],
  ];
}

function about(node) {
  const parts = [];
  if (node.zone) parts.push(`zone ${node.zone}`);
  if (node.weight) parts.push(`weight ${node.weight}`);
  if (node.isDrained) parts.push("drained");
  if (node.role === "shard" && node.node && !node.member) parts.push("no member of the ring");
  if (node.node) parts.push(`protocol ${node.node.version}`);
  if (node.store) parts.push(`store ${node.store}`);
  if (node.node?.operator) parts.push(node.node.operator);
  return parts.join(" · ");
}

function stateText(node) {
  let text = STATE_WORDS[node.state];
  if (node.state === "silent") text += ` since ${clock(node.data.silentSince)}`;
  if (node.departedAt && node.state === "gone") text += ` since ${clock(node.departedAt)}`;
  return text;
}

function make(node) {
  const title = element("h3", {}, element("span", { class: "swatch" }),
    element("span", {}, node.key), element("span", { class: "role" }, node.role));
  const disk = element("meter", { min: 0, max: 1, high: 0.85, "aria-label": "Disk used" });
  return element("article", { "data-node": node.key, "data-role": node.role }, title,
    element("p", { class: "state" }), element("p", { class: "about" }), element("dl"), disk);
}

function update(card, node) {
  const [title, state, text, list, disk] = card.children;
  setAttribute(card, "data-up", String(node.state !== "gone" && node.state !== "silent"));
  setAttribute(card, "data-state", node.state);
  setAttribute(title.firstChild, "class",
    node.colour === undefined ? "swatch plain" : `swatch node${node.colour}`);
  setText(state, stateText(node));
  setText(text, about(node));
  const shown = rows(node).filter(([, value]) => node.state !== "gone" || value !== "–");
  reconcile(list, shown, ([name]) => name,
    ([name]) => element("div", {}, element("dt", {}, name), element("dd")),
    (row, [, value]) => setText(row.lastChild, value));
  const free = node.scrapes?.value("martlet_disk_free_bytes");
  const size = node.scrapes?.value("martlet_disk_bytes");
  setAttribute(disk, "hidden", !(size > 0));
  if (size > 0) setAttribute(disk, "value", ((size - free) / size).toFixed(3));
}

export class NodesView {
  constructor(root) { this.root = root; }

  update(model) {
    if (model) reconcile(this.root, model.nodes, (node) => node.key, make, update);
  }

  /** Marks the card of the shard that is chosen on the ring. */
  choose(key) {
    for (const card of this.root.children) {
      setAttribute(card, "data-chosen", card.dataset.node === key);
    }
  }
}
