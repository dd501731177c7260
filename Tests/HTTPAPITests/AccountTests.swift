import Testing

extension GatewayTests {
  @Suite struct AccountTests {
    @Test func `An account is made once, with a name to show`() async throws {
      let (api, handle) = (try Serving.api(), Serving.handle("ada"))
      let body: JSON = [
        "handle": .string(handle.uppercased()), "password": "correct horse",
        "displayName": "Ada Lovelace", "unknown": ["to": "everybody"],
      ]
      let user = try await api.post(201, "/v1/accounts", body)["user"]
      #expect(user["handle"].string == handle)
      #expect(user["displayName"] == "Ada Lovelace")
      try expectError(
        try await api.post("/v1/accounts", body), 409, "ALREADY_EXISTS", saying: handle)
      // On the other gateway it is taken too, whatever else is asked for.
      try expectError(
        try await Serving.api(1).post(
          "/v1/accounts", ["handle": .string(handle), "password": "another one"]),
        409, "ALREADY_EXISTS")
    }

    @Test func `A name to show is the handle unless one is given`() async throws {
      let handle = Serving.handle("bob")
      let account = try await Serving.api().post(
        201, "/v1/accounts", ["handle": .string(handle), "password": "12345678"])
      #expect(account["user"]["displayName"].string == handle)
    }

    @Test(arguments: [
      (#"{"handle":"ab","password":"correct horse"}"#, "handle"),
      (#"{"handle":"a b c","password":"correct horse"}"#, "handle"),
      (#"{"handle":7,"password":"correct horse"}"#, "handle"),
      (#"{"password":"correct horse"}"#, "handle"),
      (#"{"handle":"somebody"}"#, "password"),
      (#"{"handle":"somebody","password":"short"}"#, "password"),
      (#"{"handle":"somebody","password":["correct","horse"]}"#, "password"),
      (#"{"handle":"somebody","password":"correct horse","displayName":{}}"#, "displayName"),
      (#"{"handle":"somebody","password":"correct horse""#, "malformed"),
      ("[]", ""), ("", ""), ("null", ""), ("\u{0}", ""),
    ])
    func `A body that cannot be read is refused by the field`(
      body: String, part: String
    ) async throws {
      let answer = try await Serving.api().call("POST", "/v1/accounts", body: body)
      try expectError(answer, 400, "INVALID_ARGUMENT", saying: part)
    }

    @Test func `A login gives tokens for this device`() async throws {
      let person = try await Person.join("ada")
      let session = try await Serving.api(1).post(
        201, "/v1/sessions",
        ["handle": .string(person.handle), "password": .string(Person.password)])
      #expect(session["user"]["id"].string == person.id)
      #expect(session["device"].string != person.device)
      #expect(session["expiresInSeconds"] == 900)
      // A device with a name is the same one each time.
      let first = try await Person.logIn(person.handle, device: "telephone")
      let second = try await Person.logIn(person.handle, device: "telephone", gateway: 1)
      #expect(first.device == second.device)
    }

    @Test func `A wrong password and a handle that nobody has get the same answer`()
      async throws
    {
      let person = try await Person.join("ada")
      let wrong = try await Serving.api().post(
        "/v1/sessions", ["handle": .string(person.handle), "password": "incorrect horse"])
      try expectError(wrong, 401, "UNAUTHENTICATED")
      let unknown = try await Serving.api().post(
        "/v1/sessions", ["handle": "nobody-at-all", "password": .string(Person.password)])
      #expect(unknown.status == 401)
      #expect(unknown.body == wrong.body)
      try expectError(
        try await Serving.api().call(
          "POST", "/v1/sessions", body: #"{"handle":"nobody-at-all","password":1}"#),
        400, "INVALID_ARGUMENT", saying: "password")
    }

    @Test func `A refresh gives new tokens, and the same ones when it is repeated elsewhere`()
      async throws
    {
      let person = try await Person.join("ada")
      let body: JSON = ["refreshToken": .string(person.refreshToken)]
      let first = try await Serving.api().post(200, "/v1/sessions/refresh", body)
      let again = try await Serving.api(1).post(200, "/v1/sessions/refresh", body)
      #expect(first["refreshToken"].string != person.refreshToken)
      #expect(first["refreshToken"] == again["refreshToken"])
      #expect(first["device"].string == person.device)
      #expect(first["user"]["handle"].string == person.handle)
      var api = try Serving.api()
      api.token = first["accessToken"].string
      _ = try await api.get(200, "/v1/conversations")
      let next = try await api.post(
        200, "/v1/sessions/refresh", ["refreshToken": first["refreshToken"]])
      // Two exchanges ago: refused, and no theft.
      try expectError(
        try await api.post("/v1/sessions/refresh", body), 401, "UNAUTHENTICATED")
      _ = try await api.post(200, "/v1/sessions/refresh", ["refreshToken": next["refreshToken"]])
    }

    @Test func `What is no refresh token is refused`() async throws {
      let person = try await Person.join("ada")
      for token in ["x", "x.y", person.token, person.refreshToken + "A"] {
        try expectError(
          try await Serving.api().post("/v1/sessions/refresh", ["refreshToken": .string(token)]),
          401, "UNAUTHENTICATED")
      }
      for body in ["{}", #"{"refreshToken":true}"#, "{"] {
        try expectError(
          try await Serving.api().call("POST", "/v1/sessions/refresh", body: body),
          400, "INVALID_ARGUMENT")
      }
    }

    @Test func `A logout ends the session and what could be had with it`() async throws {
      let person = try await Person.join("ada")
      let socket = try await Socket.open(token: person.token)
      #expect(try await socket.next()["welcome"]["device"].string == person.device)
      let answer = try await person.api.call("DELETE", "/v1/sessions/current")
      #expect(answer.status == 204)
      #expect(answer.body.isEmpty)
      try expectError(
        try await person.api.post(
          "/v1/sessions/refresh", ["refreshToken": .string(person.refreshToken)]),
        401, "UNAUTHENTICATED")
      // Open sessions end at once.
      expectError(try await socket.next()["error"], "UNAUTHENTICATED")
      #expect(try await socket.closeCode() == 1008)
      // Others of the same person stay.
      let other = try await Person.logIn(person.handle)
      _ = try await other.api.get(200, "/v1/conversations")
    }

    @Test func `An access token that has expired is refused by every gateway`() async throws {
      let person = try await Person.join("ada", gateway: 2)
      let deadline = ContinuousClock.now + .seconds(20)
      for gateway in 0...2 {
        let api = try person.on(gateway)
        var answer = try await api.get("/v1/conversations")
        while answer.status == 200, ContinuousClock.now < deadline {
          try await Task.sleep(for: .milliseconds(50))
          answer = try await api.get("/v1/conversations")
        }
        try expectError(answer, 401, "UNAUTHENTICATED", saying: "expired")
        let socket = try await Socket.open(gateway: gateway)
        try await socket.send(["ref": "1", "hello": ["token": .string(person.token)]])
        expectError(try await socket.next()["error"], "UNAUTHENTICATED", saying: "expired")
      }
      // The session is as good as before.
      _ = try await Serving.api().post(
        200, "/v1/sessions/refresh", ["refreshToken": .string(person.refreshToken)])
    }

    /// A login costs a hash, and only so many wait for one.
    @Test func `Too many logins at a time are told to come again`() async throws {
      let person = try await Person.join("ada")
      let body: JSON = ["handle": .string(person.handle), "password": "incorrect horse"]
      let answers = try await withThrowingTaskGroup(of: Answer.self) { group in
        for _ in 1...200 {
          group.addTask { try await Serving.api().post("/v1/sessions", body) }
        }
        return try await group.reduce(into: [Answer]()) { $0.append($1) }
      }
      let refused = answers.filter { $0.status == 429 }
      #expect(!refused.isEmpty)
      for answer in refused {
        try expectError(answer, 429, "RESOURCE_EXHAUSTED", retryAfter: 200, saying: "logins")
      }
      #expect(answers.count { $0.status == 401 } == answers.count - refused.count)
      _ = try await Person.logIn(person.handle)
    }
  }
}
