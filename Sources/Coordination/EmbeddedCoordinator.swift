import NIOCore
package import Primitives
import Synchronization

/// A user of the `EmbeddedService` in its process. Its leases are renewed until it is shut down.
///
/// **Isolation**: any task.
package final class EmbeddedCoordinator: Coordinator {
  private let service: EmbeddedService
  private let renewals: LeaseRenewals
  private let seen = Mutex<CoordinationPosition?>(nil)

  package init(service: EmbeddedService) {
    self.service = service
    renewals = LeaseRenewals(service: service)
  }

  package var position: CoordinationPosition? { seen.withLock { $0 } }

  private func saw(_ position: CoordinationPosition) {
    seen.withLock { known in
      if let before = known, before.revision >= position.revision { return }
      known = position
    }
  }

  package func get(_ key: String) async throws(CoordinationError) -> Reading {
    try KeyRule.check(key)
    let reading: Reading = try await request { service, completion in
      service.read({ Reading(item: $0.item(key), position: $0.position) }, completion)
    }
    saw(reading.position)
    return reading
  }

  package func list(_ prefix: String) async throws(CoordinationError) -> Listing {
    try KeyRule.check(prefix)
    let listing: Listing = try await request { service, completion in
      service.read({ $0.listing(prefix) }, completion)
    }
    saw(listing.position)
    return listing
  }

  package func transact(
    _ transaction: Transaction
  ) async throws(CoordinationError) -> TransactionResult {
    try transaction.validate()
    let result: TransactionResult = try await request { service, completion in
      service.transact(transaction, completion)
    }
    saw(CoordinationPosition(serviceID: service.serviceID, revision: result.revision))
    return result
  }

  package func watch(
    _ prefix: String, after revision: Revision?
  ) async throws(CoordinationError) -> WatchStream {
    try KeyRule.check(prefix)
    let source = WatchSource()
    let stream = WatchStream(source)
    let _: Void = try await request { service, completion in
      service.watch(prefix, after: revision, source)
      self.renewals.add(source)
      completion(.success(()))
    }
    return stream
  }

  package func grantLease(ttlSeconds: Int64) async throws(CoordinationError) -> Lease {
    try Lease.checkSeconds(ttlSeconds)
    return try await request { service, completion in
      service.grant(ttlSeconds: ttlSeconds) { result in
        completion(result.flatMap { self.renewals.begin($0) })
      }
    }
  }

  package func resumeLease(_ id: LeaseID) async throws(CoordinationError) -> Lease {
    try await request { _, completion in completion(self.renewals.begin(id)) }
  }

  package func revoke(_ lease: Lease) async throws(CoordinationError) {
    let _: Void = try await request { service, completion in
      self.renewals.end(lease)
      service.revoke(lease.id, completion)
    }
  }

  package func shutDown() async {
    await withCheckedContinuation { continuation in
      service.eventLoop.execute {
        self.renewals.shutDown()
        continuation.resume()
      }
    }
  }

  private func request<T: Sendable>(
    _ body: @escaping @Sendable (EmbeddedService, @escaping Completion<T>) -> Void
  ) async throws(CoordinationError) -> T {
    let (service, renewals) = (service, renewals)
    return try await service.eventLoop.request { completion in
      if renewals.isShutDown { return completion(.failure(.shutDown)) }
      body(service, completion)
    }
  }
}

/// What one coordinator keeps going in the service: the timers of its leases, and its watches.
///
/// **Isolation**: the service's event loop.
private final class LeaseRenewals: @unchecked Sendable {
  // Safety: everything mutable is touched on the service's event loop only, which methods check.

  private let service: EmbeddedService
  private var timers: [LeaseID: (lease: Lease, timer: RepeatedTask)] = [:]
  private var sources: [Weak] = []
  private(set) var isShutDown = false

  private struct Weak { weak var source: WatchSource? }

  init(service: EmbeddedService) { self.service = service }

  /// **Returns**: the lease, which is renewed from now on; `leaseNotFound` when there is none.
  func begin(_ id: LeaseID) -> Result<Lease, CoordinationError> {
    let loop = service.eventLoop
    loop.preconditionInEventLoop()
    guard !isShutDown else { return .failure(.shutDown) }
    if let lease = timers[id]?.lease { return .success(lease) }
    guard let seconds = service.renew(id) else { return .failure(.leaseNotFound) }
    let lease = Lease(id: id, ttlSeconds: seconds, aliveUntil: loop.instant.after(seconds: seconds))
    let period = TimeAmount.milliseconds(Lease.renewalMilliseconds(ttlSeconds: seconds))
    let timer = loop.scheduleRepeatedTask(initialDelay: period, delay: period) { _ in
      self.renew(lease)
    }
    timers[id] = (lease, timer)
    return .success(lease)
  }

  private func renew(_ lease: Lease) {
    if let seconds = service.renew(lease.id) {
      lease.renewed(until: service.eventLoop.instant.after(seconds: seconds))
    } else {
      end(lease)
    }
  }

  func end(_ lease: Lease) {
    service.eventLoop.preconditionInEventLoop()
    timers.removeValue(forKey: lease.id)?.timer.cancel()
    lease.markLost()
  }

  func add(_ source: WatchSource) {
    service.eventLoop.preconditionInEventLoop()
    sources.removeAll { $0.source == nil }
    sources.append(Weak(source: source))
  }

  func shutDown() {
    service.eventLoop.preconditionInEventLoop()
    isShutDown = true
    for (_, timer) in timers.values { timer.cancel() }
    timers = [:]
    for source in sources { source.source?.finish() }
    sources = []
  }
}

extension Instant {
  func after(seconds: Int64) -> Instant {
    self + Milliseconds(UInt64(clamping: seconds) * 1_000)
  }
}
