/// A placement under construction: who holds what, under the zone rule and the bands.
struct Placing {
  let ring: Ring
  let partitionCount: Int
  let replicaCount: Int
  let zones: ZoneRule
  let bands: ShareBands
  let previous: [PreviousSet]
  /// Where each partition sits on the circle.
  let positions: [UInt64]

  /// **Shape**: per partition, positions of `Ring.nodes`.
  private(set) var holders: [[Int]]
  /// **Shape**: per node, partitions in the order in which they came.
  private(set) var held: [[Int]]
  private(set) var loads: [Int]
  /// **Shape**: replicas of a partition in a zone, at `partition * zoneCount + zone`.
  private var zoneCounts: [Int]
  /// Zones of a partition that hold more than `zones.level` replicas.
  private var raisedCounts: [Int]
  /// Which walk has last seen a node; saves clearing a set per walk.
  private var seenInWalk: [Int]
  private var walkNumber = 0

  init(ring: Ring, partitionCount: Int, replicaCount: Int, previous: [PreviousSet]) {
    self.ring = ring
    self.partitionCount = partitionCount
    self.replicaCount = replicaCount
    self.previous = previous
    zones = ZoneRule(
      zoneOfNode: ring.zoneOfNode, zoneCount: ring.zoneCount, replicaCount: replicaCount)
    bands = ShareBands(
      weights: ring.nodes.map { Int($0.weight) }, zones: zones, partitionCount: partitionCount,
      replicaCount: replicaCount)
    positions = (0..<partitionCount).map {
      Ring.position(of: $0, partitionCount: partitionCount)
    }
    holders = [[Int]](repeating: [], count: partitionCount)
    held = [[Int]](repeating: [], count: ring.nodes.count)
    loads = [Int](repeating: 0, count: ring.nodes.count)
    zoneCounts = [Int](repeating: 0, count: partitionCount * ring.zoneCount)
    raisedCounts = [Int](repeating: 0, count: partitionCount)
    seenInWalk = [Int](repeating: 0, count: ring.nodes.count)
  }

  var nodeCount: Int { loads.count }

  // MARK: What is allowed

  func mayPlace(_ partition: Int, on node: Int) -> Bool {
    !holders[partition].contains(node)
      && mayEnter(partition, zones.zoneOfNode[node], raised: raisedCounts[partition])
  }

  func mayMove(_ partition: Int, from node: Int, to other: Int) -> Bool {
    guard !holders[partition].contains(other) else { return false }
    let zone = zones.zoneOfNode[node]
    let otherZone = zones.zoneOfNode[other]
    guard zone != otherZone else { return true }
    let leavesRaised = zoneCounts[partition * ring.zoneCount + zone] == zones.level + 1
    return mayEnter(
      partition, otherZone, raised: raisedCounts[partition] - (leavesRaised ? 1 : 0))
  }

  private func mayEnter(_ partition: Int, _ zone: Int, raised: Int) -> Bool {
    let count = zoneCounts[partition * ring.zoneCount + zone]
    if count < zones.least(zone) { return true }
    return count < zones.most(zone) && raised < zones.raisedMax
  }

  // MARK: Changes

  mutating func place(_ partition: Int, on node: Int) {
    holders[partition].append(node)
    held[node].append(partition)
    loads[node] += 1
    let slot = partition * ring.zoneCount + zones.zoneOfNode[node]
    zoneCounts[slot] += 1
    if zoneCounts[slot] == zones.level + 1 { raisedCounts[partition] += 1 }
  }

  mutating func remove(_ partition: Int, from node: Int) {
    guard let place = holders[partition].firstIndex(of: node),
      let entry = held[node].lastIndex(of: partition)
    else { preconditionFailure("partition \(partition) is not on node \(node)") }
    holders[partition].remove(at: place)
    held[node].remove(at: entry)
    loads[node] -= 1
    let slot = partition * ring.zoneCount + zones.zoneOfNode[node]
    if zoneCounts[slot] == zones.level + 1 { raisedCounts[partition] -= 1 }
    zoneCounts[slot] -= 1
  }

  mutating func move(_ partition: Int, from node: Int, to other: Int) {
    remove(partition, from: node)
    place(partition, on: other)
  }

  // MARK: Step 1

  /// Takes over the previous placement and gives up what the zone rule no longer allows, from the
  /// fullest nodes first.
  mutating func keepWhatMayStay() {
    for partition in 0..<partitionCount {
      for node in previous[partition].holders { place(partition, on: node) }
    }
    for partition in 0..<partitionCount {
      while let node = replicaToGiveUp(partition) { remove(partition, from: node) }
    }
  }

  private func replicaToGiveUp(_ partition: Int) -> Int? {
    func count(_ node: Int) -> Int {
      zoneCounts[partition * ring.zoneCount + zones.zoneOfNode[node]]
    }
    var candidates = holders[partition].filter { count($0) > zones.level + 1 }
    if candidates.isEmpty, raisedCounts[partition] > zones.raisedMax {
      candidates = holders[partition].filter { count($0) == zones.level + 1 }
    }
    return fullest(candidates)
  }

  func fullest(_ nodes: [Int]) -> Int? {
    var best: Int?
    for node in nodes {
      guard let current = best else {
        best = node
        continue
      }
      if bands.isFuller(node, load: loads[node], than: current, load: loads[current]) {
        best = node
      }
    }
    return best
  }

  func lightest(_ nodes: [Int]) -> Int? {
    var best: Int?
    for node in nodes {
      guard let current = best else {
        best = node
        continue
      }
      if bands.isFuller(current, load: loads[current], than: node, load: loads[node]) {
        best = node
      }
    }
    return best
  }

  // MARK: Step 2

  mutating func fillOpenSlots() {
    var start = 0
    for partition in 0..<partitionCount where holders[partition].count < replicaCount {
      while start < ring.tokens.count, ring.tokens[start] < positions[partition] { start += 1 }
      walk(partition, from: start, limits: bands.floors)
      while holders[partition].count < replicaCount { fillOneSlot(partition, walkFrom: start) }
    }
  }

  /// Goes clockwise and takes every node that is allowed and below its limit.
  private mutating func walk(_ partition: Int, from start: Int, limits: [Int]) {
    walkNumber += 1
    var seenCount = 0
    var place = start
    while holders[partition].count < replicaCount, seenCount < nodeCount {
      if place == ring.tokens.count { place = 0 }
      let node = ring.tokenOwners[place]
      place += 1
      guard seenInWalk[node] != walkNumber else { continue }
      seenInWalk[node] = walkNumber
      seenCount += 1
      if loads[node] < limits[node], mayPlace(partition, on: node) {
        self.place(partition, on: node)
      }
    }
  }

  /// Finds room for one replica, at the least price: what moves anyway may be rearranged freely, a
  /// load up to the band's upper end comes next, moving what could have stayed is last.
  private mutating func fillOneSlot(_ partition: Int, walkFrom start: Int) {
    let openBefore = holders[partition].count
    let starving = (0..<nodeCount).map { loads[$0] < bands.lowers[$0] }
    if starving.contains(true), placeByPath(partition, to: starving, moving: .whatMovesAnyway) {
      return
    }
    walk(partition, from: start, limits: bands.ceilings)
    guard holders[partition].count == openBefore else { return }
    let roomy = (0..<nodeCount).map { loads[$0] < bands.ceilings[$0] }
    if placeByPath(partition, to: roomy, moving: .whatMovesAnyway) { return }
    walk(partition, from: start, limits: bands.uppers)
    guard holders[partition].count == openBefore else { return }
    if placeByPath(partition, to: roomy, moving: .anything) { return }
    let allowed = (0..<nodeCount).filter { mayPlace(partition, on: $0) }
    guard let node = lightest(allowed) else {
      preconditionFailure("no node for partition \(partition) with \(holders[partition])")
    }
    place(partition, on: node)
  }

  private mutating func placeByPath(_ partition: Int, to goals: [Bool], moving: Movable) -> Bool {
    let sources = (0..<nodeCount).filter { mayPlace(partition, on: $0) }
    guard
      let source = relieve(
        sources, to: goals, firstHop: moving, laterHops: moving, except: partition)
    else { return false }
    place(partition, on: source)
    return true
  }
}
