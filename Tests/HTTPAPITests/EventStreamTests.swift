import NodeRuntime
import Testing

extension GatewayTests {
  @Suite struct EventStreamTests {
    @Test func `A stream is resumed on another gateway without a gap`() async throws {
      let (ada, bob) = (try await Person.join("ada"), try await Person.join("bob"))
      let conversation = try await ada.direct(with: bob)
      let first = try await EventStream.open(bob)
      // It begins with a position, so that nothing is lost from here on.
      _ = try await first.nextID()
      _ = try await ada.send("1", "one", to: conversation)
      #expect(try await first.nextMessage() == "one")
      let id = try await first.nextID()
      try await first.close()
      for (number, text) in [(2, "two"), (3, "three")] {
        _ = try await ada.send("\(number)", text, to: conversation)
      }
      let second = try await EventStream.open(bob, gateway: 1, after: id)
      #expect(try await second.nextMessage() == "two")
      #expect(try await second.nextMessage() == "three")
      _ = try await ada.send("4", "four", to: conversation)
      #expect(try await second.nextMessage() == "four")
      // A browser that cannot set the header says it in the query; the header goes before it.
      let third = try await EventStream.open(bob, query: "?cursor=\(id)")
      #expect(try await third.nextMessage() == "two")
      let last = try await second.nextID()
      let fourth = try await EventStream.open(bob, after: last, query: "?cursor=\(id)")
      _ = try await ada.send("5", "five", to: conversation)
      #expect(try await fourth.nextMessage() == "five")
      for stream in [second, third, fourth] { try await stream.close() }
    }

    @Test func `An event is what history shows of it`() async throws {
      let (ada, bob) = (try await Person.join("ada"), try await Person.join("bob"))
      let stream = try await EventStream.open(bob, gateway: 1)
      _ = try await stream.nextID()
      let conversation = try await ada.direct(with: bob)
      _ = try await ada.send("1", "one\ntwo", to: conversation)
      var seen: [JSON] = []
      while seen.count < 2 {
        let block = try #require(try await stream.next())
        if block.event == "message" { seen.append(block.data) }
      }
      let path = "/v1/conversations/\(conversation)/messages"
      #expect(try await ada.api.get(200, path)["events"].items == seen)
      try await stream.close()
    }

    @Test func `Nobody but a member hears of it`() async throws {
      let (ada, bob) = (try await Person.join("ada"), try await Person.join("bob"))
      let eve = try await Person.join("eve")
      let stream = try await EventStream.open(eve)
      _ = try await stream.nextID()
      let secret = try await ada.direct(with: bob)
      _ = try await ada.send("1", "secret", to: secret)
      let open = try await eve.direct(with: bob)
      _ = try await bob.send("2", "open", to: open)
      #expect(try await stream.nextMessage() == "open")
      try await stream.close()
    }

    @Test func `What is no position is refused`() async throws {
      let ada = try await Person.join("ada")
      for target in ["/v1/events?cursor=x", "/v1/events?cursor=AAAA", "/v1/events?since=1"] {
        try expectError(try await ada.api.get(target), 400, "INVALID_ARGUMENT")
      }
      try expectError(
        try await ada.api.get("/v1/events", ["Last-Event-ID: 17"]), 400, "INVALID_ARGUMENT",
        saying: "cursor")
    }
  }

  @Suite struct DrainTests {
    /// A cluster of its own, since one of its gateways stops.
    @Test func `A gateway that stops sends its clients elsewhere, where they go on`()
      async throws
    {
      try await Serving.run {
        let serving = try #require(Serving.current)
        let (ada, bob) = (try await Person.join("ada"), try await Person.join("bob"))
        let conversation = try await ada.direct(with: bob)
        let socket = try await Socket.open(bob, gateway: 1)
        _ = try await socket.nextCursor()
        let stream = try await EventStream.open(bob, gateway: 1)
        _ = try await stream.nextID()
        _ = try await ada.send("1", "one", to: conversation)
        #expect(try await socket.nextMessage()["message"]["text"] == "one")
        #expect(try await stream.nextMessage() == "one")
        let position = try await stream.nextID()

        async let stopped: Void = serving.cluster.gateways[1].stop()
        #expect(try await socket.next() == ["draining": [:]])
        #expect(try await socket.closeCode() == 1012)
        #expect(try await stream.next() == EventStream.Block(event: "draining", data: [:]))
        while let last = try await stream.next() { #expect(last.id != nil) }
        await stopped
        await #expect(throws: (any Error).self) { try await ada.on(1).get("/v1/openapi.json") }

        _ = try await ada.send("2", "two", to: conversation)
        let elsewhere = try await EventStream.open(bob, after: position)
        #expect(try await elsewhere.nextMessage() == "two")
        try await elsewhere.close()
      }
    }
  }
}
