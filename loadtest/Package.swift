// swift-tools-version: 6.2
import PackageDescription

/// Strictness that every target shares.
let strict: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
]

extension Target.Dependency {
  static let nioCore = product(name: "NIOCore", package: "swift-nio")
  static let nioPosix = product(name: "NIOPosix", package: "swift-nio")
  static let nioTLS = product(name: "NIOSSL", package: "swift-nio-ssl")
  static let argumentParser = product(name: "ArgumentParser", package: "swift-argument-parser")
  static let deque = product(name: "DequeModule", package: "swift-collections")
  static let histogram = product(name: "Histogram", package: "hdrhistogram-swift")
}

let package = Package(
  name: "martlet-loadtest",
  dependencies: [
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
    .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
  ],
  targets: [
    .systemLibrary(
      name: "CLoadHTTP2", pkgConfig: "libnghttp2", providers: [.apt(["libnghttp2-dev"])]),

    // What is measured and what came of it: values.
    .target(name: "LoadModel", dependencies: [.histogram, "Yams"], swiftSettings: strict),
    // The clients' sides of the protocols: bytes in, events and bytes out.
    .target(
      name: "LoadDrivers", dependencies: ["LoadModel", "CLoadHTTP2", .nioCore],
      swiftSettings: strict),
    // Sockets, clocks and processes.
    .target(
      name: "LoadRun",
      dependencies: ["LoadModel", "LoadDrivers", .nioCore, .nioPosix, .nioTLS, .deque],
      swiftSettings: strict),
    .target(name: "LoadReport", dependencies: ["LoadModel"], swiftSettings: strict),
    .executableTarget(
      name: "loadtest",
      dependencies: ["LoadModel", "LoadRun", "LoadReport", .argumentParser],
      swiftSettings: strict),

    .testTarget(name: "LoadModelTests", dependencies: ["LoadModel"], swiftSettings: strict),
    .testTarget(
      name: "LoadDriversTests", dependencies: ["LoadDrivers", .nioCore], swiftSettings: strict),
  ]
)
