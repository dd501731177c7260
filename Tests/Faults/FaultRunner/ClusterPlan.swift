/// What a run is made of: nodes, where they listen, what starts them.
///
/// ```
///   DIRECTORY/etcd shard1 …    data
///   DIRECTORY/log/NAME.log     what a process says
///   DIRECTORY/clock/NAME       how far its wall clock is off
///   DIRECTORY/disk/NAME        what a fault disk keeps for good
///   DIRECTORY/control/NAME     its socket
/// ```
struct ClusterPlan: Sendable {
  let shards: [String]
  let gateways: [String]
  let partitionCount: Int
  let directory: String
  let certificates: String
  let martlet: String
  /// The library that makes wall clocks jump; `nil` when they are left alone.
  let clockLibrary: String?
  let logLevel: String

  static let etcd = "etcd"
  private static let etcdPort = 2_379
  private static let etcdPeerPort = 2_380
  private static let linkPort = 7_101
  private static let operatorPort: UInt16 = 7_201
  private static let publicPort: UInt16 = 8_080
  private static let logEntries = 64
  private static let etcdAddress = 9
  private static let firstShardAddress = 11
  private static let firstGatewayAddress = 21

  /// In the order in which they are started.
  var nodes: [String] { [Self.etcd] + shards + gateways }

  func data(_ node: String) -> String { "\(directory)/\(node)" }
  func log(_ node: String) -> String { "\(directory)/log/\(node).log" }
  func clock(_ node: String) -> String { "\(directory)/clock/\(node)" }
  func disk(_ node: String) -> String { "\(directory)/disk/\(node)" }
  func control(_ name: String) -> String { "\(directory)/control/\(name)" }

  func address(_ node: String) -> String {
    let number =
      if let place = shards.firstIndex(of: node) {
        Self.firstShardAddress + place
      } else if let place = gateways.firstIndex(of: node) {
        Self.firstGatewayAddress + place
      } else {
        Self.etcdAddress
      }
    return "10.99.0.\(number)"
  }

  private var etcdURL: String { "http://\(address(Self.etcd)):\(Self.etcdPort)" }

  /// Where clients reach a gateway.
  func publicEndpoint(_ gateway: String) -> HTTPEndpoint {
    HTTPEndpoint(address: address(gateway), port: Self.publicPort)
  }

  func operatorEndpoint(_ node: String) -> HTTPEndpoint {
    node == Self.etcd
      ? HTTPEndpoint(address: address(node), port: UInt16(Self.etcdPort))
      : HTTPEndpoint(address: address(node), port: Self.operatorPort)
  }

  /// Where a node answers 200 when it does its work.
  func readinessPath(_ node: String) -> String { node == Self.etcd ? "/health" : "/readyz" }

  var ringInit: [String] {
    [
      martlet, "ring", "init", "--etcd", etcdURL, "--shards", "\(shards.count)", "--partitions",
      "\(partitionCount)", "--wait", "60",
    ]
  }

  // MARK: Commands

  func command(_ node: String) -> [String] {
    if node == Self.etcd { return etcdCommand }
    let links = [
      "--etcd", etcdURL, "--certificate", "\(certificates)/\(node).pem", "--private-key",
      "\(certificates)/\(node)-key.pem", "--trust-roots", "\(certificates)/authority.pem",
      "--operator-address", "\(address(node)):\(Self.operatorPort)",
    ]
    if shards.contains(node) {
      return [
        martlet, "shard", "--name", node, "--data-dir", data(node), "--link-address",
        "\(address(node)):\(Self.linkPort)",
      ] + links
    }
    return [
      martlet, "gateway", "--name", node, "--insecure-public", "--plain-address",
      "\(address(node)):\(Self.publicPort)",
    ] + links
  }

  private var etcdCommand: [String] {
    let peer = "http://\(address(Self.etcd)):\(Self.etcdPeerPort)"
    return [
      "etcd", "--name", "local", "--data-dir", data(Self.etcd), "--listen-client-urls", etcdURL,
      "--advertise-client-urls", etcdURL, "--listen-peer-urls", peer,
      "--initial-advertise-peer-urls", peer, "--initial-cluster", "local=\(peer)",
      "--heartbeat-interval", "50", "--election-timeout", "500", "--auto-compaction-mode",
      "periodic", "--auto-compaction-retention", "1h", "--logger", "zap", "--log-level", "warn",
      "--log-outputs", "stderr",
    ]
  }

  func environment(_ node: String) -> [String] {
    // What looks into a process that has crashed would keep its ports for a minute.
    var variables = ChildProcess.plainEnvironment + ["SWIFT_BACKTRACE=enable=no"]
    if node != Self.etcd { variables.append("MARTLET_LOG_LEVEL=\(logLevel)") }
    // So short that who was away for some seconds needs a snapshot.
    if shards.contains(node) {
      variables.append("MARTLET_PARTITION_LOG_ENTRIES=\(Self.logEntries)")
    }
    // etcd 3.4 wants to be told that this processor is meant.
    #if arch(arm64)
      variables.append("ETCD_UNSUPPORTED_ARCH=arm64")
    #endif
    if let clockLibrary, node != Self.etcd {
      // Deadlines come from the monotonic clock, which stays as it is.
      variables += [
        "LD_PRELOAD=\(clockLibrary)", "FAKETIME_TIMESTAMP_FILE=\(clock(node))",
        "FAKETIME_CACHE_DURATION=1", "DONT_FAKE_MONOTONIC=1",
      ]
    }
    return variables
  }
}
