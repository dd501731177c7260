package import Primitives

/// One entry of a partition's log. An empty payload is the entry with which an epoch starts.
package struct Entry: Equatable, Sendable {
  package let id: EntryID
  /// An encoded `EntryPayload`; empty at an epoch's start.
  package let payload: [UInt8]

  package init(id: EntryID, payload: [UInt8]) {
    self.id = id
    self.payload = payload
  }

  /// Its position in the log.
  package var index: LogIndex { id.index }
  /// Of the leader that made it.
  package var epoch: Epoch { id.epoch }
  /// Whether it carries no command but begins an epoch.
  package var isEpochStart: Bool { payload.isEmpty }
  /// What the entry weighs in windows and buffers.
  package var bytes: Int { payload.count + 24 }
}

/// What replicas of one partition say to each other.
///
/// **Invariant**: a receiver acts only on a message that is meant for its own replica id and boot
/// and comes from a replica that the record lists (rule 8).
package struct ReplicaMessage: Equatable, Sendable {
  package let partition: PartitionID
  package let from: ReplicaID
  /// The sender's process.
  package let fromBoot: BootID
  /// The life of the partition that is meant, not just the store.
  package let to: ReplicaID
  /// The epoch in which the sender speaks.
  package let epoch: Epoch
  /// The revision of the newest record that the sender knows.
  package let revision: Revision
  package let body: Body

  /// What is said.
  package enum Body: Equatable, Sendable {
    /// Leader → all: entries that follow `previous`. Without entries it probes or tells the commit.
    case append(previous: EntryID, entries: [Entry], commitIndex: LogIndex)
    /// The log up to `match` is durable and equals the leader's; `leaderBoot` names who was
    /// answered.
    case appended(match: LogIndex, leaderBoot: BootID)
    /// `previous` of an append is not in the log; `hint` is the last entry that could be.
    case mismatched(previous: EntryID, hint: EntryID, leaderBoot: BootID)
    /// A higher epoch was promised.
    case refused(promise: Epoch)
    /// Leader → quorum set: have you promised a higher epoch? (R1)
    case barrier(round: UInt64)
    case barrierConfirmed(round: UInt64, leaderBoot: BootID)
    /// After a restart: what the sender's log ends with (section 2.5).
    case inquiry(last: EntryID)
    /// The end of the log of the one that was asked; `nil`: it has given itself up, and nothing is
    /// left of it.
    case inquiryAnswered(last: EntryID?, inquirerBoot: BootID)
    /// The sender, who leads, holds a higher acknowledged match for the receiver than it
    /// reported: its store lost durable entries, and it must give itself up.
    case fenced(acknowledged: LogIndex, reported: LogIndex)
    /// Leader → all: this is the rolling hash of the state with everything up to `index` applied.
    case stateTold(index: LogIndex, hash: UInt64)
    /// The leader takes no commands for a moment and everything up to `last` is committed: lead.
    case takeOver(last: EntryID)
    /// Leader → one whose log ends before the leader's begins: here is the state with everything up
    /// to `last` applied, to be asked for. `number` names it within the leadership.
    case snapshotOffered(number: UInt64, last: EntryID)
    /// The records of a snapshot after a key; the first ones after none.
    case snapshotWanted(number: UInt64, after: [UInt8], leaderBoot: BootID)
    case snapshotChunk(SnapshotChunk)
    /// The leader of what was cut → everybody who may have a replica of this half: have you? Said
    /// between the shards, not their replicas.
    case splitAsked(level: UInt32)
    /// Up to `origin` the half is the same as what it was cut off from, which is durable; `nil`:
    /// there is none here, and will be none.
    case splitDone(level: UInt32, origin: LogIndex?)
  }

  package init(
    partition: PartitionID, from: ReplicaID, fromBoot: BootID, to: ReplicaID, epoch: Epoch,
    revision: Revision, body: Body
  ) {
    self.partition = partition
    self.from = from
    self.fromBoot = fromBoot
    self.to = to
    self.epoch = epoch
    self.revision = revision
    self.body = body
  }
}
