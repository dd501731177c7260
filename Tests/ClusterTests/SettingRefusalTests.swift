import Foundation
import Testing

/// A command line that names something wrong, and what must be said about it.
struct RefusedSetting: Sendable, CustomTestStringConvertible {
  let arguments: [String]
  let environment: [String: String]
  /// What the one line must hold: the setting, its value or that it is missing, what is allowed.
  let words: [String]

  init(_ arguments: String, _ environment: [String: String] = [:], _ words: String...) {
    self.arguments = arguments.split(separator: " ").map(String.init)
    self.environment = environment
    self.words = words
  }

  var testDescription: String {
    let variables = environment.map { "\($0)=\($1)" }
    return (variables + arguments).joined(separator: " ")
  }

  /// An etcd that nobody answers for, and a directory that would do.
  private static let etcd = "--etcd http://127.0.0.1:9"
  private static let shard =
    "shard --name s1 --data-dir /tmp/martlet-never --link-address 127.0.0.1:9 \(etcd)"
  private static let links = "gateway --name g1 --insecure-links \(etcd)"
  private static let gateway = "\(links) --plain-address 127.0.0.1:9"
  private static let embedded = "embedded --data-dir /tmp/martlet-never"
  /// A file that exists and holds no certificate.
  private static let noPEM = "/etc/hostname"

  static let all = shards + gateways + embeddeds + rings

  private static let shards = [
    RefusedSetting(
      "shard --data-dir /tmp/x --link-address 127.0.0.1:9 \(etcd)", [:],
      "--name (or MARTLET_NAME) is missing", "allowed is the node's name"),
    RefusedSetting(
      "shard --name s1 --link-address 127.0.0.1:9 \(etcd)", [:],
      "--data-dir (or MARTLET_DATA_DIR) is missing", "allowed is a directory"),
    RefusedSetting(
      "shard --name s1 --data-dir /tmp/martlet-never \(etcd)", [:],
      "--link-address (or MARTLET_LINK_ADDRESS) is missing", "allowed is HOST:PORT"),
    RefusedSetting(
      "shard --name s1 --data-dir /tmp/martlet-never --link-address 127.0.0.1:9", [:],
      "--etcd (or MARTLET_ETCD) is missing", "allowed is http://HOST:PORT or https://HOST:PORT"),
    RefusedSetting(
      "\(shard) --etcd ftp://127.0.0.1", [:], "--etcd 'ftp://127.0.0.1'",
      "allowed is http://HOST:PORT"),
    RefusedSetting("\(shard) --name Shard_1", [:], "--name 'Shard_1'", "a-z, 0-9 and '-'"),
    RefusedSetting(
      "\(shard) --data-dir /nowhere/at/all", [:], "--data-dir '/nowhere/at/all'",
      "allowed is a directory of this node alone"),
    RefusedSetting(
      "\(shard) --data-dir \(noPEM)", [:], "--data-dir '\(noPEM)'", "it is no directory"),
    RefusedSetting(
      "\(shard) --link-address here", [:], "--link-address 'here'", "allowed is HOST:PORT"),
    RefusedSetting(
      "\(shard) --link-address 0.0.0.0:7101", [:], "--link-address '0.0.0.0:7101'",
      "plain text on the network", "allowed is a loopback address"),
    RefusedSetting("\(shard) --weight 0", [:], "--weight '0'", "a whole number from 1 to 1000"),
    RefusedSetting(
      shard, ["MARTLET_WEIGHT": "heavy"], "MARTLET_WEIGHT 'heavy'",
      "a whole number from 1 to 1000"),
    RefusedSetting(
      shard, ["MARTLET_ZONE": "rack 1"], "MARTLET_ZONE 'rack 1'", "printable ASCII"),
    RefusedSetting(
      shard, ["MARTLET_ZONE": "two\nlines"], "MARTLET_ZONE 'two\\u{a}lines'", "printable ASCII"),
    RefusedSetting(
      "\(shard) --log-level loud", [:], "--log-level 'loud'", "one of trace, debug, info"),
    RefusedSetting(
      "\(shard) --operator-address :x", [:], "--operator-address ':x'", "allowed is HOST:PORT"),
    RefusedSetting(
      "\(shard) --certificate \(noPEM)", [:], "--private-key (or MARTLET_PRIVATE_KEY) is missing",
      "a PEM file, since --certificate is given"),
    RefusedSetting(
      "\(shard) --certificate /no.pem --private-key \(noPEM) --trust-roots \(noPEM)", [:],
      "--certificate '/no.pem'", "allowed is a readable PEM file"),
    RefusedSetting(
      "\(shard) --certificate \(noPEM) --private-key \(noPEM) --trust-roots \(noPEM)", [:],
      "--certificate, --private-key, --trust-roots '\(noPEM)", "allowed is PEM files"),
    RefusedSetting(
      "\(shard) --etcd-certificate \(noPEM)", [:], "--etcd-private-key is missing",
      "certificate and key go together"),
  ]

  private static let gateways = [
    RefusedSetting(
      "gateway --insecure-links --plain-address 127.0.0.1:9 \(etcd)", [:],
      "--name (or MARTLET_NAME) is missing", "allowed is the node's name"),
    RefusedSetting(
      "gateway --name g1 --plain-address 127.0.0.1:9 \(etcd)", [:], "--certificate is missing",
      "allowed is a PEM file", "--insecure-links"),
    RefusedSetting(
      "gateway --name g1 --plain-address 127.0.0.1:9 \(etcd)", ["MARTLET_INSECURE_LINKS": "maybe"],
      "MARTLET_INSECURE_LINKS 'maybe'", "allowed is 1 or 0"),
    RefusedSetting(links, [:], "--tls-address (or --plain-address) is missing", "HOST:PORT"),
    RefusedSetting(
      "\(links) --plain-address 0.0.0.0:80", [:], "--plain-address '0.0.0.0:80'",
      "passwords would be in plain text", "allowed is a loopback address"),
    RefusedSetting(
      "\(links) --tls-address 127.0.0.1:443", [:], "--tls-certificate is missing",
      "allowed is a PEM file"),
    RefusedSetting(
      "\(links) --tls-address 127.0.0.1:443 --tls-certificate \(noPEM) --tls-private-key \(noPEM)",
      [:], "--tls-certificate, --tls-private-key '\(noPEM)", "allowed is a PEM certificate chain"),
    RefusedSetting("\(gateway) --event-loops 0", [:], "--event-loops '0'", "from 1 to 64"),
    RefusedSetting(
      "\(gateway) --password-threads 65", [:], "--password-threads '65'", "from 1 to 64"),
    RefusedSetting(
      "\(gateway) --allowed-origins example.org", [:], "--allowed-origins 'example.org'",
      "allowed is https://HOST"),
    RefusedSetting(
      "gateway --name g1 --insecure-links --plain-address 127.0.0.1:9", [:],
      "--etcd (or MARTLET_ETCD) is missing", "allowed is http://HOST:PORT"),
  ]

  private static let embeddeds = [
    RefusedSetting(
      "embedded", [:], "--data-dir (or MARTLET_DATA_DIR) is missing", "allowed is a directory"),
    RefusedSetting("\(embedded) --shards 17", [:], "--shards '17'", "from 1 to 16"),
    RefusedSetting("\(embedded) --gateways none", [:], "--gateways 'none'", "from 1 to 16"),
    RefusedSetting("\(embedded) --partitions 0", [:], "--partitions '0'", "from 1 to 65536"),
    RefusedSetting("\(embedded) --replicas 4", [:], "--replicas '4'", "from 1 to 3"),
    RefusedSetting(
      "\(embedded) --plain-address 127.0.0.1:65535", [:], "--gateways '2'", "up to 65535"),
    RefusedSetting(
      "\(embedded) --data-dir /etc", [:], "--data-dir '/etc'", "not an embedded cluster's"),
    RefusedSetting(
      "\(embedded) --data-dir /proc/martlet", [:], "--data-dir '/proc/martlet'", "allowed is"),
  ]

  private static let rings = [
    RefusedSetting(
      "ring init \(etcd)", [:], "--shards (or MARTLET_SHARDS) is missing", "how many shards"),
    RefusedSetting("ring status", [:], "--etcd (or MARTLET_ETCD) is missing", "http://HOST:PORT"),
  ]
}

extension RealProcesses {
  @Suite struct SettingRefusalTests {
    @Test(arguments: RefusedSetting.all)
    func aWrongSettingEndsTheProgramWithOneLineThatSaysWhatIsAllowed(
      _ refused: RefusedSetting
    ) async throws {
      let outcome = try await Program.martlet(
        refused.arguments, environment: refused.environment)
      #expect(outcome.ending == .exited(78), "\(outcome)")
      #expect(outcome.output.isEmpty)
      #expect(outcome.error.hasPrefix("martlet: "))
      let lines = outcome.error.split(separator: "\n", omittingEmptySubsequences: false)
      #expect(lines.count == 2 && lines.last == "", "\(outcome.error)")
      for word in refused.words { #expect(outcome.error.contains(word), "\(outcome.error)") }
    }

    @Test(arguments: ["shard", "gateway"])
    func aCertificateOfAnotherNodeIsRefusedBeforeAnythingStarts(command: String) async throws {
      let directory = try TemporaryDirectory()
      defer { directory.remove() }
      let files = try await ClusterCertificates(in: directory.file("tls"), nodes: ["shard1"])
      let own =
        command == "shard"
        ? ["--data-dir", directory.file("data"), "--link-address", "127.0.0.1:9"]
        : ["--plain-address", "127.0.0.1:9"]
      let outcome = try await Program.martlet(
        [command, "--name", "shard9", "--etcd", "http://127.0.0.1:9"] + own + [
          "--certificate", files.certificate("shard1"), "--private-key", files.key("shard1"),
          "--trust-roots", files.authority,
        ])
      #expect(outcome.ending == .exited(78), "\(outcome)")
      #expect(
        outcome.error == """
          martlet: --certificate '\(files.certificate("shard1"))': it names shard1; \
          allowed is a certificate with the DNS name 'shard9', which is the node's

          """)
      #expect(!FileManager.default.fileExists(atPath: directory.file("data")))
    }
  }
}
