import Testing

extension GatewayTests {
  /// The OpenAPI document and the program are one. Every answer that any test here gets is held
  /// against the document; these see to it that nothing of the document is left out.
  @Suite struct ContractTests {
    /// What to call an operation with, and the statuses that follow.
    private struct Call {
      var target: String
      var body: JSON?
      var statuses: [Int]
    }

    @Test func `Every operation of the document is served as it says`() async throws {
      let contract = try #require(Serving.current).contract
      let (ada, bob) = (try await Person.join("ada"), try await Person.join("bob"))
      let calls = calls(ada, bob, try await ada.direct(with: bob))
      let documented = contract.operations.map { "\($0.method) \($0.path)" }
      #expect(Set(documented) == Set(calls.keys))
      for operation in documented.sorted(by: Self.logoutLast) {
        let call = try #require(calls[operation])
        let method = String(operation.prefix { $0 != " " })
        for status in call.statuses {
          let answer = try await ada.api.call(method, call.target, body: call.body?.text)
          #expect(answer.status == status, "\(operation): \(answer)")
        }
        // Without a token and without a body that makes sense it is refused as the document says.
        _ = try await Serving.api().call(
          method, call.target, body: method == "POST" ? "{" : nil,
          operation.hasSuffix("/v1/events") ? ["Last-Event-ID: x"] : [])
      }
    }

    private static func logoutLast(_ one: String, _ other: String) -> Bool {
      (one.hasPrefix("DELETE") ? 1 : 0, one) < (other.hasPrefix("DELETE") ? 1 : 0, other)
    }

    private func calls(_ ada: Person, _ bob: Person, _ conversation: String) -> [String: Call] {
      let path = "/v1/conversations/\(conversation)"
      let new = Serving.handle("new")
      let login: JSON = ["handle": .string(ada.handle), "password": .string(Person.password)]
      let account: JSON = ["handle": .string(new), "password": .string(Person.password)]
      return [
        "POST /v1/accounts": Call(target: "/v1/accounts", body: account, statuses: [201, 409]),
        "POST /v1/sessions": Call(target: "/v1/sessions", body: login, statuses: [201]),
        "POST /v1/sessions/refresh": Call(
          target: "/v1/sessions/refresh", body: ["refreshToken": .string(ada.refreshToken)],
          statuses: [200, 200]),
        "GET /web/config.json": Call(target: "/web/config.json", statuses: [200]),
        "DELETE /v1/sessions/current": Call(target: "/v1/sessions/current", statuses: [204]),
        "GET /v1/conversations": Call(
          target: "/v1/conversations?limit=1&after=\(conversation)", statuses: [200]),
        "POST /v1/conversations": Call(
          target: "/v1/conversations",
          body: ["kind": "direct", "members": [.string(bob.handle)]], statuses: [200]),
        "POST /v1/conversations/{conversation}/members": Call(
          target: "\(path)/members", body: ["add": [.string(ada.handle)]], statuses: [400]),
        "POST /v1/conversations/{conversation}/messages": Call(
          target: "\(path)/messages", body: ["id": "1", "text": "a"], statuses: [201, 200]),
        "GET /v1/conversations/{conversation}/messages": Call(
          target: "\(path)/messages?after=0&limit=1", statuses: [200]),
        // Open streams have tests of their own.
        "GET /v1/events": Call(target: "/v1/events?cursor=x", statuses: [400]),
        "GET /v1/ws": Call(target: "/v1/ws", statuses: [426]),
        "GET /v1/openapi.json": Call(target: "/v1/openapi.json", statuses: [200]),
      ]
    }

    @Test func `The document is served to anybody, as it is in the program`() async throws {
      let answer = try await Serving.api(1).get("/v1/openapi.json")
      #expect(answer.status == 200)
      #expect(answer.headers["content-type"] == "application/json")
      #expect(try answer.json()["openapi"] == "3.1.0")
      #expect(try answer.json() == (try #require(Serving.current).contract.document))
    }

    @Test func `A documented parameter is taken, and no other`() async throws {
      let contract = try #require(Serving.current).contract
      let (ada, bob) = (try await Person.join("ada"), try await Person.join("bob"))
      let conversation = try await ada.direct(with: bob)
      let values = [
        "after": ["GET /v1/conversations": conversation, "": "0"], "before": ["": "2"],
        "limit": ["": "200"],
      ]
      for (method, path) in contract.operations where method == "GET" && path != "/v1/ws" {
        let operation = contract.document["paths"][path]["get"]
        let target = path.split(separator: "{conversation}").joined(separator: conversation)
        for parameter in operation["parameters"].items.map(contract.resolve)
        where parameter["in"] == "query" && parameter["name"] != "cursor" {
          let name = try #require(parameter["name"].string)
          let value = try #require(values[name].flatMap { $0["GET \(path)"] ?? $0[""] }, "\(name)")
          _ = try await ada.api.get(200, "\(target)?\(name)=\(value)")
        }
        guard operation["parameters"] != .null else { continue }
        try expectError(
          try await ada.api.get("\(target)?other=1"), 400, "INVALID_ARGUMENT", saying: "allowed are"
        )
      }
    }
  }
}
