import Foundation
import MartletClient
import Testing

extension RealProcesses {
  /// A data directory belongs to one node of one cluster for ever.
  @Suite struct DataDirectoryTests {
    /// Starts a shard with the directory of another one, which must be refused in one line.
    ///
    /// - Parameter words: what the line must hold.
    private func refuse(
      _ node: String, of cluster: Cluster, directory: String, _ words: String...
    ) async throws {
      var arguments = cluster.layout.command(node).arguments
      let place = try #require(arguments.firstIndex(of: "--data-dir"))
      arguments[place + 1] = directory
      let outcome = try await Program.martlet(arguments + ["--log-level", "error"])
      try #require(outcome.ending == .exited(78), "\(outcome)")
      try #require(outcome.error.split(separator: "\n").count == 1, "\(outcome)")
      for word in ["--data-dir: ", directory, "allowed is a directory of this node alone"] + words {
        try #require(outcome.error.contains(word), "\(outcome)")
      }
    }

    /// What a conversation holds before and after.
    private func history(_ client: MartletClient, _ id: ConversationID) async throws -> [Event] {
      try await client.history(of: id, .after(0), limit: 200).events
    }

    @Test func theDirectoryOfAnotherNodeIsRefusedAndNotTouched() async throws {
      try await Cluster.with { cluster in
        let (people, layout) = (People(cluster.layout), cluster.layout)
        let ada = try await people.connect(try await people.join("ada"), to: layout.plainURLs)
        defer { ada.close() }
        _ = try await people.join("grace")
        let conversation = try await ada.createDirect(with: "grace").id
        for number in 1...20 { try await ada.send("\(number)", to: conversation) }
        let before = try await history(ada, conversation)

        for shard in ["shard1", "shard2"] {
          try #require(try await cluster.stop(shard, within: .seconds(10)) == .exited(0))
        }
        try await refuse(
          "shard2", of: cluster, directory: layout.data("shard1"), "belongs to node 'shard1'",
          "expected node 'shard2'")
        try await cluster.startAll()
        // shard3 goes, so that what is read comes from the two directories.
        try await cluster.kill("shard3")
        try #require(try await history(ada, conversation) == before)
        try #require(before.count == 21)
        try cluster.start("shard3")
      }
    }

    @Test func aDirectoryInUseIsRefused() async throws {
      try await Cluster.with(.processes(shards: 1, gateways: 1)) { cluster in
        try await refuse(
          "shard1", of: cluster, directory: cluster.layout.data("shard1"),
          "is in use by another process")
      }
    }

    @Test func theDirectoryOfAnotherClusterIsRefusedAndNotTouched() async throws {
      try await Cluster.with(.processes(shards: 1, gateways: 1)) { own in
        let people = People(own.layout)
        let ada = try await people.connect(try await people.join("ada"), to: own.layout.plainURLs)
        defer { ada.close() }
        _ = try await people.join("grace")
        let conversation = try await ada.createDirect(with: "grace").id
        for number in 1...20 { try await ada.send("\(number)", to: conversation) }
        let before = try await history(ada, conversation)
        try #require(try await own.stop("shard1", within: .seconds(10)) == .exited(0))

        try await Cluster.with(.processes(shards: 1, gateways: 0)) { other in
          try #require(try await other.stop("shard1", within: .seconds(10)) == .exited(0))
          try await refuse(
            "shard1", of: other, directory: own.layout.data("shard1"), "belongs to cluster",
            "expected cluster")
          try other.start("shard1")
        }
        try await own.startAll()
        try #require(try await history(ada, conversation) == before)
        try #require(before.count == 21)
      }
    }

    /// Two shards of one name would be one to all others.
    @Test func aNameOfAnotherShardIsRefusedWhateverTheDirectory() async throws {
      try await Cluster.with(.processes(shards: 1, gateways: 1)) { cluster in
        let people = People(cluster.layout)
        let ada = try await people.connect(
          try await people.join("ada"), to: cluster.layout.plainURLs)
        defer { ada.close() }
        var arguments = cluster.layout.command("shard1").arguments
        let place = try #require(arguments.firstIndex(of: "--data-dir"))
        arguments[place + 1] = cluster.layout.data("other")
        let operators = try #require(arguments.firstIndex(of: "--operator-address"))
        arguments.removeSubrange(operators...operators + 1)
        let outcome = try await Program.martlet(arguments + ["--log-level", "error"])
        try #require(outcome.ending == .exited(78), "\(outcome)")
        try #require(outcome.error.split(separator: "\n").count == 1, "\(outcome)")
        for word in ["--name 'shard1': taken by a shard", "allowed is a name"] {
          try #require(outcome.error.contains(word), "\(outcome)")
        }
        // A restart of the one that has the name works at once, while the lease of before lives.
        try await cluster.kill("shard1")
        try await cluster.startAll()
        _ = try await people.join("grace")
        let conversation = try await ada.createDirect(with: "grace").id
        try await ada.send("1", to: conversation)
        try #require(try await history(ada, conversation).count == 2)
      }
    }

    /// Its partitions would miss the stores that are not started.
    @Test func anEmbeddedDirectoryKeepsItsNumberOfShards() async throws {
      try await Cluster.with(.embedded) { cluster in
        try #require(try await cluster.stop("embedded", within: .seconds(10)) == .exited(0))
        var arguments = cluster.layout.command("embedded").arguments
        let place = try #require(arguments.firstIndex(of: "--shards"))
        arguments[place + 1] = "2"
        let outcome = try await Program.martlet(arguments)
        try #require(outcome.ending == .exited(78), "\(outcome)")
        try #require(outcome.error.split(separator: "\n").count == 1, "\(outcome)")
        try #require(outcome.error.contains("--shards '2'"), "\(outcome)")
        try await cluster.startAll()
      }
    }
  }
}
