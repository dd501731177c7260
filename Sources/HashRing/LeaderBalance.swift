/// Chooses the preferred leader of every partition among its replicas.
///
/// A leader stays while its node is within its band. A node outside hands leaders on along the
/// shortest chain of nodes that share partitions: A gives one of its partitions to B, B one of its
/// own to C. Nothing is copied for that; each link of the chain is one handoff.
struct LeaderBalance {
  private let holders: [[Int]]
  private let bands: ShareBands
  private var leaders: [Int]
  private var led: [[Int]]
  /// **Shape**: at `leader * nodeCount + other`, the partitions that `other` could take from
  /// `leader`.
  private var takeable: [Int]

  /// **Returns**: per partition, the position of its leader in `Ring.nodes`.
  static func leaders(for placing: Placing) -> [Int] {
    var balance = LeaderBalance(placing)
    balance.choose(placing)
    balance.relieveOverloaded()
    balance.raiseUnderloaded()
    return balance.leaders
  }

  private init(_ placing: Placing) {
    holders = placing.holders
    bands = ShareBands(
      weights: placing.ring.nodes.map { Int($0.weight) }, caps: placing.loads,
      total: placing.partitionCount)
    leaders = [Int](repeating: -1, count: placing.partitionCount)
    led = [[Int]](repeating: [], count: placing.nodeCount)
    takeable = [Int](repeating: 0, count: placing.nodeCount * placing.nodeCount)
  }

  private var nodeCount: Int { led.count }

  private mutating func setLeader(_ partition: Int, _ node: Int) {
    leaders[partition] = node
    led[node].append(partition)
    for other in holders[partition] { takeable[node * nodeCount + other] += 1 }
  }

  private mutating func handOver(_ partition: Int, to node: Int) {
    let old = leaders[partition]
    if let entry = led[old].firstIndex(of: partition) { led[old].remove(at: entry) }
    for other in holders[partition] { takeable[old * nodeCount + other] -= 1 }
    setLeader(partition, node)
  }

  /// Previous leaders stay; the others are the ring-nearest replica with room, or the lightest.
  private mutating func choose(_ placing: Placing) {
    for partition in holders.indices {
      if let leader = placing.previous[partition].leader, holders[partition].contains(leader) {
        setLeader(partition, leader)
      }
    }
    for partition in holders.indices where leaders[partition] < 0 {
      var best = holders[partition][0]
      var bestHasRoom = false
      var bestDistance = UInt64.max
      for node in holders[partition] {
        let hasRoom = led[node].count < bands.floors[node]
        if hasRoom {
          let distance = placing.ring.distance(from: placing.positions[partition], to: node)
          guard !bestHasRoom || distance < bestDistance else { continue }
          (best, bestHasRoom, bestDistance) = (node, true, distance)
        } else if !bestHasRoom, isFuller(best, than: node) {
          best = node
        }
      }
      setLeader(partition, best)
    }
  }

  private func isFuller(_ node: Int, than other: Int) -> Bool {
    bands.isFuller(node, load: led[node].count, than: other, load: led[other].count)
  }

  private mutating func relieveOverloaded() {
    for node in 0..<nodeCount where led[node].count > bands.uppers[node] {
      while led[node].count > bands.ceilings[node] {
        let reached = explore(from: node, forward: true)
        let roomy = reached.order.first { led[$0].count < bands.ceilings[$0] }
        // Without room in reach the load is at least spread evenly over those that can be reached.
        guard let goal = roomy ?? reached.order.first(where: { gains($0, from: node) }) else {
          break
        }
        follow(reached.parents, from: goal, forward: true)
      }
    }
  }

  private mutating func raiseUnderloaded() {
    for node in 0..<nodeCount where led[node].count < bands.lowers[node] {
      while led[node].count < bands.floors[node] {
        let reached = explore(from: node, forward: false)
        let rich = reached.order.first { bands.isAboveShare($0, load: led[$0].count) }
        guard let donor = rich ?? reached.order.first(where: { gains(node, from: $0) }) else {
          break
        }
        follow(reached.parents, from: donor, forward: false)
      }
    }
  }

  /// Whether `node` with one more is still less full than `donor` now.
  private func gains(_ node: Int, from donor: Int) -> Bool {
    bands.isFuller(
      donor, load: led[donor].count, than: node, load: led[node].count + 1)
  }

  /// Breadth first: forward to those who could take over, backward to those who could hand over.
  private func explore(from start: Int, forward: Bool) -> (order: [Int], parents: [Int]) {
    var parents = [Int](repeating: -1, count: nodeCount)
    parents[start] = start
    var order: [Int] = []
    var queue = [start]
    var next = 0
    while next < queue.count {
      let node = queue[next]
      next += 1
      for other in 0..<nodeCount where parents[other] < 0 {
        let edge = forward ? node * nodeCount + other : other * nodeCount + node
        guard takeable[edge] > 0 else { continue }
        parents[other] = node
        order.append(other)
        queue.append(other)
      }
    }
    return (order, parents)
  }

  private mutating func follow(_ parents: [Int], from end: Int, forward: Bool) {
    var current = end
    while parents[current] != current {
      let parent = parents[current]
      let (giver, taker) = forward ? (parent, current) : (current, parent)
      guard let partition = led[giver].first(where: { holders[$0].contains(taker) }) else {
        preconditionFailure("node \(giver) leads nothing that node \(taker) holds")
      }
      handOver(partition, to: taker)
      current = parent
    }
  }
}
