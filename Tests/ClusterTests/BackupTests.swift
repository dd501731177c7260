import Foundation
import MartletClient
import Testing

extension RealProcesses {
  /// A cluster is copied while people talk, destroyed, and made anew on another number of shards.
  @Suite struct BackupTests {
    private static let roomCount = 20

    /// A room and everything that was said there, in order.
    private typealias Histories = [ConversationID: [Transcript.Entry]]

    private func histories(
      _ client: MartletClient, of rooms: [ConversationID]
    ) async throws -> Histories {
      var found: Histories = [:]
      for room in rooms {
        var entries: [Transcript.Entry] = []
        var page: History
        repeat {
          page = try await client.history(
            of: room, .after(entries.last?.sequence ?? 0), limit: 200)
          entries += page.events.map(Transcript.Entry.init)
        } while !page.events.isEmpty && (entries.last?.sequence ?? 0) < page.head
        found[room] = entries
      }
      return found
    }

    private func backUp(_ cluster: Cluster, to file: String) async throws -> String {
      try await Program.succeed(
        Program.martlet, ["backup", "--to", file] + cluster.layout.ringSource)
    }

    @Test func everythingComesBackOnAnotherNumberOfShards() async throws {
      try await Cluster.with(shardSettings: ["--backup-dir", "NODE"]) { cluster in
        let people = People(cluster.layout)
        let credentials = try await people.join("archivist")
        let friend = try await people.join("friend")
        var rooms: [ConversationID] = []
        var known: Histories = [:]
        var final: Histories = [:]
        let file = "\(cluster.layout.directory)/second.backup"
        try await Workload.run(on: cluster) { workload in
          let client = try await people.connect(
            credentials, to: cluster.layout.plainURLs, wantsEvents: false)
          defer { client.close() }
          for number in 0..<Self.roomCount {
            let room = try await client.createGroup(title: "room \(number)", members: ["friend"])
            rooms.append(room.id)
            for message in 0..<5 { _ = try await client.send("\(number)/\(message)", to: room.id) }
          }
          let first = try await backUp(cluster, to: "\(cluster.layout.directory)/first.backup")
          #expect(first.contains("16 partitions are in"))
          known = try await histories(client, of: rooms)
          try await workload.progress(by: 30)
          // What was cut since lies in states that halves share.
          _ = try await cluster.changeRing("split")
          // People go on while the second copy is made; every list of a room is told to others.
          let talking = Task { [rooms] in
            for number in 0..<200 where !Task.isCancelled {
              _ = try await client.send("while \(number)", to: rooms[number % rooms.count])
              if number % 20 == 0 {
                _ = try await client.createGroup(title: "late \(number)", members: ["friend"])
              }
            }
          }
          let second = try await backUp(cluster, to: file)
          #expect(second.contains("copy 2 in"))
          talking.cancel()
          _ = await talking.result
          final = try await histories(client, of: rooms)
          let again = try await Program.martlet(
            ["backup", "--to", file] + cluster.layout.ringSource)
          #expect(again.ending == .exited(64) && again.error.contains("it exists"))
        }

        try await cluster.kill(cluster.layout.nodes)
        for node in ["etcd"] + cluster.layout.shards {
          try FileManager.default.removeItem(atPath: cluster.layout.data(node))
        }
        try cluster.start("etcd")
        try await cluster.waitUntilReady("etcd")
        let restored = try await Program.succeed(
          Program.martlet,
          [
            "restore", "store", "--from", file, "--data-dir", cluster.layout.data("shard2"),
            "--name", "shard2",
          ])
        #expect(restored.contains("is the data directory of shard2"))
        let shards = cluster.layout.shards + cluster.layout.spares
        try cluster.start(shards + cluster.layout.gateways)
        let ring = try await Program.succeed(
          Program.martlet,
          ["restore", "ring", "--from", file, "--shards", "\(shards.count)"]
            + cluster.layout.ringSource)
        #expect(ring.contains("32 partitions are restored on shard1, shard2, shard3, shard4"))
        try await cluster.waitUntilWhole()

        // Whoever was logged in still is.
        let client = try await people.connect(
          credentials, to: cluster.layout.plainURLs, wantsEvents: false)
        defer { client.close() }
        let found = try await histories(client, of: rooms)
        for room in rooms {
          let (now, then, last) = (found[room] ?? [], known[room] ?? [], final[room] ?? [])
          #expect(now.starts(with: then), "what was acknowledged before the backup")
          #expect(last.starts(with: now), "nothing else")
          #expect(then.count == 6)
        }
        let sent = try await client.send("after", to: rooms[0])
        #expect(sent.sequence == UInt64(found[rooms[0]]?.count ?? 0) + 1)
        // Who was told of a room has it in the list: nothing is lost between two copies.
        let other = try await people.connect(friend, to: cluster.layout.plainURLs)
        defer { other.close() }
        let listed = try await other.conversations()
        #expect(Set(rooms).isSubset(of: Set(listed.map(\.id))))
        let verified = try await cluster.changeRing("verify")
        #expect(verified == "32 of 32 partitions are owned once and equal\n")
        let status = try await cluster.ring()
        #expect(status.members.count == 4 && status.partitions.allSatisfy { $0.inSync.count == 3 })
      }
    }

    @Test func whatCannotBeDoneIsRefused() async throws {
      try await Cluster.with { cluster in
        let file = "\(cluster.layout.directory)/a.backup"
        let outcome = try await Program.martlet(
          ["backup", "--to", file] + cluster.layout.ringSource)
        #expect(outcome.ending == .exited(1))
        #expect(outcome.error.contains("it has no --backup-dir"))
        #expect(!FileManager.default.fileExists(atPath: file))
        let missing = try await Program.martlet(
          ["restore", "ring", "--from", file, "--shards", "3"] + cluster.layout.ringSource)
        #expect(missing.ending == .exited(64))
        try Data("something".utf8).write(to: URL(fileURLWithPath: file))
        let other = try await Program.martlet(
          ["restore", "ring", "--from", file, "--shards", "3"] + cluster.layout.ringSource)
        #expect(other.ending == .exited(65) && other.error.contains("no backup's manifest"))
      }
    }
  }
}
