import ClusterModel
import Coordination
import NodeConfiguration
import Testing

@Suite struct SettingSourceTests {
  @Test func `The command line goes before the environment, and that before nothing`() {
    let source = SettingSource(
      options: ["zone": "a", "weight": nil],
      environment: ["MARTLET_ZONE": "b", "MARTLET_WEIGHT": "7", "MARTLET_NAME": ""])
    #expect(source.optional("zone") == Setting(source: "--zone", value: "a"))
    #expect(source.optional("weight") == Setting(source: "MARTLET_WEIGHT", value: "7"))
    #expect(source.optional("name") == nil)
    #expect(source.optional("data-dir") == nil)
  }

  @Test func `Dashes become underscores in the environment`() {
    let source = SettingSource(options: [:], environment: ["MARTLET_LINK_ADDRESS": "a:1"])
    #expect(source.optional("link-address")?.value == "a:1")
  }

  @Test func `A missing setting is told with both of its names and what is allowed`() {
    let source = SettingSource(options: [:], environment: [:])
    let error = #expect(throws: SettingError.self) {
      try source.required("data-dir", allowed: "a directory")
    }
    #expect(
      error?.description
        == "--data-dir (or MARTLET_DATA_DIR) is missing; allowed is a directory")
  }

  @Test func `A flag can be set by either, and the environment can say no`() throws {
    func flag(_ value: String?, given: Bool = false) throws -> Bool {
      try SettingSource(
        options: [:], flags: given ? ["insecure-links"] : [],
        environment: value.map { ["MARTLET_INSECURE_LINKS": $0] } ?? [:]
      ).flag("insecure-links")
    }
    #expect(try flag(nil) == false)
    #expect(try flag(nil, given: true))
    #expect(try flag("1"))
    #expect(try flag("TRUE"))
    #expect(try flag("no") == false)
    #expect(throws: SettingError.self) { try flag("perhaps") }
  }
}

@Suite struct SettingTests {
  private func setting(_ value: String) -> Setting { Setting(source: "--x", value: value) }

  @Test func `A refusal names the setting, the value and what is allowed, in one line`() {
    let error = #expect(throws: SettingError.self) {
      try setting("one\ntwo").number(in: 1...9)
    }
    #expect(
      error?.description == "--x 'one\\u{a}two'; allowed is a whole number from 1 to 9")
  }

  @Test(arguments: ["", "0", "10", "1.5", "-1", " 3", "9999999999999999999999"])
  func `A number out of its range is refused`(text: String) {
    #expect(throws: SettingError.self) { try setting(text).number(in: 1...9) }
  }

  @Test(arguments: ["", "host", "host:", ":1", "host:0", "host:65536", "::1:80", "host:+1x"])
  func `What is no address is refused`(text: String) {
    #expect(throws: SettingError.self) { try setting(text).address() }
  }

  @Test func `Addresses are host and port`() throws {
    #expect(try setting("127.0.0.1:80").address() == NodeAddress(host: "127.0.0.1", port: 80))
    #expect(try setting("[::1]:65535").address() == NodeAddress(host: "::1", port: 65_535))
  }

  @Test(arguments: ["", "-a", "a-", "A", "a.b", "a b", "ä", String(repeating: "a", count: 64)])
  func `A node's name is a label of a DNS name`(text: String) {
    #expect(throws: SettingError.self) { try setting(text).nodeName() }
  }

  @Test func `Endpoints of etcd are a list`() throws {
    let endpoints = try setting("http://a:1, https://b:2,").etcdEndpoints()
    #expect(endpoints.map(\.description) == ["http://a:1", "https://b:2"])
    for text in ["", ",", "http://a", "a:1,b"] {
      #expect(throws: SettingError.self) { try setting(text).etcdEndpoints() }
    }
  }

  @Test func `Origins are schemes and hosts without a path`() throws {
    #expect(try setting("*").origins() == ["*"])
    #expect(try setting("https://a, http://b:1").origins() == ["https://a", "http://b:1"])
    for text in [
      "a", "https://", "https://a/b", "ftp://a", "https://a,*", "https://a;b", "https://A",
      "https://a b",
      "https://a'b",
    ] {
      #expect(throws: SettingError.self) { try setting(text).origins() }
    }
  }

  @Test func `A cookie's domain has a dot, or browsers refuse it`() throws {
    #expect(try setting("chat.example.org").cookieDomain() == "chat.example.org")
    for text in ["", "localhost", ".example.org", "example.", "a;b.c", "Example.org", "a b.c"] {
      #expect(throws: SettingError.self) { try setting(text).cookieDomain() }
    }
  }

  @Test(arguments: [
    ("127.0.0.1", true), ("127.255.0.9", true), ("localhost", true), ("::1", true),
    ("0.0.0.0", false), ("127.0.0.1.example.org", false), ("127.example.org", false),
    ("10.0.0.1", false), ("::", false), ("127.0.0", false),
  ])
  func `Only addresses that other machines cannot reach are loopback`(
    host: String, isLoopback: Bool
  ) {
    #expect(NodeAddress(host: host, port: 1).isLoopback == isLoopback)
  }

  @Test func `A file must be there and be a file`() throws {
    #expect(throws: SettingError.self) { try setting("/nowhere/x.pem").readableFile("a key") }
    #expect(throws: SettingError.self) { try setting("/").readableFile("a key") }
    #expect(try setting("/proc/self/exe").readableFile("a key") == "/proc/self/exe")
  }

  @Test func `A data directory may be missing, its parent may not`() throws {
    #expect(try setting("/tmp").dataDirectory() == "/tmp")
    #expect(try setting("/tmp/martlet-not-there/").dataDirectory() == "/tmp/martlet-not-there")
    let error = #expect(throws: SettingError.self) {
      try setting("/tmp/martlet-not-there/shard1").dataDirectory()
    }
    #expect(error?.description.contains("No such file or directory") == true)
    #expect(throws: SettingError.self) { try setting("/proc/self/exe").dataDirectory() }
    #expect(throws: SettingError.self) { try setting("").dataDirectory() }
  }
}
