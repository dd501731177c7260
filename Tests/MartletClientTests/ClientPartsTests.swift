import TLSEngine
import Testing
import WebSocketEngine

@testable import MartletClient

/// The small readers and writers of the client.
@Suite struct ClientPartsTests {
  // MARK: Gateways

  @Test(arguments: [
    ("http://host", "host:80", false), ("https://host", "host:443", true),
    ("https://host:8443/", "host:8443", true), ("wss://host", "host:443", true),
    ("ws://127.0.0.1:9000", "127.0.0.1:9000", false), ("HTTP://[::1]:7000", "[::1]:7000", false),
    ("https://[::1]", "[::1]:443", true),
  ])
  func gatewaysAreReadFromURLs(_ text: String, _ authority: String, _ isSecure: Bool) throws {
    let gateway = try GatewayAddress(text)
    #expect(gateway.authority == authority)
    #expect(gateway.isSecure == isSecure)
  }

  @Test(arguments: [
    "", "host", "ftp://host", "http://", "http://:80", "http://host:0", "http://host:x",
    "http://host:65536", "http://host/path", "http://user@host", "http://a b", "http://[::1",
    "http://[::1]x", "http://host\r\nX: y",
  ])
  func whatIsNoGatewayIsRefused(_ text: String) {
    #expect(throws: MartletError.self) { try GatewayAddress(text) }
  }

  @Test func aCertificateMustNameTheHostOrItsAddress() throws {
    #expect(try GatewayAddress("https://10.0.0.1").peerName(nil) == .address("10.0.0.1"))
    #expect(try GatewayAddress("https://[::1]").peerName(nil) == .address("::1"))
    #expect(try GatewayAddress("https://a.example").peerName(nil) == .name("a.example"))
    #expect(try GatewayAddress("https://10.0.0.1").peerName("b.example") == .name("b.example"))
  }

  // MARK: JSON

  @Test func textSurvivesJSON() {
    let text = "a\"b\\c\n\t\u{1}\u{7f}é\u{1F600}"
    let bytes = JSONText.object([("name", text), ("empty", "")])
    #expect(JSONText.members(of: bytes) == ["name": .string(text), "empty": .string("")])
  }

  @Test func membersOfAnObjectAreRead() {
    let text =
      #" { "a" : "\u0041\ud83d\ude00\/\n" , "n":900,"t":true,"o":{"x":[1,{"y":"}"}]}, "z":-1 } "#
    #expect(
      JSONText.members(of: Array(text.utf8)) == [
        "a": .string("A\u{1F600}/\n"), "n": .number(900), "t": .other(Array("true".utf8)[...]),
        "o": .other(Array(#"{"x":[1,{"y":"}"}]}"#.utf8)[...]), "z": .other(Array("-1".utf8)[...]),
      ])
    #expect(JSONText.members(of: Array("{}".utf8)) == [:])
  }

  @Test func whatIsCutOffIsNoObject() {
    let bytes = Array(#"{"a":"\u0041x","n":900,"o":{"x":[1,{"y":"z"}]}}"#.utf8)
    for count in 0..<bytes.count {
      #expect(JSONText.members(of: Array(bytes.prefix(count))) == nil, "\(count) bytes")
    }
  }

  @Test(arguments: [
    "[]", "{} x", #"{"a" 1}"#, #"{"a":"\ud800"}"#, #"{"a":"\x"}"#, "{\"a\":\"\u{1}\"}", #"{"a":}"#,
    #"{a:1}"#,
  ])
  func malformedObjectsAreRefused(_ text: String) {
    #expect(JSONText.members(of: Array(text.utf8)) == nil)
  }

  @Test func deepNestingIsRefusedAndDoesNotTrap() {
    let text = #"{"a":"# + String(repeating: "[", count: 100_000)
    #expect(JSONText.members(of: Array(text.utf8)) == nil)
  }

  @Test func damagedBytesNeverTrap() {
    var generator = SystemRandomNumberGenerator()
    let bytes = Array(#"{"accessToken":"x","user":{"id":"u"},"n":1}"#.utf8)
    for _ in 0..<2_000 {
      var damaged = bytes
      for _ in 0..<3 {
        damaged[Int.random(in: 0..<damaged.count, using: &generator)] =
          UInt8.random(in: 0...255, using: &generator)
      }
      _ = JSONText.members(of: damaged)
      _ = AccountCalls.credentials(damaged)
      _ = HTTPHead(damaged + Array("\r\n\r\n".utf8))
    }
    #expect(AccountCalls.credentials(bytes) == nil, "members are missing")
  }

  // MARK: HTTP

  @Test func theHeadOfAnAnswerIsReadOnceItIsWhole() {
    let bytes = Array("HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nA:b\r\n\r\nrest".utf8)
    for count in 0..<(bytes.count - 4) {
      #expect(HTTPHead(Array(bytes.prefix(count))) == nil)
    }
    let head = HTTPHead(bytes)
    #expect(head?.status == 101)
    #expect(head?.headers.map(\.name) == ["Upgrade", "A"])
    #expect(head.map { Array(bytes[$0.bodyStart...]) } == Array("rest".utf8))
    #expect(HTTPHead(Array("SSH-2.0\r\n\r\n".utf8))?.status == 0)
  }

  // MARK: Points

  @Test func aCursorThatCannotBeReadIsRefused() {
    let user = User(FakeCluster.user)
    let credentials = Credentials(
      accessToken: "t", refreshToken: "r", expiresMilliseconds: 0, user: user, device: "d")
    #expect(throws: MartletError.invalidArgument("the cursor cannot be read")) {
      try MartletClient(
        gateways: ["http://host"], credentials: credentials,
        resumeFrom: ResumePoint(cursor: "not a cursor"))
    }
    #expect(throws: MartletError.invalidArgument("no gateways are given")) {
      try MartletClient(gateways: [], credentials: credentials)
    }
  }
}
