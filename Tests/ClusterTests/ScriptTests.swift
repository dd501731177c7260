import Foundation
import Testing

extension RealProcesses {
  /// `cluster/up`, `status` and `down`, in a state directory and on ports of the test's own.
  @Suite struct ScriptTests {
    private static let nodes = ["etcd", "gateway1", "gateway2", "shard1", "shard2", "shard3"]

    @Test func aClusterIsStartedRepairedShownAndStopped() async throws {
      try await ClusterScripts.with(live)
    }

    private func live(_ scripts: ClusterScripts) async throws {
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
      try await eventually("the end of shard2") { !ClusterScripts.isRunning(victim) }
      let broken = try await scripts.run("status")
      try #require(broken.ending == .exited(1), "\(broken)")
      try await scripts.up()
      var second = try scripts.pids()
      try #require(second["shard2"] != victim)
      second["shard2"] = victim
      try #require(second == first)
      let repaired = try await scripts.run("status")
      try #require(repaired.ending == .exited(0), "\(repaired)")

      // What it was made with stays.
      for (arguments, words) in [
        (["--shards", "2"], "this cluster has 3 shards; cluster/down --purge deletes it"),
        (
          ["--partitions", "32"],
          "this cluster was made with 16 partitions; cluster/down --purge deletes"
        ),
        (["--gateways", "1"], "this cluster runs with 2 gateways; cluster/down first"),
        (["--embedded"], "this cluster is not embedded; cluster/down --purge deletes it"),
      ] {
        let refused = try await scripts.run("up", ["--binary", Program.martlet] + arguments)
        try #require(refused.ending == .exited(1), "\(refused)")
        try #require(refused.error.contains(words), "\(refused)")
      }
      let last = try scripts.pids()
      second["shard2"] = last["shard2"]
      try #require(second == last)
      try #require(try await scripts.run("down").ending == .exited(0))
      for (node, pid) in last { try #require(!ClusterScripts.isRunning(pid), "\(node) runs still") }
      try #require(FileManager.default.fileExists(atPath: "\(scripts.state)/shard1"))
      // What was kept is good for another life.
      try await scripts.up()
      try #require(try await scripts.run("down", ["--purge"]).ending == .exited(0))
      try #require(!FileManager.default.fileExists(atPath: scripts.state))
    }
  }
}
