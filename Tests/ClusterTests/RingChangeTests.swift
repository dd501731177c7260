import Foundation
import Testing

extension RealProcesses {
  /// The ring grows and shrinks while people talk through both gateways.
  @Suite struct RingChangeTests {
    /// Writes to a partition wait no longer than this for a move of it.
    private static let pauseMax = Duration.seconds(1)
    /// Between two sends of one person, and what a busy machine adds.
    private static let pauseSlack = Duration.milliseconds(500)

    private func expectShortPauses(
      _ workload: Workload, since begin: ContinuousClock.Instant
    ) {
      for conversation in workload.conversations {
        let pause = workload.longestPause(in: conversation, since: begin)
        #expect(pause < Self.pauseMax + Self.pauseSlack)
        print("the longest pause of a conversation: \(pause)")
      }
    }

    @Test func aShardComesAndAnotherGoesWhilePeopleTalk() async throws {
      try await Cluster.with { cluster in
        try await Workload.run(on: cluster) { workload in
          let spare = cluster.layout.spares[0]
          #expect(
            try await cluster.ringCommand("add", spare).ending != .exited(0), "not registered")
          try cluster.start(spare)
          try await cluster.waitUntilReady(spare)
          let before = try await cluster.ring()
          #expect(before.holders(of: spare) == 0)
          let plan = try await cluster.changeRing("plan", "--add", spare)
          #expect(plan.contains("12 (at least 12, 100 % of that)"))
          let unchanged = try await cluster.ring()
          #expect(unchanged.partitions.map(\.target) == before.partitions.map(\.target))

          let begin = ContinuousClock.now
          let connections = try await cluster.acceptedConnections()
          #expect(connections.count == 4)
          let added = try await cluster.changeRing("add", spare)
          #expect(added.hasSuffix("done\n"))
          let grown = try await cluster.ring()
          #expect(grown.holders(of: spare) == 12)
          #expect(grown.whole)
          #expect(grown.partitions.allSatisfy { Set($0.inSync) == Set($0.target) })
          try await eventually("the leaderships of \(spare)", within: .seconds(20)) {
            let partitions = try await cluster.ring().partitions
            return partitions.count { $0.leader == spare } == 4
              && partitions.allSatisfy { $0.leader == $0.target.first }
          }
          try await workload.progress(by: 30)
          let verified = try await cluster.changeRing("verify")
          #expect(verified == "16 of 16 partitions are owned once and equal\n")

          let drained = try await cluster.changeRing("drain", "shard1")
          #expect(drained.hasSuffix("done\n"))
          let shrunk = try await cluster.ring()
          #expect(shrunk.holders(of: "shard1") == 0)
          #expect(try await cluster.stop("shard1", within: .seconds(20)) == .exited(0))
          _ = try await cluster.changeRing("remove", "shard1")
          try await workload.progress(by: 30)
          let rest = try await cluster.changeRing("verify", "--json")
          #expect(rest == "{\"equal\":16,\"partitionCount\":16,\"others\":[]}\n")
          expectShortPauses(workload, since: begin)
          #expect(
            try await cluster.acceptedConnections() == connections, "nobody had to connect anew")
          let refused = try await cluster.ringCommand("drain", "shard2")
          #expect(refused.ending == .exited(78))
          #expect(refused.error.contains("add a node first"))
        }
      }
    }

    @Test func aChangeSurvivesItsControllerAndCanBeTurnedBack() async throws {
      try await Cluster.with { cluster in
        try await Workload.run(on: cluster) { workload in
          let spare = cluster.layout.spares[0]
          try cluster.start(spare)
          try await cluster.waitUntilReady(spare)
          let before = try await cluster.ring()
          _ = try await cluster.changeRing("limit", "--moves-max", "1")
          _ = try await cluster.changeRing("add", spare, "--detach")
          let second = try await cluster.ringCommand("drain", "shard2")
          #expect(second.ending == .exited(78))
          #expect(second.error.contains("a change is under way (add \(spare))"))
          let controller = try await controller(of: cluster)
          try await cluster.kill(controller)
          try await workload.progress(by: 30)
          try cluster.start(controller)
          let added = try await cluster.changeRing("add", spare)
          #expect(added.contains("it is under way already") || added.contains("nothing to do"))
          try await eventually("the change is over", within: .seconds(60)) {
            try await cluster.ring().partitions.count { $0.target.contains(spare) } == 12
          }
          try await cluster.waitUntilWhole()

          _ = try await cluster.changeRing("drain", spare, "--detach")
          let back = try await cluster.changeRing("drain", spare, "--abort")
          #expect(back.hasSuffix("turned back: everything is as it was\n"))
          let after = try await cluster.ring()
          #expect(after.holders(of: spare) == 12)
          _ = try await cluster.changeRing("drain", spare)
          #expect(try await cluster.ring().holders(of: spare) == 0)
          #expect(before.partitions.count == 16)
        }
      }
    }

    @Test func oneIsDrainedWhileAnotherDiesAndADeadOneIsForgotten() async throws {
      try await Cluster.with { cluster in
        try await Workload.run(on: cluster) { workload in
          let spare = cluster.layout.spares[0]
          try cluster.start(spare)
          try await cluster.waitUntilReady(spare)
          _ = try await cluster.changeRing("add", spare)
          _ = try await cluster.changeRing("limit", "--moves-max", "2")
          _ = try await cluster.changeRing("drain", "shard1", "--detach")
          try await cluster.kill("shard2")
          try await workload.progress(by: 30)
          try cluster.start("shard2")
          try await eventually("the drain is over", within: .seconds(60)) {
            let ring = try await cluster.ring()
            return ring.holders(of: "shard1") == 0 && ring.change == nil
          }
          try await cluster.waitUntilWhole()
          _ = try await cluster.changeRing("add", "shard1")
          #expect(try await cluster.ring().holders(of: "shard1") == 12)

          // Of four, one never comes back.
          try await cluster.kill("shard3")
          let removed = try await cluster.changeRing("remove", "shard3")
          #expect(removed.hasSuffix("done\n"))
          let rest = try await cluster.ring()
          #expect(rest.members.map(\.name).sorted() == ["shard1", "shard2", spare])
          #expect(rest.holders(of: "shard3") == 0)
          #expect(rest.partitions.allSatisfy { $0.inSync.count == 3 })
          _ = try await cluster.changeRing("verify")
        }
      }
    }

    /// Whoever said last that it controls the ring.
    private func controller(of cluster: Cluster) async throws -> String {
      var found: String?
      try await eventually("a controller", within: .seconds(20)) {
        found = cluster.layout.shards.first { node in
          (try? Program.text(cluster.layout.log(node)))?.contains("controls the ring") ?? false
        }
        let spare = cluster.layout.spares[0]
        if (try? Program.text(cluster.layout.log(spare)))?.contains("controls the ring") ?? false {
          found = spare
        }
        return found != nil
      }
      return found ?? ""
    }
  }
}
