import Testing

#if canImport(Glibc)
  import Glibc
#endif

@Suite struct ShardWalkTests {
  private static func environment(_ name: String) -> UInt64? {
    getenv(name).flatMap { UInt64(String(cString: $0)) }
  }

  @Test func `every acknowledged message is on every replica, once and in order`() {
    let first = Self.environment("MARTLET_SEED") ?? 1
    let count = Self.environment("MARTLET_WALKS") ?? (first == 1 ? 30 : 1)
    var counts: [String: Int] = [:]
    var failures: [String] = []
    for seed in first..<first + count {
      var walk = ShardWalk(seed: seed)
      do throws(Violation) {
        try walk.run()
        counts.merge(walk.counts) { $0 + $1 }
      } catch {
        failures.append("MARTLET_SEED=\(seed): \(error)")
      }
    }
    let summary = counts.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }
    print("shard walks from seed \(first): \(count); \(summary.joined(separator: ", "))")
    if !failures.isEmpty {
      let some = failures.prefix(8).joined(separator: "\n")
      Issue.record("\(failures.count) of \(count) walks failed:\n\(some)")
    }
    guard count >= 30, failures.isEmpty else { return }
    for name in [
      "acknowledged", "checkpoints", "cuts", "kills", "leader changes", "pauses", "resets",
      "restarts",
    ] {
      #expect((counts[name] ?? 0) > 10, "\(name) hardly ever happened")
    }
  }
}
