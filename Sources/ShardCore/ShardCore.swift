import ChatCore
import ChatModel
package import ClusterModel
import NodeProtocol
package import Primitives
package import ReplicaCore
import Routing

/// One event loop of a shard as a deterministic value: its replicas, their state machines, the
/// links to peers and gateways, and everybody who waits for an answer.
///
/// A turn of the shell's loop is: any number of inputs, then `turnEnded`, which turns the commands
/// that arrived into one log entry per partition and the reads into one barrier round.
///
/// Back of the envelope, 64 clients with one message each, three replicas: a turn carries 10 to 30
/// commands, so 40 fsyncs and 80 link writes per 1,000 messages.
///
/// **Isolation**: owned by one event loop.
package struct ShardCore: ~Copyable {
  package private(set) var configuration: ShardConfiguration
  let storage: any ShardStorage
  var routing: RoutingTable
  var hosts: [PartitionHost] = []
  /// When a tick has to look at each of them again. Side by side, so that a tick in which nothing
  /// is due costs next to nothing, however many there are.
  var lookTimes: [Instant] = []
  /// How often a tick looked at a partition.
  package internal(set) var lookCount: UInt64 = 0
  /// Where in `hosts` a partition is; -1 when it is not here.
  var positions: [Int]
  var links: [LinkID: Link] = [:]
  var peers: [Peer] = []
  var random: SeededRandom
  var scratch: [ReplicaAction] = []
  var output = ApplyOutput()
  /// Positions of hosts with commands or reads of this turn.
  var touched: [Int] = []
  var lastReadID: UInt64 = 0
  var lastRequestID: UInt64 = 0
  /// Requests of this shard to others (outbox deliveries) that wait for an answer.
  var outgoing: [UInt64: OutgoingDelivery] = [:]
  var lastTick: Instant?
  var lastHeartbeat = Instant.zero
  var lastWall = WallTime.zero
  /// Leadership goes to others, before `isDraining`.
  var isLeaving = false
  var isDraining = false
  var nextHandoffs = Instant.zero
  /// Whether something that is led here may have to be handed over.
  var hasHandoffs = false
  /// What outboxes delivered stays in them.
  package internal(set) var isHoldingConfirmations = false
  /// What learners are read from the disk, and what waits for its turn.
  var learning = LearningBudget()
  /// How often every partition should be cut in two.
  var wantedLevel: UInt32 = 0
  /// Whether a partition here may have to be cut, or to be asked about.
  var hasSplits = false
  /// Of the protocol: what a later one brought is not used.
  var activeVersion: UInt32
  /// States that are being sent, frozen.
  var snapshots: [OutgoingSnapshot] = []
  /// What this store tells its peers of itself.
  var condition = Heartbeat.Condition.fit
  var clockDisagreesSince: Instant?
  /// Peers that say that they should not lead.
  var unfitPeers: [StoreID] = []
  /// A write to the store takes longer than anybody should wait for.
  var isStorageStalled = false
  /// More waits for the store than it should: nothing new is taken.
  var isStorageFull = false
  /// How often the state of a follower here was found to be the leader's.
  package internal(set) var comparedStateCount = 0
  /// Commands that were put into logs led here.
  package internal(set) var commandCount: UInt64 = 0
  /// Snapshots that were begun for others, and that were installed here.
  package internal(set) var snapshotCounts = (begun: 0, installed: 0)

  package init(
    configuration: ShardConfiguration, storage: any ShardStorage, seed: UInt64
  ) {
    self.configuration = configuration
    self.storage = storage
    activeVersion = configuration.activeVersion
    routing = RoutingTable(scheme: PartitionScheme(rootCount: configuration.partitionCount))
    positions = Array(repeating: -1, count: Int(configuration.partitionCount))
    random = SeededRandom(seed: seed)
  }

  // MARK: Partitions

  /// Takes in a replica that was found on the disk. One that cannot be read gives itself up.
  package mutating func recover(
    _ found: RecoveredPartition, now: Instant, into actions: inout [ShardAction]
  ) {
    do throws(StateReadError) {
      if let damage = found.damage { throw .unreadable(damage) }
      let reader = storage.stateReader(of: found.partition)
      let chat = try ChatPartition(partition: found.partition, state: reader)
      guard chat.appliedIndex == found.replica.appliedIndex else {
        throw .unreadable("the state is of \(chat.appliedIndex), not \(found.replica.appliedIndex)")
      }
      install(found, found.replica, chat, reader, now: now)
    } catch {
      takeInDamaged(found, "\(error)", now: now, into: &actions)
    }
  }

  private mutating func takeInDamaged(
    _ found: RecoveredPartition, _ damage: String, now: Instant, into actions: inout [ShardAction]
  ) {
    let nothing = NoState()
    guard let chat = try? ChatPartition(partition: found.partition, state: nothing) else {
      preconditionFailure("a state without records is readable")
    }
    install(found, RecoveredReplica(empty: found.replica.id), chat, nothing, now: now)
    drive(hosts.count - 1, now: now, into: &actions) { replica, pending in
      replica.gaveUp(.damaged(damage), into: &pending)
    }
  }

  private mutating func install(
    _ found: RecoveredPartition, _ replica: RecoveredReplica, _ chat: consuming ChatPartition,
    _ reader: any StateReader, now: Instant
  ) {
    let host = PartitionHost(
      partition: found.partition,
      replica: Replica(
        partition: found.partition, boot: configuration.boot, recovered: replica,
        configuration: configuration.replica, seed: random.next()),
      chat: chat, reader: reader, generation: found.generation, logSize: emptyLogSize,
      scheme: routing.scheme, now: now)
    host.former = found.former
    host.logSize.reset(
      base: replica.base.index, last: replica.last.index, bytes: found.logBytes)
    install(host)
  }

  var emptyLogSize: LogSize {
    LogSize(entriesMax: configuration.logEntriesMax, bytesMax: configuration.logBytesMax)
  }

  /// Puts a host in the place of the partition's earlier one, or at the end.
  mutating func install(_ host: PartitionHost) {
    hasSplits = true
    if let position = position(of: host.partition) {
      hosts[position] = host
      look(at: position)
    } else {
      let number = Int(host.partition.rawValue)
      if number >= positions.count {
        positions += repeatElement(-1, count: number + 1 - positions.count)
      }
      positions[number] = hosts.count
      hosts.append(host)
      lookTimes.append(.zero)
    }
  }

  func position(of partition: PartitionID) -> Int? {
    guard partition.rawValue < positions.count else { return nil }
    let position = positions[Int(partition.rawValue)]
    return position < 0 ? nil : position
  }

  /// What was meant for an earlier replica of the partition comes to nothing.
  func position(of partition: PartitionID, hosting replica: ReplicaID) -> Int? {
    guard let position = position(of: partition), hosts[position].replica.id == replica else {
      return nil
    }
    return position
  }

  /// The coordinator's record of a partition, whether it is here or not.
  package mutating func recordObserved(
    _ partition: PartitionID, _ observed: VersionedRecord, now: Instant,
    into actions: inout [ShardAction]
  ) {
    let isFirst = routing.record(of: partition) == nil
    guard routing.observe(partition, observed) else { return }
    recordTaken(partition, observed, isFirst: isFirst, now: now, into: &actions)
  }

  /// - Parameter isFirst: whether it is the first record of the partition that this process sees.
  mutating func recordTaken(
    _ partition: PartitionID, _ observed: VersionedRecord, isFirst: Bool, now: Instant,
    into actions: inout [ShardAction]
  ) {
    // A member that was never heard of gets the time of a silent one to appear.
    for member in observed.record.members where member.store != configuration.store {
      _ = peerPosition(member.store, boot: .none, now: now)
    }
    hasHandoffs = true
    let isNew = takeIn(partition, observed.record, isFirst: isFirst, now: now, into: &actions)
    guard let position = position(of: partition) else { return }
    drive(position, now: now, into: &actions) { replica, pending in
      replica.recordObserved(observed, now: now, into: &pending)
    }
    forgetUnlisted(position, observed.record, into: &actions)
    considerReplacement(position, now: now, into: &actions)
    if isNew { tellPresentPeers(to: position, now: now, into: &actions) }
  }

  /// Which processes serve the other stores.
  mutating func tellPresentPeers(
    to position: Int, now: Instant, into actions: inout [ShardAction]
  ) {
    for peer in peers where peer.link != nil {
      drive(position, now: now, into: &actions) { replica, pending in
        replica.peerRestarted(store: peer.store, boot: peer.boot, now: now, into: &pending)
      }
    }
  }

  /// Every node knows this version of the protocol from now on.
  package mutating func versionActivated(_ version: UInt32) {
    activeVersion = max(activeVersion, version)
  }

  /// How fast replicas learn, and how often partitions are to be cut.
  package mutating func ringObserved(_ ring: RingRecord) {
    learning.bytesPerSecond = ring.bytesPerSecond
    guard ring.wantedLevel > wantedLevel else { return }
    wantedLevel = ring.wantedLevel
    hasSplits = true
    configuration.replica.shareWindow(among: routing.scheme.count(level: wantedLevel))
    for host in hosts {
      host.visit { [configuration] in $0.configure(configuration.replica) }
    }
  }

  // MARK: Answers of the shell

  /// Everything of a partition up to this ticket is durable.
  package mutating func persisted(
    _ partition: PartitionID, _ replica: ReplicaID, ticket: UInt64, now: Instant,
    into actions: inout [ShardAction]
  ) {
    guard let position = position(of: partition, hosting: replica) else { return }
    drive(position, now: now, into: &actions) { replica, pending in
      replica.persisted(ticket: ticket, now: now, into: &pending)
    }
  }

  /// A checkpoint of everything up to `index` is written.
  package mutating func checkpointWritten(
    _ partition: PartitionID, _ replica: ReplicaID, through index: LogIndex, now: Instant,
    into actions: inout [ShardAction]
  ) {
    // One of a state that a snapshot has taken the place of is none of this one.
    guard let position = position(of: partition, hosting: replica),
      hosts[position].checkpointing == index
    else { return }
    hosts[position].chat.checkpointWritten()
    hosts[position].noteEntries()
    hosts[position].checkpointing = nil
    hosts[position].lastCheckpoint = now
    look(at: position)
    shortenLog(position, checkpointed: index, now: now, into: &actions)
    writeCut(position, into: &actions)
  }

  /// The store does not write any more: every replica stops (rule 9).
  package mutating func storageFailed(now: Instant, into actions: inout [ShardAction]) {
    for position in hosts.indices {
      drive(position, now: now, into: &actions) { replica, pending in
        replica.storageFailed(into: &pending)
      }
    }
  }

  /// How the store keeps up. A stalled one is left by its peers like a silent one; a full one takes
  /// nothing new.
  package mutating func storageChanged(
    isStalled: Bool, isFull: Bool, now: Instant, into actions: inout [ShardAction]
  ) {
    isStorageFull = isFull
    guard isStalled != isStorageStalled else { return }
    isStorageStalled = isStalled
    actions.append(.note(isStalled ? .storageStalled : .storageRecovered))
    judgePeers(now: now, into: &actions)
    sendHeartbeats(now: now, wall: lastWall, into: &actions)
  }

  package mutating func changeFinished(
    _ partition: PartitionID, base: Revision, outcome: ChangeOutcome, now: Instant,
    into actions: inout [ShardAction]
  ) {
    guard let position = position(of: partition) else { return }
    if case .conflicted(let current) = outcome {
      recordObserved(partition, current, now: now, into: &actions)
    }
    drive(position, now: now, into: &actions) { replica, pending in
      replica.changeFinished(base: base, outcome: outcome, now: now, into: &pending)
    }
    // What a replica changed itself is known to it first.
    if let known = hosts[position].replica.record { routing.observe(partition, known) }
    hasHandoffs = true
  }

  package mutating func recordRead(
    _ partition: PartitionID, ticket: UInt64, _ observed: VersionedRecord?, now: Instant,
    into actions: inout [ShardAction]
  ) {
    if let observed { recordObserved(partition, observed, now: now, into: &actions) }
    guard let position = position(of: partition) else { return }
    drive(position, now: now, into: &actions) { replica, pending in
      replica.recordRead(ticket: ticket, observed, now: now, into: &pending)
    }
  }

  // MARK: Status

  /// One line per partition here, for operators.
  package struct PartitionStatus: Sendable {
    package var partition: PartitionID
    package var replica: ReplicaID
    package var isLeader: Bool
    package var stop: ReplicaStop?
    package var record: VersionedRecord?
    package var last: EntryID
    package var commitIndex: LogIndex
    package var appliedIndex: LogIndex
    package var acceptsCommands: Bool
    /// What the state hashes to, now and after earlier entries.
    package var marks: [StateMark]
  }

  /// Without those that have left and are only remembered.
  package var partitions: [PartitionStatus] {
    hosts.compactMap { host in
      guard !host.isForgotten || host.replica.stop != .removed else { return nil }
      return PartitionStatus(
        partition: host.partition, replica: host.replica.id, isLeader: host.replica.isLeader,
        stop: host.replica.stop, record: host.replica.record, last: host.replica.lastEntry,
        commitIndex: host.replica.commitIndex, appliedIndex: host.replica.appliedIndex,
        acceptsCommands: host.replica.acceptsCommands,
        marks: Array(host.marks) + [
          StateMark(index: host.replica.appliedIndex, hash: host.rollingHash)
        ])
    }
  }

  /// Whether `turnEnded` has something to do.
  package var hasTurn: Bool { !touched.isEmpty }

  /// The partitions here as they are, in the order in which they came.
  package var inspected: [PartitionHost] { hosts }

  /// Of all logs here. **Units**: entries; bytes, roughly.
  package var logSize: (entries: Int, bytes: UInt64) {
    hosts.reduce((0, 0)) { ($0.0 + $1.logSize.entries, $0.1 + $1.logSize.bytes) }
  }

  package var ledPartitionCount: Int { hosts.count { $0.standing.isLeader } }
}

/// The state of a replica whose own cannot be read.
private struct NoState: StateReader {
  func value(_ key: [UInt8]) throws(StateReadError) -> [UInt8]? { nil }

  func scan(
    from: [UInt8], upTo: [UInt8], reverse: Bool, countMax: Int
  ) throws(StateReadError) -> [(key: [UInt8], value: [UInt8])] { [] }
}
