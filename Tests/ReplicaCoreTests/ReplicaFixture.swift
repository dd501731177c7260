import ClusterModel
import NodeProtocol
import Primitives
import ReplicaCore

/// Three stores' replicas, and a fourth that joins later.
enum Names {
  static let a = ReplicaID(store: StoreID(1), number: 1)
  static let b = ReplicaID(store: StoreID(2), number: 2)
  static let c = ReplicaID(store: StoreID(3), number: 3)
  static let d = ReplicaID(store: StoreID(4), number: 4)

  static func boot(_ replica: ReplicaID) -> BootID { BootID(100 + replica.store.rawValue) }
}

/// One replica with its shell played by the test: what it asked for waits in `actions`.
struct ReplicaFixture {
  var replica: ReplicaBox
  var now = Instant(nanoseconds: 1_000_000_000)
  var actions: [ReplicaAction] = []
  var revision: Int64 = 0

  init(
    _ id: ReplicaID, minInSync: Int = 2, recovered: RecoveredReplica? = nil, boot: BootID? = nil,
    configure: (inout ReplicaConfiguration) -> Void = { _ in }
  ) {
    var configuration = ReplicaConfiguration(minInSync: minInSync)
    configure(&configuration)
    replica = ReplicaBox(
      partition: PartitionID(0), boot: boot ?? Names.boot(id),
      recovered: recovered ?? RecoveredReplica(empty: id), configuration: configuration, seed: 1)
  }

  /// A replica whose log holds entries of these epochs, from index 1.
  static func recovered(
    _ id: ReplicaID, epochs: [UInt64], promise: UInt64? = nil, commit: UInt64 = 0,
    applied: UInt64 = 0
  ) -> RecoveredReplica {
    let entries = Self.entries(epochs: epochs)
    var starts: [EntryID] = []
    for entry in entries where entry.epoch > starts.last?.epoch ?? .zero { starts.append(entry.id) }
    return RecoveredReplica(
      id: id, promise: Epoch(promise ?? epochs.last ?? 0), commitIndex: LogIndex(commit),
      appliedIndex: LogIndex(applied), epochStarts: starts, last: entries.last?.id ?? .zero,
      tail: Array(entries.dropFirst(Int(applied))))
  }

  static func entries(epochs: [UInt64], after index: UInt64 = 0) -> [Entry] {
    epochs.enumerated().map { offset, epoch in entry(epoch, index + UInt64(offset) + 1) }
  }

  static func entry(_ epoch: UInt64, _ index: UInt64) -> Entry {
    Entry(id: id(epoch, index), payload: [UInt8(epoch), UInt8(truncatingIfNeeded: index)])
  }

  static func id(_ epoch: UInt64, _ index: UInt64) -> EntryID {
    EntryID(epoch: Epoch(epoch), index: LogIndex(index))
  }

  static func record(
    _ epoch: UInt64, leader: ReplicaID, boot: BootID? = nil, inSync: [ReplicaID],
    target: [ReplicaID]? = nil
  ) -> PartitionRecord {
    PartitionRecord(
      epoch: Epoch(epoch), leader: leader, leaderBoot: boot ?? Names.boot(leader), inSync: inSync,
      target: target ?? inSync, nextReplica: 5, generation: 0)
  }

  /// `Names.a` leading epoch 1 with its first entry committed and applied.
  static func leader(
    inSync: [ReplicaID] = [Names.a, Names.b, Names.c], target: [ReplicaID]? = nil,
    minInSync: Int = 2, configure: (inout ReplicaConfiguration) -> Void = { _ in }
  ) -> ReplicaFixture {
    var fixture = ReplicaFixture(Names.a, minInSync: minInSync, configure: configure)
    fixture.observe(record(1, leader: Names.a, inSync: inSync, target: target))
    fixture.persistAll()
    fixture.persistAll()
    for member in inSync where member != Names.a { fixture.acknowledge(1, from: member) }
    fixture.replica.value.applied(through: LogIndex(1), into: &fixture.actions)
    fixture.actions = []
    return fixture
  }

  /// A replica that follows `Names.a` in epoch 1 and was there before that began.
  static func follower(
    _ id: ReplicaID = Names.b, recovered: RecoveredReplica? = nil,
    inSync: [ReplicaID] = [Names.a, Names.b, Names.c], target: [ReplicaID]? = nil
  ) -> ReplicaFixture {
    var fixture = ReplicaFixture(id, recovered: recovered)
    fixture.observe(record(0, leader: Names.a, boot: BootID.none, inSync: inSync), revision: 0)
    fixture.observe(record(1, leader: Names.a, inSync: inSync, target: target))
    for other in inSync where other != id {
      fixture.receive(
        .inquiryAnswered(last: .zero, inquirerBoot: Names.boot(id)), from: other, epoch: 1)
    }
    fixture.actions = []
    return fixture
  }

  // MARK: Inputs

  mutating func observe(_ record: PartitionRecord, revision: Int64? = nil) {
    self.revision = revision ?? self.revision + 1
    replica.value.recordObserved(
      VersionedRecord(record: record, revision: Revision(self.revision)), now: now, into: &actions)
  }

  mutating func receive(
    _ body: ReplicaMessage.Body, from sender: ReplicaID, epoch: UInt64, boot: BootID? = nil,
    revision: Int64? = nil
  ) {
    replica.value.messageReceived(
      ReplicaMessage(
        partition: PartitionID(0), from: sender, fromBoot: boot ?? Names.boot(sender),
        to: replica.id, epoch: Epoch(epoch), revision: Revision(revision ?? self.revision),
        body: body),
      now: now, into: &actions)
  }

  mutating func acknowledge(_ match: UInt64, from sender: ReplicaID, epoch: UInt64 = 1) {
    receive(
      .appended(match: LogIndex(match), leaderBoot: replica.boot), from: sender, epoch: epoch)
  }

  mutating func append(
    after previous: EntryID, _ entries: [Entry], commit: UInt64 = 0,
    from sender: ReplicaID = Names.a,
    epoch: UInt64 = 1
  ) {
    receive(
      .append(previous: previous, entries: entries, commitIndex: LogIndex(commit)), from: sender,
      epoch: epoch)
  }

  /// Everything that was asked to be written becomes durable.
  mutating func persistAll() {
    for write in writes { replica.value.persisted(ticket: write.ticket, now: now, into: &actions) }
  }

  mutating func propose(_ payload: [UInt8] = [1]) -> EntryID? {
    replica.value.propose(payload: payload, now: now, into: &actions)
  }

  /// Time passes, in steps of a millisecond; the replica is woken when it asked for it.
  /// **Returns**: how often it was woken.
  @discardableResult
  mutating func pass(milliseconds: Int) -> Int {
    var count = 0
    for _ in 0..<milliseconds {
      now = now + 1
      while replica.wakeAt <= now {
        replica.value.tick(now: now, into: &actions)
        count += 1
      }
    }
    return count
  }

  mutating func unreachable(_ stores: [ReplicaID], mayLead: Bool = true) {
    replica.value.reachabilityChanged(
      unreachable: stores.map(\.store), mayLead: mayLead, now: now, into: &actions)
  }

  mutating func restarted(_ peer: ReplicaID, boot: UInt64) {
    replica.value.peerRestarted(store: peer.store, boot: BootID(boot), now: now, into: &actions)
  }

  mutating func read(_ number: UInt64) {
    replica.value.readRequested(number, now: now, into: &actions)
    replica.value.startBarrier(now: now, into: &actions)
  }

  // MARK: What it asked for

  mutating func take() -> [ReplicaAction] {
    defer { actions = [] }
    return actions
  }

  var writes: [ReplicaWrite] {
    actions.compactMap { if case .persist(let write) = $0 { write } else { nil } }
  }

  var sent: [ReplicaMessage] {
    actions.compactMap { if case .send(let message) = $0 { message } else { nil } }
  }

  func sent(to receiver: ReplicaID) -> [ReplicaMessage.Body] {
    sent.filter { $0.to == receiver }.map(\.body)
  }

  var applies: [LogIndex] {
    actions.compactMap { if case .apply(let through) = $0 { through } else { nil } }
  }

  var changes: [PartitionRecord] {
    actions.compactMap { if case .compareAndSet(let record, _) = $0 { record } else { nil } }
  }

  var recordReads: [UInt64] {
    actions.compactMap { if case .readRecord(let ticket) = $0 { ticket } else { nil } }
  }

  var readsReady: [UInt64] {
    actions.reduce(into: []) { if case .readsReady(let reads) = $1 { $0 += reads } }
  }

  var readsFailed: [UInt64] {
    actions.reduce(into: []) { if case .readsFailed(let reads) = $1 { $0 += reads } }
  }
}
