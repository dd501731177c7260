package import Primitives

/// Places partitions on stores: consistent hashing with bounded loads, weights and zones.
///
/// Every store owns virtual nodes (tokens) on the circle of 64-bit hashes; a partition sits at the
/// first token of its range and takes the stores that follow clockwise, skipping those that are
/// full and those whose zone it already uses. `placement` is a pure function of the nodes *and of
/// the placement before*, which the partition records hold anyway (`target`):
///
/// 1. what may stay stays;
/// 2. open slots walk the ring under the bounds;
/// 3. a store below its band is raised to its share, from the most loaded and ring-nearest first;
/// 4. a store above its band is lowered to its share;
/// 5. preferred leaders are balanced in the same manner, and the others follow in ring order.
///
/// A store's share is its weight's part of all replicas within what zones allow (`ShareBands`).
///
/// **Why the previous placement is an argument**: without memory the two promises exclude each
/// other. Bounded loads let one overflowing store push partitions around the circle, so that
/// adding a node moves replicas between old ones (the paper bounds that by a factor of O(1/ε²)).
/// Rejected for that: the memoryless bounded ring. Rejected because 256 partitions on 32 nodes
/// come out at 1.33 and 1.46 times the mean: a plain ring and rendezvous hashing, both without
/// bounds. Rejected because it depends on the order in which nodes were added: replaying the
/// additions one by one.
///
/// **Invariant**: the same result on every machine and for every order of `nodes`; no clock, no
/// randomness, no floating point, no iteration of a dictionary.
///
/// **Source**: Karger et al., "Consistent Hashing and Random Trees" (1997); Mirrokni, Thorup and
/// Zadimoghaddam, "Consistent Hashing with Bounded Loads" (2016).
package struct Ring: Sendable {
  package static let nodesMax = 1_024
  package static let weightMax: UInt32 = 1_000
  package static let tokensPerNodeMax = 1_024
  package static let partitionsMax: UInt32 = 65_536
  package static let replicasMax = 16

  /// **Invariant**: ascending by store, so that every later tie falls the same way everywhere.
  package let nodes: [RingNode]

  /// The zone of each node, numbered by first appearance in `nodes`.
  let zoneOfNode: [Int]
  let zoneCount: Int
  /// All tokens ascending, and whose they are.
  let tokens: [UInt64]
  let tokenOwners: [Int]
  /// The tokens of each node ascending.
  let tokensOfNode: [[UInt64]]

  /// - Parameter tokensPerNode: tokens of a node of average weight; others get them in proportion.
  ///   They decide neighbourhood only: balance comes from the bounds.
  ///
  /// **Throws**: `noNodes`, `tooManyNodes`, `duplicateStore`, `weightOutOfRange`,
  /// `tokensPerNodeOutOfRange`.
  package init(nodes: [RingNode], tokensPerNode: Int = 64) throws(RingError) {
    guard !nodes.isEmpty else { throw .noNodes }
    guard nodes.count <= Ring.nodesMax else { throw .tooManyNodes(nodes.count) }
    guard (1...Ring.tokensPerNodeMax).contains(tokensPerNode) else {
      throw .tokensPerNodeOutOfRange(tokensPerNode)
    }
    let sorted = nodes.sorted { $0.store < $1.store }
    var weightSum = 0
    for (position, node) in sorted.enumerated() {
      guard (1...Ring.weightMax).contains(node.weight) else {
        throw .weightOutOfRange(node.store, weight: node.weight)
      }
      if position > 0, sorted[position - 1].store == node.store {
        throw .duplicateStore(node.store)
      }
      weightSum += Int(node.weight)
    }

    var zones: [[UInt8]] = []
    zoneOfNode = sorted.map { node in
      let zone = Array(node.zone.utf8)
      if let known = zones.firstIndex(of: zone) { return known }
      zones.append(zone)
      return zones.count - 1
    }
    zoneCount = zones.count

    tokensOfNode = sorted.map { node in
      let scaled = tokensPerNode * Int(node.weight) * sorted.count / weightSum
      return Ring.tokens(of: node.store, count: min(max(scaled, 1), Ring.tokensPerNodeMax))
    }
    var circle: [(token: UInt64, owner: Int)] = []
    for (owner, own) in tokensOfNode.enumerated() {
      for token in own { circle.append((token, owner)) }
    }
    circle.sort { ($0.token, $0.owner) < ($1.token, $1.owner) }
    tokens = circle.map(\.token)
    tokenOwners = circle.map(\.owner)
    self.nodes = sorted
  }

  /// The places of a node on the circle, ascending; empty for one that is not there.
  package func tokens(of store: StoreID) -> [UInt64] {
    nodes.firstIndex { $0.store == store }.map { tokensOfNode[$0] } ?? []
  }

  /// The replica set of every partition.
  ///
  /// A store that is to be drained is simply not among the nodes. When partitions are split, the
  /// caller repeats each previous set for both halves.
  ///
  /// - Parameter replicas: per partition; as many as there are nodes when there are fewer nodes.
  /// - Parameter previous: the sets before, or `nil` for a new cluster. Unknown stores in it
  ///   are those that left.
  ///
  /// **Shape**: one set per partition, by partition number.
  ///
  /// **Invariant**: replicas of one partition share a zone in as few pairs as the zones allow. A
  /// store holds at most 5 % or one replica more than its share. As long as that holds, a replica
  /// moves only because its store left, its zone must, or a store is below 95 % of its share; what
  /// `placement` returned, given back as `previous` with the same nodes, comes back unchanged.
  ///
  /// **Throws**: `partitionCountOutOfRange`, `replicaCountOutOfRange`, `previousCountDiffers`.
  package func placement(
    partitions: UInt32, replicas: Int, previous: [ReplicaSet]? = nil
  ) throws(RingError) -> [ReplicaSet] {
    guard (1...Ring.partitionsMax).contains(partitions) else {
      throw .partitionCountOutOfRange(partitions)
    }
    guard (1...Ring.replicasMax).contains(replicas) else { throw .replicaCountOutOfRange(replicas) }
    if let previous, previous.count != Int(partitions) {
      throw .previousCountDiffers(previous: previous.count, partitions: partitions)
    }
    let before = indexed(previous, partitionCount: Int(partitions))
    var placing = Placing(
      ring: self, partitionCount: Int(partitions), replicaCount: min(replicas, nodes.count),
      previous: before)
    placing.keepWhatMayStay()
    placing.fillOpenSlots()
    placing.raiseUnderloaded()
    placing.lowerOverloaded()
    let leaders = LeaderBalance.leaders(for: placing)
    return (0..<Int(partitions)).map { partition in
      let leader = leaders[partition]
      let others = placing.holders[partition].filter { $0 != leader }
        .map { (distance: distance(from: placing.positions[partition], to: $0), node: $0) }
        .sorted { $0 < $1 }
      return ReplicaSet([nodes[leader].store] + others.map { nodes[$0.node].store })
    }
  }

  /// The previous sets as node positions, without stores that are not nodes any more.
  private func indexed(_ previous: [ReplicaSet]?, partitionCount: Int) -> [PreviousSet] {
    guard let previous else {
      return [PreviousSet](repeating: PreviousSet(holders: [], leader: nil), count: partitionCount)
    }
    var positionOfStore: [StoreID: Int] = [:]
    for (position, node) in nodes.enumerated() { positionOfStore[node.store] = position }
    return previous.map { set in
      var holders: [Int] = []
      for store in set.stores {
        if let node = positionOfStore[store], !holders.contains(node) { holders.append(node) }
      }
      return PreviousSet(
        holders: holders, leader: set.preferredLeader.flatMap { positionOfStore[$0] })
    }
  }

  /// How far clockwise the node's next token is.
  func distance(from position: UInt64, to node: Int) -> UInt64 {
    let own = tokensOfNode[node]
    let next = Ring.lowerBound(own, position)
    return own[next < own.count ? next : 0] &- position
  }

  /// The first token that belongs to `partition`, so the circle and `Token.partition(of:)` agree.
  static func position(of partition: Int, partitionCount: Int) -> UInt64 {
    let (quotient, remainder) = UInt64(partitionCount)
      .dividingFullWidth((UInt64(partition), 0))
    return remainder == 0 ? quotient : quotient + 1
  }

  /// The first place in ascending `values` that is not below `value`.
  static func lowerBound(_ values: [UInt64], _ value: UInt64) -> Int {
    var low = 0
    var high = values.count
    while low < high {
      let middle = (low + high) / 2
      if values[middle] < value { low = middle + 1 } else { high = middle }
    }
    return low
  }

  private static func tokens(of store: StoreID, count: Int) -> [UInt64] {
    (0..<count).map { StableHash.hash64(UInt128(store.rawValue) << 64 | UInt128($0)) }.sorted()
  }
}

/// Where a partition was, in positions of `Ring.nodes`.
struct PreviousSet {
  let holders: [Int]
  let leader: Int?
}
