import Testing

#if canImport(Glibc)
  import Glibc
#endif

@Suite struct SessionWalkTests {
  private static func environment(_ name: String) -> UInt64? {
    getenv(name).flatMap { UInt64(String(cString: $0)) }
  }

  /// **Returns**: what went wrong, with the end of the trace.
  private static func failure(seed: UInt64, counting events: inout RareEvents) -> String? {
    var walk = SessionWalk(seed: seed)
    do throws(Violation) {
      try walk.run()
      events.add(walk.events)
      return nil
    } catch {
      guard environment("MARTLET_SEED") != nil else { return "MARTLET_SEED=\(seed): \(error)" }
      var again = SessionWalk(seed: seed, isTracing: true)
      do throws(Violation) { try again.run() } catch {}
      let trace = (again.rig.trace ?? []).suffix(400).joined(separator: "\n")
      return "MARTLET_SEED=\(seed): \(error)\n\(trace)"
    }
  }

  @Test func `a session sees every event exactly once and in order, whatever happens`() {
    let first = Self.environment("MARTLET_SEED") ?? 1
    let count = Self.environment("MARTLET_WALKS") ?? (first == 1 ? 300 : 1)
    var events = RareEvents()
    var failures: [String] = []
    for seed in first..<first + count {
      if let failure = Self.failure(seed: seed, counting: &events) { failures.append(failure) }
    }
    print("session walks from seed \(first): \(count); \(events.description)")
    if !failures.isEmpty {
      let some = failures.prefix(8).joined(separator: "\n")
      Issue.record("\(failures.count) of \(count) walks failed:\n\(some)")
    }
    guard count >= 300, failures.isEmpty else { return }
    for name in [
      "behind told", "disconnects", "joins", "leader changes", "leaves", "links lost",
      "sends answered", "subscriptions ended",
    ] {
      #expect((events.counts[name] ?? 0) > 100, "\(name) hardly ever happened")
    }
  }
}
