import Foundation

/// One process of a cluster: what is started, again and again with the same arguments.
struct NodeCommand: Sendable {
  let name: String
  let program: String
  let arguments: [String]
  /// Where it answers 200 when it does its work.
  let readiness: (port: UInt16, path: String)
}

/// What a cluster consists of and where everything listens, as `cluster/up` lays it out, but on
/// ports of its own.
///
/// ```
///   directory/etcd shard1 … embedded   data
///   directory/certificates             see ClusterCertificates
///   directory/log/NAME.log             what a process says
/// ```
struct ClusterLayout: Sendable {
  enum Shape: Sendable {
    case processes(shards: Int, gateways: Int)
    /// Three shards and two gateways in one process.
    case embedded
  }

  /// Few, so that a cluster starts quickly, and more than one for each shard to lead.
  static let partitionCount = 16
  private static let portsPerNode = 3
  private static let embeddedGateways = 2

  let shape: Shape
  let directory: String
  let firstPort: UInt16
  let certificates: ClusterCertificates
  /// Arguments that every shard gets; `NODE` stands for a directory of its own.
  let shardSettings: [String]

  init(_ shape: Shape, shardSettings: [String] = [], in directory: String) async throws {
    self.shape = shape
    self.shardSettings = shardSettings
    self.directory = directory
    let nodes =
      switch shape {
      case .processes(let shards, let gateways): Self.names(shards, gateways)
      case .embedded: [String]()
      }
    let spares = Self.spares(of: shape)
    firstPort = try Ports.free((nodes.count + spares.count + 2) * Self.portsPerNode)
    certificates = try await ClusterCertificates(
      in: "\(directory)/certificates", nodes: nodes + spares)
    try FileManager.default.createDirectory(
      atPath: "\(directory)/log", withIntermediateDirectories: true)
  }

  private static func names(_ shards: Int, _ gateways: Int) -> [String] {
    (0..<shards).map { "shard\($0 + 1)" } + (0..<gateways).map { "gateway\($0 + 1)" }
  }

  var shards: [String] {
    if case .processes(let shards, _) = shape { Self.names(shards, 0) } else { [] }
  }

  /// Shards that are not started with the others and are not in the ring at first.
  var spares: [String] { Self.spares(of: shape) }

  private static func spares(of shape: Shape) -> [String] {
    if case .processes(let shards, _) = shape { ["shard\(shards + 1)"] } else { [] }
  }

  var gateways: [String] {
    if case .processes(_, let gateways) = shape { Self.names(0, gateways) } else { [] }
  }

  /// In the order in which they are started: nodes need the coordinator.
  var nodes: [String] {
    switch shape {
    case .processes: ["etcd"] + shards + gateways
    case .embedded: ["embedded"]
    }
  }

  func log(_ node: String) -> String { "\(directory)/log/\(node).log" }
  func data(_ node: String) -> String { "\(directory)/\(node)" }

  // MARK: Ports

  /// - Parameter number: 0, 1 or 2: what a node of this place listens on.
  private func port(_ place: Int, _ number: Int) -> UInt16 {
    firstPort + UInt16(place * Self.portsPerNode + number)
  }

  private func place(of node: String) -> Int { (nodes + spares).firstIndex(of: node) ?? 0 }

  /// Where ports of gateways begin: plain text, then TLS. An embedded cluster's follow each other.
  private func gatewayPort(_ index: Int, tls: Bool) -> UInt16 {
    switch shape {
    case .processes: port(place(of: gateways[index]), tls ? 1 : 0)
    case .embedded: port(tls ? 1 : 0, index)
    }
  }

  private var gatewayCount: Int {
    if case .processes(_, let gateways) = shape { gateways } else { Self.embeddedGateways }
  }

  /// The gateways' URLs in plain text.
  var plainURLs: [String] {
    (0..<gatewayCount).map { "http://127.0.0.1:\(gatewayPort($0, tls: false))" }
  }

  /// The same with TLS, in the same order.
  var secureURLs: [String] {
    (0..<gatewayCount).map { "https://127.0.0.1:\(gatewayPort($0, tls: true))" }
  }

  var addresses: People.Addresses {
    People.Addresses(plain: plainURLs, secure: secureURLs, authority: certificates.authority)
  }

  var etcdURL: String { "http://127.0.0.1:\(port(place(of: "etcd"), 0))" }

  /// What `martlet ring status` is told to ask.
  var ringSource: [String] {
    switch shape {
    case .processes: ["--etcd", etcdURL]
    case .embedded: ["--operator-address", "127.0.0.1:\(command("embedded").readiness.port)"]
    }
  }

  // MARK: Commands

  func command(_ node: String) -> NodeCommand {
    let arguments =
      switch node {
      case "etcd": etcd
      case "embedded": embedded
      case _ where (shards + spares).contains(node): shard(node)
      default: gateway(node)
      }
    let path = node == "etcd" ? "/health" : "/readyz"
    let number = node == "etcd" ? 0 : 2
    return NodeCommand(
      name: node, program: node == "etcd" ? "/usr/bin/env" : Program.martlet,
      arguments: arguments, readiness: (port(place(of: node), number), path))
  }

  private var etcd: [String] {
    let peer = "http://127.0.0.1:\(port(place(of: "etcd"), 1))"
    // On this processor, etcd 3.4 wants to be told that it is meant.
    #if arch(arm64)
      let environment = ["ETCD_UNSUPPORTED_ARCH=arm64"]
    #else
      let environment: [String] = []
    #endif
    return environment + [
      "etcd", "--name", "local", "--data-dir", data("etcd"), "--listen-client-urls", etcdURL,
      "--advertise-client-urls", etcdURL, "--listen-peer-urls", peer,
      "--initial-advertise-peer-urls", peer, "--initial-cluster", "local=\(peer)",
      "--heartbeat-interval", "50", "--election-timeout", "500", "--logger", "zap",
      "--log-level", "warn", "--log-outputs", "stderr",
    ]
  }

  private func shard(_ node: String) -> [String] {
    [
      "shard", "--name", node, "--data-dir", data(node), "--link-address",
      "127.0.0.1:\(port(place(of: node), 0))",
    ] + shardSettings.map { $0.replacing("NODE", with: "\(directory)/backup-\(node)") }
      + operators(node) + links(node)
  }

  private func gateway(_ node: String) -> [String] {
    let first = port(place(of: node), 0)
    return ["gateway", "--name", node] + clients(plain: first, tls: first + 1) + operators(node)
      + links(node)
  }

  private var embedded: [String] {
    [
      "embedded", "--data-dir", data("embedded"), "--shards", "3", "--gateways",
      "\(Self.embeddedGateways)", "--partitions", "\(Self.partitionCount)",
    ] + clients(plain: port(0, 0), tls: port(1, 0)) + operators("embedded")
  }

  private func clients(plain: UInt16, tls: UInt16) -> [String] {
    [
      "--plain-address", "127.0.0.1:\(plain)", "--tls-address", "127.0.0.1:\(tls)",
      "--tls-certificate", certificates.certificate("public"), "--tls-private-key",
      certificates.key("public"),
    ]
  }

  private func operators(_ node: String) -> [String] {
    ["--operator-address", "127.0.0.1:\(port(place(of: node), 2))"]
  }

  private func links(_ node: String) -> [String] {
    [
      "--etcd", etcdURL, "--certificate", certificates.certificate(node), "--private-key",
      certificates.key(node), "--trust-roots", certificates.authority,
    ]
  }
}
