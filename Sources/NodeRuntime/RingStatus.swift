package import ClusterModel
package import Coordination
package import Primitives
package import RingControl

/// The ring as the coordinator's records tell it: which nodes are registered, and who leads, is in
/// sync and should have each partition.
package struct RingStatus: Sendable {
  /// How a partition stands.
  package enum State: String, Sendable {
    case whole
    /// Led, but its in-sync set is not its target, or a store of it is not registered.
    case incomplete
    /// Led, with fewer in sync than commands need.
    case belowMinimum = "below-minimum"
    /// Nobody who is registered leads it.
    case leaderless
  }

  /// One partition and its record.
  package struct Partition: Sendable {
    package let id: PartitionID
    package let record: PartitionRecord
    /// Of the record, for who wants to change it.
    package let revision: Revision
    package let state: State
  }

  package let cluster: ClusterRecord
  /// Its members, and what is on its way.
  package let ring: RingRecord
  /// Of `ring`, for who wants to change it.
  package let ringRevision: Revision
  /// In the order of their names.
  package let nodes: [NodeRecord]
  /// In the order of their numbers; fewer than the cluster has when records are missing.
  package let partitions: [Partition]
  /// Of the protocol.
  package let version: ActiveVersion

  package init(
    cluster: ClusterRecord, version: ActiveVersion = .first, ring: RingRecord? = nil,
    ringRevision: Revision = .zero,
    nodes: [NodeRecord], records: [(PartitionID, PartitionRecord)],
    revisions: [PartitionID: Revision] = [:]
  ) {
    self.cluster = cluster
    self.version = version
    self.ring = ring ?? Self.ring(of: records, nodes)
    self.ringRevision = ringRevision
    self.nodes = nodes.sorted { $0.name < $1.name }
    partitions = records.sorted { $0.0 < $1.0 }.map { id, record in
      let hasLeader =
        record.leaderBoot != .none
        && nodes.contains { $0.store == record.leader.store && $0.boot == record.leaderBoot }
      let state: State =
        if !hasLeader { .leaderless } else if record.inSync.count < Int(cluster.minInSync) {
          .belowMinimum
        } else if record.inSync != record.target.sorted()
          || !record.inSync.allSatisfy({ replica in nodes.contains { $0.store == replica.store } })
        { .incomplete } else { .whole }
      return Partition(
        id: id, record: record, revision: revisions[id] ?? .zero, state: state)
    }
  }

  /// The members of a ring whose record is missing: whoever should have partitions.
  private static func ring(
    of records: [(PartitionID, PartitionRecord)], _ nodes: [NodeRecord]
  ) -> RingRecord {
    let stores = Set(records.flatMap { $0.1.target.map(\.store) })
    return RingRecord(
      members: stores.map { store in
        let node = nodes.first { $0.store == store }
        return RingMember(
          store: store, name: node?.name ?? store.description, weight: node?.weight ?? 1,
          zone: node?.zone ?? "")
      })
  }

  /// **Returns**: `nil` when no ring has been made.
  /// **Throws**: `CoordinationError`; `ProtobufError` for records of another version.
  package static func read(_ coordinator: any Coordinator) async throws -> RingStatus? {
    guard let item = try await coordinator.get(CoordinationKey.cluster).item else { return nil }
    let version = try await VersionActivation.found(coordinator).version
    let ring = try await coordinator.get(CoordinationKey.ring)
    let nodes = try await NodeRegistration.all(coordinator)
    let records = try await coordinator.list(CoordinationKey.partitions)
    var revisions: [PartitionID: Revision] = [:]
    for item in records.items {
      guard let id = CoordinationKey.partition(in: item.key) else { continue }
      revisions[id] = item.modRevision
    }
    return RingStatus(
      cluster: try ClusterRecord(decoding: item.value),
      version: version,
      ring: try ring.item.map { try RingRecord(decoding: $0.value) },
      ringRevision: ring.modRevision,
      nodes: nodes,
      records: try records.items.compactMap { item in
        guard let id = CoordinationKey.partition(in: item.key) else { return nil }
        return (id, try PartitionRecord(decoding: item.value))
      }, revisions: revisions)
  }

  /// The same for who cannot go on without a ring.
  ///
  /// **Throws**: `StartError` when no ring has been made; what `read` throws.
  static func readMade(_ coordinator: any Coordinator) async throws -> RingStatus {
    guard let status = try await read(coordinator) else {
      throw StartError("there is no ring yet: `martlet ring init` makes it")
    }
    return status
  }

  /// Registered shards, in the order of their names.
  var shards: [NodeRecord] { nodes.filter { $0.role == .shard } }

  /// A registered shard and its store.
  ///
  /// **Throws**: `StartError` when there is none of this name.
  func shard(named name: String) throws(StartError) -> (node: NodeRecord, store: StoreID) {
    guard let node = shards.first(where: { $0.name == name }), let store = node.store else {
      throw StartError(
        "--shard '\(name)': allowed is a shard that is registered: "
          + shards.map(\.name).joined(separator: ", "))
    }
    return (node, store)
  }

  /// The name of the registered shard that has a store.
  func name(of store: StoreID) -> String? { nodes.first { $0.store == store }?.name }

  /// How many partitions there are: while they are being split, those that are known.
  package var partitionCount: Int {
    let count = cluster.scheme.count(level: ring.level)
    return ring.change?.kind == .split ? max(count, partitions.count) : count
  }

  /// Every partition has a leader, and everybody who should have it is in sync.
  package var isWhole: Bool {
    partitions.count == partitionCount && partitions.allSatisfy { $0.state == .whole }
  }

  /// The stores that should have partitions.
  package var owners: Set<StoreID> {
    Set(partitions.flatMap { $0.record.target.map(\.store) })
  }

  /// The record of a partition; `nil` when it is missing.
  func record(of partition: PartitionID) -> PartitionRecord? {
    // Each has its number's place, but while halves are missing.
    var low = 0
    var high = min(partitions.count, Int(partition.rawValue) + 1)
    while low < high {
      let middle = (low + high) / 2
      if partitions[middle].id < partition { low = middle + 1 } else { high = middle }
    }
    guard low < partitions.count, partitions[low].id == partition else { return nil }
    return partitions[low].record
  }

  /// How far the change of the ring is that is under way.
  package var progress: RingProgress? {
    RingController.progress(of: ring, cluster.scheme) { record(of: $0) }
  }

  /// What a change of the ring has copied so far, of what there was. **Units**: bytes.
  package func bytes(copiedFor change: RingChange, _ sizes: PartitionSizes) -> UInt64 {
    let done = change.moves.filter { move in
      record(of: move.partition).map { RingController.isSettled($0, on: move.after) } ?? false
    }
    return RingText.bytes(done, sizes)
  }

  /// How many partitions stand like that.
  package func count(_ state: State) -> Int { partitions.count { $0.state == state } }
}

// MARK: - For people

extension RingStatus {
  /// - Parameter listsAll: a line for each partition instead of one for those that are alike.
  /// - Parameter sizes: what the shards say that they hold, when they were asked.
  package func table(listsAll: Bool = false, sizes: PartitionSizes? = nil) -> String {
    let states: [(State, String)] = [
      (.whole, "whole"), (.incomplete, "incomplete"), (.belowMinimum, "below the minimum in sync"),
      (.leaderless, "without a leader"),
    ]
    let counts = states.filter { count($0.0) > 0 }.map { "\(count($0.0)) \($0.1)" }
    var text = "cluster \(Base32.encode(cluster.clusterID)): \(partitionCount) partitions, "
    text += "\(cluster.replicaCount) replicas, at least \(cluster.minInSync) in sync\n"
    text += "partitions: \(counts.joined(separator: ", "))\n"
    let common = VersionActivation.common(nodes).number
    if common > version.number {
      text += "version \(version.number) is active, and all nodes know \(common): "
      text += "`martlet ring activate` when none shall go back\n"
    }
    let missing = partitionCount - partitions.count
    if missing > 0 { text += "records missing: \(missing)\n" }
    if let change = ring.change {
      text += "under way: \(change.kind.word) \(change.subject)"
      text += change.isTurnedBack ? " (turned back), " : ", "
      text += (progress.map { RingText.line($0) } ?? "") + "\n"
    }
    return text + "\n" + nodeTable(sizes) + "\n" + partitionTable(listsAll: listsAll)
  }

  private func nodeTable(_ sizes: PartitionSizes?) -> String {
    var rows = [
      [
        "NODE", "ROLE", "STORE", "RING", "WEIGHT", "ZONE", "LEADS", "IN SYNC", "TARGET", "SIZE",
        "ADDRESS",
      ]
    ]
    for node in nodes {
      let addresses =
        node.role == .gateway ? node.publicURLs : node.laneAddresses.map(\.description)
      let address = addresses.joined(separator: " ")
      guard let store = node.store, node.role == .shard else {
        rows.append([node.name, "gateway", "", "", "", "", "", "", "", "", address])
        continue
      }
      let led = partitions.count {
        $0.record.leader.store == store && $0.record.leaderBoot == node.boot
      }
      rows.append(
        [node.name, "shard"] + membership(of: store) + [
          "\(led)", "\(count { $0.inSync.contains(store) })",
          "\(count { $0.target.contains(store) })",
          sizes?.total(on: store).map(RingText.amount) ?? "", address,
        ])
    }
    for member in ring.members where !nodes.contains(where: { $0.store == member.store }) {
      rows.append(
        [member.name, "shard"] + membership(of: member.store) + [
          "0", "\(count { $0.inSync.contains(member.store) })",
          "\(count { $0.target.contains(member.store) })", "", "not registered",
        ])
    }
    return Self.aligned(rows)
  }

  /// Store, part in the ring, weight and zone.
  private func membership(of store: StoreID) -> [String] {
    guard let member = ring.members.first(where: { $0.store == store }) else {
      let isLeaving = ring.change?.formerMembers.contains { $0.store == store } ?? false
      return [store.description, isLeaving ? "leaving" : "no", "", ""]
    }
    let part = member.isDrained ? "drained" : "member"
    return [store.description, part, "\(member.weight)", member.zone]
  }

  private func count(_ isCounted: ((inSync: [StoreID], target: [StoreID])) -> Bool) -> Int {
    partitions.count {
      isCounted(($0.record.inSync.map(\.store), $0.record.target.map(\.store)))
    }
  }

  private func partitionTable(listsAll: Bool) -> String {
    var rows = [["PARTITIONS", "LEADER", "EPOCH", "IN SYNC", "TARGET", "STATE"]]
    var groups: [[String]: [Partition]] = [:]
    var order: [[String]] = []
    for partition in partitions {
      let key = listsAll ? [partition.id.description] : cells(partition)
      if groups[key] == nil { order.append(key) }
      groups[key, default: []].append(partition)
    }
    for key in order {
      guard let group = groups[key], let first = group.first else { continue }
      let epochs = group.map(\.record.epoch)
      let (low, high) = (epochs.min() ?? .zero, epochs.max() ?? .zero)
      var cells = cells(first)
      cells.insert(low == high ? "\(low)" : "\(low)-\(high)", at: 1)
      rows.append([listsAll ? first.id.description : "\(group.count)"] + cells)
    }
    return Self.aligned(rows)
  }

  /// Leader, in sync, target and state.
  private func cells(_ partition: Partition) -> [String] {
    let record = partition.record
    let leader = partition.state == .leaderless ? "-" : name(record.leader.store)
    return [
      leader, record.inSync.map { name($0.store) }.sorted().joined(separator: " "),
      record.target.map { name($0.store) }.sorted().joined(separator: " "),
      partition.state.rawValue,
    ]
  }

  private func name(_ store: StoreID) -> String {
    nodes.first { $0.store == store }?.name ?? "(\(store))"
  }

  static func aligned(_ rows: [[String]]) -> String {
    let widths = (0..<(rows.first?.count ?? 0)).map { column in
      rows.map { $0[column].count }.max() ?? 0
    }
    return rows.map { row in
      let cells = zip(row, widths).map { $0 + String(repeating: " ", count: $1 - $0.count) }
      var line = cells.joined(separator: "  ")
      while line.last == " " { line.removeLast() }
      return line + "\n"
    }.joined()
  }
}

// MARK: - For programs

extension RingStatus {
  /// **Shape**: `{"whole", "clusterID", "partitionCount", "replicaCount", "minInSync",
  /// "activeVersion", "movesMax", "bytesPerSecond", "change": null or {"kind", "subject", "number", "turnedBack", "done",
  /// "underWay", "total"}, "members": [{"name", "store", "weight", "zone", "drained"}], "nodes":
  /// [{"name", "role", "store", "boot", "version", "addresses", "urls", "bytes"}], "partitions": [{"partition",
  /// "state", "leader", "epoch", "inSync", "target"}]}`; a leader and replicas are names of nodes,
  /// or store ids of stores that are not registered; 64-bit integers are strings; bytes are
  /// `null` where the shard was not asked.
  package var json: String { json(sizes: nil) }

  package func json(sizes: PartitionSizes?) -> String {
    let nodes = nodes.map { node in
      JSONText.object([
        ("name", JSONText.string(node.name)),
        ("role", JSONText.string(node.role == .shard ? "shard" : "gateway")),
        ("store", node.store.map { JSONText.string($0.description) } ?? "null"),
        ("boot", JSONText.string(node.boot.description)),
        ("version", "\(node.protocolVersion)"),
        ("addresses", JSONText.strings(node.laneAddresses.map(\.description))),
        ("urls", JSONText.strings(node.publicURLs)),
        ("operator", node.operatorAddress.map { JSONText.string("\($0)") } ?? "null"),
        (
          "bytes",
          node.store.flatMap { sizes?.total(on: $0) }.map { JSONText.string("\($0)") } ?? "null"
        ),
      ])
    }
    let partitions = partitions.map { partition in
      let record = partition.record
      return JSONText.object([
        ("partition", "\(partition.id.rawValue)"),
        ("state", JSONText.string(partition.state.rawValue)),
        (
          "leader",
          partition.state == .leaderless ? "null" : JSONText.string(plain(record.leader.store))
        ),
        ("epoch", JSONText.string("\(record.epoch.rawValue)")),
        ("inSync", JSONText.strings(record.inSync.map { plain($0.store) })),
        ("target", JSONText.strings(record.target.map { plain($0.store) })),
      ])
    }
    return JSONText.object([
      ("whole", "\(isWhole)"),
      ("clusterID", JSONText.string(Base32.encode(cluster.clusterID))),
      ("partitionCount", "\(partitionCount)"),
      ("level", "\(ring.level)"),
      ("replicaCount", "\(cluster.replicaCount)"),
      ("minInSync", "\(cluster.minInSync)"),
      ("activeVersion", "\(version.number)"),
      ("movesMax", "\(ring.movesMax)"),
      ("bytesPerSecond", JSONText.string("\(ring.bytesPerSecond)")),
      ("change", ring.change.map(json) ?? "null"),
      ("members", JSONText.array(members())),
      ("nodes", JSONText.array(nodes)),
      ("partitions", JSONText.array(partitions)),
    ])
  }

  private func json(_ change: RingChange) -> String {
    let progress = progress ?? RingProgress(done: 0, underWay: 0, total: 0)
    return JSONText.object([
      ("kind", JSONText.string(change.kind.word)), ("subject", JSONText.string(change.subject)),
      ("number", JSONText.string("\(change.number)")), ("turnedBack", "\(change.isTurnedBack)"),
      ("done", "\(progress.done)"), ("underWay", "\(progress.underWay)"),
      ("total", "\(progress.total)"),
    ])
  }

  private func members() -> [String] {
    let tokens = RingPlan.tokens(of: ring.members)
    return ring.members.map { json($0, tokens[$0.store] ?? []) }
  }

  private func json(_ member: RingMember, _ tokens: [UInt64]) -> String {
    JSONText.object([
      ("name", JSONText.string(member.name)),
      ("store", JSONText.string(member.store.description)),
      ("weight", "\(member.weight)"), ("zone", JSONText.string(member.zone)),
      ("drained", "\(member.isDrained)"), ("tokens", JSONText.strings(tokens.map { "\($0)" })),
    ])
  }

  func plain(_ store: StoreID) -> String {
    name(of: store) ?? store.description
  }
}
