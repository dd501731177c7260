import MartletClient
import Testing

extension RealProcesses {
  @Suite struct ConversationTests {
    @Test func twoPeopleOnTwoGatewaysTalk() async throws {
      try await Cluster.with { cluster in
        let (people, layout) = (People(cluster.layout), cluster.layout)
        let ada = try await people.connect(
          try await people.join("ada"), to: [layout.plainURLs[0]])
        let grace = try await people.connect(
          try await people.join("grace"), to: [layout.secureURLs[1]])
        defer {
          ada.close()
          grace.close()
        }
        let conversation = try await ada.createDirect(with: "grace")
        let same = try await grace.createDirect(with: ada.user.id.description)
        try #require(same.id == conversation.id)
        try #require(Set(conversation.members.map(\.handle)) == ["ada", "grace"])

        var sequences: [UInt64] = []
        for number in 1...5 {
          sequences.append(
            try await ada.send("ada \(number)", to: conversation.id).sequence)
          sequences.append(
            try await grace.send("grace \(number)", to: conversation.id).sequence)
        }
        try #require(sequences == Array((sequences[0])..<(sequences[0] + 10)))

        let heard = try await events(of: grace, through: sequences[9])
        try #require(heard == (try await events(of: ada, through: sequences[9])))
        try #require(heard.map(\.sequence) == Array(1...sequences[9]))
        for client in [ada, grace] {
          let page = try await client.history(of: conversation.id, .after(0), limit: 200)
          try #require(page.events == heard)
          try #require(page.head == sequences[9])
          let list = try await client.conversations()
          try #require(list.map(\.id) == [conversation.id])
          try #require(list[0].head == sequences[9])
          try #require(list[0].last == heard.last)
        }
      }
    }

    /// The promise P3: through any gateway, also by a new process of the same device.
    @Test func aSendRepeatedThroughTheOtherGatewayIsStoredOnce() async throws {
      try await Cluster.with { cluster in
        let (people, layout) = (People(cluster.layout), cluster.layout)
        let credentials = try await people.join("ada")
        _ = try await people.join("grace")
        let id = try #require(MessageID("m-1"))
        let first = try await people.connect(credentials, to: [layout.plainURLs[0]])
        let conversation = try await first.createDirect(with: "grace").id
        let sent = try await first.send("once", to: conversation, id: id)
        first.close()
        let second = try await people.connect(credentials, to: [layout.plainURLs[1]])
        defer { second.close() }
        let again = try await second.send("once", to: conversation, id: id)
        try #require(!sent.repeated)
        try #require(again.repeated)
        try #require(again.sequence == sent.sequence)
        try #require(again.timeMilliseconds == sent.timeMilliseconds)
        let page = try await second.history(of: conversation)
        try #require(page.head == sent.sequence)
      }
    }

    /// Reads events until one has the number `last`.
    private func events(of client: MartletClient, through last: UInt64) async throws -> [Event] {
      var seen: [Event] = []
      for try await event in client.events {
        seen.append(event)
        if event.sequence >= last { return seen }
      }
      throw ClusterFailure("the events have ended after \(seen.count)")
    }
  }
}
