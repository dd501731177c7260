import ClusterModel
import NodeProtocol
package import Primitives

/// Leadership on its way to another in-sync replica, without a moment in which nobody is there to
/// take a command.
///
/// ```
///             handOver            the record can be read         all is committed
///  leading ─────────────▶ asking ────────────────────▶ closing ──────────────────▶ told
///     ▲                      │                            │                          │  a higher
///     └──────────────────────┴────────────────────────────┴──────────────────────────┤  epoch
///               nothing of that within `handoffMax`, or another record               ▼
///                                                                                 follower
/// ```
///
/// To promote is always safe, so the heir needs no permission and the leader no answer: what is
/// gained by closing first is that no command's fate is unknown when the epoch ends. The
/// coordinator is asked before, because without it nothing could come of it but a pause.
struct Handoff {
  enum Phase {
    /// Commands are accepted as ever.
    case asking
    /// No command is accepted; what was is being committed.
    case closing
    /// The heir was asked to lead.
    case told
  }

  let heir: ReplicaID
  var since: Instant
  var phase = Phase.asking
}

extension Replica {
  // MARK: As the leader

  /// Hands leadership to another in-sync replica. For a moment before it is done, or given up, no
  /// command is accepted (`isClosing`); whoever has some keeps them meanwhile.
  ///
  /// **Returns**: whether it has begun; not so while the record is being changed, after a try that
  /// failed (for longer each time), or when the other one is not ready.
  package mutating func handOver(
    to heir: ReplicaID, now: Instant, into actions: inout [ReplicaAction]
  ) -> Bool {
    guard servesReads, leadership.handoff == nil, pendingChange == nil, mayTakeOver(heir),
      now >= leadership.handoffAfter
    else { return false }
    leadership.handoff = Handoff(heir: heir, since: now)
    wake(at: now + configuration.handoffMax)
    _ = readRecordAnew(for: .handoff, into: &actions)
    return true
  }

  private func mayTakeOver(_ heir: ReplicaID) -> Bool {
    guard heir != id, let known, known.record.inSync.contains(heir),
      !unreachable.contains(heir.store), !unfit.contains(heir.store),
      let progress = leadership.progress.first(where: { $0.replica == heir })
    else { return false }
    return progress.mode == .streaming && !progress.isFenced
  }

  /// The coordinator answers, or does not.
  mutating func closeForHandoff(
    isAnswered: Bool, now: Instant, into actions: inout [ReplicaAction]
  ) {
    guard let handoff = leadership.handoff, handoff.phase == .asking else { return }
    guard isAnswered, mayTakeOver(handoff.heir), pendingChange == nil else {
      return giveUpHandoff(now: now)
    }
    leadership.handoff?.phase = .closing
    leadership.handoff?.since = now
    wake(at: now + configuration.handoffMax)
    tellHeir(into: &actions)
  }

  /// Asks the heir to lead once nothing of this epoch is unfinished.
  mutating func tellHeir(into actions: inout [ReplicaAction]) {
    guard let handoff = leadership.handoff, handoff.phase == .closing,
      commitIndex == log.last.index
    else { return }
    leadership.handoff?.phase = .told
    actions.append(
      .send(message(to: handoff.heir, epoch: leadership.epoch, .takeOver(last: log.last))))
  }

  /// Goes on leading when the heir does not come.
  mutating func expireHandoff(now: Instant) {
    guard let handoff = leadership.handoff else { return }
    let until = handoff.since + configuration.handoffMax
    guard now >= until else { return wake(at: until) }
    giveUpHandoff(now: now)
  }

  private mutating func giveUpHandoff(now: Instant) {
    leadership.handoff = nil
    let doubled = configuration.handoffPause.rawValue << min(leadership.failedHandoffCount, 10)
    leadership.handoffAfter =
      now + Milliseconds(min(doubled, configuration.handoffPauseMax.rawValue))
    leadership.failedHandoffCount += 1
  }

  // MARK: As the heir

  /// The leader of this epoch asks this replica to lead. What it misses by then it would have to be
  /// sent, so it had better stay a follower.
  mutating func receiveTakeOver(last: EntryID, now: Instant, into actions: inout [ReplicaAction]) {
    guard role == .follower, pendingChange == nil, mayLead, log.last == last,
      matchedIndex >= last.index, let known, known.record.inSync.contains(id)
    else { return }
    promoteAt = nil
    promote(leaving: [], now: now, into: &actions)
  }
}
