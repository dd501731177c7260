package import ClusterModel
package import Coordination
package import Logging
import Primitives

/// Keeps a node's record in the coordinator under a lease, for as long as the process lives. A
/// lease that is lost (the coordinator restarted, or was away) is replaced by a new one.
///
/// A name belongs to one store: whoever finds it taken by another one ends, or its peers would
/// take the one for the other. A new process of the same store takes its name over at once, while
/// the lease of the old one still lives. Gateways have no store: two processes with the same public
/// URLs are one gateway and its successor, since they cannot live at the same time.
package struct NodeRegistration: Sendable {
  /// **Units**: seconds. Registration only: no partition changes its leader because a lease ran
  /// out.
  private static let leaseSeconds: Int64 = 10
  private static let retryMilliseconds: Milliseconds = 500
  /// Of failures in a row one in so many is told.
  private static let failuresPerLine = 10

  private let record: NodeRecord
  private let coordinator: any Coordinator
  private let logger: Logger

  package init(_ record: NodeRecord, in coordinator: any Coordinator, logger: Logger) {
    self.record = record
    self.coordinator = coordinator
    self.logger = logger
  }

  /// The records of all nodes that are registered now.
  static func all(_ coordinator: any Coordinator) async throws -> [NodeRecord] {
    try await coordinator.list(CoordinationKey.nodes).items.map {
      try NodeRecord(decoding: $0.value)
    }
  }

  /// Runs until cancelled, then takes the record out again.
  ///
  /// **Throws**: `StartError` when the name is taken.
  package func run(registered: @escaping @Sendable () -> Void = {}) async throws {
    var failures = 0
    while !Task.isCancelled {
      do {
        let lease = try await coordinator.grantLease(ttlSeconds: Self.leaseSeconds)
        do {
          try await put(under: lease.id)
        } catch {
          try? await coordinator.revoke(lease)
          throw error
        }
        registered()
        await lease.waitUntilLost()
        if Task.isCancelled { try await coordinator.revoke(lease) }
        failures = 0
      } catch let error as CoordinationError {
        failures += 1
        if failures % Self.failuresPerLine == 1 {
          logger.warning(
            "cannot register", metadata: ["why": "\(error)", "attempts": "\(failures)"])
        }
        await Mirror.sleep(Self.retryMilliseconds)
      }
    }
  }

  /// Runs `body` once the node is registered, and keeps it registered meanwhile.
  ///
  /// **Throws**: `StartError` when the name is taken; what `body` throws.
  package func during<Value: Sendable>(
    _ body: @escaping @Sendable () async throws -> Value
  ) async throws -> Value {
    let (registrations, continuation) = AsyncStream.makeStream(of: Void.self)
    return try await withThrowingTaskGroup(of: Value?.self) { group in
      group.addTask {
        try await run { continuation.yield() }
        return nil
      }
      group.addTask {
        for await _ in registrations { return try await body() }
        return nil
      }
      defer { group.cancelAll() }
      while let value = try await group.next() {
        if let value { return value }
      }
      throw CancellationError()
    }
  }

  /// Writes the record where there is none, or one of this node.
  private func put(under lease: LeaseID) async throws {
    let key = CoordinationKey.node(record.name)
    var item = try await coordinator.get(key).item
    while true {
      if let item { try refuseForeign(item) }
      let result = try await coordinator.transact(
        .compareAndSet(
          key, at: item?.modRevision ?? .zero, to: record.encoded(), lease: lease))
      if result.succeeded { return }
      guard case .get(let found)? = result.responses.first else { return }
      item = found
    }
  }

  /// **Throws**: `StartError` when the name is taken at this moment.
  package func check() async throws {
    if let item = try await coordinator.get(CoordinationKey.node(record.name)).item {
      try refuseForeign(item)
    }
  }

  private func isAnotherGateway(_ other: NodeRecord) -> Bool {
    record.role == .gateway && !record.publicURLs.isEmpty
      && other.publicURLs != record.publicURLs
  }

  private func refuseForeign(_ item: KeyValue) throws(StartError) {
    // What cannot be read is nobody's.
    guard let other = try? NodeRecord(decoding: item.value),
      other.role != record.role || other.store != record.store || isAnotherGateway(other)
    else { return }
    let owner =
      other.store.map { "a shard with another data directory (store \($0))" }
      ?? "the gateway at \(other.publicURLs.joined(separator: ", "))"
    throw StartError(
      "--name '\(record.name)': taken by \(owner); allowed is a name that no other "
        + "node has; that of one that has ended is free after \(Self.leaseSeconds) s")
  }
}
