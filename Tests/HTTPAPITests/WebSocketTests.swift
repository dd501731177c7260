import RawSockets
import Testing

extension GatewayTests {
  @Suite struct WebSocketTests {
    private func pair() async throws -> (ada: Person, bob: Person, conversation: String) {
      let (ada, bob) = (try await Person.join("ada"), try await Person.join("bob"))
      return (ada, bob, try await ada.direct(with: bob))
    }

    private func send(_ ref: String, _ id: String, _ text: String, to conversation: String)
      -> JSON
    {
      [
        "ref": .string(ref),
        "send": [
          "conversation": .string(conversation), "id": .string(id), "text": .string(text),
        ],
      ]
    }

    // MARK: Who it is

    @Test func `A token in the header opens it at once`() async throws {
      let (ada, bob, conversation) = try await pair()
      let socket = try await Socket.open(token: bob.token)
      let welcome = try await socket.next()
      #expect(welcome["ref"] == .null)
      #expect(welcome["welcome"]["user"]["handle"].string == bob.handle)
      #expect(welcome["welcome"]["device"].string == bob.device)
      _ = try await socket.nextCursor()
      _ = try await ada.send("1", "hello", to: conversation)
      #expect(try await socket.nextMessage()["message"]["text"] == "hello")
      try await socket.close()
    }

    @Test func `A hello opens it, and a cursor in it resumes`() async throws {
      let (ada, bob, conversation) = try await pair()
      let first = try await Socket.open(bob)
      let cursor = try await first.nextCursor()
      try await first.close()
      _ = try await ada.send("1", "hello", to: conversation)
      let socket = try await Socket.open(gateway: 1)
      try await socket.send(
        ["ref": "h", "hello": ["token": .string(bob.token), "cursor": .string(cursor)]])
      #expect(try await socket.answer(to: "h")["welcome"]["user"]["id"].string == bob.id)
      #expect(try await socket.nextMessage()["message"]["text"] == "hello")
      // The same in the query, beside the header.
      let third = try await Socket.open(bob, query: "?cursor=\(cursor)")
      #expect(try await third.nextMessage()["message"]["text"] == "hello")
      // And with a hello that follows a header.
      let fourth = try await Socket.open(token: bob.token, query: "?hello=later")
      try await fourth.send(["ref": "l", "hello": ["cursor": .string(cursor)]])
      #expect(try await fourth.answer(to: "l")["welcome"]["user"]["id"].string == bob.id)
      #expect(try await fourth.nextMessage()["message"]["text"] == "hello")
      for socket in [socket, third, fourth] { try await socket.close() }
    }

    @Test func `Before the hello nothing is done, and a bad one may be followed by a good one`()
      async throws
    {
      let (_, bob, conversation) = try await pair()
      let socket = try await Socket.open()
      try await socket.send(send("1", "1", "too early", to: conversation))
      expectError(
        try await socket.answer(to: "1")["error"], "UNAUTHENTICATED", saying: "first operation")
      for token in ["", "x", bob.refreshToken] {
        try await socket.send(["ref": "2", "hello": ["token": .string(token)]])
        expectError(try await socket.answer(to: "2")["error"], "UNAUTHENTICATED")
      }
      try await socket.send(["ref": "3", "hello": ["token": .string(bob.token)]])
      #expect(try await socket.answer(to: "3")["welcome"] != .null)
      try await socket.send(["ref": "4", "hello": ["token": .string(bob.token)]])
      expectError(try await socket.answer(to: "4")["error"], "FAILED_PRECONDITION")
      let path = "/v1/conversations/\(conversation)/messages"
      #expect(try await bob.api.get(200, path)["head"] == "1")
      try await socket.close()
    }

    @Test func `A hello that does not come in time ends it`() async throws {
      let socket = try await Socket.open(gateway: 2)
      expectError(try await socket.next()["error"], "UNAUTHENTICATED", saying: "in time")
      #expect(try await socket.closeCode() == 1008)
    }

    @Test func `A bad token in the header, or a bad query, refuses the upgrade`() async throws {
      let ada = try await Person.join("ada")
      for (token, query, status) in [
        ("x", "", 401), (ada.refreshToken, "", 401), (ada.token, "?cursor=x", 400),
        (ada.token, "?token=\(ada.token)", 400),
      ] {
        let (connection, head) = try await Socket.upgrade(token: token, query: query)
        #expect(head.hasPrefix("HTTP/1.1 \(status) "), "\(head)")
        let body = try await connection.read { $0.last == UInt8(ascii: "}") }
        expectError(
          try JSON(parsing: body)["error"],
          status == 401 ? "UNAUTHENTICATED" : "INVALID_ARGUMENT")
        try await connection.close()
      }
    }

    @Test func `Without events there are none, and operations are answered`() async throws {
      let (ada, bob, conversation) = try await pair()
      let socket = try await Socket.open(bob, query: "?events=false")
      _ = try await ada.send("1", "hello", to: conversation)
      try await socket.send(send("1", "1", "and you", to: conversation))
      #expect(try await socket.next()["sent"]["seq"] == "3")
      try await socket.send(["ref": "2", "ping": [:]])
      #expect(try await socket.next() == ["ref": "2", "pong": [:]])
      try await socket.close()
    }

    // MARK: Operations

    @Test func `Several operations in one array are each answered under their name`()
      async throws
    {
      let (ada, bob, conversation) = try await pair()
      let socket = try await Socket.open(ada, query: "?events=false")
      let group: JSON = ["kind": "group", "members": [.string(bob.id)], "title": "t"]
      try await socket.send([
        send("a", "1", "one", to: conversation), send("b", "2", "two", to: conversation),
        ["ref": "c", "send": ["conversation": 7]],
        ["ref": "d", "history": ["conversation": .string(conversation), "limit": 1]],
        ["ref": "e", "createConversation": group], ["ref": "f", "listConversations": [:]],
        ["ref": "g", "unheardOf": [:]], ["ref": "h", "ping": [:]],
        send("i", "1", "one", to: conversation),
      ])
      var answers: [String: JSON] = [:]
      while answers.count < 9 {
        let answer = try await socket.next()
        answers[answer["ref"].string ?? ""] = answer
      }
      let sent = try #require(answers["a"]?["sent"])
      #expect(sent["seq"] == "2")
      #expect(answers["b"]?["sent"]["seq"] == "3")
      #expect(answers["i"]?["sent"]["repeated"] == true)
      for name in ["conversation", "seq", "time"] {
        #expect(answers["i"]?["sent"][name] == sent[name])
      }
      expectError(answers["c"]?["error"] ?? .null, "INVALID_ARGUMENT", saying: "conversation")
      #expect(answers["d"]?["history"]["events"].items.count == 1)
      let made = try #require(answers["e"]?["conversation"])
      #expect(made["title"] == "t")
      #expect(answers["f"]?["conversations"]["items"] != .null)
      expectError(answers["g"]?["error"] ?? .null, "INVALID_ARGUMENT")
      #expect(answers["h"]?["pong"] == [:])
      let id = try #require(made["id"].string)
      try await socket.send(
        ["ref": "k", "changeMembers": ["conversation": .string(id), "remove": [.string(bob.id)]]])
      #expect(try await socket.answer(to: "k")["membersChanged"]["seq"] == "2")
      try await socket.close()
    }

    @Test func `A batch of protobuf is the same in other bytes`() async throws {
      let (ada, bob, conversation) = try await pair()
      let socket = try await Socket.open(
        token: ada.token, query: "?events=false", subprotocol: "proto")
      let welcome = try #require(try await socket.frame())
      #expect(welcome.opcode == RawFrame.binary)
      #expect(Field.all(welcome.payload, [1, 2, 1, 1]) == [Array(ada.id.utf8)])
      func send(_ ref: String, _ id: String, _ text: String) -> [UInt8] {
        let send = Field.make(1, conversation) + Field.make(2, id) + Field.make(3, text)
        return Field.make(1, Field.make(1, ref) + Field.make(3, send))
      }
      let ping = Field.make(1, Field.make(1, "p") + Field.make(8, []))
      try await socket.send(
        RawFrame(RawFrame.binary, send("a", "1", "one") + ping + send("b", "2", "")))
      var frames: [[UInt8]] = []
      while frames.count < 3 {
        frames += Field.all(try #require(try await socket.frame()).payload, [1])
      }
      let refs = frames.flatMap { Field.all($0, [1]) }.map { String(decoding: $0, as: UTF8.self) }
      #expect(Set(refs) == ["a", "b", "p"])
      for (ref, frame) in zip(refs, frames) {
        switch ref {
        case "a": #expect(Field.all(frame, [3, 1]) == [Array(conversation.utf8)])
        case "b": #expect(Field.all(frame, [9, 1]) == [Array("INVALID_ARGUMENT".utf8)])
        default: #expect(Field.all(frame, [8]) == [[]])
        }
      }
      let events = try await bob.api.get(200, "/v1/conversations/\(conversation)/messages")
      #expect(events["events"].items.map { $0["message"]["text"].string } == [nil, "one"])
      try await socket.close()
    }

    // MARK: What goes too far

    @Test(arguments: [
      "{", "[", "nonsense", "[{\"ref\":\"1\",\"ping\":{}},]", "\"ping\"", "7",
      "{\"ref\":\"1\",\"ping\":{}} {\"ref\":\"2\",\"ping\":{}}",
    ])
    func `A message that is no JSON of ours gets an error, and the connection stays`(
      text: String
    ) async throws {
      let ada = try await Person.join("ada")
      let socket = try await Socket.open(ada, query: "?events=false")
      try await socket.send(text: text)
      let answer = try await socket.next()
      #expect(answer["ref"] == .null)
      expectError(answer["error"], "INVALID_ARGUMENT")
      try await socket.send(["ref": "2", "ping": [:]])
      #expect(try await socket.next() == ["ref": "2", "pong": [:]])
      try await socket.close()
    }

    @Test func `Bytes that are no protobuf of ours get an error, and the connection stays`()
      async throws
    {
      let ada = try await Person.join("ada")
      let socket = try await Socket.open(
        token: ada.token, query: "?events=false", subprotocol: "proto")
      _ = try await socket.frame()
      for bytes: [UInt8] in [[0x0a], [0x0a, 0x05, 0x00], [0xff, 0xff, 0xff]] {
        try await socket.send(RawFrame(RawFrame.binary, bytes))
        let answer = try #require(try await socket.frame()).payload
        #expect(Field.all(answer, [1, 9, 1]) == [Array("INVALID_ARGUMENT".utf8)])
      }
      try await socket.send(RawFrame(RawFrame.binary, Field.make(1, Field.make(8, []))))
      #expect(Field.all(try #require(try await socket.frame()).payload, [1, 8]) == [[]])
      try await socket.close()
    }

    @Test func `Text over 64 KiB gets an error, and the connection stays`() async throws {
      let (ada, _, conversation) = try await pair()
      let socket = try await Socket.open(ada, query: "?events=false")
      let longest = String(repeating: "x", count: 65_536)
      try await socket.send(send("1", "1", longest + "x", to: conversation))
      expectError(
        try await socket.answer(to: "1")["error"], "INVALID_ARGUMENT", saying: "text")
      try await socket.send(send("2", "1", longest, to: conversation))
      #expect(try await socket.answer(to: "2")["sent"]["seq"] == "2")
      try await socket.close()
    }

    @Test func `A frame over 1 MiB closes it, told by its length alone`() async throws {
      let ada = try await Person.join("ada")
      let socket = try await Socket.open(ada, query: "?events=false")
      try await socket.send(text: #"{"ref":"1","ping":{}}"# + pad(1_048_576 - 21))
      #expect(try await socket.next() == ["ref": "1", "pong": [:]])
      try await socket.send(RawFrame.maskedHead(RawFrame.text, count: 1_048_577))
      #expect(try await socket.closeCode() == 1009)
    }

    private func pad(_ count: Int) -> String { String(repeating: " ", count: count) }

    @Test func `More operations than a message may carry are refused as a whole`() async throws {
      let ada = try await Person.join("ada")
      let socket = try await Socket.open(ada, query: "?events=false")
      try await socket.send(.list(Array(repeating: ["ref": "1", "ping": [:]], count: 257)))
      expectError(try await socket.next()["error"], "INVALID_ARGUMENT", saying: "256")
      try await socket.send(["ref": "2", "ping": [:]])
      #expect(try await socket.next() == ["ref": "2", "pong": [:]])
      try await socket.close()
    }

    /// More than `GatewayConfiguration.pendingPerSessionMax` operations at once, which take a
    /// shard to answer: what is too much is refused, and may be tried again.
    @Test func `A full queue refuses what does not fit, and the connection stays`() async throws {
      let ada = try await Person.join("ada")
      let socket = try await Socket.open(ada, query: "?events=false")
      let list = #"{"listConversations":{}}"#
      let message = "[\(Array(repeating: list, count: 256).joined(separator: ","))]"
      let frame = RawFrame(RawFrame.text, Array(message.utf8)).masked
      let count = 12
      try await socket.send(Array(repeatElement(frame, count: count).joined()))
      var (served, refused) = (0, 0)
      while served + refused < count * 256 {
        let answer = try await socket.next()
        if answer["conversations"] == ["items": []] {
          served += 1
        } else {
          refused += 1
          expectError(
            answer["error"], "RESOURCE_EXHAUSTED", retryAfter: 200, saying: "too many")
        }
      }
      #expect(served >= 1_024)
      #expect(refused > 0)
      try await socket.send(["ref": "2", "listConversations": [:]])
      #expect(try await socket.answer(to: "2")["conversations"] == ["items": []])
      try await socket.close()
    }
  }
}

/// Protobuf by hand: fields with a length, which is all that these tests need.
///
/// **Source**: protobuf.dev, "Encoding".
enum Field {
  static func make(_ number: Int, _ bytes: [UInt8]) -> [UInt8] {
    varint(number << 3 | 2) + varint(bytes.count) + bytes
  }

  static func make(_ number: Int, _ text: String) -> [UInt8] { make(number, Array(text.utf8)) }

  /// The fields at the end of a path of field numbers, in their order.
  static func all(_ bytes: [UInt8], _ path: [Int]) -> [[UInt8]] {
    guard let number = path.first else { return [bytes] }
    var rest = bytes[...]
    var found: [[UInt8]] = []
    while let tag = readVarint(&rest) {
      guard let value = readVarint(&rest) else { break }
      guard tag & 7 == 2 else { continue }
      let content = rest.prefix(value)
      rest = rest.dropFirst(value)
      if tag >> 3 == number { found += all(Array(content), Array(path.dropFirst())) }
    }
    return found
  }

  private static func varint(_ value: Int) -> [UInt8] {
    value < 128 ? [UInt8(value)] : [UInt8(value & 127 | 128)] + varint(value >> 7)
  }

  private static func readVarint(_ bytes: inout ArraySlice<UInt8>) -> Int? {
    var value = 0
    var shift = 0
    while let byte = bytes.popFirst() {
      value |= Int(byte & 127) << shift
      if byte < 128 { return value }
      shift += 7
    }
    return nil
  }
}
