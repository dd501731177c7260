import Testing

extension GatewayTests {
  @Suite struct ConversationTests {
    @Test func `A direct conversation is made once, whoever of the two asks`() async throws {
      let (ada, bob) = (try await Person.join("ada"), try await Person.join("bob"))
      let made = try await ada.api.post(
        201, "/v1/conversations", ["kind": "direct", "members": [.string(bob.handle)]])
      #expect(made["kind"] == "direct")
      #expect(made["head"] == "1")
      #expect(made["memberCount"] == 2)
      #expect(Set(made["members"].items.map { $0["id"].string }) == [ada.id, bob.id])
      #expect(made["last"]["created"]["kind"] == "direct")
      #expect(made["existed"] == .null)
      let found = try await bob.on(1).post(
        200, "/v1/conversations", ["kind": "direct", "members": [.string(ada.id)]])
      #expect(found["id"] == made["id"])
      #expect(found["existed"] == true)
    }

    @Test func `A group has a title, its members, and an administrator who made it`()
      async throws
    {
      let ada = try await Person.join("ada")
      let (bob, cem) = (try await Person.join("bob"), try await Person.join("cem"))
      let group = try await ada.api.post(
        201, "/v1/conversations",
        [
          "kind": "group", "title": "walks \"and\" talks",
          "members": [.string(bob.handle), .string(cem.id)],
        ])
      #expect(group["title"] == "walks \"and\" talks")
      let roles = Dictionary(
        uniqueKeysWithValues: group["members"].items.map {
          ($0["id"].string ?? "", $0["role"].string ?? "")
        })
      #expect(roles == [ada.id: "admin", bob.id: "member", cem.id: "member"])
      // The same again is another group.
      let other = try await ada.api.post(
        201, "/v1/conversations", ["kind": "group", "members": [.string(bob.handle)]])
      #expect(other["id"] != group["id"])
    }

    @Test func `Members are added and leave, and read what they may`() async throws {
      let ada = try await Person.join("ada")
      let (bob, cem) = (try await Person.join("bob"), try await Person.join("cem"))
      let group = try await ada.api.post(
        201, "/v1/conversations", ["kind": "group", "members": [.string(bob.handle)]])
      let path = "/v1/conversations/\(group["id"].string ?? "")"
      try expectError(
        try await bob.api.post("\(path)/members", ["add": [.string(cem.handle)]]), 403,
        "PERMISSION_DENIED")
      let changed = try await ada.api.post(
        200, "\(path)/members", ["add": [.string(cem.handle)]])
      #expect(changed["seq"] == "2")
      let seen = try await cem.on(1).get(200, "\(path)/messages")["events"]
      #expect(seen.items.last?["membersChanged"]["added"][0]["id"].string == cem.id)
      let left = try await cem.api.post(
        200, "\(path)/members", ["remove": [.string(cem.id)]])
      #expect(left["seq"] == "3")
      try expectError(
        try await cem.api.get("\(path)/messages"), 404, "NOT_FOUND")
      try expectError(
        try await ada.api.post("\(path)/members", ["add": ["nobody-at-all"]]), 404, "NOT_FOUND")
      for body: JSON in [["add": "bob"], ["remove": [7]], ["add": ["?"]]] {
        try expectError(
          try await ada.api.post("\(path)/members", body), 400, "INVALID_ARGUMENT")
      }
    }

    @Test func `The list shows every conversation once, in pages, with its last message`()
      async throws
    {
      let (ada, bob) = (try await Person.join("ada"), try await Person.join("bob"))
      let direct = try await ada.direct(with: bob)
      _ = try await bob.send("m1", "hello", to: direct)
      var made: Set<String> = [direct]
      for number in 1...6 {
        let group = try await ada.api.post(
          201, "/v1/conversations", ["kind": "group", "title": "\(number)"])
        made.insert(try #require(group["id"].string))
      }
      var found: [JSON] = []
      // What was just made reaches the list by and by.
      try await eventually { @Sendable in
        try await ada.api.get(200, "/v1/conversations")["items"].items.count == 7
      }
      var next: String? = ""
      while let after = next {
        let query = after.isEmpty ? "?limit=3" : "?limit=3&after=\(after)"
        let page = try await ada.on(1).get(200, "/v1/conversations\(query)")
        #expect(page["items"].items.count <= 3)
        found += page["items"].items
        next = page["next"].string
      }
      #expect(Set(found.compactMap { $0["id"].string }) == made)
      #expect(found.count == made.count)
      let shown = try #require(found.first { $0["id"].string == direct })
      #expect(shown["head"] == "2")
      #expect(shown["last"]["seq"] == "2")
      #expect(shown["last"]["message"]["text"] == "hello")
      let empty = try await Person.join("cem").api.get(200, "/v1/conversations")
      #expect(empty == ["items": []])
    }

    /// Two pages are as long as on a WebSocket, and one more conversation than the default.
    @Test func `A page of the list is as long on HTTP as on a WebSocket`() async throws {
      let ada = try await Person.join("ada")
      for _ in 1...51 { _ = try await ada.api.post(201, "/v1/conversations", ["kind": "group"]) }
      try await eventually { @Sendable in
        try await ada.api.get(200, "/v1/conversations?limit=200")["items"].items.count == 51
      }
      #expect(try await ada.api.get(200, "/v1/conversations")["items"].items.count == 50)
      let socket = try await Socket.open(ada, query: "?events=false")
      try await socket.send(["ref": "1", "listConversations": [:]])
      let page = try await socket.answer(to: "1")["conversations"]
      #expect(page["items"].items.count == 50)
      #expect(page["next"] != .null)
      for limit in ["0", "201", "x", "-1", "", "1.5"] {
        try expectError(
          try await ada.api.get("/v1/conversations?limit=\(limit)"), 400, "INVALID_ARGUMENT",
          saying: "limit")
      }
      try await socket.send(["ref": "2", "listConversations": ["limit": 201]])
      expectError(try await socket.answer(to: "2")["error"], "INVALID_ARGUMENT", saying: "limit")
    }

    @Test(arguments: [
      (#"{"kind":"direct","members":[]}"#, 400), (#"{"kind":"direct"}"#, 400),
      (#"{"kind":"direct","members":["nobody-at-all"]}"#, 404),
      (#"{"kind":"direct","members":["u0000000000000000000000000z"]}"#, 404),
      (#"{"kind":"direct","members":"ada"}"#, 400), (#"{"kind":"choir"}"#, 400),
      (#"{"kind":1}"#, 400), (#"{"members":["ada"]}"#, 400),
      (#"{"kind":"group","title":7}"#, 400), (#"{"kind":"group","members":[{}]}"#, 400),
      (#"{"kind":"group""#, 400), ("7", 400),
    ])
    func `A conversation that cannot be made is refused`(body: String, status: Int) async throws {
      let ada = try await Person.join("ada")
      let answer = try await ada.api.call("POST", "/v1/conversations", body: body)
      try expectError(answer, status, status == 404 ? "NOT_FOUND" : "INVALID_ARGUMENT")
      #expect(try await ada.api.get(200, "/v1/conversations") == ["items": []])
    }
  }
}

/// Waits for what comes by and by.
func eventually(
  from location: SourceLocation = #_sourceLocation,
  _ condition: @Sendable () async throws -> Bool
) async throws {
  let deadline = ContinuousClock.now + .seconds(20)
  while !(try await condition()) {
    try #require(ContinuousClock.now < deadline, "it does not come", sourceLocation: location)
    try await Task.sleep(for: .milliseconds(10))
  }
}
