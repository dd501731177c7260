/// Who may import whom, from the bottom up. A module may import the modules of its row and nothing
/// else of the project; `external` are libraries, the system's among them.
struct ModuleRule {
  let layer: Int
  let imports: Set<String>
  let external: Set<String>

  init(_ layer: Int, _ imports: Set<String> = [], external: Set<String> = []) {
    self.layer = layer
    self.imports = imports
    self.external = external
  }
}

enum ImportTable {
  private static let nio: Set<String> = ["NIOCore", "NIOPosix", "NIOHTTP1"]
  private static let system: Set<String> = ["Glibc", "Musl", "Synchronization"]

  static let rules: [String: ModuleRule] = [
    // 0: C
    "COpenSSL": ModuleRule(0), "CNGHTTP2": ModuleRule(0), "CRocksDB": ModuleRule(0),
    "CArgon2": ModuleRule(0), "WebPages": ModuleRule(0),

    // 1: words
    "Primitives": ModuleRule(1),
    "ChatModel": ModuleRule(1, ["Primitives"]),
    "ClusterModel": ModuleRule(1, ["Primitives"]),
    "ClientProtocol": ModuleRule(1, ["Primitives", "ChatModel"]),
    "NodeProtocol": ModuleRule(1, ["Primitives", "ChatModel", "ClusterModel"]),

    // 2: logic, without I/O, clock, Foundation or logging
    "HashRing": ModuleRule(2, ["Primitives"]),
    "RingControl": ModuleRule(2, ["Primitives", "ClusterModel", "HashRing"]),
    "Routing": ModuleRule(2, ["Primitives", "ClusterModel"]),
    "ReplicaCore": ModuleRule(
      2, ["Primitives", "ClusterModel", "NodeProtocol"], external: ["DequeModule"]),
    "ChatCore": ModuleRule(2, ["Primitives", "ChatModel", "NodeProtocol"]),
    "ShardCore": ModuleRule(
      2,
      [
        "Primitives", "ChatModel", "ClusterModel", "NodeProtocol", "ReplicaCore", "ChatCore",
        "Routing",
      ], external: ["DequeModule"]),
    "GatewayCore": ModuleRule(
      2, ["Primitives", "ChatModel", "ClusterModel", "ClientProtocol", "NodeProtocol", "Routing"],
      external: ["DequeModule"]),

    // 3: sessions: bytes and values, without I/O
    "TLSEngine": ModuleRule(3, ["COpenSSL"], external: system),
    "Credentials": ModuleRule(3, ["COpenSSL", "CArgon2", "Primitives"], external: system),
    "HTTP2Engine": ModuleRule(3, ["CNGHTTP2", "Primitives"]),
    "WebSocketEngine": ModuleRule(3, ["Primitives"]),
    "Wire": ModuleRule(
      3, ["Primitives", "ChatModel", "ClientProtocol", "ClusterModel", "NodeProtocol"],
      external: ["SwiftProtobuf"]),

    // 4: adapters
    "Telemetry": ModuleRule(4, ["Primitives"], external: system),
    "SocketErrors": ModuleRule(4, external: nio.union(system)),
    "LogStorage": ModuleRule(4, ["Primitives", "CRocksDB"], external: system),
    "Transport": ModuleRule(
      4,
      [
        "Primitives", "ClusterModel", "NodeProtocol", "TLSEngine", "HTTP2Engine",
        "WebSocketEngine", "Wire", "SocketErrors",
      ], external: nio.union(system)),
    "Coordination": ModuleRule(
      4, ["Primitives", "ClusterModel", "Transport", "TLSEngine", "HTTP2Engine", "Wire"],
      external: nio.union(system).union(["Logging", "DequeModule"])),

    // 5: shell
    "NodeConfiguration": ModuleRule(
      5, ["Primitives", "ClusterModel", "TLSEngine", "Coordination", "NodeRuntime"],
      external: system.union(["Logging"])),
    "NodeRuntime": ModuleRule(
      5,
      [
        "Primitives", "ChatModel", "ClientProtocol", "ClusterModel", "NodeProtocol", "HashRing",
        "RingControl",
        "Routing", "ReplicaCore", "ChatCore", "ShardCore", "GatewayCore", "Wire", "TLSEngine",
        "Credentials", "HTTP2Engine", "WebSocketEngine", "Telemetry", "LogStorage", "Transport",
        "Coordination", "SocketErrors", "WebPages",
      ], external: nio.union(system).union(["Logging", "Dispatch", "DequeModule"])),
    "MartletClient": ModuleRule(
      5,
      [
        "Primitives", "ChatModel", "ClientProtocol", "WebSocketEngine", "Wire", "TLSEngine",
        "Transport", "Credentials", "SocketErrors",
      ], external: nio.union(system).union(["DequeModule"])),
  ]

  /// Programs import what they like, from below.
  static let programs: Set<String> = ["martlet"]
  /// Generated code imports what its generator writes.
  static let generatedFolder = "Generated"
}
