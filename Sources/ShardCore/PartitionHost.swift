package import ChatCore
package import ChatModel
package import ClusterModel
import DequeModule
import NodeProtocol
package import Primitives
package import ReplicaCore

/// Who waits for the result of a command.
enum CommandOrigin: Equatable {
  /// A request on a link: a client's operation through a gateway, or a delivery from another
  /// shard's outbox.
  case request(LinkID, UInt64)
  /// A delivery from an outbox of this same store.
  case outbox(source: PartitionID, OutboxEntryID)
  /// Nobody.
  case own
}

/// What a state hashes to after an entry.
package struct StateMark: Hashable, Sendable {
  package let index: LogIndex
  package let hash: UInt64

  /// Entries between two of them that are kept, and how many are.
  package static let interval: UInt64 = 64
  package static let countMax = 32

  package init(index: LogIndex, hash: UInt64) {
    self.index = index
    self.hash = hash
  }
}

/// A command that waits for the end of the turn, or, once appended, for its entry to be applied.
struct PendingCommand {
  let bytes: [UInt8]
  let origin: CommandOrigin
  /// The account that this command resolves, so that who waits for it can be told.
  let resolves: UserID?
}

/// A read that waits for a barrier.
struct PendingRead {
  let link: LinkID
  let request: UInt64
  let query: Query
}

/// One partition on this store: its replica, its state, and everybody who waits for something of
/// it.
///
/// A class, so that looking at one field does not copy the others; `ShardCore` alone refers to it.
package final class PartitionHost {
  package let partition: PartitionID
  package let replicaID: ReplicaID
  private(set) var replica: Replica
  /// How the replica stands since it was last visited. To read one field of the replica itself is
  /// to move all of it, so what is asked at every turn is asked here.
  package private(set) var standing: ReplicaStanding
  var chat: ChatPartition
  /// Entries that no checkpoint covers.
  private(set) var entriesToCheckpoint = 0
  private(set) var reader: any StateReader
  var logSize: LogSize
  /// In which the replica was made.
  let firstGeneration: UInt32
  private let scheme: PartitionScheme

  /// Commands of this turn, and their size.
  var pending: [PendingCommand] = []
  var pendingBytes = 0
  /// Entries appended by this leader and not applied yet, with who waits for them.
  var inFlight: Deque<(id: EntryID, commands: [PendingCommand])> = []
  var reads: [UInt64: PendingRead] = [:]
  /// Callers of `createUser` whose account waits for its handle.
  var accountWaiters: [(user: UserID, origin: CommandOrigin)] = []
  var subscribers: [EntityID: [LinkID]] = [:]
  var courier = OutboxCourier()

  /// What of the circle is served here.
  private(set) var tokens: ClosedRange<Token>
  /// A cut that is applied and not durable: nothing more is applied until it is.
  var cut: PendingCut?
  /// As the leader: the level of a split that is appended and not applied. Commands wait.
  var splitting: UInt32?
  /// As the leader: what is known of the half that was cut off last and has no record yet.
  var halves = HalvesKnown()
  var keepsHolders = false

  /// Earlier replicas of this partition whose data is still here.
  var former: [ReplicaID] = []
  /// When a replica that gave itself up asks (again) for one to take its place.
  var replacementAt = Instant.zero
  var isForgotten = false

  /// The generation that this leadership has asked the log to begin.
  var askedGeneration: UInt32 = 0
  /// The greatest stamp of an entry that this leader made; stamps never go back.
  var lastStamp = WallTime.zero
  /// As the leader: what the followers were told last of the state, and when.
  var toldState = (index: LogIndex.zero, at: Instant.zero)
  /// As a follower: what the leader's state is after an entry that is not applied here yet.
  var leaderState: (index: LogIndex, hash: UInt64)?
  /// The state's rolling hash after every so many entries, the latest ones: replicas that go on
  /// applying can be compared by them.
  private(set) var marks: Deque<StateMark> = []
  /// Up to where the checkpoint that is being written goes.
  var checkpointing: LogIndex?
  var lastCheckpoint: Instant

  init(
    partition: PartitionID, replica: consuming Replica, chat: consuming ChatPartition,
    reader: any StateReader, generation: UInt32, logSize: LogSize, scheme: PartitionScheme,
    now: Instant
  ) {
    self.partition = partition
    replicaID = replica.id
    standing = replica.standing
    self.replica = replica
    self.chat = chat
    self.reader = reader
    self.logSize = logSize
    self.scheme = scheme
    tokens = scheme.range(of: partition, level: scheme.firstLevel(of: partition))
    firstGeneration = generation
    lastCheckpoint = now
    narrowTokens()
  }

  /// A snapshot takes the place of the state and of the log.
  func replaceState(
    _ chat: consuming ChatPartition, _ reader: any StateReader, at index: LogIndex, now: Instant
  ) {
    reopen(chat, reader, now: now)
    logSize.reset(base: index, last: index, bytes: 0)
    checkpointing = nil
    leaderState = nil
    marks.removeAll()
  }

  /// The state is read anew from where it lies by now, checkpointed up to its end.
  func reopen(_ chat: consuming ChatPartition, _ reader: any StateReader, now: Instant) {
    self.chat = chat
    self.reader = reader
    cut = nil
    courier.reset()
    entriesToCheckpoint = 0
    lastCheckpoint = now
    narrowTokens()
  }

  /// Serves what is its own at the level of its state.
  func narrowTokens() {
    if PlantedBug.isActive(.halfServedTwice) { return }
    tokens = scheme.range(of: partition, level: level)
  }

  /// How often its range is cut. A half that began empty knows of no cut.
  package var level: UInt32 {
    max(visitChat { $0.level }, scheme.firstLevel(of: partition))
  }

  /// Whether the replica has seen a record of its partition.
  var hasRecord: Bool { visit { $0.record != nil } }

  package func owns(_ entity: EntityID) -> Bool { tokens.contains(entity.token) }

  /// Whether commands wait here, although it leads.
  var holdsCommands: Bool { standing.isClosing || splitting != nil || cut != nil }

  /// Whether an operator has ended the generation of which this replica is.
  func isOutdated(by record: PartitionRecord) -> Bool {
    record.generation > max(firstGeneration, visitChat { $0.generation })
  }

  // MARK: For whoever checks from outside

  package var stop: ReplicaStop? { replica.stop }
  package func knowsItsEnd(in record: PartitionRecord) -> Bool {
    visit { $0.knowsItsEnd(in: record) }
  }
  /// Over everything that was applied.
  package var rollingHash: UInt64 { visitChat { $0.rollingHash } }
  package var summary: String {
    "\(replicaID) \(standing), former \(former), \(visit { $0.summary })"
  }
  /// What the applied state says, current or not.
  package func answer(_ query: Query) throws(StateReadError) -> QueryAnswer {
    try chat.answer(query, state: reader)
  }

  /// Does something with the replica where it lies.
  func visit<Result>(_ body: (inout Replica) -> Result) -> Result {
    Self.visit(&replica, &standing, body)
  }

  private static func visit<Result>(
    _ replica: inout Replica, _ standing: inout ReplicaStanding, _ body: (inout Replica) -> Result
  ) -> Result {
    defer { standing = replica.standing }
    return body(&replica)
  }

  /// Something was applied, or a checkpoint was begun or written.
  func noteEntries() { entriesToCheckpoint = visitChat { $0.entriesSinceCheckpoint } }

  /// An entry was applied.
  func noteMark(at index: LogIndex) {
    guard index.rawValue.isMultiple(of: StateMark.interval) else { return }
    if marks.count == StateMark.countMax { marks.removeFirst() }
    marks.append(StateMark(index: index, hash: rollingHash))
  }

  /// Reads the state where it lies.
  func visitChat<Result>(_ body: (inout ChatPartition) -> Result) -> Result { body(&chat) }
}

/// Delivers the outbox of one partition while this store leads it: each entry until its target
/// confirms. Targets are idempotent, so sending twice is harmless.
struct OutboxCourier {
  struct Shipment {
    let entry: OutboxEntryID
    var retryAt: Instant
  }

  var shipments: [Shipment] = []
  /// Delivered and confirmed by the target; to be taken out of the state with the next command.
  var confirmed: [OutboxEntryID] = []
  /// Taken out by a command that is not applied yet.
  var confirming: Set<OutboxEntryID> = []
  var wakeAt = Instant.distantFuture

  /// Entries that are delivered and still in the state.
  var doneCount: Int { confirmed.count + confirming.count }

  mutating func reset() { self = OutboxCourier() }

  /// The command that would have taken them out was not taken.
  mutating func takeBackConfirmations(retryAt: Instant) {
    guard !confirming.isEmpty else { return }
    confirmed += confirming.sorted()
    confirming = []
    wakeAt = min(wakeAt, retryAt)
  }
}
