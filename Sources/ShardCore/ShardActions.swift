package import ChatCore
package import ClusterModel
package import NodeProtocol
package import Primitives
package import ReplicaCore

/// One connection's number in its process; never used twice.
package struct LinkID: Hashable, Comparable, Sendable {
  package let rawValue: UInt64

  package init(_ rawValue: UInt64) { self.rawValue = rawValue }
  package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

/// What a shard asks its shell to do, in this order.
package enum ShardAction: Sendable {
  case send(LinkID, LinkFrame)
  /// Part of the next batch of the committer; answered by `persisted`.
  case write(PartitionID, ReplicaID, ReplicaWrite)
  /// Part of the next batch of the committer, too: what was prepared takes the place of log and
  /// state; answered by `persisted`.
  case install(PartitionID, ReplicaID, ReplicaInstallation)
  /// A step of preparing another state for a replica; answered as `InstallationStep` says.
  case prepare(PartitionID, ReplicaID, InstallationID, InstallationStep)
  /// Let the log of a replica begin after this entry, which a written checkpoint covers. Nobody
  /// waits for it.
  case truncate(PartitionID, ReplicaID, base: EntryID)
  /// Applied state to write without waiting for it; answered by `checkpointWritten`.
  case checkpoint(PartitionID, ReplicaID, Checkpoint, commitIndex: LogIndex)
  /// A replica is cut in two, synced; answered by `cutWritten`.
  case cut(ShardCut)
  /// No record lists this replica any more: delete what is left of it.
  case forget(PartitionID, ReplicaID)
  /// Keep what is left of the present replica, for a person to look at; nobody uses it any more.
  case setAside(PartitionID, ReplicaID)
  case compareAndSet(PartitionID, PartitionRecord, base: Revision)
  /// The first record of a partition, if that of another one is still the one of revision `base`.
  /// Nobody waits for it: it is observed, or asked for again.
  case makeRecord(PartitionID, PartitionRecord, of: PartitionID, base: Revision)
  case readRecord(PartitionID, ticket: UInt64)
  /// Close a link whose other side broke the protocol.
  case closeLink(LinkID, reason: String)
  /// Worth a line in the log: a role changed, a replica stopped.
  case note(ShardNote)
}

/// A transition that operators want to read about.
package enum ShardNote: Equatable, Sendable {
  case becameLeader(PartitionID, Epoch)
  case steppedDown(PartitionID, Epoch)
  case replicaStopped(PartitionID, ReplicaStop)
  case peerSuspected(StoreID)
  case peerReachable(StoreID)
  case clockDisagrees(milliseconds: Int64)
  case storageStalled
  case storageRecovered
  case pausedFor(Milliseconds)
  case replicaNotCreated(PartitionID, StateReadError)
  /// A fresh replica takes the place of one that gave itself up, or was taken out and came back.
  case replicaReplaced(PartitionID, old: ReplicaID, new: ReplicaID)
  /// A replica of a generation that an operator has ended: its data is kept for a person to see.
  case replicaSetAside(PartitionID, ReplicaID)
  /// A snapshot of the state with everything up to an entry applied is sent to a replica.
  case snapshotBegun(PartitionID, to: ReplicaID, through: EntryID)
  case snapshotInstalled(PartitionID, through: EntryID)
  case snapshotNotInstalled(PartitionID)
  /// The upper half of a partition is another one after an entry.
  case partitionCut(PartitionID, half: PartitionID, EntryID)
}

/// What a shard reads synchronously from its store.
package protocol ShardStorage: AnyObject {
  /// The checkpointed state of a partition's present replica.
  func stateReader(of partition: PartitionID) -> any StateReader
  /// Makes room for a replica that never was here; it is durable with its first write. What is here
  /// of an earlier replica of the partition stays until `forget`, or for ever when it is set aside.
  ///
  /// **Returns**: its empty state.
  func createReplica(
    _ replica: ReplicaID, of partition: PartitionID, generation: UInt32, settingAside: Bool
  ) throws(StateReadError) -> any StateReader
  /// Entries from `index` on for a follower that is far behind, at least one if there is one.
  func entries(
    of partition: PartitionID, from index: LogIndex, bytesMax: Int
  ) throws(StateReadError) -> [Entry]
  /// The checkpointed state of a partition's present replica as it is now, whatever is written
  /// later.
  func freezeState(of partition: PartitionID) throws(StateReadError) -> any FrozenState
  /// The state that an installation has prepared, once that is ready.
  func preparedState(of partition: PartitionID, _ id: InstallationID) -> any StateReader
}

/// A state that changes no more. What it shows stays on the disk while it is referred to.
package protocol FrozenState: AnyObject {
  /// Everything up to here is in it.
  var appliedIndex: LogIndex { get }
  /// The records after `key` in the order of their keys: at least one, if there is one, and
  /// otherwise at most `bytesMax`.
  func records(
    after key: [UInt8], bytesMax: Int
  ) throws(StateReadError) -> (records: StateRecords, isComplete: Bool)
}

/// One replica as its store has it when the process starts.
package struct RecoveredPartition: Sendable {
  package var partition: PartitionID
  package var replica: RecoveredReplica
  /// In which the replica was made.
  package var generation: UInt32
  /// About how much disk its log takes.
  package var logBytes: UInt64
  /// Earlier replicas of the partition whose data is still here.
  package var former: [ReplicaID]
  /// What of it cannot be read; then `replica` has nothing but its id.
  package var damage: String?

  package init(
    partition: PartitionID, replica: RecoveredReplica, generation: UInt32, logBytes: UInt64 = 0,
    former: [ReplicaID] = [], damage: String? = nil
  ) {
    self.partition = partition
    self.replica = replica
    self.generation = generation
    self.logBytes = logBytes
    self.former = former
    self.damage = damage
  }
}

/// Bounds and times of one shard.
package struct ShardConfiguration: Sendable {
  package var clusterID: UInt128
  package var node: String
  package var store: StoreID
  package var boot: BootID
  /// With how many partitions the ring was made.
  package var partitionCount: UInt32
  package var replica: ReplicaConfiguration
  /// The store was made anew after damage: an in-sync replica that it does not hold was lost.
  package var wasMadeAnew = false
  /// Of the protocol, when the process starts.
  package var activeVersion = ProtocolVersion.newest
  /// Requests that one link may have unanswered.
  package var requestCreditsPerLink: UInt32 = 16_384
  /// Commands of one turn that share a log entry, by size.
  package var entryBytesMax = 512 << 10
  /// Commands of one partition that wait for the end of the turn.
  package var pendingCommandBytesMax = 8 << 20
  /// Entities that one link may subscribe to.
  package var subscriptionsPerLinkMax = 1_000_000
  /// Callers that wait for an account to be resolved, per partition.
  package var accountWaitersMax = 4_096
  package var heartbeatInterval: Milliseconds = 250
  /// A peer that was heard before and says nothing for this long is suspected.
  package var silenceMax: Milliseconds = 2_000
  /// For so long a peer must say that it does not hear this shard before it is suspected.
  package var deafnessPatience: Milliseconds = 750
  /// A gap of the own loop beyond which one does not judge others.
  package var pauseMax: Milliseconds = 200
  /// A clock that is further away than this from those of most peers does not lead.
  package var clockSkewMax: Milliseconds = 5_000
  /// For so long it must be that far away.
  package var clockPatience: Milliseconds = 1_000
  /// What is not checkpointed is replayed after a restart, so this bounds that; longer intervals
  /// write less, because more events share a block.
  package var checkpointInterval: Milliseconds = 5_000
  package var checkpointEntries = 4_096
  package var checkpointOverlayBytes = 4 << 20
  /// Beyond these a log gives up its oldest entries, once a checkpoint covers them and the other
  /// replicas have them.
  package var logEntriesMax = 65_536
  package var logBytesMax = 16 << 20
  /// By how much a log may grow beyond that for a replica that can be reached and has not got
  /// there, and for one that moves on or is being sent a snapshot: or else it would need another
  /// one when it has that.
  package var logPatienceFactor = 4
  package var logLimitFactor = 64
  /// Snapshots that are sent at a time.
  package var snapshotsMax = 4
  /// Deliveries from outboxes that are on their way at a time, per source partition.
  package var outboxWindow = 64
  /// Before an outbox delivery without an answer, or with a refusal that may pass, is tried again.
  package var outboxRetry: Milliseconds = 500
  /// Between two times that the leader of a partition tells its followers the rolling hash of its
  /// state, if anything was applied since.
  package var stateComparisonInterval: Milliseconds = 10_000
  /// Partitions led here that are being cut at a time.
  package var splitsMax = Self.splitsMaxUsual
  /// Between two times that a leader asks who has cut, and that it asks for the half's record.
  package var splitAskInterval: Milliseconds = 20
  package var splitRecordRetry: Milliseconds = 250
  /// For so long it waits for all in-sync members to cut, if enough have.
  package var splitPatience: Milliseconds = 1_000
  /// For so long it waits for members that are not in sync.
  package var splitLearnerPatience: Milliseconds = 100
  /// Between two looks at who should lead.
  package var handoffInterval: Milliseconds = 100
  /// Handoffs under way at a time, and when this process is about to stop.
  package var handoffsMax = 8
  package var leavingHandoffsMax = 32
  /// A store must have been linked for so long before it is asked to lead.
  package var leadershipPatience: Milliseconds = 3_000
  /// Between two tries of a replica that gave itself up to have a fresh one take its place.
  package var replacementRetry: Milliseconds = 1_000

  package init(
    clusterID: UInt128, node: String, store: StoreID, boot: BootID, partitionCount: UInt32,
    minInSync: Int
  ) {
    self.clusterID = clusterID
    self.node = node
    self.store = store
    self.boot = boot
    self.partitionCount = partitionCount
    replica = ReplicaConfiguration(minInSync: minInSync)
    replica.shareWindow(among: Int(partitionCount))
  }

  package static let splitsMaxUsual = 4

  /// Bytes of appends that all partitions together may have on their way to one follower, were
  /// all of them led here: a part of what a link queues before it gives up.
  package static let catchUpBytesPerLink = 32 << 20
  /// No partition's window is smaller, however many there are.
  package static let windowBytesMin = 8 << 10
}

extension ReplicaConfiguration {
  /// Bounds what is on its way to one follower, so that it is not too much for all partitions
  /// together.
  mutating func shareWindow(among partitionCount: Int) {
    let share = ShardConfiguration.catchUpBytesPerLink / partitionCount
    windowBytesMax = min(windowBytesMax, max(share, ShardConfiguration.windowBytesMin))
    appendBytesMax = min(appendBytesMax, windowBytesMax)
  }
}
