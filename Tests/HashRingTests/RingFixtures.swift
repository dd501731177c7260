import HashRing
import Primitives

/// Ready-made nodes and the measurements that several suites share.
enum RingFixture {
  /// Stores with random-looking identifiers, as `StoreID`s are.
  static func nodes(_ range: Range<Int>, zones: Int = 1) -> [RingNode] {
    range.map { node($0, zone: "zone-\($0 % zones)") }
  }

  static func node(_ number: Int, weight: UInt32 = 1, zone: String = "zone-0") -> RingNode {
    RingNode(store: store(number), name: "shard-\(number)", weight: weight, zone: zone)
  }

  static func store(_ number: Int) -> StoreID {
    var random = SeededRandom(seed: UInt64(number))
    return StoreID(random.next())
  }
}

/// What one placement looks like from outside, counted without looking into the ring.
struct PlacementMeasure {
  private(set) var replicas: [StoreID: Int] = [:]
  private(set) var leaders: [StoreID: Int] = [:]

  init(_ placement: [ReplicaSet]) {
    for set in placement {
      for store in set.stores { replicas[store, default: 0] += 1 }
      if let leader = set.preferredLeader { leaders[leader, default: 0] += 1 }
    }
  }

  /// The most loaded store relative to its weight's part; 1 is perfect.
  func imbalance(_ nodes: [RingNode], _ loads: KeyPath<Self, [StoreID: Int]>) -> Double {
    let counts = self[keyPath: loads]
    let total = Double(counts.values.reduce(0, +))
    let weightSum = nodes.reduce(0) { $0 + Double($1.weight) }
    return nodes.map { node in
      Double(counts[node.store] ?? 0) / (total * Double(node.weight) / weightSum)
    }.max() ?? 0
  }

  func imbalance(_ nodes: [RingNode]) -> Double { imbalance(nodes, \.replicas) }
  func leaderImbalance(_ nodes: [RingNode]) -> Double { imbalance(nodes, \.leaders) }
}

/// Movement between two placements, counted naively.
struct MovementMeasure {
  /// Replicas that a store has now and did not have before.
  private(set) var gained = 0
  /// The part of them that went to a store which was there before.
  private(set) var gainedByOld = 0
  /// Replicas that a store which is still there gave up.
  private(set) var lostBySurvivors = 0
  private(set) var leaderChanges = 0

  init(from before: [ReplicaSet], to after: [ReplicaSet], oldNodes: [RingNode], nodes: [RingNode]) {
    let old = Set(oldNodes.map(\.store))
    let present = Set(nodes.map(\.store))
    for (previous, next) in zip(before, after) {
      for store in next.stores where !previous.stores.contains(store) {
        gained += 1
        if old.contains(store) { gainedByOld += 1 }
      }
      for store in previous.stores where present.contains(store) && !next.stores.contains(store) {
        lostBySurvivors += 1
      }
      if previous.preferredLeader != next.preferredLeader { leaderChanges += 1 }
    }
  }
}

func rounded(_ value: Double) -> Double { (value * 1_000).rounded() / 1_000 }
