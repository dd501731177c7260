package import ClusterModel
package import NodeProtocol
package import Primitives

/// What a replica asks its shell to do. Order matters: actions are carried out as they are listed.
package enum ReplicaAction: Equatable, Sendable {
  /// Write and fsync, then answer with `persisted(ticket)`. Writes of one replica keep their order.
  case persist(ReplicaWrite)
  case send(ReplicaMessage)
  /// Entries up to here are committed: apply them and say so with `applied(through:)`.
  case apply(through: LogIndex)
  /// Set the record if its revision is still this one; answer with `changeFinished`.
  case compareAndSet(PartitionRecord, base: Revision)
  /// Read the record, linearizably and not earlier than now; answer with `recordRead(ticket:)`.
  case readRecord(ticket: UInt64)
  /// Read entries from storage for a follower that is far behind; answer with `entriesLoaded`.
  case loadEntries(for: ReplicaID, from: LogIndex, bytesMax: Int)
  /// Freeze the checkpointed state for a replica that the log does not reach back for, under this
  /// number; answer with `snapshotBegun`. Until it leads no more, or asks for another for the same
  /// replica, parts of it may be asked for.
  case beginSnapshot(for: ReplicaID, number: UInt64)
  /// Read the records of a snapshot after a key; answer with `chunkLoaded`.
  case loadChunk(for: ReplicaID, number: UInt64, after: [UInt8], bytesMax: Int)
  /// Prepare another state beside the present one, in the order of these actions; what cannot be
  /// done is answered with `installationFailed`.
  case prepare(InstallationID, InstallationStep)
  /// Put the other state and an empty log in the place of the present ones, by one durable write,
  /// answered with `persisted`. From here on the state is the other one.
  case install(ReplicaInstallation)
  /// The leader's state has this rolling hash after the entry at `index`, which is not applied here
  /// yet or was the last: compare, and say `stateDiffers` where it does.
  case compareState(at: LogIndex, hash: UInt64)
  /// These reads may be served from the state as it is now.
  case readsReady([UInt64])
  /// These reads cannot be served here; try again.
  case readsFailed([UInt64])
  /// The replica leads or does not lead any more, or its record changed.
  case statusChanged
  /// The replica is out of service until a person or a rebuild helps.
  case stopped(ReplicaStop)
}

/// One write of a replica's log, in one atomic batch.
package struct ReplicaWrite: Equatable, Sendable {
  package let ticket: UInt64
  /// The promise that holds from this write on.
  package let promise: Epoch
  /// Entries from here on are removed before `entries` are written.
  package let truncatingFrom: LogIndex?
  package let entries: [Entry]

  package init(ticket: UInt64, promise: Epoch, truncatingFrom: LogIndex?, entries: [Entry]) {
    self.ticket = ticket
    self.promise = promise
    self.truncatingFrom = truncatingFrom
    self.entries = entries
  }
}

/// One try of one replica in one process to install a snapshot.
package struct InstallationID: Hashable, Sendable {
  package let rawValue: UInt64

  package init(_ rawValue: UInt64) { self.rawValue = rawValue }
}

/// What is done beside the present state.
package enum InstallationStep: Equatable, Sendable {
  /// Make room.
  case begin
  /// Write these records there; answer with `chunkInstalled`.
  case write(SnapshotChunk)
  /// All records are there: make them readable; answer with `installationReady`.
  case finish
  /// What was written is of no use.
  case abandon
}

/// A snapshot takes the place of a replica's state and log.
package struct ReplicaInstallation: Equatable, Sendable {
  package let ticket: UInt64
  package let id: InstallationID
  /// The promise that holds from this write on.
  package let promise: Epoch
  /// The last entry that the snapshot holds. The log is empty and begins after it.
  package let last: EntryID

  package init(ticket: UInt64, id: InstallationID, promise: Epoch, last: EntryID) {
    self.ticket = ticket
    self.id = id
    self.promise = promise
    self.last = last
  }
}

/// What a shell asks of a replica all the time, in one small value.
package struct ReplicaStanding: Equatable, Sendable {
  package var isLeader: Bool
  package var epoch: Epoch
  package var acceptsCommands: Bool
  package var servesReads: Bool
  /// Leadership is on its way to another replica.
  package var isHandingOver: Bool
  /// So much so that no command is accepted.
  package var isClosing: Bool
  package var isStopped: Bool
  package var appliedIndex: LogIndex
  package var wakeAt: Instant
}

/// Why a replica is out of service.
package enum ReplicaStop: Equatable, Sendable {
  /// A committed entry conflicts with the leader's. Nothing is repaired; a person decides.
  case conflictBelowCommit(LogIndex)
  /// A write or fsync failed (rule 9).
  case storageFailed
  /// The store lost entries that it had acknowledged (section 2.5).
  case fenced(acknowledged: LogIndex, found: LogIndex)
  /// The record does not list this replica any more.
  case removed
  /// An entry that this version cannot apply.
  case applyFailed(LogIndex)
  /// After this entry its state differs from the leader's. Which of the two is wrong cannot be told
  /// from here, so neither is rebuilt from the other: a person decides.
  case stateDiffers(LogIndex)
  /// What the store holds of it cannot be read.
  case damaged(String)
  /// The store lost it: it was made anew after damage and holds nothing that was acknowledged.
  case lost

  /// Whether the replica is of no use to anybody, so that a fresh one may take its place. The
  /// others are for a person to look at, or pass with the process.
  package var isFinal: Bool {
    switch self {
    case .fenced, .damaged, .lost: true
    case .conflictBelowCommit, .storageFailed, .removed, .applyFailed, .stateDiffers: false
    }
  }
}

/// How a compare-and-set ended.
package enum ChangeOutcome: Equatable, Sendable {
  case succeeded(Revision)
  /// Somebody else changed the record; this is what it is now.
  case conflicted(VersionedRecord)
  /// No answer: it may have happened, may happen later, or never.
  case unknown
}

/// What a replica finds on its disk when its process starts.
package struct RecoveredReplica: Sendable {
  package var id: ReplicaID
  package var promise: Epoch
  package var commitIndex: LogIndex
  package var appliedIndex: LogIndex
  /// The entry before the first one that the log holds.
  package var base: EntryID
  /// The first entry of every epoch in the log, ascending.
  package var epochStarts: [EntryID]
  package var last: EntryID
  /// Entries after `appliedIndex`, to the end of the log.
  package var tail: [Entry]
  /// This process made it, so nothing of it was lost by a restart.
  package var isOfThisProcess = false

  package init(
    id: ReplicaID, promise: Epoch, commitIndex: LogIndex, appliedIndex: LogIndex,
    base: EntryID = .zero, epochStarts: [EntryID], last: EntryID, tail: [Entry]
  ) {
    self.id = id
    self.promise = promise
    self.commitIndex = commitIndex
    self.appliedIndex = appliedIndex
    self.base = base
    self.epochStarts = epochStarts
    self.last = last
    self.tail = tail
  }

  /// A replica that never had an entry.
  package init(empty id: ReplicaID) {
    self.init(
      id: id, promise: .zero, commitIndex: .zero, appliedIndex: .zero, epochStarts: [],
      last: .zero, tail: [])
  }
}
