// What is wrong now, in words, with the command that helps. Pure: from what is known to a list.

import { amount, bytes, clock, count, latency, plural, span } from "./console-dom.js";

const SEVERITIES = ["error", "warning", "notice"];

const CURRENT_WRITE_SECONDS = 2;
const FSYNC_SECONDS = 0.05;
/** Fewer fsyncs than that in ten seconds are no measurement. */
const FSYNC_COUNT_MIN = 5;
/** A store that has so much waiting for its disk admits nothing new. */
const QUEUE_BYTES_MAX = 64 * 1024 ** 2;
const DISK_SHARE_LOW = 0.15;
const DISK_SHARE_FULL = 0.05;
const OPEN_FILES_SHARE = 0.8;
const CLOCK_MILLISECONDS = 25_000;
const STANDSTILL_SECONDS = 60;
const WINDOW_SECONDS = 10;
const REFUSAL_WINDOW_SECONDS = 60;

const REFUSALS = {
  connections: "the gateway has as many connections as it takes",
  connectionsPerAddress: "too many connections from one address",
  prefaceTime: "no first request in time",
  headerTime: "a request's header took too long",
  bodyRate: "a request's body came too slowly",
  idleTime: "idle for too long",
  progressTime: "an answer was not read",
  silence: "no sign of life",
  headerBytes: "a header too large",
  bodyBytes: "a body too large",
  pipelining: "too many requests at once",
  malformed: "no valid HTTP",
  http2: "HTTP/2's rules were broken",
  webSocket: "WebSocket's rules were broken",
  outputQueue: "too much waited to be read",
};

const STATUS = { why: "Look", command: "martlet ring status" };
const WATCH = { why: "Watch", command: "martlet ring status --watch" };

/**
 * Problems, the gravest first.
 *
 * Each has `kind` and `subject`, which together are its identity, `severity`, `title`, `text` and
 * `commands` of `why` and `command`.
 */
export function findProblems(source, model, progress) {
  const problems = [];
  const report = (severity, kind, subject, title, text, ...commands) => {
    problems.push({ severity, kind, subject, title, text, commands });
  };
  ofServing(source, report);
  if (model) {
    ofPartitions(model, report);
    for (const entry of model.nodes) ofNode(entry, model, report);
    ofChange(source, model, progress, report);
    ofVersions(model, report);
    ofClocks(model, report);
  }
  const rank = (problem) => SEVERITIES.indexOf(problem.severity);
  return problems.sort((one, other) => rank(one) - rank(other));
}

function ofServing(source, report) {
  if (source.serverError !== null) {
    report("error", "console", "", "The node that serves this page does not answer",
      `${source.serverError}. What is shown is as old as it says above. Start the node again, or `
      + "open the console of another one.",
      { why: "Ask etcd instead", command: "martlet ring status" });
  }
  if (source.coordinatorError !== null) {
    report("error", "coordinator", "", "The coordinator cannot be asked",
      `The serving node says: “${source.coordinatorError}”, since `
      + `${clock(source.coordinatorErrorSince)}. While etcd is away leaders go on, but nothing is `
      + "taken over or moved.",
      { why: "Ask etcd", command: "etcdctl --endpoints ENDPOINTS endpoint health" },
      { why: "On one machine, start what does not run", command: "cluster/up" });
  }
}

function numbers(partitions) {
  const shown = partitions.slice(0, 8).map((partition) => partition.number).join(", ");
  return partitions.length > 8 ? `${shown} and ${count(partitions.length - 8)} more` : shown;
}

function names(entries) {
  return [...new Set(entries.map((entry) => entry.key))].sort().join(", ");
}

function ofPartitions(model, report) {
  const { ring, byNumber } = model;
  const inState = (state) => byNumber.filter((partition) => partition.state === state);
  const missing = ring.partitionCount - byNumber.length;
  if (missing > 0) {
    report("error", "records-missing", "", `${plural(missing, "partition")} without a record`,
      "The coordinator has lost what it knew of them.", STATUS);
  }

  const leaderless = inState("leaderless");
  const isLost = (partition) => partition.inSync.every((entry) => !entry.node);
  const lost = leaderless.filter(isLost);
  const waiting = leaderless.filter((partition) => !isLost(partition));
  if (waiting.length > 0) {
    report("error", "leaderless", "", `${plural(waiting.length, "partition")} without a leader`,
      `Nobody can send in their conversations: ${numbers(waiting)}. Usually one of their shards `
      + "takes over within seconds.", WATCH);
  }
  if (lost.length > 0) {
    report("error", "lost", "",
      `${plural(lost.length, "partition")} without any in-sync replica that runs`,
      `Partitions ${numbers(lost)} wait for ${names(lost.flatMap((item) => item.inSync))}. Start `
      + "one of these with its directory. Only if all their disks are gone for good, another shard "
      + "can lead; what was acknowledged and it does not hold is lost then.",
      { why: "The last resort", command: "martlet partition force-leader --shard NAME --lost" });
  }

  const below = inState("below-minimum");
  if (below.length > 0) {
    const away = below.flatMap((item) => item.learners);
    report("error", "below-minimum", "",
      `${plural(below.length, "partition")} below the minimum in sync`,
      `Fewer than ${ring.minInSync} replicas are in sync, so no messages are accepted: `
      + `${numbers(below)}. Missing: ${names(away) || "nobody known"}.`, WATCH);
  }

  const incomplete = inState("incomplete");
  const learning = incomplete.filter((item) => item.learners.some((entry) => entry.node));
  const others = incomplete.filter((item) => !learning.includes(item));
  if (learning.length > 0) {
    const learners = learning.flatMap((item) => item.learners.filter((entry) => entry.node));
    report(ring.change ? "notice" : "warning", "learning", "",
      `${plural(learning.length, "partition")} with replicas that are catching up`,
      `${names(learners)} learns what the leaders hold. This ends by itself.`, WATCH);
  }
  if (others.length > 0) {
    const gone = others.flatMap((item) => [...item.inSync, ...item.target])
      .filter((entry) => !entry.node);
    report(ring.change && gone.length === 0 ? "notice" : "warning", "incomplete", "",
      `${plural(others.length, "partition")} incomplete`,
      gone.length > 0
        ? "Messages are accepted, with fewer replicas than there should be. Missing: "
          + `${names(gone)}.`
        : "Messages are accepted; replicas that are not wanted any more have yet to leave.",
      WATCH);
  }

  if (!model.gateways.some((entry) => entry.node)) {
    report("error", "no-gateway", "", "No gateway is registered", "No client can connect.",
      { why: "Start one", command: "martlet gateway --name NAME …" });
  }
}

function ofNode(entry, model, report) {
  if (entry.state === "gone") return ofGone(entry, model, report);
  const { name, node } = entry;
  if (entry.state === "silent") {
    report("warning", "silent", name, `${name} does not answer`,
      `It is registered, but its operator port has not answered since `
      + `${clock(entry.data.silentSince)}: ${entry.data.refusal || "no reason given"}.`,
      { why: "Ask it", command: `curl -sS http://${node.operator}/readyz` });
  }
  if (entry.role === "shard") ofMembership(entry, model, report);
  if (!entry.scrapes) return;
  ofProcess(entry, report);
  if (entry.role === "shard") ofStore(entry, report);
  else ofGateway(entry, report);
}

function ofGone(entry, model, report) {
  const { name, role } = entry;
  const since = entry.departedAt ? `, since ${clock(entry.departedAt)}` : "";
  if (role === "gateway") {
    return report("warning", "gateway-gone", name, `${name} is gone`,
      `The gateway is not registered${since}. Its clients go to another one. Unless it was stopped `
      + "for good, start it again.",
      { why: "Start it", command: `martlet gateway --name ${name} …` });
  }
  const again = { why: "Start it again, with its directory",
    command: `martlet shard --name ${name} --data-dir DIR …` };
  if (!entry.member && entry.target + entry.inSync === 0 || entry.target === undefined) {
    return report("notice", "shard-gone", name, `${name} is gone`,
      `The shard is not registered${since}. It is no member of the ring and holds nothing.`, again);
  }
  const gone = model.shards.filter((other) => other.state === "gone" && other.target > 0);
  const store = gone.length > 1 ? ` --store ${entry.store}` : "";
  const successor = model.shards.find((other) => other.node && other.name === name);
  if (entry.isDrained && entry.target + entry.inSync === 0) {
    return report("notice", "drained-gone", name, `${name} is drained and stopped`,
      "It holds nothing and stays known.",
      { why: "Forget it", command: `martlet ring remove ${name}` });
  }
  const title = successor ? `${name} runs with another disk` : `${name} is gone`;
  const text = `${entry.member ? "The member" : "The shard"} with store ${entry.store} is not `
    + `registered${since}; ${plural(entry.target, "partition")} should have a replica there. `;
  if (successor) {
    return report("error", "member-replaced", entry.key, title,
      `${text}A shard of this name runs with an empty directory. If the old disk is gone for good, `
      + "let it take the place.",
      { why: "Take the place", command: `martlet ring replace --shard ${name}${store}` });
  }
  return report("error", "member-gone", entry.key, title,
    `${text}${model.counts.leaderless === 0 ? "The others have taken over what it led."
      : "Others take over what it led within seconds, where they are in sync."}`, again,
    { why: "When it will not come back", command: `martlet ring remove ${entry.member ? name
      : entry.store}` },
    { why: "When it has a new, empty disk",
      command: `martlet ring replace --shard ${name}${store}` });
}

function ofMembership(entry, model, report) {
  const { name, member } = entry;
  const { change } = model.ring;
  const held = entry.inSync + entry.target;
  if (!member && held === 0 && !change) {
    const isReplacing = model.shards.some((other) => !other.node && other.name === name);
    if (isReplacing) return;
    report("notice", "outside", name, `${name} holds nothing`,
      "The shard is registered and no member of the ring.",
      { why: "What would move", command: `martlet ring plan --add ${name}` },
      { why: "Let it take part", command: `martlet ring add ${name}` });
  }
  if (entry.isDrained && held > 0 && !change) {
    report("warning", "drained-holds", name, `${name} is drained and still holds partitions`,
      `${plural(entry.target, "partition")} should still have a replica there and `
      + `${count(entry.inSync)} are in sync: what should take over was away. Do not stop it yet.`,
      STATUS,
      { why: "Move the rest off and forget it", command: `martlet ring remove ${name}` });
  }
}

function ofProcess({ name, scrapes }, report) {
  const open = scrapes.value("process_open_fds");
  const most = scrapes.value("process_max_fds");
  if (open >= most * OPEN_FILES_SHARE) {
    report("warning", "open-files", name, `${name} is short of file descriptors`,
      `${count(open)} of ${count(most)} are open. Start it with a higher limit.`,
      { why: "Before the start", command: `ulimit -n ${most * 2}` });
  }
}

function ofStore({ name, node, scrapes }, report) {
  const partitionsOf = (what) => ({ why: what,
    command: `curl -sS http://${node.operator}/partitions | grep stopped` });
  if (scrapes.value("martlet_store_failed") === 1) {
    report("error", "store-failed", name, `${name}'s store has failed`,
      "A write or fsync has failed; it takes no more until somebody has looked at the disk. Start "
      + "the shard again when the disk is well.",
      { why: "What the kernel says", command: "dmesg --level err,warn | tail" },
      { why: "When the disk is gone for good", command: `martlet ring replace --shard ${name}` });
  }
  const stopped = scrapes.value('martlet_partitions{role="stopped"}');
  if (stopped > 0) {
    report("error", "stopped", name, `${plural(stopped, "replica")} stopped on ${name}`,
      "The shard's log says why.", partitionsOf("Which, and why"));
  }
  const led = scrapes.value('martlet_partitions{role="leader"}');
  const accepting = scrapes.value("martlet_partitions_accepting");
  if (accepting < led) {
    report("warning", "not-accepting", name,
      `${name} leads ${plural(led - accepting, "partition")} that take no messages now`,
      `${count(led)} are led and ${count(accepting)} take commands. New leaders need a moment; `
      + "otherwise too few replicas are in sync.", WATCH);
  }
  const current = scrapes.value("martlet_store_current_write_seconds");
  if (current > CURRENT_WRITE_SECONDS) {
    report("error", "write-stall", name, `${name}'s disk stalls`,
      `A write has been going on for ${latency(current)}. The others take over from a shard that `
      + "writes nothing for 2 s; it follows again when it writes.",
      { why: "How busy its disks are", command: "iostat -x 1" });
  }
  const fsync = scrapes.mean("martlet_store_synced_write_seconds", WINDOW_SECONDS);
  const fsyncs = scrapes.growth("martlet_store_synced_write_seconds_count", WINDOW_SECONDS);
  if (fsync > FSYNC_SECONDS && fsyncs >= FSYNC_COUNT_MIN) {
    report("warning", "fsync-slow", name, `${name}'s fsyncs are slow`,
      `${latency(fsync)} on average in the last ${WINDOW_SECONDS} s; every message waits for one.`,
      { why: "How busy its disks are", command: "iostat -x 1" });
  }
  const queue = scrapes.value("martlet_store_queue_bytes");
  if (queue > QUEUE_BYTES_MAX / 2) {
    const isFull = queue >= QUEUE_BYTES_MAX;
    report(isFull ? "error" : "warning", "queue", name,
      isFull ? `${name}'s store takes nothing new` : `${name}'s store falls behind`,
      `${bytes(queue)} wait for its disk; at ${bytes(QUEUE_BYTES_MAX)} it admits nothing new.`,
      { why: "How busy its disks are", command: "iostat -x 1" },
      { why: "If partitions are moving, slower",
        command: "martlet ring limit --bytes-per-second 8388608" });
  }
  const free = scrapes.value("martlet_disk_free_bytes");
  const size = scrapes.value("martlet_disk_bytes");
  if (size > 0 && free < size * DISK_SHARE_LOW) {
    const isFull = free < size * DISK_SHARE_FULL;
    report(isFull ? "error" : "warning", "disk", name,
      `${name}'s disk is ${isFull ? "nearly full" : "filling up"}`,
      `${bytes(free)} of ${bytes(size)} are free (${amount(free / size * 100)} %). A shard that `
      + "cannot write ends. Directories damaged-1 … in its data directory may be removed.",
      { why: "More shards, each with less", command: "martlet ring add NAME" },
      { why: "Move everything off it", command: `martlet ring drain ${name}` });
  }
}

function ofGateway({ name, node, scrapes }, report) {
  const limits = new Map();
  for (const key of scrapes.labels("martlet_public_refusals_total")) {
    const limit = /limit="([^"]*)"/.exec(key)?.[1];
    const growth = scrapes.growth(key, REFUSAL_WINDOW_SECONDS);
    if (growth > 0) limits.set(limit, (limits.get(limit) ?? 0) + growth);
  }
  if (limits.size > 0) {
    const isFull = limits.has("connections");
    const words = [...limits].map(([limit, times]) =>
      `${REFUSALS[limit] ?? limit} (${limit}, ${count(times)} times)`);
    report(isFull ? "error" : "warning", "refusals", name,
      isFull ? `${name} is full` : `${name} refuses clients`,
      `In the last minute: ${words.join("; ")}.`,
      isFull ? { why: "One more gateway", command: "martlet gateway --name NAME …" }
        : { why: "Look", command: `curl -sS http://${node.operator}/metrics | grep refusals` });
  }
  const pending = scrapes.value("martlet_pending_requests");
  if (pending > 0 && scrapes.count > 5
    && scrapes.growth("martlet_send_seconds_count", WINDOW_SECONDS) === 0) {
    report("warning", "pending", name, `${name} waits for answers of shards`,
      `${plural(pending, "request")} wait, and no send was answered in ${WINDOW_SECONDS} s.`,
      STATUS);
  }
}

function ofChange(source, model, progress, report) {
  const { change } = model.ring;
  if (!change) return;
  const command = change.kind === "split" ? "martlet ring split" : `martlet ring ${change.kind} ${
    change.subject}`;
  const standing = progress?.standingSeconds ?? 0;
  if (source.coordinatorError !== null) {
    report("warning", "change-waits", "", "The change of the ring waits",
      "Nothing moves while the coordinator is away; it goes on by itself.");
  } else if (standing >= STANDSTILL_SECONDS) {
    report("warning", "change-waits", "", "The change of the ring makes no progress",
      `For ${span(standing)} nothing was finished. Large partitions take long at the limit of `
      + `${bytes(Number(model.ring.bytesPerSecond))}/s for each shard; a shard that should get `
      + "something may be away.",
      STATUS, { why: "Faster", command: "martlet ring limit --bytes-per-second 134217728" },
      ...change.kind === "split" ? []
        : [{ why: "Turn it back", command: `${command} --abort` }]);
  }
  if (change.turnedBack) {
    report("notice", "turned-back", "", "The change of the ring is being turned back",
      "Everything ends where it was before.",
      { why: "Let it go on after all", command });
  }
}

function ofVersions(model, report) {
  const { nodes, activeVersion } = model.ring;
  const versions = nodes.map((node) => node.version);
  const [least, most] = [Math.min(...versions), Math.max(...versions)];
  if (nodes.length > 0 && least !== most) {
    const older = nodes.filter((node) => node.version < most).map((node) => node.name);
    report("warning", "versions", "", "Nodes know different versions of the protocol",
      `${older.join(", ")} know${older.length === 1 ? "s" : ""} version ${least} at least, others `
      + `${most}. Finish the upgrade: one after the other, wait until the ring is whole each time.`,
      { why: "Before the next one", command: "martlet ring status --wait 300" });
  } else if (nodes.length > 0 && least > activeVersion) {
    report("notice", "activate", "", `Version ${least} can be activated`,
      `Version ${activeVersion} is active, and all nodes know ${least}. After that none can go `
      + "back to its earlier program.",
      { why: "When none shall go back", command: "martlet ring activate" });
  }
}

function ofClocks(model, report) {
  const known = model.nodes
    .filter((entry) => entry.state === "up" && entry.data.clockMilliseconds !== null)
    .sort((one, other) => one.data.clockMilliseconds - other.data.clockMilliseconds);
  const [first, last] = [known[0], known.at(-1)];
  if (!first) return;
  const apart = last.data.clockMilliseconds - first.data.clockMilliseconds;
  if (apart < CLOCK_MILLISECONDS) return;
  report("warning", "clocks", "", "Clocks differ",
    `${first.name} is ${span(apart / 1_000)} behind ${last.name}, as their latest measurements `
    + "tell. Plots are shifted by that; times in messages too.",
    { why: "On both", command: "timedatectl status" });
}
