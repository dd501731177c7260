import Foundation
import Testing

extension RealProcesses {
  /// A running cluster gets another program, node by node, and back, and for good.
  ///
  /// The older one is what `MARTLET_TEST_OLDER_BINARY` names, a release build; the newer one is the
  /// debug build, which calls itself a version later.
  @Suite(.enabled(if: Program.older != nil, "MARTLET_TEST_OLDER_BINARY is not set"))
  struct UpgradeTests {

    private struct Versions: Decodable {
      struct Node: Decodable {
        let name: String
        let version: UInt32
      }

      let activeVersion: UInt32
      let nodes: [Node]
    }

    private func versions(_ scripts: ClusterScripts) async throws -> Versions {
      let text = try await Program.succeed(
        Program.martlet, ["ring", "status", "--json"] + scripts.etcd)
      return try JSONDecoder().decode(Versions.self, from: Data(text.utf8))
    }

    private func upgrade(_ scripts: ClusterScripts, _ arguments: String...) async throws {
      let outcome = try await scripts.run("upgrade", arguments)
      try #require(outcome.ending == .exited(0), "\(outcome)")
      try #require(outcome.output.contains("every node runs with the new program"))
    }

    @Test func aClusterIsUpgradedAndBackAndForGoodWhilePeopleTalk() async throws {
      let older = try #require(Program.older)
      try await ClusterScripts.with { scripts in
        try await scripts.up(binary: older)
        let before = try await versions(scripts)
        try await Workload.run(at: scripts.addresses) { workload in
          let begin = ContinuousClock.now
          try await upgrade(scripts, "--binary", Program.martlet, "--keep-version")
          let upgraded = try await versions(scripts)
          #expect(upgraded.nodes.count == 5)
          #expect(upgraded.nodes.allSatisfy { $0.version > before.nodes[0].version })
          #expect(upgraded.activeVersion == before.activeVersion)
          try await workload.progress(by: 30)
          try await upgrade(scripts, "--binary", older, "--keep-version")
          try await workload.progress(by: 30)
          try await upgrade(scripts, "--binary", Program.martlet)
          let active = try await versions(scripts)
          #expect(active.activeVersion == upgraded.nodes[0].version)
          try await workload.progress(by: 30)
          for conversation in workload.conversations {
            let pause = workload.longestPause(in: conversation, since: begin)
            print("the longest pause of a conversation: \(pause)")
            #expect(pause < .seconds(2))
          }
          // One that does not know what is active starts no more.
          let shard = try #require(try scripts.pids()["shard1"])
          kill(shard, SIGTERM)
          try await eventually("the end of shard1") { !ClusterScripts.isRunning(shard) }
          let refused = try await scripts.run("up", ["--binary", older])
          #expect(refused.ending != .exited(0))
          #expect(refused.output.contains("shard1 has ended") || refused.error.contains("shard1"))
          let log = try Program.text("\(scripts.state)/log/shard1.log")
          #expect(
            log.contains("of the protocol, and version") || log.contains("storage version"))
          try await scripts.up()
        }
        let verified = try await Program.succeed(
          Program.martlet, ["ring", "verify"] + scripts.etcd)
        #expect(verified.contains("16 of 16 partitions"))
      }
    }
  }
}
