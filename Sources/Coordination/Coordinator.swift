package import Primitives

/// The cluster's agreement: a small ordered map of keys with compare-and-set, watches and leases.
/// Martlet keeps in it who owns what; messages never go through it.
///
/// All implementations pass the same conformance suite, with the semantics of etcd v3:
/// - one `Revision` counts the transactions that changed something; every key carries the revision
///   of its last change;
/// - a transaction is atomic, durable before it is answered, and reads are linearizable: they see
///   every transaction that was answered before they began;
/// - a lease that is not renewed takes its keys with it, in one transaction.
///
/// Keys are printable ASCII, so that equality and order of strings are those of bytes. Calls are
/// bounded by deadlines and ignore the cancellation of their task: what was sent cannot be unsent.
///
/// **Isolation**: any task.
package protocol Coordinator: Sendable {
  /// Whose answers were seen so far; `nil` before the first. A store keeps it and gives it to the
  /// next process (see `CoordinationError.wentBackInTime`).
  var position: CoordinationPosition? { get }

  /// Reads one key.
  func get(_ key: String) async throws(CoordinationError) -> Reading

  /// Reads all keys that begin with `prefix`, as of one revision.
  func list(_ prefix: String) async throws(CoordinationError) -> Listing

  /// Evaluates the conditions and runs one of the two branches.
  ///
  /// **Throws**: `outcomeUnknown` when it may have been done or may still be done; `invalidRequest`
  /// before anything is sent; `leaseNotFound` for a put under a lease that is gone, with nothing
  /// done.
  func transact(_ transaction: Transaction) async throws(CoordinationError) -> TransactionResult

  /// Delivers every change of a key that begins with `prefix` and whose revision is greater than
  /// `revision`; `nil` means from now on. A listing's revision fits: nothing is missed or repeated.
  func watch(
    _ prefix: String, after revision: Revision?
  ) async throws(CoordinationError) -> WatchStream

  /// Makes a lease and renews it until it is revoked, lost, or this object is shut down.
  ///
  /// The service may grant more seconds than asked for; `Lease.ttlSeconds` tells.
  func grantLease(ttlSeconds: Int64) async throws(CoordinationError) -> Lease

  /// Renews, from now on, a lease that an earlier process or another object was granted.
  ///
  /// **Throws**: `leaseNotFound`.
  func resumeLease(_ id: LeaseID) async throws(CoordinationError) -> Lease

  /// Ends a lease and deletes its keys. A lease that is gone already is no error.
  func revoke(_ lease: Lease) async throws(CoordinationError)

  /// Ends watches and renewals; leases run out by themselves. Later calls throw `shutDown`.
  func shutDown() async
}

/// How far a coordination service was seen to be.
package struct CoordinationPosition: Hashable, Sendable {
  /// The service's own identity: etcd's cluster id.
  package let serviceID: UInt64
  package let revision: Revision

  package init(serviceID: UInt64, revision: Revision) {
    self.serviceID = serviceID
    self.revision = revision
  }
}

/// A lease's name, given by the service. Never zero.
package struct LeaseID: Hashable, Sendable, CustomStringConvertible {
  package let rawValue: Int64

  package init(_ rawValue: Int64) { self.rawValue = rawValue }

  package var description: String { "lease \(rawValue)" }
}

/// A key as it is stored.
package struct KeyValue: Hashable, Sendable {
  package let key: String
  package let value: [UInt8]
  /// What a condition on this key must name.
  package let modRevision: Revision
  /// The lease that the key goes with, if any.
  package let lease: LeaseID?

  package init(key: String, value: [UInt8], modRevision: Revision, lease: LeaseID?) {
    self.key = key
    self.value = value
    self.modRevision = modRevision
    self.lease = lease
  }
}

/// One key's state as of a revision.
package struct Reading: Hashable, Sendable {
  /// `nil` when the key does not exist.
  package let item: KeyValue?
  package let position: CoordinationPosition

  package init(item: KeyValue?, position: CoordinationPosition) {
    self.item = item
    self.position = position
  }

  /// What a condition on this key must name: zero when it does not exist.
  package var modRevision: Revision { item?.modRevision ?? .zero }
}

/// The keys of a prefix as of one revision.
package struct Listing: Hashable, Sendable {
  /// **Invariant**: in ascending order of keys.
  package let items: [KeyValue]
  package let position: CoordinationPosition

  package init(items: [KeyValue], position: CoordinationPosition) {
    self.items = items
    self.position = position
  }

  package var revision: Revision { position.revision }
}

/// Bounds that hold for every implementation.
package enum CoordinationLimits {
  /// Conditions, and operations of either branch (etcd's `--max-txn-ops`).
  package static let operationsPerTransactionMax = 128
  /// Keys and values of one transaction. etcd's own bound, 1.5 MiB, counts its framing too.
  package static let requestBytesMax = 1 << 20
  package static let keyBytesMax = 1_024
  package static let leaseSecondsRange: ClosedRange<Int64> = 1...86_400
  /// Events that wait for one reader of a watch; beyond, it is told to list anew.
  package static let watchEventsMax = 65_536
}
