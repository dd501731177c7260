import ClusterModel
package import Coordination
import Primitives

/// The version of the protocol that a cluster uses: followed by its nodes, raised by its operator.
package enum VersionActivation {
  /// **Throws**: `StartError` when this program does not know the version that is active;
  /// `CoordinationError`, `ProtobufError`.
  static func read(_ coordinator: any Coordinator) async throws -> ActiveVersion {
    let version = try await found(coordinator).version
    try check(version)
    return version
  }

  /// What is active, whether this program knows it or not.
  static func found(
    _ coordinator: any Coordinator
  ) async throws -> (version: ActiveVersion, revision: Revision) {
    let reading = try await coordinator.get(CoordinationKey.version)
    let version = try reading.item.map { try ActiveVersion(decoding: $0.value) }
    return (version ?? .first, reading.modRevision)
  }

  static func check(
    _ version: ActiveVersion, known: ClosedRange<UInt32> = ProtocolVersion.known
  ) throws(StartError) {
    guard !known.contains(version.number) else { return }
    throw StartError(
      "this martlet knows versions \(known.lowerBound) to \(known.upperBound) of the protocol, and "
        + "version \(version.number) is active in this cluster; allowed is "
        + (version.number > known.upperBound
          ? "a later martlet" : "one that knows both, upgrade through that"))
  }

  /// Follows it until cancelled.
  ///
  /// **Throws**: `StartError` when it is raised beyond what this program knows.
  static func follow(
    _ coordinator: any Coordinator, _ deliver: @escaping @Sendable (ActiveVersion) throws -> Void
  ) async throws {
    var mirror = Mirror(of: CoordinationKey.version, in: coordinator)
    while try await mirror.next() != nil {
      guard let item = mirror.items[CoordinationKey.version] else { continue }
      let version = try ActiveVersion(decoding: item.value)
      try check(version)
      try deliver(version)
    }
  }

  /// The latest version that all of these nodes know.
  static func common(_ nodes: [NodeRecord]) -> ActiveVersion {
    ActiveVersion(nodes.map(\.protocolVersion).min() ?? ProtocolVersion.newest)
  }

  /// Makes the latest version that every registered node knows the active one. It does not go
  /// back: nodes that do not know it start no more.
  ///
  /// **Returns**: the active version, whether it has changed, and the nodes that know no later one
  /// although others do.
  /// **Throws**: `StartError` when no node is registered or the outcome is not known;
  /// `CoordinationError`, `ProtobufError`.
  package static func raise(
    in coordinator: any Coordinator
  ) async throws -> (version: UInt32, isNew: Bool, heldBackBy: [String]) {
    let nodes = try await NodeRegistration.all(coordinator)
    guard !nodes.isEmpty else { throw StartError("no node is registered: start them first") }
    let (active, _) = try await found(coordinator)
    let wanted = common(nodes)
    let latest = nodes.map(\.protocolVersion).max() ?? wanted.number
    let behind = nodes.filter { $0.protocolVersion == wanted.number }.map(\.name).sorted()
    let heldBackBy = latest > max(wanted.number, active.number) ? behind : []
    let isNew = try await activate(wanted, in: coordinator)
    return (max(wanted.number, active.number), isNew, heldBackBy)
  }

  /// Makes a version that every node knows the active one, unless a later one is.
  ///
  /// **Returns**: whether it has changed.
  static func activate(
    _ wanted: ActiveVersion, in coordinator: any Coordinator
  ) async throws -> Bool {
    let (active, revision) = try await found(coordinator)
    guard wanted.number > active.number else { return false }
    let result = try await coordinator.transact(
      .compareAndSet(CoordinationKey.version, at: revision, to: wanted.encoded()))
    guard result.succeeded else {
      throw StartError("somebody else has changed it at the same time; look and try again")
    }
    return true
  }
}
