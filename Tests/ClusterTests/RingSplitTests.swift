import Foundation
import Testing

extension RealProcesses {
  /// The ring gets twice as many partitions while people talk through both gateways.
  @Suite struct RingSplitTests {
    /// What of a conversation waits while its partition is cut waits no longer.
    private static let pauseMax = Duration.seconds(1)

    private func expectShortPauses(
      _ workload: Workload, since begin: ContinuousClock.Instant
    ) {
      for conversation in workload.conversations {
        let pause = workload.longestPause(in: conversation, since: begin)
        #expect(pause < Self.pauseMax)
        print("the longest pause of a conversation: \(pause)")
      }
    }

    @Test func partitionsAreSplitTwiceAndThenMovedWhilePeopleTalk() async throws {
      try await Cluster.with { cluster in
        try await Workload.run(on: cluster) { workload in
          let before = try await cluster.ring()
          let plan = try await cluster.changeRing("plan", "--split")
          #expect(plan.contains("16 before, 32 after"))
          #expect(try await cluster.ring().partitions.count == 16)

          let begin = ContinuousClock.now
          let connections = try await cluster.acceptedConnections()
          let split = try await cluster.changeRing("split")
          #expect(split.hasSuffix("done\n"))
          let ring = try await cluster.ring()
          #expect(ring.partitionCount == 32 && ring.partitions.count == 32 && ring.whole)
          // Halves lie where they lay: nothing was copied.
          for partition in before.partitions {
            for half in [partition.partition, partition.partition + 16] {
              let found = ring.partitions.first { $0.partition == half }
              #expect(found?.target == partition.target && found?.inSync == partition.inSync)
            }
          }
          #expect(
            cluster.layout.shards.allSatisfy { cluster.logged("installed a snapshot", by: $0) == 0 }
          )
          try await workload.progress(by: 60)
          let verified = try await cluster.changeRing("verify")
          #expect(verified == "32 of 32 partitions are owned once and equal\n")
          let same = try await Program.martlet(
            ["ring", "split", "--to", "32"] + cluster.layout.ringSource)
          #expect(same.ending == .exited(78))
          #expect(same.error.contains("nothing to do: there are 32 partitions already"))
          let json = try await cluster.changeRing("plan", "--split", "--json")
          #expect(json.contains("\"partitionsBefore\":32,\"partitionsAfter\":64"))
          let again = try await cluster.changeRing("split", "--to", "64", "--json")
          #expect(again.contains("{\"finished\":true,\"turnedBack\":false}"))
          #expect(try await cluster.ring().partitionCount == 64)
          try await workload.progress(by: 60)
          expectShortPauses(workload, since: begin)
          #expect(
            try await cluster.acceptedConnections() == connections, "nobody had to connect anew")

          // What was cut moves like anything else, and is found again by the next processes.
          let spare = cluster.layout.spares[0]
          try cluster.start(spare)
          try await cluster.waitUntilReady(spare)
          _ = try await cluster.changeRing("add", spare)
          #expect(try await cluster.ring().holders(of: spare) == 48)
          for shard in cluster.layout.shards {
            try await cluster.kill(shard)
            try await workload.progress(by: 20)
            try cluster.start(shard)
            try await cluster.waitUntilWhole()
          }
          let rest = try await cluster.changeRing("verify")
          #expect(rest == "64 of 64 partitions are owned once and equal\n")
        }
      }
    }

    @Test func aSplitSurvivesALeaderAndCursorsSurviveTheSplit() async throws {
      try await Cluster.with { cluster in
        try await Workload.run(on: cluster) { workload in
          // One listener is away meanwhile, with a cursor of before.
          let gateway = cluster.layout.gateways[0]
          try await cluster.kill(gateway)
          try await workload.progress(by: 30)
          _ = try await cluster.changeRing("split", "--detach")
          let leader = try await cluster.leader(of: workload.conversations[0])
          try await cluster.kill(leader)
          try await workload.progress(by: 60)
          try cluster.start(leader)
          try await eventually("the split is over", within: .seconds(60)) {
            let ring = try await cluster.ring()
            return ring.change == nil && ring.partitionCount == 32 && ring.whole
          }
          try cluster.start(gateway)
          try await cluster.waitUntilReady(gateway)
          try await workload.progress(by: 30)
          let verified = try await cluster.changeRing("verify")
          #expect(verified == "32 of 32 partitions are owned once and equal\n")
          let refused = try await cluster.ringCommand("split", "--abort")
          #expect(refused.ending != .exited(0))
          #expect(refused.error.contains("every partition is not being changed"))
        }
      }
    }
  }
}
