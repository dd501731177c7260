import HashRing
import Primitives
import Testing

@Suite struct RingZoneTests {
  private func zones(_ set: ReplicaSet, _ nodes: [RingNode]) -> [String] {
    set.stores.compactMap { store in nodes.first { $0.store == store }?.zone }
  }

  /// Pairs of replicas that share a zone.
  private func sharedPairs(_ set: ReplicaSet, _ nodes: [RingNode]) -> Int {
    let all = zones(set, nodes)
    var pairs = 0
    for left in all.indices {
      for right in all.indices where right > left && all[left] == all[right] { pairs += 1 }
    }
    return pairs
  }

  /// The fewest pairs that any choice of nodes has, by trying zone counts one replica at a time.
  private func fewestPairs(_ nodes: [RingNode], replicas: Int) -> Int {
    var free: [String: Int] = [:]
    for node in nodes { free[node.zone, default: 0] += 1 }
    var best = [0: 0]
    for count in free.values {
      var next: [Int: Int] = [:]
      for (placed, pairs) in best {
        for own in 0...count where placed + own <= replicas {
          let total = pairs + own * (own - 1) / 2
          next[placed + own] = min(next[placed + own] ?? .max, total)
        }
      }
      best = next
    }
    return best[min(replicas, nodes.count)] ?? .max
  }

  @Test func threeReplicasUseThreeZones() throws {
    for count in 3...18 {
      let nodes = RingFixture.nodes(0..<count, zones: 3)
      let placement = try Ring(nodes: nodes).placement(partitions: 256, replicas: 3)
      for set in placement { #expect(Set(zones(set, nodes)).count == 3) }
    }
  }

  @Test func twoZonesAreBothUsed() throws {
    for count in 3...12 {
      let nodes = RingFixture.nodes(0..<count, zones: 2)
      let placement = try Ring(nodes: nodes).placement(partitions: 256, replicas: 3)
      for set in placement { #expect(Set(zones(set, nodes)).count == 2) }
    }
  }

  @Test func sharingIsAsRareAsTheZonesAllowThroughEveryChange() throws {
    let seed: UInt64 = 99
    print("RingZoneTests.sharing seed \(seed)")
    var random = SeededRandom(seed: seed)
    for _ in 0..<25 {
      let zoneCount = Int.random(in: 1...5, using: &random)
      let replicas = Int.random(in: 1...5, using: &random)
      var nodes: [RingNode] = []
      var placement: [ReplicaSet]?
      var nextNumber = 0
      for _ in 0..<12 {
        if nodes.count < 2 || Int.random(in: 0..<3, using: &random) > 0 {
          nodes.append(
            RingFixture.node(
              nextNumber, weight: UInt32.random(in: 1...3, using: &random),
              zone: "z\(Int.random(in: 0..<zoneCount, using: &random))"))
          nextNumber += 1
        } else {
          nodes.remove(at: Int.random(in: 0..<nodes.count, using: &random))
        }
        let ring = try Ring(nodes: nodes)
        let next = try ring.placement(partitions: 96, replicas: replicas, previous: placement)
        let fresh = try ring.placement(partitions: 96, replicas: replicas)
        let fewest = fewestPairs(nodes, replicas: replicas)
        for set in next + fresh {
          #expect(set.stores.count == min(replicas, nodes.count))
          #expect(sharedPairs(set, nodes) == fewest)
        }
        #expect(try ring.placement(partitions: 96, replicas: replicas, previous: next) == next)
        placement = next
      }
    }
  }

  @Test func equalZonesAreBalancedToo() throws {
    for (count, zoneCount) in [(6, 3), (9, 3), (12, 3), (12, 4), (10, 5), (24, 3), (16, 2)] {
      let nodes = RingFixture.nodes(0..<count, zones: zoneCount)
      let placement = try Ring(nodes: nodes).placement(partitions: 256, replicas: 3)
      let measure = PlacementMeasure(placement)
      #expect(measure.imbalance(nodes) <= 1.1)
      #expect(measure.leaderImbalance(nodes) <= 1.15)
    }
  }

  @Test func aThirdZoneTakesOneReplicaOfEveryPartition() throws {
    let before = (0..<6).map { RingFixture.node($0, zone: "zone-\($0 % 2)") }
    let nodes = before + (6..<9).map { RingFixture.node($0, zone: "zone-2") }
    let placement = try Ring(nodes: before).placement(partitions: 256, replicas: 3)
    let after = try Ring(nodes: nodes).placement(partitions: 256, replicas: 3, previous: placement)
    let movement = MovementMeasure(from: placement, to: after, oldNodes: before, nodes: nodes)
    for set in after { #expect(Set(zones(set, nodes)).count == 3) }
    print("a third zone: moved \(movement.gained), ideal 256, between old \(movement.gainedByOld)")
    #expect(movement.gained <= 295)
    #expect(PlacementMeasure(after).imbalance(nodes) <= 1.1)
  }

  @Test func aNewNodeInAZoneTakesOnlyFromItsZoneWhenEveryZoneHasOneReplica() throws {
    let before = RingFixture.nodes(0..<9, zones: 3)
    let nodes = before + [RingFixture.node(9, zone: "zone-1")]
    let placement = try Ring(nodes: before).placement(partitions: 256, replicas: 3)
    let after = try Ring(nodes: nodes).placement(partitions: 256, replicas: 3, previous: placement)
    let movement = MovementMeasure(from: placement, to: after, oldNodes: before, nodes: nodes)
    #expect(movement.gained == 64)
    #expect(movement.gainedByOld == 0)
    for set in after { #expect(Set(zones(set, nodes)).count == 3) }
  }

  @Test func drainingAWholeZoneMovesOnlyWhatItHeld() throws {
    let before = RingFixture.nodes(0..<9, zones: 3)
    let nodes = before.filter { $0.zone != "zone-2" }
    let placement = try Ring(nodes: before).placement(partitions: 256, replicas: 3)
    let after = try Ring(nodes: nodes).placement(partitions: 256, replicas: 3, previous: placement)
    let movement = MovementMeasure(from: placement, to: after, oldNodes: before, nodes: nodes)
    #expect(movement.gained == 256)
    #expect(movement.lostBySurvivors == 0)
    #expect(PlacementMeasure(after).imbalance(nodes) <= 1.1)
  }
}
