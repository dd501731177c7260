// Joins what the coordinator knows of the ring with what the nodes say of themselves.

export const STATES = ["whole", "incomplete", "below-minimum", "leaderless"];

/** Okabe and Ito's colours, bright and then dark; the style sheet has them. */
const COLOUR_COUNT = 14;

const colours = new Map();

/** A shard keeps its colour while the page is open, whoever comes or goes. */
function colour(key) {
  if (!colours.has(key)) colours.set(key, colours.size % COLOUR_COUNT);
  return colours.get(key);
}

/**
 * Where each partition lies on the circle.
 *
 * A split leaves the lower half its number and gives the upper one that number plus the count of
 * partitions before, so the number's part above the first count is, bit by bit, the path to it.
 */
function place(partitions, ring) {
  const level = ring.level ?? 0;
  const isSplitting = ring.change?.kind === "split";
  const count = isSplitting ? ring.change.total : ring.partitionCount;
  const roots = Math.max(1, Math.round(count / 2 ** level));
  const isKnown = isSplitting && new Set(partitions.map((partition) => partition.number));
  for (const partition of partitions) {
    const { number } = partition;
    const isCut = isSplitting && (number >= count || isKnown.has(number + count));
    const cuts = isCut ? level + 1 : level;
    let path = Math.floor(number / roots);
    let fraction = 0;
    for (let cut = 1; cut <= cuts; cut += 1) {
      fraction += (path % 2) / 2 ** cut;
      path = Math.floor(path / 2);
    }
    partition.start = (number % roots + fraction) / roots;
    partition.width = 1 / roots / 2 ** cuts;
  }
  partitions.sort((one, other) => one.start - other.start);
}

/** What does not change until the ring does: shards, partitions, zones. */
function joinRing(ring) {
  const shards = new Map();
  const byReplica = new Map();
  const registered = new Set(ring.nodes.map((node) => node.name));
  const members = new Map(ring.members.map((member) => [member.store, member]));
  const shard = (key, store, node) => {
    const member = members.get(store);
    const entry = {
      key, name: node?.name ?? member?.name ?? store, role: "shard", store, node, member,
      zone: member?.zone ?? "", weight: member?.weight ?? null,
      isDrained: member?.drained ?? false, leads: 0, inSync: 0, target: 0, learns: 0,
      tokens: (member?.tokens ?? []).map((token) => Number(token) / 2 ** 64),
    };
    shards.set(key, entry);
    return entry;
  };
  for (const node of ring.nodes) {
    if (node.role === "shard") byReplica.set(node.name, shard(node.name, node.store, node));
  }
  const absent = (store) => {
    const name = members.get(store)?.name ?? store;
    // One that runs with another disk has the name already.
    const entry = shard(registered.has(name) ? `${name} (${store})` : name, store, undefined);
    byReplica.set(store, entry);
    return entry;
  };
  const stores = new Set(ring.nodes.map((node) => node.store));
  for (const member of ring.members) if (!stores.has(member.store)) absent(member.store);
  const replica = (text) => byReplica.get(text) ?? absent(text);

  const partitions = ring.partitions.map((item) => {
    const inSync = item.inSync.map(replica);
    const target = item.target.map(replica);
    const leader = item.leader === null ? null : replica(item.leader);
    if (leader) leader.leads += 1;
    for (const entry of inSync) entry.inSync += 1;
    const learners = target.filter((entry) => !inSync.includes(entry));
    for (const entry of target) entry.target += 1;
    for (const entry of learners) entry.learns += 1;
    return {
      number: item.partition, state: item.state, epoch: item.epoch, leader, inSync, target,
      learners,
    };
  });
  const sorted = [...shards.values()].sort((one, other) => one.key.localeCompare(other.key, "en", {
    numeric: true,
  }));
  for (const entry of sorted) entry.colour = colour(entry.key);
  place(partitions, ring);
  const counts = Object.fromEntries(STATES.map((state) => [state, 0]));
  for (const { state } of partitions) counts[state] = (counts[state] ?? 0) + 1;
  const zones = [...new Set(sorted.filter((entry) => entry.member).map((entry) => entry.zone))];
  const byNumber = [...partitions].sort((one, other) => one.number - other.number);
  return { ring, shards: sorted, partitions, byNumber, counts, zones: zones.sort() };
}

let joined = null;

/** Everything that is shown; null before the first answer. */
export function joinModel(source) {
  const { ring } = source;
  if (!ring) return null;
  if (joined?.ring !== ring) joined = joinRing(ring);
  const shards = joined.shards.map((entry) => withAnswers(entry, source));
  const gateways = ring.nodes.filter((node) => node.role === "gateway")
    .map((node) => withAnswers({ key: node.name, name: node.name, role: "gateway", node }, source));
  for (const [name, { node, time }] of source.departed) {
    const isKnown = [...shards, ...gateways].some((entry) => entry.name === name);
    if (isKnown) continue;
    const entry = withAnswers({ key: name, name, role: node.role }, source);
    (node.role === "gateway" ? gateways : shards).push({ ...entry, departedAt: time });
  }
  return { ...joined, shards, gateways, nodes: [...shards, ...gateways] };
}

function withAnswers(entry, source) {
  const data = source.data(entry.name);
  const isRegistered = entry.node !== undefined;
  let state = "up";
  if (!isRegistered) state = "gone";
  else if (entry.node.operator === null || entry.node.operator === undefined) state = "unasked";
  else if (data.silentSince !== null) state = "silent";
  else if (data.answeredAt === null) state = "asked";
  return {
    ...entry, data, state, scrapes: state === "up" ? data.scrapes : null,
    departedAt: source.departed.get(entry.name)?.time ?? null,
  };
}
