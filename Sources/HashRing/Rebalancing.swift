/// What a path may take away from a node.
enum Movable {
  /// Replicas that were not on this node before: they move in any case.
  case whatMovesAnyway
  case anything
}

extension Placing {
  // MARK: Step 3

  /// Brings nodes below their band (new ones, above all) to their share.
  mutating func raiseUnderloaded() {
    var settled = [Bool](repeating: false, count: nodeCount)
    while let node = lightest(
      (0..<nodeCount).filter { !settled[$0] && loads[$0] < bands.lowers[$0] })
    {
      raise(node)
      settled[node] = true
    }
  }

  private mutating func raise(_ node: Int) {
    let nearestFirst = partitionsByDistance(to: node, among: Array(0..<partitionCount))
    for donorLimits in [bands.uppers, bands.ceilings, bands.floors] {
      for partition in nearestFirst {
        guard loads[node] < bands.floors[node] else { return }
        let donors = holders[partition].filter {
          loads[$0] > donorLimits[$0] && bands.isAboveShare($0, load: loads[$0])
            && mayMove(partition, from: $0, to: node)
        }
        if let donor = fullest(donors) { move(partition, from: donor, to: node) }
      }
    }
    var goal = [Bool](repeating: false, count: nodeCount)
    goal[node] = true
    while loads[node] < bands.floors[node] {
      let donors = (0..<nodeCount).filter {
        $0 != node && bands.isAboveShare($0, load: loads[$0])
      }
      if relieve(donors, to: goal, firstHop: .anything, laterHops: .whatMovesAnyway) != nil {
        continue
      }
      guard relieve(donors, to: goal, firstHop: .anything, laterHops: .anything) != nil else {
        return
      }
    }
  }

  // MARK: Step 4

  /// Brings nodes above their band to their share; what is farthest from them on the circle goes
  /// first.
  mutating func lowerOverloaded() {
    var settled = [Bool](repeating: false, count: nodeCount)
    while let node = fullest(
      (0..<nodeCount).filter { !settled[$0] && loads[$0] > bands.uppers[$0] })
    {
      lower(node)
      settled[node] = true
    }
  }

  private mutating func lower(_ node: Int) {
    for partition in partitionsByDistance(to: node, among: held[node]).reversed() {
      guard loads[node] > bands.ceilings[node] else { return }
      let receivers = (0..<nodeCount).filter {
        loads[$0] < bands.ceilings[$0] && mayMove(partition, from: node, to: $0)
      }
      if let receiver = lightest(receivers) { move(partition, from: node, to: receiver) }
    }
    while loads[node] > bands.ceilings[node] {
      let goals = (0..<nodeCount).map { loads[$0] < bands.ceilings[$0] }
      if relieve([node], to: goals, firstHop: .anything, laterHops: .whatMovesAnyway) != nil {
        continue
      }
      guard relieve([node], to: goals, firstHop: .anything, laterHops: .anything) != nil else {
        return
      }
    }
  }

  /// The partitions from which the node is the shortest walk away come first.
  private func partitionsByDistance(to node: Int, among partitions: [Int]) -> [Int] {
    // One word per partition sorts much faster than a pair; the low bits lost do not matter.
    let lowBits = UInt64(Ring.partitionsMax) - 1
    return partitions.map {
      ring.distance(from: positions[$0], to: node) & ~lowBits | UInt64($0)
    }.sorted().map { Int($0 & lowBits) }
  }

  // MARK: Paths

  /// Finds the shortest chain of moves from one of `sources` to a goal (an augmenting path) and
  /// makes it: the source's load falls by one, the goal's grows by one, all between stay as they
  /// are.
  ///
  /// **Returns**: the source that was relieved, or `nil` when there is no such chain.
  mutating func relieve(
    _ sources: [Int], to goals: [Bool], firstHop: Movable, laterHops: Movable,
    except excluded: Int? = nil
  ) -> Int? {
    var steps = [Step?](repeating: nil, count: nodeCount)
    var visited = [Bool](repeating: false, count: nodeCount)
    for source in sources { visited[source] = true }
    var queue = sources
    var next = 0
    while next < queue.count {
      let node = queue[next]
      next += 1
      let movable = steps[node] == nil ? firstHop : laterHops
      var unvisited = (0..<nodeCount).filter { !visited[$0] }
      guard !unvisited.isEmpty else { return nil }
      for partition in held[node] where partition != excluded {
        if movable == .whatMovesAnyway, previous[partition].holders.contains(node) { continue }
        if isOnPath(partition, to: node, steps) { continue }
        var blocked: [Int] = []
        for other in unvisited {
          guard mayMove(partition, from: node, to: other) else {
            blocked.append(other)
            continue
          }
          visited[other] = true
          steps[other] = Step(partition: partition, from: node)
          if goals[other] { return follow(steps, to: other) }
          queue.append(other)
        }
        unvisited = blocked
        if unvisited.isEmpty { break }
      }
    }
    return nil
  }

  private struct Step {
    let partition: Int
    let from: Int
  }

  /// A path takes a partition once: two moves of one could break the zone rule together.
  private func isOnPath(_ partition: Int, to node: Int, _ steps: [Step?]) -> Bool {
    var current = node
    while let step = steps[current] {
      if step.partition == partition { return true }
      current = step.from
    }
    return false
  }

  private mutating func follow(_ steps: [Step?], to goal: Int) -> Int {
    var current = goal
    while let step = steps[current] {
      move(step.partition, from: step.from, to: current)
      current = step.from
    }
    return current
  }
}
