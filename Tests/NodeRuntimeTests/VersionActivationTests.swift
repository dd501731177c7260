import ClusterModel
import Coordination
import NIOPosix
import Primitives
import Testing

@testable import NodeRuntime

/// The version of the protocol that a cluster uses.
@Suite(.timeLimit(.minutes(1))) struct VersionActivationTests {
  private let coordinator: EmbeddedCoordinator

  init() throws {
    coordinator = try EmbeddedCoordinator.inMemory()
  }

  private func register(_ versions: UInt32...) async throws {
    for (number, version) in versions.enumerated() {
      let node = NodeRecord(
        name: "node\(number)", role: .gateway, store: nil, boot: BootID(UInt64(number) + 1),
        laneAddresses: [], operatorAddress: nil, publicURLs: [], zone: "", weight: 1,
        protocolVersion: version)
      let key = CoordinationKey.node(node.name)
      _ = try await coordinator.transact(
        Transaction(
          conditions: [], success: [.put(key: key, value: node.encoded(), lease: nil)]))
    }
  }

  private func expectRaised(
    to version: UInt32, isNew: Bool, heldBackBy: [String] = [],
    sourceLocation: SourceLocation = #_sourceLocation
  ) async throws {
    let found = try await VersionActivation.raise(in: coordinator)
    #expect(
      found.version == version && found.isNew == isNew && found.heldBackBy == heldBackBy,
      sourceLocation: sourceLocation)
  }

  @Test func `what every registered node knows becomes active, and never goes back`() async throws {
    await #expect(throws: StartError.self) {
      try await VersionActivation.raise(in: coordinator)
    }
    try await register(2, 1, 2)
    try await expectRaised(to: 1, isNew: false, heldBackBy: ["node1"])
    try await register(2, 2, 2)
    try await expectRaised(to: 2, isNew: true)
    try await expectRaised(to: 2, isNew: false)
    try await register(2, 1, 2)
    try await expectRaised(to: 2, isNew: false)
    #expect(try await VersionActivation.read(coordinator) == ActiveVersion(2))
  }

  @Test func `where nobody has raised it the first one is active`() async throws {
    #expect(try await VersionActivation.read(coordinator) == .first)
  }

  @Test func `a program that does not know what is active refuses, and says what helps`()
    async throws
  {
    let later = ActiveVersion(ProtocolVersion.newest + 1)
    _ = try await coordinator.transact(
      .compareAndSet(CoordinationKey.version, at: .zero, to: later.encoded()))
    await #expect(throws: StartError.self) { try await VersionActivation.read(coordinator) }
    await #expect(throws: StartError.self) {
      try await VersionActivation.follow(coordinator) { _ in }
    }
    let words = { (number: UInt32) -> String in
      do throws(StartError) {
        try VersionActivation.check(ActiveVersion(number), known: 3...4)
        return ""
      } catch { return error.description }
    }
    #expect(words(3).isEmpty && words(4).isEmpty)
    #expect(words(5).hasSuffix("allowed is a later martlet"))
    #expect(words(2).hasSuffix("one that knows both, upgrade through that"))
    #expect(throws: ProtobufError.self) { try ActiveVersion(decoding: []) }
  }
}
