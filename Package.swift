// swift-tools-version: 6.2
import PackageDescription

/// Strictness that every target shares (house style, section Form).
let strict: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
]

func module(_ name: String, _ dependencies: [Target.Dependency] = [], exclude: [String] = [])
  -> Target
{
  .target(name: name, dependencies: dependencies, exclude: exclude, swiftSettings: strict)
}

func tests(_ name: String, _ dependencies: [Target.Dependency], exclude: [String] = []) -> Target {
  .testTarget(name: name, dependencies: dependencies, exclude: exclude, swiftSettings: strict)
}

extension Target.Dependency {
  static let nioCore = product(name: "NIOCore", package: "swift-nio")
  static let nioPosix = product(name: "NIOPosix", package: "swift-nio")
  static let nioHTTP1 = product(name: "NIOHTTP1", package: "swift-nio")
  static let nioEmbedded = product(name: "NIOEmbedded", package: "swift-nio")
  static let protobuf = product(name: "SwiftProtobuf", package: "swift-protobuf")
  static let logging = product(name: "Logging", package: "swift-log")
  static let argumentParser = product(name: "ArgumentParser", package: "swift-argument-parser")
  static let deque = product(name: "DequeModule", package: "swift-collections")
}

// The layers are those of ARCHITECTURE.md; Tests/TidyTests holds them.
let package = Package(
  name: "martlet",
  products: [
    .executable(name: "martlet", targets: ["martlet"])
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

    // Layer 0: C

    // Layer 1: words
    module("Primitives"),
    module("ChatModel", ["Primitives"]),
    module("ClusterModel", ["Primitives"]),
    module("ClientProtocol", ["Primitives", "ChatModel"]),
    module("NodeProtocol", ["Primitives", "ChatModel", "ClusterModel"]),

    // Layer 2: logic
    module("HashRing", ["Primitives"]),
    module("ReplicaCore", ["Primitives", "ClusterModel", "NodeProtocol", .deque]),
    module("ChatCore", ["Primitives", "ChatModel", "NodeProtocol"]),
    module("Routing", ["Primitives", "ClusterModel"]),
    module(
      "ShardCore",
      [
        "Primitives", "ChatModel", "ClusterModel", "NodeProtocol", "ReplicaCore", "ChatCore",
        "Routing", .deque,
      ]),
    module(
      "GatewayCore",
      ["Primitives", "ChatModel", "ClusterModel", "ClientProtocol", "NodeProtocol", "Routing"]),

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
    module(
      "Transport",
      [
        "Primitives", "ClusterModel", "NodeProtocol", "TLSEngine", "HTTP2Engine",
        "WebSocketEngine", "Wire", .nioCore, .nioPosix, .nioHTTP1,
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
        .nioCore, .nioPosix, .nioHTTP1, .deque,
      ]),

    // Layer 5: shell
    module(
      "NodeRuntime",
      [
        "Primitives", "ChatModel", "ClientProtocol", "ClusterModel", "NodeProtocol", "HashRing",
        "ReplicaCore", "ChatCore", "Routing", "ShardCore", "GatewayCore", "Wire", "TLSEngine",
        "Credentials", "WebSocketEngine", "LogStorage", "Transport", "Coordination", "Telemetry",
        .nioCore, .nioPosix, .nioHTTP1, .logging,
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
        "Primitives", "ClusterModel", "Credentials", "LogStorage", "Coordination", "TLSEngine",
        "NodeRuntime", "NodeConfiguration", "MartletClient", .nioCore, .nioPosix, .nioHTTP1,
        .logging, .argumentParser,
      ],
      swiftSettings: strict),
    .executableTarget(
      name: "smoke",
      dependencies: [
        "NodeRuntime", "ShardCore", "Coordination", "ClusterModel", .nioPosix, .logging,
      ], path: "Tests/Smoke", swiftSettings: strict),

    tests("TelemetryTests", ["Telemetry"]),
    tests(
      "NodeRuntimeTests",
      [
        "Primitives", "ClusterModel", "LogStorage", "Telemetry", "NodeRuntime", .nioCore, .nioPosix,
        .nioHTTP1, .logging,
      ]),
    tests(
      "NodeConfigurationTests",
      ["ClusterModel", "Coordination", "NodeRuntime", "NodeConfiguration", .logging]),
  ]
)
