package import ClusterModel
import NodeProtocol
import Primitives

/// What a restarted replica learned from the other in-sync members about the end of its own log
/// (section 2.5: a torn tail and a lost acknowledged tail look the same from inside).
struct Comparison {
  /// The replica has a past, so it compares before it promotes itself.
  var needed: Bool
  /// The ends of the others' logs, as they told since this process started; `nil` of one of which
  /// nothing is left.
  var answers: [(replica: ReplicaID, last: EntryID?)] = []
  var askAgainAt = Instant.zero

  mutating func record(_ replica: ReplicaID, _ last: EntryID?) {
    answers.removeAll { $0.replica == replica }
    answers.append((replica, last))
  }
}

extension Replica {
  // MARK: Comparing after a restart

  mutating func inquire(now: Instant, into actions: inout [ReplicaAction]) {
    // Between a snapshot and its durable write the log has no end to be held against another.
    guard comparison.needed, durableIndex >= log.base.index, let known,
      known.record.inSync.contains(id)
    else { return }
    let unanswered = known.record.inSync.filter { member in
      // Who was ahead is asked again while this replica waits for it to promote itself.
      member != id
        && !comparison.answers.contains {
          $0.replica == member && (promoteAt == nil || $0.last ?? .zero <= log.last)
        }
    }
    guard !unanswered.isEmpty else { return }
    if now >= comparison.askAgainAt {
      comparison.askAgainAt = now + configuration.inquiryInterval
      let last = EntryID(epoch: log.epoch(at: durableIndex) ?? .zero, index: durableIndex)
      for member in unanswered {
        actions.append(.send(message(to: member, epoch: promise, .inquiry(last: last))))
      }
    }
    wake(at: comparison.askAgainAt)
  }

  mutating func receiveInquiry(
    _ message: ReplicaMessage, last: EntryID, now: Instant, into actions: inout [ReplicaAction]
  ) {
    if let known, known.record.leader == message.from, known.record.leaderBoot != message.fromBoot,
      !restarted.contains(message.from.store)
    {
      // Who compares has just started, so it does not lead.
      restarted.append(message.from.store)
      considerPromotion(now: now)
    }
    if role == .leader,
      let position = leadership.progress.firstIndex(where: { $0.replica == message.from }),
      leadership.progress[position].match > last.index
    {
      leadership.progress[position].isFenced = true
      sendFenced(to: position, reported: last.index, into: &actions)
      // If the inquiry was old, the answer to this shows that nothing is lost.
      leadership.progress[position].probe(from: leadership.progress[position].next)
      sendAppends(to: position, now: now, into: &actions)
    }
    actions.append(
      .send(
        self.message(
          to: message.from, epoch: promise,
          .inquiryAnswered(last: log.last, inquirerBoot: message.fromBoot))))
  }

  /// Tells a follower that it lost entries that it had acknowledged in this epoch.
  func sendFenced(to position: Int, reported: LogIndex, into actions: inout [ReplicaAction]) {
    let progress = leadership.progress[position]
    actions.append(
      .send(
        message(
          to: progress.replica, epoch: leadership.epoch,
          .fenced(acknowledged: progress.match, reported: reported))))
  }

  mutating func receiveInquiryAnswer(from replica: ReplicaID, last: EntryID?, now: Instant) {
    comparison.record(replica, last)
    considerPromotion(now: now)
    wake(at: now)
  }

  /// Whether the end of the log was held against another in-sync member's, and it is not behind.
  /// Answers of members that can be reached count; without one, what the others said holds: if they
  /// were ahead, that may be what this store lost. One of which nothing is left is no witness, and
  /// is not waited for either.
  private func isCompared(with record: PartitionRecord) -> Bool {
    guard comparison.needed, !configuration.breaks(.compareAfterRestart) else { return true }
    let others = record.inSync.filter { member in
      member != id && !comparison.answers.contains { $0.replica == member && $0.last == nil }
    }
    guard !others.isEmpty else { return true }
    let answers = comparison.answers.filter { others.contains($0.replica) }
    let reachable = answers.filter { !unreachable.contains($0.replica.store) }
    let witnesses = reachable.isEmpty ? answers : reachable
    return !witnesses.isEmpty && !witnesses.contains { $0.last ?? .zero > log.last }
  }

  /// Whether it could take the lead now, if the record were this, without asking anybody how far
  /// the log went.
  package func knowsItsEnd(in record: PartitionRecord) -> Bool { isCompared(with: record) }

  // MARK: Promotion (T1)

  /// Whether the leader is gone: unreachable, or another process answers in its place.
  private func isLeaderSuspected(_ record: PartitionRecord) -> Bool {
    if configuration.breaks(.bootsMatter) { return unreachable.contains(record.leader.store) }
    if record.leader == id { return record.leaderBoot != boot }
    // It gave itself up, although its process is alive.
    if record.isLeaderless { return true }
    let store = record.leader.store
    return unreachable.contains(store) || restarted.contains(store) || unfit.contains(store)
  }

  /// Whether enough stores can be reached, this one included, for commands to be committed, now or
  /// once a learner has joined. Who is cut off would only take from others what it cannot use.
  func reachesEnough(_ record: PartitionRecord) -> Bool {
    let stores = Set(record.members.map(\.store))
    let reached = stores.count { $0 == id.store || !unreachable.contains($0) }
    return reached >= min(configuration.minInSync, stores.count)
  }

  /// Sets or clears the time of the next try. The order of succession is that of the target, so
  /// that not all try at once; trying is always safe.
  mutating func considerPromotion(now: Instant) {
    guard role == .follower, let known, known.record.inSync.contains(id), mayLead,
      isLeaderSuspected(known.record), reachesEnough(known.record)
    else {
      promoteAt = nil
      return
    }
    guard promoteAt == nil else { return }
    let record = known.record
    let order = record.target.filter { record.inSync.contains($0) && $0 != record.leader }
    let place = record.leader == id ? 0 : order.firstIndex(of: id) ?? order.count
    var stagger = configuration.promotionStagger.rawValue * UInt64(place)
    if record.epoch == .zero, record.leader != id, !unreachable.contains(record.leader.store) {
      stagger += configuration.firstOwnerPatience.rawValue
    }
    var backoff: UInt64 = 0
    if failedPromotionCount > 0 {
      let doubled =
        configuration.promotionBackoff.rawValue << UInt64(min(failedPromotionCount, 10) - 1)
      let bound = min(doubled, configuration.promotionBackoffMax.rawValue)
      backoff = bound / 2 + random.next() % (bound / 2 + 1)
    }
    let at = now + Milliseconds(stagger + backoff)
    promoteAt = at
    wake(at: at)
  }

  mutating func failedPromotion(now: Instant) {
    failedPromotionCount += 1
    promoteAt = nil
    considerPromotion(now: now)
  }

  mutating func promoteIfDue(now: Instant, into actions: inout [ReplicaAction]) {
    guard let due = promoteAt, role == .follower, let known else { return }
    guard now >= due else { return wake(at: due) }
    guard isCompared(with: known.record) else {
      return wake(at: now + configuration.inquiryInterval)
    }
    promoteAt = nil
    let absent = known.record.inSync.filter { member in
      member != id && (unreachable.contains(member.store) || known.record.isSuperseded(member))
    }
    // The old leader goes first when not all of the absent may go.
    let departing =
      absent.filter { $0 == known.record.leader } + absent.filter { $0 != known.record.leader }
    promote(leaving: departing, now: now, into: &actions)
  }

  /// Asks for the record to name this process, with as many of the departing taken out as may go.
  mutating func promote(
    leaving departing: [ReplicaID], now: Instant, into actions: inout [ReplicaAction]
  ) {
    guard var record = known?.record else { return }
    record.epoch = record.epoch.successor
    record.leader = id
    record.leaderBoot = boot
    for member in departing where record.inSync.count > configuration.leastInSync {
      record.inSync.removeAll { $0 == member }
    }
    role = .candidate
    propose(record, now: now, into: &actions)
  }

  /// The record names this process as the leader of an epoch that it has not led (rule 6): first
  /// the promise becomes durable, then it leads (rule 4).
  mutating func assume(_ epoch: Epoch, now: Instant, into actions: inout [ReplicaAction]) {
    // A coordinator that went back in time may show a lower epoch than was promised: never resume
    // it.
    guard epoch >= promise else { return }
    role = .assuming
    ledEpoch = epoch
    promise = epoch
    promoteAt = nil
    comparison.needed = false
    matchedIndex = .zero
    acknowledgedIndex = .zero
    deferredAnswers.removeAll()
    heldMessages.removeAll()
    abandonInstallation(into: &actions)
    persist(entries: [], into: &actions)
  }

  /// The promise is durable: start the epoch with an entry of its own.
  mutating func lead(now: Instant, into actions: inout [ReplicaAction]) {
    guard let known, known.record.epoch == promise, known.record.leader == id else {
      role = .follower
      return
    }
    role = .leader
    let start = EntryID(epoch: promise, index: log.last.index.successor)
    leadership = Leadership(epoch: promise, epochStart: start.index)
    leadership.setMembers(
      known.record.members.filter { $0 != id }, next: start.index,
      inherits: configuration.breaks(.replicaIDsMatter))
    leadership.quorumChanged(quorumMembers, of: id)
    append(Entry(id: start, payload: []), now: now, into: &actions)
    actions.append(.statusChanged)
  }

  /// Gives leadership up. What is in the log stays there; a later leader decides about it.
  mutating func stepDown(into actions: inout [ReplicaAction]) {
    guard role == .leader || role == .assuming else { return }
    // A leadership that came to nothing: the next try waits, so that two do not take it from each
    // other in turn.
    if !servesReads { failedPromotionCount += 1 }
    role = .follower
    matchedIndex = .zero
    acknowledgedIndex = .zero
    pendingChange = nil
    leadership = Leadership(epoch: .zero, epochStart: .zero)
    failReads(into: &actions)
    actions.append(.statusChanged)
  }
}
