package import Primitives
import Synchronization

/// Whether a lease still holds, as far as this process knows.
package enum LeaseState: Hashable, Sendable {
  /// Renewed. Before this instant the service cannot have ended it: it is counted from when the
  /// renewal was sent. After it nothing is known until the next renewal is answered; a service that
  /// was away gives its leases their full time again.
  ///
  /// **Units**: the monotonic clock of the event loop that renews it (`NIODeadline`).
  case alive(until: Instant)
  /// The service has ended it, or it was revoked. It never comes back.
  case lost
}

/// A lease that is being renewed, every third of its time.
///
/// **Isolation**: any task.
package final class Lease: Sendable {
  package let id: LeaseID
  /// What the service granted.
  package let ttlSeconds: Int64

  private struct Shared {
    var state: LeaseState
    var waiters: [UInt64: CheckedContinuation<Void, Never>] = [:]
    var waiterCount: UInt64 = 0
  }

  private let shared: Mutex<Shared>

  init(id: LeaseID, ttlSeconds: Int64, aliveUntil: Instant) {
    self.id = id
    self.ttlSeconds = ttlSeconds
    shared = Mutex(Shared(state: .alive(until: aliveUntil)))
  }

  package var state: LeaseState { shared.withLock { $0.state } }

  /// Whether the service cannot have ended the lease before `now`.
  package func isAlive(at now: Instant) -> Bool {
    if case .alive(let until) = state { now < until } else { false }
  }

  /// Returns when the lease is lost, or when the task is cancelled.
  package func waitUntilLost() async {
    let number = shared.withLock { shared in
      shared.waiterCount += 1
      return shared.waiterCount
    }
    await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let mustWait = shared.withLock { shared in
          guard shared.state != .lost, !Task.isCancelled else { return false }
          shared.waiters[number] = continuation
          return true
        }
        if !mustWait { continuation.resume() }
      }
    } onCancel: {
      shared.withLock { $0.waiters.removeValue(forKey: number) }?.resume()
    }
  }

  /// A renewal was answered. **Invariant**: `lost` is final, and `until` never goes back.
  func renewed(until: Instant) {
    shared.withLock { shared in
      guard case .alive(let before) = shared.state else { return }
      shared.state = .alive(until: max(before, until))
    }
  }

  func markLost() {
    let waiters = shared.withLock { shared in
      shared.state = .lost
      defer { shared.waiters = [:] }
      return shared.waiters.values.map(\.self)
    }
    for waiter in waiters { waiter.resume() }
  }
}

extension Lease {
  /// How often a lease is renewed.
  ///
  /// **Units**: milliseconds.
  static func renewalMilliseconds(ttlSeconds: Int64) -> Int64 { max(1, ttlSeconds * 1_000 / 3) }

  static func checkSeconds(_ seconds: Int64) throws(CoordinationError) {
    guard CoordinationLimits.leaseSecondsRange.contains(seconds) else {
      throw .invalidRequest(.leaseSeconds(seconds))
    }
  }
}
