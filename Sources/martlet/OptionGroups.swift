import ArgumentParser
import Glibc
import Logging
import NodeConfiguration

/// Options that several commands share. They are texts here; `NodeConfiguration` reads them, so
/// that the environment and the command line are refused in the same words.
protocol SettingOptions: ParsableArguments {
  /// By name without dashes.
  var settings: [String: String?] { get }
  var flags: Set<String> { get }
}

extension SettingOptions {
  var flags: Set<String> { [] }
}

extension SettingSource {
  /// What the groups of a command were given, and the process's environment.
  init(_ groups: any SettingOptions..., settings: [String: String?] = [:], flags: Set<String> = [])
  {
    var all = settings
    var allFlags = flags
    for group in groups {
      all.merge(group.settings) { $1 }
      allFlags.formUnion(group.flags)
    }
    self.init(options: all, flags: allFlags, environment: Self.processEnvironment)
  }

  private static var processEnvironment: [String: String] {
    var variables: [String: String] = [:]
    var next = environ
    while let entry = next.pointee {
      let parts = String(cString: entry).split(
        separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      if parts.count == 2, parts[0].hasPrefix("MARTLET_") {
        variables[String(parts[0])] = String(parts[1])
      }
      next = next.advanced(by: 1)
    }
    return variables
  }
}

struct LogOptions: SettingOptions {
  @Option(
    help: ArgumentHelp(
      "trace, debug, info, notice, warning, error or critical (default: info for nodes).",
      valueName: "level"))
  var logLevel: String?

  var settings: [String: String?] { ["log-level": logLevel] }
}

extension Logger {
  /// The program's log, on standard error.
  init(_ source: SettingSource, usual: Logger.Level = .info) throws(SettingError) {
    let level = try LogSettings.level(source, usual: usual)
    self.init(label: "martlet") { _ in LineLogHandler(level: level) }
  }
}

struct EtcdOptions: SettingOptions {
  @Option(help: ArgumentHelp("etcd's members, separated by commas.", valueName: "url,…"))
  var etcd: String?
  @Option(help: ArgumentHelp("The certificates that etcd's leads to.", valueName: "pem"))
  var etcdTrustRoots: String?
  @Option(help: ArgumentHelp("The certificate shown to etcd.", valueName: "pem"))
  var etcdCertificate: String?
  @Option(help: ArgumentHelp("Its key.", valueName: "pem"))
  var etcdPrivateKey: String?

  var settings: [String: String?] {
    [
      "etcd": etcd, "etcd-trust-roots": etcdTrustRoots, "etcd-certificate": etcdCertificate,
      "etcd-private-key": etcdPrivateKey,
    ]
  }
}

/// How a node proves to the others who it is.
struct IdentityOptions: SettingOptions {
  @Option(
    help: ArgumentHelp(
      "The node's certificate, with the node's name among its DNS names.", valueName: "pem"))
  var certificate: String?
  @Option(help: ArgumentHelp("Its key.", valueName: "pem"))
  var privateKey: String?
  @Option(help: ArgumentHelp("The cluster's certificate authority.", valueName: "pem"))
  var trustRoots: String?
  @Option(help: ArgumentHelp("Revocation lists of the authority.", valueName: "pem"))
  var revocations: String?
  @Flag(help: "Links between nodes in plain text, beyond loopback too.")
  var insecureLinks = false

  var settings: [String: String?] {
    [
      "certificate": certificate, "private-key": privateKey, "trust-roots": trustRoots,
      "revocations": revocations,
    ]
  }

  var flags: Set<String> { insecureLinks ? ["insecure-links"] : [] }
}

/// What clients connect to.
struct PublicOptions: SettingOptions {
  @Option(
    help: ArgumentHelp(
      "Where clients connect in plain text; loopback only.", valueName: "host:port"))
  var plainAddress: String?
  @Option(help: ArgumentHelp("Where clients connect with TLS.", valueName: "host:port"))
  var tlsAddress: String?
  @Option(help: ArgumentHelp("The certificate chain shown to clients.", valueName: "pem"))
  var tlsCertificate: String?
  @Option(help: ArgumentHelp("Its key.", valueName: "pem"))
  var tlsPrivateKey: String?
  @Option(
    help: ArgumentHelp(
      """
      Origins of web pages that may use this gateway besides its own, such as the other gateways, \
      separated by commas, or * for all.
      """,
      valueName: "url,…"))
  var allowedOrigins: String?
  @Option(
    help: ArgumentHelp(
      """
      The name that the hosts of all gateways end with, so that they share the cookie of the chat \
      page (default: each has its own).
      """,
      valueName: "host"))
  var cookieDomain: String?
  @Option(help: ArgumentHelp("Threads that serve connections (default: 1).", valueName: "n"))
  var eventLoops: String?
  @Option(help: ArgumentHelp("Threads that check passwords (default: 1).", valueName: "n"))
  var passwordThreads: String?
  @Flag(help: "A plain text address that is not loopback, because something in front ends TLS.")
  var insecurePublic = false

  var settings: [String: String?] {
    [
      "plain-address": plainAddress, "tls-address": tlsAddress, "tls-certificate": tlsCertificate,
      "tls-private-key": tlsPrivateKey, "allowed-origins": allowedOrigins,
      "cookie-domain": cookieDomain,
      "event-loops": eventLoops, "password-threads": passwordThreads,
    ]
  }

  var flags: Set<String> { insecurePublic ? ["insecure-public"] : [] }
}

struct OperatorOptions: SettingOptions {
  @Option(
    help: ArgumentHelp(
      "Where /healthz, /readyz, /metrics and /ring are served.", valueName: "host:port"))
  var operatorAddress: String?

  var settings: [String: String?] { ["operator-address": operatorAddress] }
}
