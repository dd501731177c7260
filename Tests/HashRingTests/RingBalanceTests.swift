import HashRing
import Primitives
import Testing

@Suite struct RingBalanceTests {
  @Test func replicasAndLeadersAreBalancedOnThreeToThirtyTwoNodes() throws {
    var worst = (replicas: 0.0, leaders: 0.0)
    for count in 3...32 {
      let nodes = RingFixture.nodes(0..<count)
      let placement = try Ring(nodes: nodes).placement(partitions: 256, replicas: 3)
      let measure = PlacementMeasure(placement)
      let (replicas, leaders) = (measure.imbalance(nodes), measure.leaderImbalance(nodes))
      worst = (max(worst.replicas, replicas), max(worst.leaders, leaders))
      #expect(replicas <= 1.1)
      #expect(leaders <= 1.15)
    }
    print(
      "new placement, 3…32 nodes: max/mean \(rounded(worst.replicas)),"
        + " leaders \(rounded(worst.leaders))")
  }

  @Test func addingANodeMovesItsShareAndNothingBetweenOldNodes() throws {
    for fresh in [true, false] {
      var chained = try Ring(nodes: RingFixture.nodes(0..<3)).placement(
        partitions: 256, replicas: 3)
      var worst = (movement: 0.0, balance: 0.0, leaders: 0.0)
      for count in 4...32 {
        let oldNodes = RingFixture.nodes(0..<(count - 1))
        let nodes = RingFixture.nodes(0..<count)
        let before =
          fresh ? try Ring(nodes: oldNodes).placement(partitions: 256, replicas: 3) : chained
        let after = try Ring(nodes: nodes)
          .placement(partitions: 256, replicas: 3, previous: before)
        let movement = MovementMeasure(from: before, to: after, oldNodes: oldNodes, nodes: nodes)
        let ratio = Double(movement.gained) / (768 / Double(count))
        let measure = PlacementMeasure(after)
        #expect(movement.gainedByOld == 0, "the node number \(count)")
        #expect(ratio <= 1.15 && ratio > 0.9)
        #expect(measure.imbalance(nodes) <= 1.1)
        #expect(measure.leaderImbalance(nodes) <= 1.15)
        worst = (
          max(worst.movement, ratio), max(worst.balance, measure.imbalance(nodes)),
          max(worst.leaders, measure.leaderImbalance(nodes))
        )
        chained = after
      }
      print(
        "adding to \(fresh ? "new" : "grown") placements, 4…32: moved/ideal"
          + " \(rounded(worst.movement)), between old nodes 0, max/mean \(rounded(worst.balance)),"
          + " leaders \(rounded(worst.leaders))")
    }
  }

  @Test func removingANodeMovesOnlyWhatItHeld() throws {
    var worst = (balance: 0.0, leaders: 0.0)
    for count in 3...32 {
      let oldNodes = RingFixture.nodes(0..<count)
      let before = try Ring(nodes: oldNodes).placement(partitions: 256, replicas: 3)
      for gone in [0, count / 2, count - 1] {
        let nodes = oldNodes.filter { $0.store != oldNodes[gone].store }
        let after = try Ring(nodes: nodes).placement(partitions: 256, replicas: 3, previous: before)
        let movement = MovementMeasure(from: before, to: after, oldNodes: oldNodes, nodes: nodes)
        let held = before.count { $0.stores.contains(oldNodes[gone].store) }
        #expect(movement.lostBySurvivors == 0, "\(count) nodes without number \(gone)")
        #expect(movement.gained == (count == 3 ? 0 : held))
        let measure = PlacementMeasure(after)
        #expect(measure.imbalance(nodes) <= 1.1)
        #expect(measure.leaderImbalance(nodes) <= 1.15)
        worst = (
          max(worst.balance, measure.imbalance(nodes)),
          max(worst.leaders, measure.leaderImbalance(nodes))
        )
      }
    }
    print(
      "removing, 3…32: only what it held, max/mean \(rounded(worst.balance)),"
        + " leaders \(rounded(worst.leaders))")
  }

  @Test func randomAddsAndRemovesDoNotWearTheBalanceOut() throws {
    for (seed, zoneCount) in [(11, 1), (12, 1), (13, 3), (14, 5)] as [(UInt64, Int)] {
      var random = SeededRandom(seed: seed)
      var numbers = Array(0..<8)
      var nextNumber = 8
      func nodes(_ numbers: [Int]) -> [RingNode] {
        numbers.map { RingFixture.node($0, zone: "zone-\($0 % zoneCount)") }
      }
      var placement = try Ring(nodes: nodes(numbers)).placement(partitions: 256, replicas: 3)
      var worst = (balance: 0.0, leaders: 0.0)
      var (moved, ideal, extra, leaderChanges) = (0, 0, 0, 0)
      for _ in 0..<120 {
        let oldNodes = nodes(numbers)
        let adds = numbers.count <= 6 || (numbers.count < 24 && Bool.random(using: &random))
        if adds {
          numbers.append(nextNumber)
          nextNumber += 1
        } else if let last = removable(numbers, zoneCount: zoneCount, using: &random) {
          numbers.removeAll { $0 == last }
        }
        let newNodes = nodes(numbers)
        let after = try Ring(nodes: newNodes)
          .placement(partitions: 256, replicas: 3, previous: placement)
        let movement = MovementMeasure(
          from: placement, to: after, oldNodes: oldNodes, nodes: newNodes)
        let measure = PlacementMeasure(after)
        if adds {
          ideal += measure.replicas[RingFixture.store(nextNumber - 1)] ?? 0
          extra += movement.gainedByOld
        } else {
          ideal += movement.gained - movement.lostBySurvivors
          extra += movement.lostBySurvivors
        }
        moved += movement.gained
        leaderChanges += movement.leaderChanges
        if zoneCount == 1 {
          #expect(measure.imbalance(newNodes) <= 1.1)
          #expect(measure.leaderImbalance(newNodes) <= 1.15)
        }
        if zoneCount == 3 {
          // Each zone holds one replica of everything, however few nodes it has.
          for zone in 0..<3 {
            let loads = newNodes.filter { $0.zone == "zone-\(zone)" }
              .map { measure.replicas[$0.store] ?? 0 }
            #expect(loads.reduce(0, +) == 256)
            #expect(Double(loads.max() ?? 0) <= 1.1 * 256 / Double(loads.count))
          }
        }
        worst = (
          max(worst.balance, measure.imbalance(newNodes)),
          max(worst.leaders, measure.leaderImbalance(newNodes))
        )
        placement = after
      }
      print(
        "120 random adds and removes, seed \(seed), \(zoneCount) zones: max/mean"
          + " \(rounded(worst.balance)), leaders \(rounded(worst.leaders)), moved \(moved),"
          + " ideal \(ideal), between staying nodes \(extra), leader changes \(leaderChanges)")
      #expect(Double(moved) <= 1.15 * Double(ideal))
      if zoneCount == 1 { #expect(Double(extra) <= 0.01 * Double(moved)) }
    }
  }

  /// A node whose zone keeps at least one other, so that the zones stay comparable.
  private func removable(
    _ numbers: [Int], zoneCount: Int, using random: inout SeededRandom
  ) -> Int? {
    numbers.filter { number in
      numbers.count { $0 % zoneCount == number % zoneCount } > 1
    }.randomElement(using: &random)
  }

  @Test func anInterruptedChangeGoesOnWithoutDetours() throws {
    let seed: UInt64 = 5
    print("RingBalanceTests.anInterruptedChange seed \(seed)")
    var random = SeededRandom(seed: seed)
    let before = try Ring(nodes: RingFixture.nodes(0..<7)).placement(partitions: 256, replicas: 3)
    let ring = try Ring(nodes: RingFixture.nodes(0..<8))
    let goal = try ring.placement(partitions: 256, replicas: 3, previous: before)
    let planned = PlacementDifference(from: before, to: goal).moves.count
    var current = before
    var made = 0
    for _ in 0..<100 where current != goal {
      let next = try ring.placement(partitions: 256, replicas: 3, previous: current)
      let changed = current.indices.filter { current[$0] != next[$0] }
      for partition in changed.shuffled(using: &random).prefix(16) {
        made += PlacementDifference(from: [current[partition]], to: [next[partition]]).moves.count
        current[partition] = next[partition]
      }
      if changed.isEmpty { break }
    }
    #expect(made <= planned)
    let measure = PlacementMeasure(current)
    #expect(measure.imbalance(RingFixture.nodes(0..<8)) <= 1.1)
    #expect(measure.leaderImbalance(RingFixture.nodes(0..<8)) <= 1.15)
  }

  @Test func weightsAreHonoured() throws {
    let weights: [[UInt32]] = [
      [1, 1, 1, 1, 1, 1, 1, 2], [10, 10, 10, 20, 20, 30, 30, 40], [100, 150, 200, 250, 300, 350],
      [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 4],
    ]
    for group in weights {
      let nodes = group.enumerated().map { RingFixture.node($0, weight: $1) }
      let placement = try Ring(nodes: nodes).placement(partitions: 256, replicas: 3)
      let measure = PlacementMeasure(placement)
      print(
        "weights \(group): max of load/share \(rounded(measure.imbalance(nodes))),"
          + " leaders \(rounded(measure.leaderImbalance(nodes)))")
      #expect(measure.imbalance(nodes) <= 1.1)
      #expect(measure.leaderImbalance(nodes) <= 1.15)
    }
  }

  @Test func aNodeTooHeavyForItsWeightHoldsEverythingOnceAndTheOthersShareTheRest() throws {
    let nodes = [RingFixture.node(0, weight: 1_000)] + (1..<6).map { RingFixture.node($0) }
    let placement = try Ring(nodes: nodes).placement(partitions: 250, replicas: 3)
    let measure = PlacementMeasure(placement)
    #expect(measure.replicas[nodes[0].store] == 250)
    for node in nodes.dropFirst() { #expect(measure.replicas[node.store] == 100) }
  }

  @Test func aChangedWeightMovesOnlyTheDifference() throws {
    let before = (0..<8).map { RingFixture.node($0, weight: 100) }
    var nodes = before
    nodes[3] = RingFixture.node(3, weight: 50)
    let placement = try Ring(nodes: before).placement(partitions: 256, replicas: 3)
    let after = try Ring(nodes: nodes).placement(partitions: 256, replicas: 3, previous: placement)
    let movement = MovementMeasure(from: placement, to: after, oldNodes: before, nodes: nodes)
    let measure = PlacementMeasure(after)
    // 96 replicas before, 51.2 are its share now.
    #expect(measure.replicas[nodes[3].store] == 52)
    #expect(movement.gained == 44)
    #expect(measure.imbalance(nodes) <= 1.1)
  }

  @Test func aNodeThatLeadsNothingIsGivenItsPartWithoutMovingReplicas() throws {
    let nodes = RingFixture.nodes(0..<32)
    let idle = nodes[5].store
    let placement = try Ring(nodes: nodes).placement(partitions: 4_096, replicas: 3)
    let previous = placement.map { set in
      ReplicaSet(set.stores.filter { $0 != idle } + set.stores.filter { $0 == idle })
    }
    #expect(PlacementMeasure(previous).leaders[idle] == nil)
    let after = try Ring(nodes: nodes)
      .placement(partitions: 4_096, replicas: 3, previous: previous)
    let movement = MovementMeasure(from: previous, to: after, oldNodes: nodes, nodes: nodes)
    #expect(PlacementMeasure(after).leaders[idle] == 128)
    #expect(movement.gained == 0)
    #expect(movement.leaderChanges <= 140)
  }
}
