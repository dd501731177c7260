import Foundation
import Testing

extension RealProcesses {
  /// `cluster/up`, `status` and `down`, in a state directory and on ports of the test's own.
  @Suite struct ScriptTests {
    private static let nodes = ["etcd", "gateway1", "gateway2", "shard1", "shard2", "shard3"]
    /// What `cluster/local.bash` listens on without an offset.
    private static let ports =
      [8080, 8081, 8443, 8444, 23_790, 23_800]
      + (1...3).flatMap { [7100 + $0, 7200 + $0, 7300 + $0] }

    private struct Scripts {
      let parent: TemporaryDirectory
      let offset: Int

      var state: String { parent.file("state") }

      func run(_ name: String, _ arguments: String...) async throws -> Program.Outcome {
        try await Program.run(
          "\(Program.root)/cluster/\(name)", arguments,
          environment: ["MARTLET_STATE": state, "MARTLET_PORT_OFFSET": "\(offset)"],
          within: .seconds(120))
      }

      func up() async throws {
        let outcome = try await run(
          "up", "--binary", Program.martlet, "--partitions", "\(ClusterLayout.partitionCount)")
        try #require(outcome.ending == .exited(0), "\(outcome)")
        try #require(outcome.output.contains("The cluster serves: 16 partitions on 3 shards"))
      }

      /// The pids of everything that the scripts have started.
      func pids() throws -> [String: pid_t] {
        var pids: [String: pid_t] = [:]
        for node in try FileManager.default.contentsOfDirectory(atPath: "\(state)/run") {
          let lines = try Program.text("\(state)/run/\(node)").split(separator: "\n")
          pids[node] = lines.first.flatMap { pid_t($0) }
        }
        return pids
      }
    }

    /// A process that has ended and that nobody has reaped yet has no program any more.
    private func isRunning(_ pid: pid_t) -> Bool {
      (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(pid)/exe")) != nil
    }

    @Test func aClusterIsStartedRepairedShownAndStopped() async throws {
      let scripts = Scripts(
        parent: try TemporaryDirectory(), offset: try Ports.freeOffset(of: Self.ports))
      defer { scripts.parent.remove() }
      do {
        try await live(scripts)
      } catch {
        let status = (try? await scripts.run("status", "--all"))?.output ?? "no status"
        Issue.record("the cluster at the end:\n\(status)")
        _ = try? await scripts.run("down", "--purge")
        throw error
      }
    }

    private func live(_ scripts: Scripts) async throws {
      try await scripts.up()
      let first = try scripts.pids()
      try #require(first.keys.sorted() == Self.nodes)
      try await scripts.up()
      try #require(try scripts.pids() == first)

      let shown = try await scripts.run("status")
      try #require(shown.ending == .exited(0), "\(shown)")
      for node in Self.nodes {
        try #require(
          shown.output.contains(try Regex("(?m)^\(node) +running +\(first[node] ?? 0) ")),
          "\(shown.output)")
      }
      try #require(shown.output.contains("partitions: 16 whole"), "\(shown.output)")

      let victim = try #require(first["shard2"])
      try #require(kill(victim, SIGKILL) == 0)
      try await eventually("the end of shard2") { !isRunning(victim) }
      let broken = try await scripts.run("status")
      try #require(broken.ending == .exited(1), "\(broken)")
      try await scripts.up()
      var second = try scripts.pids()
      try #require(second["shard2"] != victim)
      second["shard2"] = victim
      try #require(second == first)
      let repaired = try await scripts.run("status")
      try #require(repaired.ending == .exited(0), "\(repaired)")

      let last = try scripts.pids()
      try #require(try await scripts.run("down").ending == .exited(0))
      for (node, pid) in last { try #require(!isRunning(pid), "\(node) runs still") }
      try #require(FileManager.default.fileExists(atPath: "\(scripts.state)/shard1"))
      // What was kept is good for another life.
      try await scripts.up()
      try #require(try await scripts.run("down", "--purge").ending == .exited(0))
      try #require(!FileManager.default.fileExists(atPath: scripts.state))
    }
  }
}
