import Foundation
import MartletClient
import Testing

extension RealProcesses {
  /// Partitions move although their logs do not reach back to the beginning.
  @Suite struct SnapshotMoveTests {
    /// Conversations with so much in them that a copy takes a while.
    private static let roomCount = 24
    private static let messagesPerRoom = 8
    private static let textBytes = 60_000

    private func fill(_ cluster: Cluster) async throws {
      let people = People(cluster.layout)
      let client = try await people.connect(
        try await people.join("archivist"), to: cluster.layout.plainURLs, wantsEvents: false)
      defer { client.close() }
      for number in 0..<Self.roomCount {
        let room = try await client.createGroup(title: "archive \(number)", members: [])
        for message in 0..<Self.messagesPerRoom {
          let word = "\(number)/\(message) "
          let text = String(repeating: word, count: Self.textBytes / word.utf8.count)
          _ = try await client.send(text, to: room.id)
        }
      }
    }

    @Test func aNewShardIsSentSnapshotsAlsoWhenTheirSourceDies() async throws {
      try await Cluster.with(shardSettings: ["--partition-log-entries", "16"]) { cluster in
        try await Workload.run(on: cluster) { workload in
          try await fill(cluster)
          try await workload.progress(by: 400)
          let spare = cluster.layout.spares[0]
          try cluster.start(spare)
          try await cluster.waitUntilReady(spare)
          _ = try await cluster.changeRing(
            "limit", "--moves-max", "4", "--bytes-per-second", "400000")
          _ = try await cluster.changeRing("add", spare, "--detach")
          var source = ""
          try await eventually("a snapshot under way", within: .seconds(30)) {
            source =
              cluster.layout.shards.first { cluster.logged("sends a snapshot", by: $0) > 0 } ?? ""
            return !source.isEmpty
          }
          #expect(cluster.logged("installed a snapshot", by: spare) < 12)
          try await cluster.kill(source)
          try await workload.progress(by: 30)
          try cluster.start(source)
          _ = try await cluster.changeRing("limit", "--bytes-per-second", "33554432")
          try await eventually("the change is over", within: .seconds(90)) {
            let ring = try await cluster.ring()
            return ring.holders(of: spare) == 12 && ring.change == nil && ring.whole
          }
          #expect(cluster.logged("installed a snapshot", by: spare) >= 3)
          try await workload.progress(by: 30)
          let verified = try await cluster.changeRing("verify")
          #expect(verified == "16 of 16 partitions are owned once and equal\n")
          // What came as a snapshot is found again by the next process, and leads.
          try await cluster.kill(spare)
          try await workload.progress(by: 30)
          try cluster.start(spare)
          try await cluster.waitUntilWhole()
          _ = try await cluster.changeRing("verify")
        }
      }
    }
  }
}
