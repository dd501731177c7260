package import ChatCore
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
package struct ShardCore {
  package let configuration: ShardConfiguration
  let storage: any ShardStorage
  var routing: RoutingTable
  var hosts: [PartitionHost] = []
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
  var isDraining = false
  var mayLead = true

  package init(
    configuration: ShardConfiguration, storage: any ShardStorage, seed: UInt64
  ) {
    self.configuration = configuration
    self.storage = storage
    routing = RoutingTable(partitionCount: configuration.partitionCount)
    positions = Array(repeating: -1, count: Int(configuration.partitionCount))
    random = SeededRandom(seed: seed)
  }

  // MARK: Partitions

  /// Takes in a replica that was found on the disk.
  ///
  /// **Throws**: `StateReadError` when its state cannot be read.
  package mutating func recover(_ found: RecoveredPartition, now: Instant) throws(StateReadError) {
    let reader = storage.stateReader(of: found.partition)
    let chat = try ChatPartition(
      partition: found.partition, generation: found.generation, state: reader)
    guard chat.appliedIndex == found.replica.appliedIndex else {
      throw .unreadable("the state is of \(chat.appliedIndex), not \(found.replica.appliedIndex)")
    }
    install(
      PartitionHost(
        partition: found.partition,
        replica: Replica(
          partition: found.partition, boot: configuration.boot, recovered: found.replica,
          configuration: configuration.replica, seed: random.next()),
        chat: chat, reader: reader, now: now))
  }

  private mutating func install(_ host: PartitionHost) {
    positions[Int(host.partition.rawValue)] = hosts.count
    hosts.append(host)
  }

  func position(of partition: PartitionID) -> Int? {
    guard routing.contains(partition) else { return nil }
    let position = positions[Int(partition.rawValue)]
    return position < 0 ? nil : position
  }

  /// The coordinator's record of a partition, whether it is here or not.
  package mutating func recordObserved(
    _ partition: PartitionID, _ observed: VersionedRecord, now: Instant,
    into actions: inout [ShardAction]
  ) {
    guard routing.observe(partition, observed) else { return }
    let isNew = position(of: partition) == nil
    if isNew, let replica = observed.record.replica(on: configuration.store) {
      create(partition, replica, generation: observed.record.generation, now: now, into: &actions)
    }
    guard let position = position(of: partition) else { return }
    drive(position, now: now, into: &actions) { replica, pending in
      replica.recordObserved(observed, now: now, into: &pending)
    }
    guard isNew else { return }
    for peer in peers where peer.link != nil {
      drive(position, now: now, into: &actions) { replica, pending in
        replica.peerRestarted(store: peer.store, boot: peer.boot, now: now, into: &pending)
      }
    }
  }

  /// Makes an empty replica, of an in-sync member too: the record of a young partition may be seen
  /// first when others have begun already, and without this replica's acknowledgement nothing was
  /// committed. Had it been lost instead, it compares before it leads, and a leader that knows
  /// better fences it (section 2.5).
  private mutating func create(
    _ partition: PartitionID, _ replica: ReplicaID, generation: UInt32, now: Instant,
    into actions: inout [ShardAction]
  ) {
    do throws(StateReadError) {
      let reader = try storage.createReplica(replica, of: partition, generation: generation)
      let chat = try ChatPartition(partition: partition, generation: generation, state: reader)
      install(
        PartitionHost(
          partition: partition,
          replica: Replica(
            partition: partition, boot: configuration.boot,
            recovered: RecoveredReplica(empty: replica), configuration: configuration.replica,
            seed: random.next()),
          chat: chat, reader: reader, now: now))
      tellReachability(to: hosts.count - 1, now: now, into: &actions)
    } catch {
      actions.append(.note(.replicaNotCreated(partition, error)))
    }
  }

  // MARK: Answers of the shell

  /// Everything of a partition up to this ticket is durable.
  package mutating func persisted(
    _ partition: PartitionID, ticket: UInt64, now: Instant, into actions: inout [ShardAction]
  ) {
    guard let position = position(of: partition) else { return }
    drive(position, now: now, into: &actions) { replica, pending in
      replica.persisted(ticket: ticket, now: now, into: &pending)
    }
  }

  package mutating func checkpointWritten(_ partition: PartitionID, now: Instant) {
    guard let position = position(of: partition) else { return }
    hosts[position].chat.checkpointWritten()
    hosts[position].noteEntries()
    hosts[position].isCheckpointing = false
    hosts[position].lastCheckpoint = now
  }

  /// The store does not write any more: every replica stops (rule 9).
  package mutating func storageFailed(now: Instant, into actions: inout [ShardAction]) {
    for position in hosts.indices {
      drive(position, now: now, into: &actions) { replica, pending in
        replica.storageFailed(into: &pending)
      }
    }
  }

  package mutating func changeFinished(
    _ partition: PartitionID, base: Revision, outcome: ChangeOutcome, now: Instant,
    into actions: inout [ShardAction]
  ) {
    guard let position = position(of: partition) else { return }
    if case .conflicted(let current) = outcome { routing.observe(partition, current) }
    drive(position, now: now, into: &actions) { replica, pending in
      replica.changeFinished(base: base, outcome: outcome, now: now, into: &pending)
    }
    syncRouting(position)
  }

  package mutating func recordRead(
    _ partition: PartitionID, ticket: UInt64, _ observed: VersionedRecord?, now: Instant,
    into actions: inout [ShardAction]
  ) {
    guard let position = position(of: partition) else { return }
    drive(position, now: now, into: &actions) { replica, pending in
      replica.recordRead(ticket: ticket, observed, now: now, into: &pending)
    }
    syncRouting(position)
  }

  /// What a replica learned of its record is what this shard routes by.
  private mutating func syncRouting(_ position: Int) {
    if let known = hosts[position].replica.record {
      routing.observe(hosts[position].partition, known)
    }
  }

  // MARK: Time

  /// Does what is due. The shell calls it every few milliseconds.
  package mutating func tick(now: Instant, wall: WallTime, into actions: inout [ShardAction]) {
    notePause(now: now, into: &actions)
    tendPeers(now: now, wall: wall, into: &actions)
    for position in hosts.indices {
      if hosts[position].standing.wakeAt <= now {
        drive(position, now: now, into: &actions) { replica, pending in
          replica.tick(now: now, into: &pending)
        }
      }
      if hosts[position].courier.wakeAt <= now { deliverOutbox(position, now: now, into: &actions) }
      checkpointIfDue(position, now: now, into: &actions)
    }
  }

  /// After a gap of the own loop, what one thinks of the others is old: listen first, then judge.
  private mutating func notePause(now: Instant, into actions: inout [ShardAction]) {
    defer { lastTick = now }
    guard let lastTick, now > lastTick + configuration.pauseMax else { return }
    actions.append(.note(.pausedFor(now.milliseconds(since: lastTick))))
    forgiveSilence(now: now)
    for position in hosts.indices where !hosts[position].standing.isStopped {
      drive(position, now: now, into: &actions) { replica, pending in
        replica.resumedAfterPause(now: now, into: &pending)
      }
    }
  }

  private mutating func checkpointIfDue(
    _ position: Int, now: Instant, into actions: inout [ShardAction]
  ) {
    let entries = hosts[position].entriesToCheckpoint
    guard entries > 0, !hosts[position].isCheckpointing, !hosts[position].standing.isStopped else {
      return
    }
    guard
      entries >= configuration.checkpointEntries
        || now >= hosts[position].lastCheckpoint + configuration.checkpointInterval
        || hosts[position].visitChat({ $0.overlayBytes }) >= configuration.checkpointOverlayBytes
    else { return }
    hosts[position].isCheckpointing = true
    actions.append(
      .checkpoint(
        hosts[position].partition, hosts[position].chat.beginCheckpoint(),
        commitIndex: hosts[position].replica.commitIndex))
    hosts[position].noteEntries()
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
  }

  package var partitions: [PartitionStatus] {
    hosts.map { host in
      PartitionStatus(
        partition: host.partition, replica: host.replica.id, isLeader: host.replica.isLeader,
        stop: host.replica.stop, record: host.replica.record, last: host.replica.lastEntry,
        commitIndex: host.replica.commitIndex, appliedIndex: host.replica.appliedIndex,
        acceptsCommands: host.replica.acceptsCommands)
    }
  }

  package var ledPartitionCount: Int { hosts.count { $0.standing.isLeader } }
}
