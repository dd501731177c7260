import RawSockets
import Testing

extension GatewayTests {
  @Suite struct MessageTests {
    /// Two people and the path of their conversation's messages.
    private func pair() async throws -> (ada: Person, bob: Person, path: String) {
      let (ada, bob) = (try await Person.join("ada"), try await Person.join("bob"))
      return (ada, bob, "/v1/conversations/\(try await ada.direct(with: bob))/messages")
    }

    @Test func `A message is stored once, and a repeat gets the answer of then`() async throws {
      let (ada, bob, path) = try await pair()
      let body: JSON = ["id": "m-1", "text": "hello", "unknown": [1, ["a": "b"]]]
      let sent = try await ada.api.post(201, path, body)
      #expect(sent["seq"] == "2")
      #expect(sent["repeated"] == .null)
      let again = try await ada.on(1).post(200, path, body)
      #expect(again["repeated"] == true)
      for name in ["conversation", "seq", "time"] { #expect(again[name] == sent[name]) }
      // The id is the device's own.
      #expect(try await bob.api.post(201, path, body)["seq"] == "3")
      let history = try await bob.on(1).get(200, path)
      #expect(history["head"] == "3")
      #expect(history["events"].items.map { $0["seq"].string } == ["1", "2", "3"])
      #expect(history["events"][1]["author"].string == ada.id)
      #expect(history["events"][1]["time"] == sent["time"])
      #expect(history["events"][1]["message"]["text"] == "hello")
    }

    @Test func `History is read from either side, in pages`() async throws {
      let (ada, _, path) = try await pair()
      for number in 2...60 {
        _ = try await ada.api.post(201, path, ["id": "\(number)", "text": "\(number)"])
      }
      func numbers(_ query: String, from location: SourceLocation = #_sourceLocation)
        async throws -> [Int]
      {
        let history = try await ada.on(1).get(200, path + query, from: location)
        #expect(history["head"] == "60", sourceLocation: location)
        return history["events"].items.compactMap { $0["seq"].string.flatMap { Int($0) } }
      }
      #expect(try await numbers("") == Array(11...60))
      #expect(try await numbers("?limit=2") == [59, 60])
      #expect(try await numbers("?limit=200") == Array(1...60))
      #expect(try await numbers("?after=0") == Array(1...50))
      #expect(try await numbers("?after=57&limit=2") == [58, 59])
      #expect(try await numbers("?after=60") == [])
      #expect(try await numbers("?after=18446744073709551615") == [])
      #expect(try await numbers("?before=4") == [1, 2, 3])
      #expect(try await numbers("?limit=2&before=4") == [2, 3])
      #expect(try await numbers("?before=1") == [])
      #expect(try await numbers("?before=18446744073709551615&limit=1") == [60])
    }

    @Test(arguments: [
      ("limit=0", "limit"), ("limit=201", "limit"), ("limit=x", "limit"), ("limit=", "limit"),
      ("after=1&before=3", "exclude"), ("after=x", "sequence"), ("before=-1", "sequence"),
      ("after=18446744073709551616", "sequence"), ("since=1", "allowed"),
    ])
    func `A page that cannot be read is refused`(query: String, part: String) async throws {
      let (ada, _, path) = try await pair()
      try expectError(
        try await ada.api.get("\(path)?\(query)"), 400, "INVALID_ARGUMENT", saying: part)
    }

    /// Whoever is no member does not learn that the conversation exists.
    @Test func `A foreign conversation is as little there as none`() async throws {
      let (_, _, path) = try await pair()
      let eve = try await Person.join("eve")
      let none = "/v1/conversations/c0000000000000000000000000z/messages"
      let answers = [path, none].map { path in
        { @Sendable in
          [
            try await eve.api.get(path),
            try await eve.api.post(path, ["id": "1", "text": "let me in"]),
          ]
        }
      }
      let (foreign, absent) = (try await answers[0](), try await answers[1]())
      for (one, other) in zip(foreign, absent) {
        try expectError(one, 404, "NOT_FOUND")
        #expect(one.body == other.body)
      }
      try expectError(
        try await eve.api.get("/v1/conversations/c1/messages"), 400, "INVALID_ARGUMENT")
    }

    @Test func `Text may have 64 KiB and no byte more`() async throws {
      let (ada, bob, path) = try await pair()
      let longest = String(repeating: "é", count: 32_768)
      _ = try await ada.api.post(201, path, ["id": "1", "text": .string(longest)])
      try expectError(
        try await ada.api.post(path, ["id": "2", "text": .string(longest + "!")]), 400,
        "INVALID_ARGUMENT", saying: "text")
      try expectError(
        try await ada.api.post(path, ["id": "3", "text": ""]), 400, "INVALID_ARGUMENT",
        saying: "text")
      let events = try await bob.api.get(200, path)["events"].items
      #expect(events.count == 2)
      #expect(events.last?["message"]["text"].string == longest)
    }

    @Test(arguments: [
      (#"{"id":"1","text":7}"#, "text"), (#"{"id":1,"text":"a"}"#, "id"),
      (#"{"id":null,"text":{}}"#, "text"), (#"{"text":"a"}"#, "id"),
      (#"{"id":"a b","text":"a"}"#, "id"), (#"{"id":"","text":"a"}"#, "id"),
      (#"{"id":"1","text":"\ud800"}"#, ""), (#"{"id":"1","text":"a"}}"#, "malformed"),
      (#"{"id":"1","text":"a""#, "malformed"), (#"{"id":"1" "text":"a"}"#, "malformed"),
      ("[{}]", ""), ("\"text\"", ""),
    ])
    func `A message that cannot be read is refused and not stored`(
      body: String, part: String
    ) async throws {
      let (ada, _, path) = try await pair()
      try expectError(
        try await ada.api.call("POST", path, body: body), 400, "INVALID_ARGUMENT", saying: part)
      #expect(try await ada.api.get(200, path)["head"] == "1")
    }

    @Test func `A body may be long, but not that long`() async throws {
      let (ada, _, path) = try await pair()
      let padding = String(repeating: " ", count: 600_000)
      try expectError(
        try await ada.api.call("POST", path, body: #"{"id":"1","text":"a"}"# + padding), 400,
        "INVALID_ARGUMENT", saying: "524288")
      let answer = try await ada.api.call(
        "POST", path, ["Content-Length: 1048577"])
      #expect(answer.status == 413)
      try expectError(answer, 413, "INVALID_ARGUMENT", saying: "too long")
      #expect(try await ada.api.get(200, path)["head"] == "1")
    }
  }

  @Suite struct CallerTests {
    private static let calls = [
      ("DELETE", "/v1/sessions/current"), ("GET", "/v1/conversations"),
      ("POST", "/v1/conversations"), ("GET", "/v1/events"),
      ("GET", "/v1/conversations/c0000000000000000000000000z/messages"),
      ("POST", "/v1/conversations/c0000000000000000000000000z/messages"),
      ("POST", "/v1/conversations/c0000000000000000000000000z/members"),
    ]

    private func body(_ method: String, _ path: String) -> String? {
      guard method == "POST" else { return nil }
      return path.hasSuffix("messages") ? #"{"id":"1","text":"a"}"# : #"{"kind":"group"}"#
    }

    @Test(arguments: calls)
    func `Nothing is done for a caller without a good token`(
      method: String, path: String
    ) async throws {
      let person = try await Person.join("ada")
      let parts = person.token.split(separator: ".")
      let forged = "\(parts[0]).\(parts[1]).\(String(parts[2].reversed()))"
      let lines = [
        [], ["Authorization: \(person.token)"], ["Authorization: Basic YTpi"],
        ["Authorization: Bearer "], ["Authorization: Bearer \(forged)"],
        ["Authorization: Bearer \(person.refreshToken)"],
        ["Authorization: Bearer \(String(repeating: "x", count: 5_000))"],
      ]
      for line in lines {
        let answer = try await Serving.api().call(
          method, path, body: body(method, path), line)
        try expectError(answer, 401, "UNAUTHENTICATED")
      }
    }

    @Test func `Methods that a path does not take are refused with those that it takes`()
      async throws
    {
      let ada = try await Person.join("ada")
      let conversation = "/v1/conversations/c0000000000000000000000000z"
      for (method, path, allowed) in [
        ("PUT", "/v1/accounts", "POST"), ("GET", "/v1/accounts", "POST"),
        ("POST", "/v1/sessions/current", "DELETE"),
        ("DELETE", "/v1/conversations", "GET, HEAD, POST"),
        ("GET", "\(conversation)/members", "POST"),
        ("PATCH", "\(conversation)/messages", "GET, HEAD, POST"),
        ("OPTIONS", "/v1/events", "GET"), ("HEAD", "/v1/events", "GET"),
        ("POST", "/v1/openapi.json", "GET, HEAD"),
      ] {
        let answer = try await ada.api.call(method, path)
        #expect(answer.headers["allow"] == allowed)
        if method == "HEAD" {
          #expect(answer.status == 405)
        } else {
          try expectError(answer, 405, "UNIMPLEMENTED", saying: "this path takes \(allowed)")
        }
      }
    }

    @Test func `HEAD answers as GET does, without the body`() async throws {
      let ada = try await Person.join("ada")
      for path in ["/v1/openapi.json", "/v1/conversations"] {
        let got = try await ada.api.call("GET", path)
        let head = try await ada.api.call("HEAD", path)
        #expect((got.status, head.status) == (200, 200))
        #expect(head.body.isEmpty)
        #expect(head.headers["content-length"] == "\(got.body.count)")
      }
    }

    @Test func `Paths that are not there are named`() async throws {
      let ada = try await Person.join("ada")
      for (method, path) in [
        ("GET", "/index.html"), ("GET", "/web/"), ("GET", "/v1"), ("GET", "/v2/conversations"),
        ("GET", "//v1/conversations"),
        ("GET", "/v1/conversations/"), ("GET", "/v1//conversations"),
        ("POST", "/v2/conversations/c0000000000000000000000000z/messages"),
        ("GET", "/v1/conversations/c0000000000000000000000000z"),
        ("GET", "/v1/conversations/c0000000000000000000000000z/messages/1"),
      ] {
        try expectError(
          try await ada.api.call(method, path), 404, "NOT_FOUND", saying: "no such path")
      }
    }

    @Test func `Bytes that are no request get an error and end that connection alone`()
      async throws
    {
      let ada = try await Person.join("ada")
      for text in ["nonsense\r\n\r\n", "GET /v1/conversations HTTP/1.1\r\nno colon\r\n\r\n"] {
        let connection = try await RawConnection.open(ada.api.port)
        try await connection.send(text)
        let answer = try Answer(parsing: try await connection.bytesUntilClosed())
        try expectError(answer, 400, "INVALID_ARGUMENT", saying: "malformed")
      }
      _ = try await ada.api.get(200, "/v1/conversations")
    }
  }
}
