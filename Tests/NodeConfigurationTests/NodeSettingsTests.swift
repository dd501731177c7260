import ClusterModel
import NodeConfiguration
import NodeRuntime
import Testing

@Suite struct ShardSettingsTests {
  private let complete = ["name": "a", "data-dir": "/tmp", "link-address": "127.0.0.1:7101"]

  private func options(
    _ changes: [String: String] = [:], flags: Set<String> = []
  ) throws -> ShardOptions {
    try ShardSettings.options(
      SettingSource(
        options: complete.merging(changes) { $1 }.mapValues { $0.isEmpty ? nil : $0 },
        flags: flags, environment: [:]))
  }

  private func line(_ changes: [String: String]) -> String? {
    #expect(throws: SettingError.self) { try options(changes) }?.description
  }

  @Test func `What is not given has its default`() throws {
    let options = try options()
    #expect(options.name == "a")
    #expect(options.weight == 100)
    #expect(options.logEntriesMax == nil && options.logBytesMax == nil)
    #expect(options.zone == "")
    #expect(options.operatorAddress == nil)
    #expect(options.identity == nil)
  }

  @Test(arguments: ["name", "data-dir", "link-address"])
  func `What must be given is missed by its name`(name: String) {
    #expect(line([name: ""])?.hasPrefix("--\(name) (or MARTLET_") == true)
  }

  @Test(arguments: [
    ("name", "A b"), ("link-address", "x"), ("operator-address", "x"), ("weight", "0"),
    ("partition-log-entries", "15"), ("partition-log-bytes", "65535"),
    ("weight", "1001"), ("zone", "a b"), ("data-dir", "/nowhere/at/all"),
  ])
  func `A wrong value is refused by its setting's name`(name: String, value: String) {
    #expect(line([name: value])?.hasPrefix("--\(name) '\(value)'") == true)
  }

  @Test func `Links in plain text stay on this machine unless it is said`() throws {
    #expect(line(["link-address": "10.0.0.1:7101"])?.contains("plain text") == true)
    let address = try options(["link-address": "10.0.0.1:7101"], flags: ["insecure-links"])
    #expect(address.linkAddress.host == "10.0.0.1")
  }

  @Test func `A certificate needs its key and its authority`() {
    let line = line(["certificate": "/proc/self/exe"])
    #expect(line?.hasPrefix("--private-key (or MARTLET_PRIVATE_KEY) is missing") == true)
    #expect(line?.contains("--certificate is given") == true)
  }

  @Test func `Files that are no certificates are refused before anything starts`() {
    let file = "/proc/self/cmdline"
    let line = line(["certificate": file, "private-key": file, "trust-roots": file])
    #expect(line?.hasPrefix("--certificate, --private-key, --trust-roots '") == true)
  }
}

@Suite struct GatewaySettingsTests {
  private func options(
    _ settings: [String: String], flags: Set<String> = ["insecure-links"]
  ) throws -> GatewayOptions {
    try GatewaySettings.options(
      SettingSource(
        options: ["name": "g"].merging(settings) { $1 }.mapValues { $0 }, flags: flags,
        environment: [:]))
  }

  private func line(
    _ settings: [String: String], flags: Set<String> = ["insecure-links"]
  ) -> String? {
    #expect(throws: SettingError.self) { try options(settings, flags: flags) }?.description
  }

  @Test func `Plain text for clients stays on this machine unless it is said`() throws {
    #expect(try options(["plain-address": "127.0.0.1:80"]).plainAddress?.port == 80)
    #expect(line(["plain-address": "0.0.0.0:80"])?.contains("passwords") == true)
    let open = try options(
      ["plain-address": "0.0.0.0:80"], flags: ["insecure-public", "insecure-links"])
    #expect(open.plainAddress?.host == "0.0.0.0")
  }

  @Test func `Links in plain text must be asked for`() {
    let line = line(["plain-address": "127.0.0.1:80"], flags: [])
    #expect(line?.contains("--insecure-links") == true)
  }

  @Test func `Some address for clients is needed`() {
    #expect(line([:])?.hasPrefix("--tls-address (or --plain-address) is missing") == true)
  }

  @Test func `TLS needs a certificate`() {
    #expect(line(["tls-address": "0.0.0.0:443"])?.hasPrefix("--tls-certificate is missing") == true)
  }

  @Test func `Threads are counted`() throws {
    #expect(try options(["plain-address": "[::1]:80", "event-loops": "4"]).eventLoopCount == 4)
    #expect(line(["plain-address": "[::1]:80", "event-loops": "0"])?.contains("1 to 64") == true)
  }
}

@Suite struct EmbeddedSettingsTests {
  private func options(_ settings: [String: String]) throws -> EmbeddedOptions {
    try EmbeddedSettings.options(
      SettingSource(
        options: ["data-dir": "/tmp"].merging(settings) { $1 }.mapValues { $0 }, environment: [:]))
  }

  @Test func `Three shards and two gateways on loopback are the default`() throws {
    let options = try options([:])
    #expect(options.shardCount == 3)
    #expect(options.replicaCount == 3)
    #expect(options.partitionCount == 256)
    #expect(options.gateways.map(\.name) == ["gateway1", "gateway2"])
    #expect(
      options.gateways.map { $0.plainAddress?.description } == ["127.0.0.1:8080", "127.0.0.1:8081"])
  }

  @Test func `One shard has one replica`() throws {
    let options = try options(["shards": "1", "gateways": "1"])
    #expect(options.replicaCount == 1)
    #expect(options.gateways.count == 1)
  }

  @Test func `Every gateway takes the next port, as long as there is one`() throws {
    let last = try options(["gateways": "2", "plain-address": "127.0.0.1:65534"])
    #expect(last.gateways.map { $0.plainAddress?.port } == [65_534, 65_535])
    #expect(throws: SettingError.self) {
      try options(["gateways": "3", "plain-address": "127.0.0.1:65534"])
    }
  }

  @Test(arguments: [
    ("shards", "0"), ("shards", "17"), ("gateways", "0"), ("partitions", "0"),
    ("partitions", "65537"), ("replicas", "4"), ("replicas", "0"),
  ])
  func `A number that makes no sense is refused by its name`(name: String, value: String) {
    let error = #expect(throws: SettingError.self) { try options([name: value]) }
    #expect(error?.setting == "--\(name)")
  }
}
