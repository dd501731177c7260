import Testing

@testable import WebSocketEngine

@Suite struct WebSocketUpgradeTests {
  private let policy = WebSocketUpgradePolicy(
    subprotocols: ["martlet.v1.proto", "martlet.v1.json"], origins: .only(["https://chat.example"]))

  private func headers(
    replacing name: String? = nil, with values: [String] = []
  ) -> WebSocketUpgrade.Headers {
    var headers: WebSocketUpgrade.Headers = [
      ("Host", "chat.example"), ("Upgrade", "websocket"), ("Connection", "keep-alive, Upgrade"),
      ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), ("Sec-WebSocket-Version", "13"),
      ("Origin", "https://chat.example"), ("Sec-WebSocket-Protocol", "x, martlet.v1.json"),
    ]
    if let name {
      headers.removeAll { $0.name == name }
      headers += values.map { (name, $0) }
    }
    return headers
  }

  private func verdict(
    _ headers: WebSocketUpgrade.Headers, over carrier: WebSocketUpgrade.Carrier = .http1
  ) -> Result<WebSocketUpgrade, WebSocketUpgradeError> {
    Result { () throws(WebSocketUpgradeError) in
      try WebSocketUpgrade.accepting(headers, over: carrier, policy: policy)
    }
  }

  private func expectRefused(
    _ name: String, _ values: [String], _ error: WebSocketUpgradeError,
    _ location: SourceLocation = #_sourceLocation
  ) {
    #expect(
      verdict(headers(replacing: name, with: values)) == .failure(error), sourceLocation: location)
  }

  @Test func theExampleOfTheRFCIsAccepted() throws {
    let upgrade = try verdict(headers()).get()
    #expect(upgrade.accept == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    #expect(upgrade.subprotocol == "martlet.v1.json")
    let answer = upgrade.responseHeaders
    let chosen = try WebSocketUpgrade.confirmed(
      by: answer, key: "dGhlIHNhbXBsZSBub25jZQ==", offered: ["x", "martlet.v1.json"])
    #expect(chosen == "martlet.v1.json")
  }

  @Test func namesAndTokensAreReadWithoutCase() throws {
    let shouted = headers().map { (name: $0.name.uppercased(), value: $0.value) }
    #expect(try verdict(shouted).get().subprotocol == "martlet.v1.json")
    let mixed = headers(replacing: "Upgrade", with: ["  WebSocket "])
    #expect(throws: Never.self) { try verdict(mixed).get() }
  }

  @Test func whatIsMissingOrWrongIsRefused() {
    expectRefused("Upgrade", [], .upgradeMissing)
    expectRefused("Upgrade", ["h2c"], .upgradeMissing)
    expectRefused("Connection", ["close"], .connectionMissing)
    expectRefused("Connection", ["upgraded"], .connectionMissing)
    expectRefused("Sec-WebSocket-Version", [], .versionUnsupported)
    expectRefused("Sec-WebSocket-Version", ["8"], .versionUnsupported)
    expectRefused("Sec-WebSocket-Version", ["13", "13"], .versionUnsupported)
    #expect(WebSocketUpgradeError.versionUnsupported.httpStatus == 426)
    #expect(WebSocketUpgradeError.originNotAllowed.httpStatus == 403)
    #expect(WebSocketUpgradeError.keyInvalid.httpStatus == 400)
  }

  @Test func theKeyIsSixteenBytesInBase64() {
    let bad = [
      "", "short", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZ===",
      "dGhlIHNhbXBsZSBub25jZSE=", "dGhlIHNhbXBsZSBub25!ZQ==", "====", "dGhlIHNhbXBsZSBub2=jZQ==",
      "dGhlIHNhbXBsZSBub25jZQ==dGhlIHNhbXBsZSBub25jZQ==",
    ]
    for key in bad { expectRefused("Sec-WebSocket-Key", [key], .keyInvalid) }
    expectRefused("Sec-WebSocket-Key", [], .keyInvalid)
    let good = "dGhlIHNhbXBsZSBub25jZQ=="
    expectRefused("Sec-WebSocket-Key", [good, good], .keyInvalid)
  }

  @Test func onlyListedOriginsMayConnectAndNoneIsNoBrowser() {
    for origin in [
      "https://evil.example", "http://chat.example:80", "https://chat.example.evil.example",
      "https://chat.example:8443", "null", "", "https://chat.example/", "HTTPS://chat.example",
    ] {
      expectRefused("Origin", [origin], .originNotAllowed)
    }
    expectRefused("Origin", ["https://chat.example", "https://evil.example"], .originRepeated)
    #expect(throws: Never.self) { try verdict(headers(replacing: "Origin")).get() }
    #expect(OriginPolicy.any.allows("https://anything.example", host: nil))
    #expect(!OriginPolicy.only([]).allows("https://chat.example", host: "other.example"))
    #expect(OriginPolicy.only([]).allows(nil, host: "chat.example"))
  }

  @Test func theServersOwnPagesMayConnect() {
    let policy = OriginPolicy.only([])
    for (origin, host) in [
      ("https://chat.example", "chat.example"), ("http://chat.example", "Chat.Example"),
      ("http://127.0.0.1:8080", "127.0.0.1:8080"), ("http://[::1]:8080", "[::1]:8080"),
    ] {
      #expect(policy.allows(origin, host: host), "\(origin)")
    }
    for (origin, host) in [
      ("http://127.0.0.1:8081", "127.0.0.1:8080"), ("http://chat.example/", "chat.example"),
      ("ftp://chat.example", "chat.example"), ("null", "null"), ("http://", ""),
      ("https://evil.chat.example", "chat.example"),
    ] {
      #expect(!policy.allows(origin, host: host), "\(origin)")
    }
    #expect(!policy.allows("http://chat.example", host: nil))
  }

  @Test func theClientsFirstKnownSubprotocolIsChosen() throws {
    let name = "Sec-WebSocket-Protocol"
    let both = headers(replacing: name, with: ["martlet.v1.json ,martlet.v1.proto"])
    #expect(try verdict(both).get().subprotocol == "martlet.v1.json")
    let split = headers(replacing: name, with: ["y", "martlet.v1.proto"])
    #expect(try verdict(split).get().subprotocol == "martlet.v1.proto")
    #expect(try verdict(headers(replacing: name)).get().subprotocol == nil)
    var strict = policy
    strict.requiresSubprotocol = true
    #expect(throws: WebSocketUpgradeError.subprotocolUnknown) {
      try WebSocketUpgrade.accepting(headers(replacing: name), over: .http1, policy: strict)
    }
  }

  @Test func overHTTP2NeitherKeyNorUpgradeIsAsked() throws {
    let fields: WebSocketUpgrade.Headers = [
      ("sec-websocket-version", "13"), ("origin", "https://chat.example"),
      ("sec-websocket-protocol", "martlet.v1.proto"),
    ]
    let upgrade = try verdict(fields, over: .http2).get()
    #expect(upgrade.accept == nil)
    #expect(upgrade.responseHeaders.map(\.name) == ["Sec-WebSocket-Protocol"])
    let foreign = fields.map { (name: $0.name, value: $0.name == "origin" ? "null" : $0.value) }
    #expect(verdict(foreign, over: .http2) == .failure(.originNotAllowed))
  }

  @Test func aClientChecksTheAnswer() throws {
    let key = WebSocketUpgrade.key(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10)
    #expect(key == "AQIDBAUGBwgJCgsMDQ4PEA==")
    let good: WebSocketUpgrade.Headers = [
      ("Upgrade", "websocket"), ("Connection", "Upgrade"),
      ("Sec-WebSocket-Accept", WebSocketUpgrade.acceptValue(forKey: key)),
    ]
    #expect(try WebSocketUpgrade.confirmed(by: good, key: key, offered: ["a"]) == nil)
    #expect(throws: WebSocketUpgradeError.acceptMismatch) {
      try WebSocketUpgrade.confirmed(by: good, key: WebSocketUpgrade.key(1), offered: [])
    }
    #expect(throws: WebSocketUpgradeError.upgradeMissing) {
      try WebSocketUpgrade.confirmed(by: [], key: key, offered: [])
    }
    let choice: WebSocketUpgrade.Headers = [("Sec-WebSocket-Protocol", "b")]
    #expect(throws: WebSocketUpgradeError.subprotocolNotOffered) {
      try WebSocketUpgrade.confirmed(by: good + choice, key: key, offered: ["a"])
    }
    let extensions: WebSocketUpgrade.Headers = [("Sec-WebSocket-Extensions", "permessage-deflate")]
    #expect(throws: WebSocketUpgradeError.extensionNotOffered) {
      try WebSocketUpgrade.confirmed(by: good + extensions, key: key, offered: [])
    }
  }
}
