import ReplicaCore
import Testing

#if canImport(Glibc)
  import Glibc
#endif

/// One seed's walk, and if it fails what happened before.
enum Campaign {
  static func environment(_ name: String) -> UInt64? {
    getenv(name).flatMap { UInt64(String(cString: $0)) }
  }

  /// Runs one walk. **Returns**: its violation with the end of its trace, or `nil`.
  static func failure(
    seed: UInt64, counting events: inout RareEvents, traceCount: Int = 60,
    configure: (inout ReplicaConfiguration) -> Void = { _ in }
  ) -> String? {
    var walk = RandomWalk(seed: seed, configure: configure)
    do {
      try walk.run()
      events.add(walk.events)
      return nil
    } catch {
      var again = RandomWalk(seed: seed, isTracing: true, configure: configure)
      try? again.run()
      let trace = again.trace.suffix(traceCount).joined(separator: "\n")
      return "MARTLET_SEED=\(seed): \(error)\n\(trace)"
    }
  }
}

@Suite struct RandomWalkTests {
  @Test func `random histories keep every promise, and the partition recovers when faults end`() {
    let first = Campaign.environment("MARTLET_SEED") ?? 1
    let count = Campaign.environment("MARTLET_WALKS") ?? (first == 1 ? 300 : 1)
    var events = RareEvents()
    for seed in first..<first + count {
      if let failure = Campaign.failure(seed: seed, counting: &events) {
        Issue.record("\(failure)")
        return
      }
    }
    print("random walks from seed \(first): \(count); \(events.description)")
    guard count >= 300 else { return }
    #expect(events.missing.isEmpty, "never happened: \(events.missing)")
  }
}
