package import ClusterModel
package import Coordination
package import Logging
import Primitives

/// Keeps a node's record in the coordinator under a lease, for as long as the process lives. A
/// lease that is lost (the coordinator restarted, or was away) is replaced by a new one.
package struct NodeRegistration: Sendable {
  /// **Units**: seconds. Registration only: no partition changes its leader because a lease ran
  /// out.
  private static let leaseSeconds: Int64 = 10
  private static let retryMilliseconds: Milliseconds = 500

  private let record: NodeRecord
  private let coordinator: any Coordinator
  private let logger: Logger

  package init(_ record: NodeRecord, in coordinator: any Coordinator, logger: Logger) {
    self.record = record
    self.coordinator = coordinator
    self.logger = logger
  }

  /// Runs until cancelled, then takes the record out again.
  package func run(registered: @escaping @Sendable () -> Void = {}) async {
    while !Task.isCancelled {
      do throws(CoordinationError) {
        let lease = try await coordinator.grantLease(ttlSeconds: Self.leaseSeconds)
        _ = try await coordinator.transact(
          Transaction(
            conditions: [],
            success: [
              .put(
                key: CoordinationKey.node(record.name), value: record.encoded(), lease: lease.id)
            ]))
        registered()
        await lease.waitUntilLost()
        if Task.isCancelled { try await coordinator.revoke(lease) }
      } catch {
        logger.warning("cannot register", metadata: ["why": "\(error)"])
        await Mirror.sleep(Self.retryMilliseconds)
      }
    }
  }
}
