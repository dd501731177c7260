package import ClusterModel
import Logging
package import Primitives
import SocketErrors
import TLSEngine

/// The files by which a node proves who it is to the others, all PEM. The certificate carries the
/// node's name among its DNS names.
package struct NodeIdentityFiles: Sendable {
  package var certificate: String
  package var privateKey: String
  package var trustRoots: String
  /// Certificates that are no longer good; `nil` when there is no such list.
  package var revocations: String?

  package init(
    certificate: String, privateKey: String, trustRoots: String, revocations: String? = nil
  ) {
    self.certificate = certificate
    self.privateKey = privateKey
    self.trustRoots = trustRoots
    self.revocations = revocations
  }

  func contexts() throws(TLSError) -> (server: TLSContext, client: TLSContext) {
    let server = try TLSContext(
      configuration: TLSConfiguration(
        role: .server, certificateChainFile: certificate, privateKeyFile: privateKey,
        trustRootsFile: trustRoots, clientCertificate: .required, alpnProtocols: ["h2"],
        minimumVersion: .tls13, revocationListFile: revocations))
    let client = try TLSContext(
      configuration: TLSConfiguration(
        role: .client, certificateChainFile: certificate, privateKeyFile: privateKey,
        trustRootsFile: trustRoots, clientCertificate: .none, alpnProtocols: ["h2"],
        minimumVersion: .tls13, revocationListFile: revocations))
    return (server, client)
  }
}

/// What an operator decides about one shard.
package struct ShardOptions: Sendable {
  package var name: String
  package var dataDirectory: String
  /// Where the other nodes connect to. Port 0 takes any free one.
  package var linkAddress: NodeAddress
  /// Where health and metrics are served; `nil` for nowhere.
  package var operatorAddress: NodeAddress?
  /// `nil` leaves links in plain text.
  package var identity: NodeIdentityFiles?
  /// What fails together with others; empty when nobody has said.
  package var zone: String
  /// The share of partitions relative to the others, 1 to 1,000.
  package var weight: UInt32
  /// How much of its log a partition keeps for replicas that were away; `nil` for the usual.
  package var logEntriesMax: Int?
  package var logBytesMax: Int?
  /// Where copies of the store go when a backup is made; `nil` for nowhere.
  package var backupDirectory: String?

  package init(
    name: String, dataDirectory: String, linkAddress: NodeAddress,
    operatorAddress: NodeAddress? = nil, identity: NodeIdentityFiles? = nil, zone: String = "",
    weight: UInt32 = 100
  ) {
    self.name = name
    self.dataDirectory = dataDirectory
    self.linkAddress = linkAddress
    self.operatorAddress = operatorAddress
    self.identity = identity
    self.zone = zone
    self.weight = weight
  }
}

/// What an operator decides about one gateway.
package struct GatewayOptions: Sendable {
  /// What the TLS port shows to clients, both PEM.
  package struct TLSFiles: Sendable {
    package var certificate: String
    package var privateKey: String

    package init(certificate: String, privateKey: String) {
      self.certificate = certificate
      self.privateKey = privateKey
    }
  }

  package var name: String
  /// Plain text, for loopback or behind something that ends TLS.
  package var plainAddress: NodeAddress?
  package var tlsAddress: NodeAddress?
  /// Needed with `tlsAddress`.
  package var tlsFiles: TLSFiles?
  package var operatorAddress: NodeAddress?
  /// `nil` leaves links in plain text.
  package var identity: NodeIdentityFiles?
  /// Origins of web pages that may use this gateway besides its own; the page that it serves
  /// connects to them when this gateway is gone. `*`: any may, without the cookie.
  package var allowedOrigins: [String]
  /// Which hosts share the cookie of a page: the name that they all end with. `nil`: each has its
  /// own.
  package var cookieDomain: String?
  package var eventLoopCount: Int
  /// Threads that hash passwords.
  package var passwordThreadCount: Int
  package var tokenTimes = TokenTimes()
  /// A WebSocket without a token in its header says hello by then.
  package var helloTimeout: Milliseconds = 10_000

  package init(
    name: String, plainAddress: NodeAddress? = nil, tlsAddress: NodeAddress? = nil,
    tlsFiles: TLSFiles? = nil, operatorAddress: NodeAddress? = nil,
    identity: NodeIdentityFiles? = nil, allowedOrigins: [String] = [],
    cookieDomain: String? = nil, eventLoopCount: Int = 1, passwordThreadCount: Int = 1
  ) {
    self.name = name
    self.plainAddress = plainAddress
    self.tlsAddress = tlsAddress
    self.tlsFiles = tlsFiles
    self.operatorAddress = operatorAddress
    self.identity = identity
    self.allowedOrigins = allowedOrigins
    self.cookieDomain = cookieDomain
    self.eventLoopCount = eventLoopCount
    self.passwordThreadCount = passwordThreadCount
  }
}

/// Why a node does not start, in one line for the operator.
package struct StartError: Error, CustomStringConvertible, Sendable {
  package let description: String

  package init(_ description: String) { self.description = description }

  /// A port that cannot be opened.
  init(_ setting: String, _ address: NodeAddress, cannotListen error: any Error) {
    self.init(
      "\(setting) \(address): cannot listen: \(SocketErrors.text(of: error)); allowed is a free "
        + "port of an address of this machine")
  }
}

extension Logger {
  /// The same logger, with the node's name on every line.
  func of(node: String) -> Logger {
    var logger = self
    logger[metadataKey: "node"] = .string(node)
    return logger
  }
}
