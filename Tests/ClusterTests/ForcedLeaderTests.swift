import Foundation
import MartletClient
import Testing

extension RealProcesses {
  /// Every in-sync replica is gone for good, and one that fell behind is made the leader.
  @Suite struct ForcedLeaderTests {
    private static let patience = Duration.seconds(60)

    private func force(
      _ cluster: Cluster, _ arguments: [String]
    ) async throws -> Program.Outcome {
      try await Program.martlet(
        ["partition", "force-leader"] + arguments + cluster.layout.ringSource)
    }

    /// The shard goes on with another data directory.
    private func exchangeDisk(
      of shard: String, keepingAs kept: String, for other: String, _ cluster: Cluster
    ) async throws {
      let (files, data) = (FileManager.default, cluster.layout.data(shard))
      try await cluster.kill(shard)
      try files.moveItem(atPath: data, toPath: data + kept)
      try files.moveItem(atPath: data + other, toPath: data)
      try await cluster.waitUntilUnregistered([shard])
      try cluster.start(shard)
    }

    @Test func whatTheNewLeaderHoldsIsKeptAndClientsAreToldToLookAgain() async throws {
      try await Cluster.with { cluster in
        let people = People(cluster.layout)
        let ada = try await people.connect(
          try await people.join("ada"), to: cluster.layout.plainURLs, wantsEvents: false)
        let grace = try await people.connect(
          try await people.join("grace"), to: cluster.layout.plainURLs)
        defer {
          ada.close()
          grace.close()
        }
        let heard = HeardEvents(grace)
        let conversation = try await ada.createDirect(with: "grace").id
        for number in 1...5 { try await ada.send("kept \(number)", to: conversation) }
        try await eventually("what is kept") { heard.texts.last == "kept 5" }
        let refused = try await force(cluster, ["--shard", "shard3", "--yes", "3"])
        #expect(refused.ending == .exited(78))
        #expect(refused.error.contains("is registered and in sync"), "\(refused)")

        let before = try await cluster.ring()
        try await cluster.kill("shard3")
        try await eventually("a ring without shard3", within: Self.patience) {
          try await cluster.ring().partitions.allSatisfy { $0.inSync.count == 2 }
        }
        for number in 1...5 { try await ada.send("lost \(number)", to: conversation) }
        try await eventually("what is lost") { heard.texts.last == "lost 5" }
        try await cluster.kill("shard1", "shard2")
        for shard in ["shard1", "shard2"] {
          try FileManager.default.moveItem(
            atPath: cluster.layout.data(shard), toPath: cluster.layout.data(shard) + "-gone")
        }
        try await cluster.waitUntilUnregistered(["shard1", "shard2"])
        try cluster.start("shard3")
        let boots = before.nodes.map(\.boot)
        try await eventually("the registration of shard3") {
          try await cluster.ring().nodes.contains {
            $0.name == "shard3" && !boots.contains($0.boot)
          }
        }
        let alone = try await force(cluster, ["--shard", "shard3", "--yes", "--lost"])
        #expect(alone.ending == .exited(78))
        #expect(alone.error.contains("1 of the 2 shards that have to be in sync are registered"))
        try cluster.start("shard1", "shard2")
        try await cluster.waitUntilRegistered(otherThan: before)

        let forced = try await force(cluster, ["--shard", "shard3", "--yes", "--lost"])
        try #require(forced.ending == .exited(0), "\(forced)")
        #expect(
          forced.output.hasSuffix("forced: \(ClusterLayout.partitionCount), each has a leader\n"))
        #expect(forced.output.contains("what was acknowledged and is not there is lost"))
        try await cluster.waitUntilWhole()

        // The numbers that are lost are given again, and whoever saw them is told.
        let sent = try await ada.send("after", to: conversation)
        try #require(sent.sequence == 7)
        try await eventually("what came after", within: Self.patience) {
          heard.texts.last == "after"
        }
        #expect(heard.wasCut)
        let page = try await grace.history(of: conversation, .after(0), limit: 50)
        let texts = page.events.compactMap { event -> String? in
          if case .message(let text) = event.content { text } else { nil }
        }
        try #require(texts == (1...5).map { "kept \($0)" } + ["after"])
        // Somebody new sees the same from the beginning.
        _ = try await ada.send("and on", to: conversation)
        try await eventually("what goes on") { heard.texts.last == "and on" }
        #expect(
          try await force(cluster, ["--shard", "shard3", "--yes", "--lost"]).output
            == "every partition has an in-sync replica on a registered shard\n")

        // A disk that turns up again is set aside, not served and not deleted.
        try await exchangeDisk(of: "shard1", keepingAs: "-new", for: "-gone", cluster)
        try await eventually("the old disk", within: Self.patience) {
          try Program.text(cluster.layout.log("shard1")).contains("is set aside")
        }
        try await ada.send("still here", to: conversation)
        try await eventually("what is said then") { heard.texts.last == "still here" }
        try await exchangeDisk(of: "shard1", keepingAs: "-gone", for: "-new", cluster)
        try await cluster.waitUntilWhole()
        try await expectLostMessages(in: cluster.layout.data("shard1") + "-gone", conversation)
      }
    }

    /// What was set aside can be read by a person.
    private func expectLostMessages(
      in directory: String, _ conversation: ConversationID
    ) async throws {
      let list = try await Program.succeed(
        Program.martlet, ["partition", "inspect", "--data-dir", directory])
      let aside = list.split(separator: "\n").filter { $0.contains(" set aside, ") }
      #expect(aside.count == ClusterLayout.partitionCount, "\(list)")
      var lost: [String] = []
      for line in aside {
        let messages = try await Program.succeed(
          Program.martlet,
          ["partition", "inspect", "--data-dir", directory, String(line.prefix { $0 != " " })])
        lost += messages.split(separator: "\n").map(String.init)
          .filter { $0.contains(conversation.description) }
      }
      for number in 1...5 {
        #expect(lost.count { $0.contains(#""text":"lost \#(number)""#) } == 1, "\(lost)")
      }
    }

    @Test func aPartitionOfWhichNothingIsLeftBeginsAnew() async throws {
      try await Cluster.with { cluster in
        let people = People(cluster.layout)
        _ = try await people.join("ada")
        let before = try await cluster.ring()
        try await cluster.kill(cluster.layout.shards)
        for shard in cluster.layout.shards {
          try FileManager.default.removeItem(atPath: cluster.layout.data(shard))
        }
        try await cluster.waitUntilUnregistered(cluster.layout.shards)
        try cluster.start(cluster.layout.shards)
        try await cluster.waitUntilRegistered(otherThan: before)
        let refused = try await force(cluster, ["--shard", "shard2", "--yes", "--lost"])
        #expect(refused.ending == .exited(78))
        #expect(refused.error.contains("shard2 has no replica of it"), "\(refused)")
        let forced = try await force(cluster, ["--shard", "shard2", "--yes", "--lost", "--empty"])
        try #require(forced.ending == .exited(0), "\(forced)")
        try await cluster.waitUntilWhole()
        // The handle is free again, and everything works.
        _ = try await people.join("ada")
      }
    }
  }
}

/// What a client's consumer has seen.
private final class HeardEvents: @unchecked Sendable {
  // Safety: the lock.
  private let lock = NSLock()
  private var seen: [Event] = []
  private var task: Task<Void, any Error>?

  init(_ client: MartletClient) {
    task = Task { [weak self] in
      for try await event in client.events {
        guard let self else { return }
        lock.withLock { seen.append(event) }
      }
    }
  }

  private var events: [Event] { lock.withLock { seen } }

  var texts: [String] {
    events.compactMap { if case .message(let text) = $0.content { text } else { nil } }
  }
  var wasCut: Bool { events.contains { $0.content == .historyCut } }
}
