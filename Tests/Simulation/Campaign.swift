import Primitives

/// How one seed ended.
package struct RunResult: Sendable {
  package let seed: UInt64
  package let violation: Violation?
  package let seconds: Double
  package let events: Int
  package let trace: UInt64
  package let rare: RareEventCounts
  package let faults: [FaultKind: Int]
  package let sent: Int
  package let acknowledged: Int
  package let reads: Int

  /// Runs a plan to its end.
  ///
  /// - Parameter narrator: is told what happens.
  package init(running plan: SimulationPlan, narrator: ((String) -> Void)? = nil) {
    let simulation = SimulatedCluster(plan)
    simulation.narrator = narrator
    var violation: Violation?
    do throws(Violation) { try simulation.run() } catch { violation = error }
    seed = plan.seed
    self.violation = violation
    seconds = simulation.seconds
    events = simulation.eventCount
    trace = simulation.trace
    rare = simulation.rare
    var faults: [FaultKind: Int] = [:]
    for fault in plan.faults { faults[fault.kind, default: 0] += 1 }
    self.faults = faults
    sent = simulation.history.sentCount
    acknowledged = simulation.history.acknowledgedCount
    reads = simulation.history.readCount
  }
}

/// A failing plan made small: the fewest faults and the shortest time with which it still fails.
package struct Shortening {
  package private(set) var plan: SimulationPlan
  package private(set) var kept: [Int]
  package private(set) var violation: Violation
  private let whole: SimulationPlan
  private var runsLeft: Int

  /// - Parameter runsMax: how many runs it may take.
  package init(_ plan: SimulationPlan, _ violation: Violation, runsMax: Int = 200) {
    whole = plan
    self.plan = plan
    kept = Array(plan.faults.indices)
    self.violation = violation
    runsLeft = runsMax
  }

  /// Leaves out ever smaller parts of the faults, as long as it still fails.
  ///
  /// **Source**: Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input" (2002).
  package mutating func run() {
    var size = max(1, kept.count / 2)
    while size >= 1 {
      var start = 0
      var hasShrunk = false
      while start < kept.count, runsLeft > 0 {
        let rest = Array(kept[..<start]) + Array(kept[min(kept.count, start + size)...])
        if fails(rest, plan.faultsEnd) { hasShrunk = true } else { start += size }
      }
      if size == 1, !hasShrunk { break }
      size = max(1, size / 2)
      if runsLeft == 0 { break }
    }
    while runsLeft > 0, plan.faultsEnd > 1_000_000, fails(kept, plan.faultsEnd * 3 / 4) {}
  }

  private mutating func fails(_ faults: [Int], _ end: UInt64) -> Bool {
    runsLeft -= 1
    let candidate = whole.keeping(faults: faults, until: end)
    guard let found = RunResult(running: candidate).violation else { return false }
    kept = faults
    plan = candidate
    violation = found
    return true
  }

  /// One line that repeats it.
  package var line: String {
    "\(whole.seed) faults=\(kept.map(String.init).joined(separator: ",")) until=\(plan.faultsEnd)"
  }
}

extension SimulationPlan {
  /// Reads a seed, or a shortened plan as `Shortening.line` writes it.
  package init?(line: some StringProtocol) {
    let words = line.split(separator: " ")
    guard let first = words.first, let seed = UInt64(first) else { return nil }
    var plan = SimulationPlan(seed: seed)
    var kept = Array(plan.faults.indices)
    var end = plan.faultsEnd
    for word in words.dropFirst() {
      if word.hasPrefix("faults=") {
        let numbers = word.dropFirst(7).split(separator: ",").map { Int($0) }
        guard numbers.allSatisfy({ $0.map { plan.faults.indices.contains($0) } ?? false }) else {
          return nil
        }
        kept = numbers.compactMap { $0 }
      } else if word.hasPrefix("until=") {
        guard let number = UInt64(word.dropFirst(6)) else { return nil }
        end = number
      } else if word.hasPrefix("#") {
        break
      } else {
        return nil
      }
    }
    plan = plan.keeping(faults: kept, until: end)
    self = plan
  }
}
