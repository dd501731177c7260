// swift-tools-version: 6.2
import PackageDescription

/// Strictness that every target shares (house style, section Form).
let strict: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
]

func module(
  _ name: String, _ dependencies: [Target.Dependency] = [], exclude: [String] = [],
  settings: [SwiftSetting] = []
) -> Target {
  .target(
    name: name, dependencies: dependencies, exclude: exclude, swiftSettings: strict + settings)
}

func tests(
  _ name: String, _ dependencies: [Target.Dependency], settings: [SwiftSetting] = []
) -> Target {
  .testTarget(name: name, dependencies: dependencies, swiftSettings: strict + settings)
}

/// Lets tests make one mistake at a time on purpose, to show that they would notice. Never in a
/// release build, but for the one of `simulate`, which gives the definition itself.
let plantedBugs = SwiftSetting.define("MARTLET_PLANTED_BUGS", .when(configuration: .debug))

/// Makes debug builds the next version of the protocol, for tests of upgrades.
let nextVersion = SwiftSetting.define("MARTLET_NEXT_VERSION", .when(configuration: .debug))

extension Target.Dependency {
  static let nioCore = product(name: "NIOCore", package: "swift-nio")
  static let nioPosix = product(name: "NIOPosix", package: "swift-nio")
  static let nioHTTP1 = product(name: "NIOHTTP1", package: "swift-nio")
  static let nioEmbedded = product(name: "NIOEmbedded", package: "swift-nio")
  static let protobuf = product(name: "SwiftProtobuf", package: "swift-protobuf")
  static let logging = product(name: "Logging", package: "swift-log")
  static let argumentParser = product(name: "ArgumentParser", package: "swift-argument-parser")
  static let heap = product(name: "HeapModule", package: "swift-collections")
  static let deque = product(name: "DequeModule", package: "swift-collections")
}

// The layers are those of ARCHITECTURE.md; Tests/TidyTests holds them.
let package = Package(
  name: "martlet",
  products: [
    .executable(name: "martlet", targets: ["martlet"]),
    .library(name: "MartletClient", targets: ["MartletClient"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
  ],
  targets: [
    // Layer 0: C
    .systemLibrary(name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
    .systemLibrary(
      name: "CNGHTTP2", pkgConfig: "libnghttp2", providers: [.apt(["libnghttp2-dev"])]),
    .systemLibrary(name: "CRocksDB", pkgConfig: "rocksdb", providers: [.apt(["librocksdb-dev"])]),
    .systemLibrary(name: "CArgon2", pkgConfig: "libargon2", providers: [.apt(["libargon2-dev"])]),
    // The files of the web pages, embedded by the compiler.
    .target(
      name: "WebPages", exclude: ["Chat", "Console"], linkerSettings: [.linkedLibrary("z")]),

    // Layer 1: words
    module("Primitives", settings: [plantedBugs, nextVersion]),
    module("ChatModel", ["Primitives"]),
    module("ClusterModel", ["Primitives"]),
    module("ClientProtocol", ["Primitives", "ChatModel"]),
    module("NodeProtocol", ["Primitives", "ChatModel", "ClusterModel"]),

    // Layer 2: logic
    module("HashRing", ["Primitives"]),
    module(
      "ReplicaCore", ["Primitives", "ClusterModel", "NodeProtocol", .deque],
      settings: [plantedBugs]),
    module("ChatCore", ["Primitives", "ChatModel", "NodeProtocol"], settings: [plantedBugs]),
    module("RingControl", ["Primitives", "ClusterModel", "HashRing"]),
    module("Routing", ["Primitives", "ClusterModel"]),
    module(
      "ShardCore",
      [
        "Primitives", "ChatModel", "ClusterModel", "NodeProtocol", "ReplicaCore", "ChatCore",
        "Routing", .deque,
      ]),
    module(
      "GatewayCore",
      [
        "Primitives", "ChatModel", "ClusterModel", "ClientProtocol", "NodeProtocol", "Routing",
        .deque,
      ]),

    // Layer 3: sessions
    module("TLSEngine", ["COpenSSL"]),
    module("Credentials", ["COpenSSL", "CArgon2", "Primitives"]),
    module("HTTP2Engine", ["Primitives", "CNGHTTP2"]),
    module("WebSocketEngine", ["Primitives"]),
    module(
      "Wire",
      ["Primitives", "ChatModel", "ClientProtocol", "ClusterModel", "NodeProtocol", .protobuf],
      exclude: ["Proto"]),

    // Layer 4: adapters
    module("LogStorage", ["Primitives", "CRocksDB"]),
    module("Telemetry"),
    module("SocketErrors", [.nioCore, .nioPosix]),
    module(
      "Transport",
      [
        "Primitives", "ClusterModel", "NodeProtocol", "TLSEngine", "HTTP2Engine",
        "WebSocketEngine", "Wire", "SocketErrors", .nioCore, .nioPosix, .nioHTTP1,
      ]),
    module(
      "Coordination",
      [
        "Primitives", "ClusterModel", "Transport", "TLSEngine", "HTTP2Engine", "Wire", .nioCore,
        .nioPosix, .logging, .deque,
      ]),

    // Layer 5: the client library
    module(
      "MartletClient",
      [
        "Primitives", "ChatModel", "ClientProtocol", "WebSocketEngine", "Wire", "TLSEngine",
        "SocketErrors", .nioCore, .nioPosix, .nioHTTP1, .deque,
      ]),

    // Layer 5: shell
    module(
      "NodeRuntime",
      [
        "Primitives", "ChatModel", "ClientProtocol", "ClusterModel", "NodeProtocol", "HashRing",
        "RingControl",
        "ReplicaCore", "ChatCore", "Routing", "ShardCore", "GatewayCore", "Wire", "TLSEngine",
        "Credentials", "WebSocketEngine", "LogStorage", "Transport", "Coordination", "Telemetry",
        "SocketErrors", "WebPages", .nioCore, .nioPosix, .nioHTTP1, .logging, .deque,
      ]),
    module(
      "NodeConfiguration",
      [
        "Primitives", "ClusterModel", "TLSEngine", "Coordination", "NodeRuntime", .logging,
      ]),

    // Layer 6: programs
    .executableTarget(
      name: "martlet",
      dependencies: [
        "Primitives", "ChatModel", "ClusterModel", "RingControl", "Credentials", "LogStorage",
        "Coordination", "TLSEngine",
        "NodeRuntime", "NodeConfiguration", "MartletClient", "SocketErrors", .nioCore, .nioPosix,
        .nioHTTP1, .logging, .argumentParser,
      ],
      swiftSettings: strict),
    // The echo endpoint that the WebSocket conformance cases run against.
    .executableTarget(
      name: "echo-server",
      dependencies: [
        "Transport", "ClusterModel", "WebSocketEngine", "Primitives", .nioCore, .nioPosix,
      ],
      path: "Tests/EchoServer", swiftSettings: strict),
    // Real faults on a real cluster, and what holds its history against the promises. They share no
    // code with the product.
    .target(
      name: "HistoryChecker", path: "Tests/Faults/HistoryChecker", swiftSettings: strict),
    .executableTarget(
      name: "fault-runner", dependencies: ["HistoryChecker", .argumentParser],
      path: "Tests/Faults/FaultRunner", swiftSettings: strict),
    // Faults for the tests of clusters: a disk that forgets.
    .systemLibrary(
      name: "CFUSE", path: "Tests/Faults/CFUSE", pkgConfig: "fuse3",
      providers: [.apt(["libfuse3-dev"])]),
    .target(name: "ControlSocket", path: "Tests/Faults/ControlSocket", swiftSettings: strict),
    .executableTarget(
      name: "fault-disk", dependencies: ["CFUSE", "ControlSocket", "Primitives", .argumentParser],
      path: "Tests/Faults/FaultDisk", swiftSettings: strict),
    // And a link that delays, loses and is cut.
    .systemLibrary(name: "CTUN", path: "Tests/Faults/CTUN"),
    .executableTarget(
      name: "slow-link", dependencies: ["CTUN", "ControlSocket", "Primitives", .argumentParser],
      path: "Tests/Faults/SlowLink", swiftSettings: strict),
    .target(
      name: "FaultSupport", dependencies: ["CTUN"], path: "Tests/Faults/FaultSupport",
      swiftSettings: strict),

    // What walks from a seed share: chance, virtual time, names.
    .target(
      name: "WalkSupport", dependencies: ["Primitives", "ChatModel", .heap],
      path: "Tests/WalkSupport", swiftSettings: strict),
    .target(
      name: "LogSupport", dependencies: [.logging], path: "Tests/LogSupport",
      swiftSettings: strict),
    // A client that knows nothing of the product.
    .target(
      name: "RawSockets", dependencies: [.nioCore, .nioPosix], path: "Tests/RawSockets",
      swiftSettings: strict),

    // Whole clusters on one thread, from a seed: the same cores that the product runs, with clock,
    // network, disks and coordinator made up.
    .target(
      name: "Simulation",
      dependencies: [
        "Primitives", "ChatModel", "ClusterModel", "ClientProtocol", "NodeProtocol", "ReplicaCore",
        "ChatCore", "ShardCore", "GatewayCore", "RingControl", "WalkSupport", .heap,
      ],
      path: "Tests/Simulation", swiftSettings: strict + [plantedBugs]),
    .executableTarget(
      name: "simulate", dependencies: ["Simulation", "Primitives", .argumentParser],
      path: "Tests/Simulate", swiftSettings: strict),

    // Runs the built `simulate`, which every build of the tests makes.
    .testTarget(
      name: "SimulationTests", dependencies: ["Simulation", "Primitives"],
      exclude: ["Seeds.txt"], swiftSettings: strict + [plantedBugs]),
    tests("TidyTests", []),
    tests("HistoryCheckerTests", ["HistoryChecker"]),
    tests("PrimitivesTests", ["Primitives"]),
    tests("ChatModelTests", ["Primitives", "ChatModel"]),
    tests("HashRingTests", ["HashRing", "Primitives"]),
    tests("RingControlTests", ["RingControl", "ClusterModel", "HashRing", "Primitives"]),
    tests(
      "ReplicaCoreTests",
      ["ReplicaCore", "Primitives", "ClusterModel", "NodeProtocol", "WalkSupport"],
      settings: [plantedBugs]),
    tests("ChatCoreTests", ["ChatCore", "Primitives", "ChatModel", "NodeProtocol", "WalkSupport"]),
    tests(
      "ShardCoreTests",
      [
        "WalkSupport", "Simulation",
        "ShardCore", "Primitives", "ChatModel", "ClusterModel", "NodeProtocol", "ReplicaCore",
        "ChatCore",
      ]),
    tests(
      "GatewayCoreTests",
      [
        "WalkSupport",
        "GatewayCore", "Routing", "Primitives", "ChatModel", "ClusterModel", "ClientProtocol",
        "NodeProtocol",
      ]),
    tests("TLSEngineTests", ["TLSEngine", "Primitives"]),
    tests("CredentialsTests", ["Credentials", "Primitives"]),
    tests("HTTP2EngineTests", ["HTTP2Engine", "Primitives"]),
    tests("WebSocketEngineTests", ["WebSocketEngine", "Primitives"]),
    tests(
      "WireTests",
      [
        "Wire", "Primitives", "ChatModel", "ClientProtocol", "ClusterModel", "NodeProtocol",
        .protobuf,
      ]),
    tests("LogStorageTests", ["LogStorage", "Primitives", "WalkSupport"]),
    tests(
      "TransportTests",
      [
        "Transport", "HTTP2Engine", "TLSEngine", "WebSocketEngine", "Wire", "Primitives",
        "ClusterModel", "ChatModel", "NodeProtocol", "RawSockets", .nioCore, .nioPosix, .nioHTTP1,
        .nioEmbedded,
      ]),
    tests(
      "CoordinationTests",
      [
        "Coordination", "Transport", "HTTP2Engine", "TLSEngine", "Primitives", "ClusterModel",
        "Wire", "LogSupport", .nioCore, .nioPosix, .nioEmbedded, .logging, .protobuf,
      ]),
    tests(
      "MartletClientTests",
      [
        "MartletClient", "Primitives", "ChatModel", "ClientProtocol", "WebSocketEngine", "Wire",
        "TLSEngine", .nioCore, .nioPosix,
      ]),
    tests("TelemetryTests", ["Telemetry"]),
    tests(
      "NodeRuntimeTests",
      [
        "Primitives", "ChatModel", "ChatCore", "ClusterModel", "Coordination", "Credentials",
        "HashRing", "LogStorage", "NodeProtocol", "ReplicaCore", "RingControl", "ShardCore",
        "Telemetry", "Transport", "NodeRuntime",
        "LogSupport", .nioCore, .nioPosix, .nioHTTP1, .logging,
      ]),
    tests(
      "SocketErrorsTests", ["SocketErrors", .nioCore, .nioPosix]),
    tests(
      "HTTPAPITests", ["Primitives", "NodeRuntime", "ClusterModel", "RawSockets", .logging]),
    tests(
      "NodeConfigurationTests",
      ["ClusterModel", "Coordination", "NodeRuntime", "NodeConfiguration", .logging]),
    // Run the built tools, as root.
    tests("FaultDiskTests", ["FaultSupport", "Primitives", "fault-disk"]),
    tests("SlowLinkTests", ["FaultSupport", "slow-link"]),
    // Runs the built `martlet`, which every build of the tests makes.
    tests("ClusterTests", ["MartletClient", "ChatModel", "Primitives"]),
  ]
)
