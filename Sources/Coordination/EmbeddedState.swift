import DequeModule
import Primitives

/// What a transaction did to the embedded service's state, and what must be durable before anybody
/// hears of it.
struct EmbeddedCommit: Sendable {
  let revision: Revision
  /// In the order in which they were made.
  let changes: [WatchEvent]
  /// Keys may repeat in several commits; the last counts.
  let writes: [(key: [UInt8], value: [UInt8]?)]
}

/// The embedded service as a value: requests go in, answers and what to write come out. It does not
/// know whether something is durable; its shell answers nobody before.
///
/// Kept small on purpose: some ten thousand keys, each transaction a few, listings rare. A listing
/// sorts its keys anew.
///
/// **Invariant**: `revision` grows by one with each transaction that changes something; a key's
/// `modRevision` is that of its last change; a lease's `keys` are exactly those stored under it.
struct EmbeddedState: Sendable {
  struct Item: Hashable, Sendable {
    var value: [UInt8]
    var modRevision: Revision
    var lease: LeaseID?
  }

  struct LeaseEntry: Hashable, Sendable {
    let ttlSeconds: Int64
    var expires: Instant
    var keys: Set<String> = []
  }

  private struct Batch: Sendable {
    let revision: Revision
    let changes: [WatchEvent]
  }

  let serviceID: UInt64
  private(set) var revision: Revision
  private(set) var items: [String: Item] = [:]
  private(set) var leases: [LeaseID: LeaseEntry] = [:]
  private var nextLease: Int64

  /// Changes that a watch may still ask for.
  private var history = Deque<Batch>()
  private var historyEventCount = 0
  private let historyEventsMax: Int
  /// The last revision whose changes are no longer in `history`.
  private(set) var compactedRevision: Revision

  /// The number of changes kept for watches that begin in the past or come back.
  static let historyEventsMax = 16_384

  /// **Shape** of a fresh service: revision 1, as etcd's.
  init(serviceID: UInt64, historyEventsMax: Int = EmbeddedState.historyEventsMax) {
    self.serviceID = serviceID
    self.historyEventsMax = historyEventsMax
    revision = Revision(1)
    compactedRevision = revision
    nextLease = 1
  }

  var position: CoordinationPosition {
    CoordinationPosition(serviceID: serviceID, revision: revision)
  }

  // MARK: Reading

  func item(_ key: String) -> KeyValue? {
    items[key].map {
      KeyValue(key: key, value: $0.value, modRevision: $0.modRevision, lease: $0.lease)
    }
  }

  func listing(_ prefix: String) -> Listing {
    let keys = items.keys.filter { $0.hasPrefix(prefix) }.sorted()
    return Listing(items: keys.compactMap { item($0) }, position: position)
  }

  /// **Returns**: the changes after `after`, revision by revision; `nil` when some are gone.
  func changes(after: Revision, prefix: String) -> [(revision: Revision, changes: [WatchEvent])]? {
    guard after >= compactedRevision else { return nil }
    return history.compactMap { batch in
      guard batch.revision > after else { return nil }
      let matching = batch.changes.filter { $0.concerns(prefix) }
      return matching.isEmpty ? nil : (batch.revision, matching)
    }
  }

  // MARK: Transactions

  /// **Returns**: no commit when nothing was changed.
  ///
  /// **Throws**: `leaseNotFound`, with nothing changed.
  mutating func transact(
    _ transaction: Transaction
  ) throws(CoordinationError) -> (TransactionResult, EmbeddedCommit?) {
    let succeeded = transaction.conditions.allSatisfy(holds)
    let branch = succeeded ? transaction.success : transaction.failure
    for case .put(_, _, let lease?) in branch where leases[lease] == nil { throw .leaseNotFound }
    var changes: [WatchEvent] = []
    let responses = branch.map { run($0, changes: &changes) }
    let commit = commit(changes)
    return (
      TransactionResult(succeeded: succeeded, revision: revision, responses: responses), commit
    )
  }

  private func holds(_ condition: Transaction.Condition) -> Bool {
    switch condition {
    case .modRevision(let key, let revision): (items[key]?.modRevision ?? .zero) == revision
    case .exists(let key): items[key] != nil
    case .value(let key, let value): items[key]?.value == value
    }
  }

  private var nextRevision: Revision { Revision(revision.rawValue + 1) }

  private mutating func run(
    _ operation: Transaction.Operation, changes: inout [WatchEvent]
  ) -> TransactionResult.Response {
    switch operation {
    case .get(let key):
      return .get(item(key))
    case .put(let key, let value, let lease):
      detach(key)
      items[key] = Item(value: value, modRevision: nextRevision, lease: lease)
      if let lease { leases[lease]?.keys.insert(key) }
      changes.append(
        .put(KeyValue(key: key, value: value, modRevision: nextRevision, lease: lease)))
      return .put
    case .delete(let key):
      return .delete(didExist: delete(key, changes: &changes))
    }
  }

  private mutating func delete(_ key: String, changes: inout [WatchEvent]) -> Bool {
    detach(key)
    guard items.removeValue(forKey: key) != nil else { return false }
    changes.append(.delete(key: key, revision: nextRevision))
    return true
  }

  private mutating func detach(_ key: String) {
    if let lease = items[key]?.lease { leases[lease]?.keys.remove(key) }
  }

  private mutating func commit(
    _ changes: [WatchEvent], leaseWrites: [(key: [UInt8], value: [UInt8]?)] = []
  ) -> EmbeddedCommit? {
    guard !changes.isEmpty || !leaseWrites.isEmpty else { return nil }
    if !changes.isEmpty {
      revision = nextRevision
      remember(Batch(revision: revision, changes: changes))
    }
    var writes = leaseWrites
    for case let key? in changes.map(\.key) {
      writes.append((EmbeddedCoding.itemKey(key), items[key].map(EmbeddedCoding.encode)))
    }
    writes.append((EmbeddedCoding.metaKey, encodedMeta()))
    return EmbeddedCommit(revision: revision, changes: changes, writes: writes)
  }

  private mutating func remember(_ batch: Batch) {
    history.append(batch)
    historyEventCount += batch.changes.count
    while historyEventCount > historyEventsMax, let oldest = history.popFirst() {
      historyEventCount -= oldest.changes.count
      compactedRevision = oldest.revision
    }
  }

  // MARK: Leases

  mutating func grant(ttlSeconds: Int64, now: Instant) -> (LeaseID, EmbeddedCommit?) {
    let id = LeaseID(nextLease)
    nextLease += 1
    leases[id] = LeaseEntry(ttlSeconds: ttlSeconds, expires: now + Self.time(ttlSeconds))
    let write = (key: EmbeddedCoding.leaseKey(id), value: EmbeddedCoding.encode(ttl: ttlSeconds))
    return (id, commit([], leaseWrites: [(write.key, write.value)]))
  }

  /// **Returns**: the seconds that the lease has from `now` on; `nil` when there is no such lease.
  mutating func renew(_ id: LeaseID, now: Instant) -> Int64? {
    guard let entry = leases[id] else { return nil }
    leases[id]?.expires = now + Self.time(entry.ttlSeconds)
    return entry.ttlSeconds
  }

  /// Ends a lease and deletes its keys, in the order of the keys, in one transaction.
  ///
  /// **Returns**: `nil` when there is no such lease.
  mutating func revoke(_ id: LeaseID) -> EmbeddedCommit? {
    guard let entry = leases[id] else { return nil }
    var changes: [WatchEvent] = []
    for key in entry.keys.sorted() { _ = delete(key, changes: &changes) }
    leases[id] = nil
    return commit(changes, leaseWrites: [(EmbeddedCoding.leaseKey(id), nil)])
  }

  var nextExpiry: Instant? { leases.values.map(\.expires).min() }

  func expiredLeases(now: Instant) -> [LeaseID] {
    leases.filter { $0.value.expires <= now }.map(\.key).sorted { $0.rawValue < $1.rawValue }
  }

  private static func time(_ seconds: Int64) -> Milliseconds {
    Milliseconds(UInt64(clamping: seconds) * 1_000)
  }

  // MARK: Storage

  private func encodedMeta() -> [UInt8] {
    EmbeddedCoding.encode(
      EmbeddedCoding.Meta(serviceID: serviceID, revision: revision, nextLease: nextLease))
  }

  /// What a fresh service writes first.
  func initialWrites() -> [(key: [UInt8], value: [UInt8]?)] {
    [(EmbeddedCoding.metaKey, encodedMeta())]
  }

  /// Reads what was written. Every lease gets its full time again, since nobody could renew it.
  ///
  /// **Returns**: `nil` when there is nothing.
  ///
  /// **Throws**: `storageFailed` for bytes that this version did not write.
  init?(
    loading stored: [(key: [UInt8], value: [UInt8])], now: Instant,
    historyEventsMax: Int = EmbeddedState.historyEventsMax
  ) throws(CoordinationError) {
    guard !stored.isEmpty else { return nil }
    var meta: EmbeddedCoding.Meta?
    var items: [String: Item] = [:]
    var leases: [LeaseID: LeaseEntry] = [:]
    do throws(ProtobufError) {
      for (key, value) in stored {
        switch try EmbeddedCoding.kind(of: key) {
        case .meta: meta = try EmbeddedCoding.decodeMeta(value)
        case .item(let key): items[key] = try EmbeddedCoding.decodeItem(value)
        case .lease(let id):
          let ttl = try EmbeddedCoding.decodeTTL(value)
          leases[id] = LeaseEntry(ttlSeconds: ttl, expires: now + Self.time(ttl))
        }
      }
    } catch {
      throw .storageFailed("unreadable record: \(error)")
    }
    guard let meta else { throw .storageFailed("no record of the service's identity") }
    for (key, item) in items {
      guard item.modRevision <= meta.revision else { throw .storageFailed("revision of \(key)") }
      guard let lease = item.lease else { continue }
      guard leases[lease] != nil else { throw .storageFailed("lease of \(key)") }
      leases[lease]?.keys.insert(key)
    }
    serviceID = meta.serviceID
    revision = meta.revision
    nextLease = meta.nextLease
    compactedRevision = meta.revision
    self.items = items
    self.leases = leases
    self.historyEventsMax = historyEventsMax
  }
}

extension WatchEvent {
  /// `nil` for what is no change.
  var key: String? {
    switch self {
    case .put(let item): item.key
    case .delete(let key, _): key
    case .progress, .compacted: nil
    }
  }

  func concerns(_ prefix: String) -> Bool { key?.hasPrefix(prefix) ?? false }
}
