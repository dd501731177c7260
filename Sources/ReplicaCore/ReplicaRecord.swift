package import ClusterModel
package import Primitives

/// A change of the record under way. Until the revision has moved past `base`, it may still
/// happen, so its in-sync set counts for commits (rule 1) and it is asked for again (rule 2).
struct PendingChange {
  let record: PartitionRecord
  let base: Revision
  /// A try is under way; its answer has not come.
  var isAsked: Bool
  var retryAt: Instant
}

/// Linearizable reads of the record that are under way.
struct RecordReads {
  enum Purpose: Equatable {
    /// A view that is too old to judge a message or oneself.
    case refresh
    /// To serve reads although a member of the quorum set is silent (R1).
    case barrier
    /// To know that the coordinator is there before leadership is handed over.
    case handoff
  }

  var lastTicket: UInt64 = 0
  var pending: [(ticket: UInt64, purpose: Purpose)] = []

  func isPending(_ purpose: Purpose) -> Bool { pending.contains { $0.purpose == purpose } }
}

extension Replica {
  /// The record as the coordinator shows it. A view never goes back to a lower revision (rule 8).
  package mutating func recordObserved(
    _ observed: VersionedRecord, now: Instant, into actions: inout [ReplicaAction]
  ) {
    if let known, observed.revision <= known.revision { return }
    if case .stopped = role { return }
    let before = known?.record
    known = observed
    let record = observed.record
    if let pending = pendingChange, observed.revision > pending.base {
      pendingChange = nil
      if role == .candidate {
        role = .follower
        if record.leader != id { failedPromotion(now: now) }
      }
    }
    if !record.hasMember(id), record.nextReplica > id.number {
      return halt(.removed, into: &actions)
    }
    if before == nil {
      // What the disk says was committed and not applied before the process ended.
      if commitIndex > appliedIndex { actions.append(.apply(through: commitIndex)) }
    }
    // An empty log of a partition with a past is new, or all that a damaged disk has left. The
    // first record that is seen after a start may be an old one.
    if record.epoch > .zero, log.last == .zero, promise == .zero { comparison.needed = true }
    if before?.leader != record.leader || before?.leaderBoot != record.leaderBoot {
      noteNewLeader(record)
    }
    if role == .leader || role == .assuming, record.epoch > promise || record.leader != id {
      stepDown(into: &actions)
    }
    if record.leader == id, isProcess(boot, record.leaderBoot), record.epoch > ledEpoch {
      assume(record.epoch, now: now, into: &actions)
    } else if role == .leader {
      // The heir asked on an older revision, if it did: that comes to nothing.
      leadership.handoff = nil
      membershipChanged(now: now, into: &actions)
    }
    considerPromotion(now: now)
    actions.append(.statusChanged)
    receiveHeld(now: now, into: &actions)
    wake(at: now)
  }

  private mutating func noteNewLeader(_ record: PartitionRecord) {
    promoteAt = nil
    // A change that landed late may name a process that is gone already.
    let isGone = peerBoots.contains {
      $0.store == record.leader.store && $0.boot != record.leaderBoot && record.leaderBoot != .none
    }
    restarted = isGone ? [record.leader.store] : []
  }

  /// The answer to `compareAndSet`.
  package mutating func changeFinished(
    base: Revision, outcome: ChangeOutcome, now: Instant, into actions: inout [ReplicaAction]
  ) {
    switch outcome {
    case .succeeded(let revision):
      guard let pending = pendingChange, pending.base == base else { return }
      recordObserved(
        VersionedRecord(record: pending.record, revision: revision), now: now, into: &actions)
    case .conflicted(let current):
      recordObserved(current, now: now, into: &actions)
      markUnanswered(base: base, now: now)
    case .unknown:
      if configuration.breaks(.unknownMayLand), role == .leader, pendingChange?.base == base {
        pendingChange = nil
        return leadership.quorumChanged(quorumMembers, of: id)
      }
      markUnanswered(base: base, now: now)
    }
  }

  private mutating func markUnanswered(base: Revision, now: Instant) {
    guard pendingChange?.base == base else { return }
    pendingChange?.isAsked = false
    let retryAt = now + configuration.changeRetry
    pendingChange?.retryAt = retryAt
    wake(at: retryAt)
  }

  /// The answer to `readRecord`; `nil` when the coordinator could not be asked.
  package mutating func recordRead(
    ticket: UInt64, _ observed: VersionedRecord?, now: Instant, into actions: inout [ReplicaAction]
  ) {
    guard let position = recordReads.pending.firstIndex(where: { $0.ticket == ticket }) else {
      return
    }
    let purpose = recordReads.pending.remove(at: position).purpose
    if let observed { recordObserved(observed, now: now, into: &actions) }
    switch purpose {
    case .refresh:
      if observed == nil { heldMessages.removeAll() } else { receiveHeld(now: now, into: &actions) }
      considerPromotion(now: now)
    case .barrier:
      finishBarrierByRecord(ticket: ticket, observed, now: now, into: &actions)
    case .handoff:
      closeForHandoff(isAnswered: observed != nil, now: now, into: &actions)
    }
  }

  mutating func readRecord(for purpose: RecordReads.Purpose, into actions: inout [ReplicaAction]) {
    guard !recordReads.isPending(purpose) else { return }
    _ = readRecordAnew(for: purpose, into: &actions)
  }

  /// **Returns**: the ticket of the read.
  mutating func readRecordAnew(
    for purpose: RecordReads.Purpose, into actions: inout [ReplicaAction]
  ) -> UInt64 {
    recordReads.lastTicket += 1
    recordReads.pending.append((recordReads.lastTicket, purpose))
    actions.append(.readRecord(ticket: recordReads.lastTicket))
    return recordReads.lastTicket
  }

  /// Asks for a change of the record, conditioned on the revision that is known.
  mutating func propose(
    _ record: PartitionRecord, now: Instant, into actions: inout [ReplicaAction]
  ) {
    guard let known, pendingChange == nil else { return }
    let retryAt = now + configuration.changeRetry
    pendingChange = PendingChange(
      record: record, base: known.revision, isAsked: true, retryAt: retryAt)
    leadership.quorumChanged(self.quorumMembers, of: id)
    actions.append(.compareAndSet(record, base: known.revision))
  }

  /// A proposal whose fate is unknown is asked for again on the same revision until the revision
  /// moves: one that was lost on its way must not stay for ever (rule 2).
  mutating func retryChange(now: Instant, into actions: inout [ReplicaAction]) {
    guard let pending = pendingChange, !pending.isAsked, !configuration.breaks(.askAgain) else {
      return
    }
    guard now >= pending.retryAt else { return wake(at: pending.retryAt) }
    pendingChange?.isAsked = true
    actions.append(.compareAndSet(pending.record, base: pending.base))
  }

  /// Rule 1's quorum set: the in-sync set of the newest record, united with the one that was
  /// proposed and is unresolved, and with a learner that is about to join.
  var quorumMembers: [ReplicaID] {
    guard let known else { return [] }
    var members = known.record.inSync
    if let pendingChange {
      members += pendingChange.record.inSync.filter { !members.contains($0) }
    }
    if let joining = leadership.joining?.replica, !members.contains(joining) {
      members.append(joining)
    }
    return members
  }
}
