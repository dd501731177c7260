import ClusterModel
package import NodeProtocol
package import Primitives

extension Replica {
  /// A message from another replica of this partition.
  package mutating func messageReceived(
    _ message: ReplicaMessage, now: Instant, into actions: inout [ReplicaAction]
  ) {
    if case .stopped(let reason) = role {
      return receiveStopped(message, reason, into: &actions)
    }
    guard message.to == id, message.from != id else { return }
    guard let known, known.record.hasMember(message.from) else {
      return hold(message, into: &actions)
    }
    switch message.body {
    case .append(let previous, let entries, let leaderCommit):
      guard follows(message, into: &actions) else { return }
      receiveAppend(
        from: message, previous: previous, entries: entries, leaderCommit: leaderCommit,
        into: &actions)
    case .barrier(let round):
      guard follows(message, into: &actions) else { return }
      answer(message, .barrierConfirmed(round: round, leaderBoot: message.fromBoot), into: &actions)
    case .appended(let match, let leaderBoot):
      guard speaksToThisLeadership(message, leaderBoot) else { return }
      receiveAppended(from: message.from, match: match, now: now, into: &actions)
    case .mismatched(let previous, let hint, let leaderBoot):
      guard speaksToThisLeadership(message, leaderBoot) else { return }
      receiveMismatch(from: message.from, previous: previous, hint: hint, now: now, into: &actions)
    case .barrierConfirmed(let round, let leaderBoot):
      guard speaksToThisLeadership(message, leaderBoot) else { return }
      confirmBarrier(round: round, by: message.from, into: &actions)
    case .refused(let promised):
      if role == .leader, promised > leadership.epoch { readRecord(for: .refresh, into: &actions) }
    case .inquiry(let last):
      receiveInquiry(message, last: last, now: now, into: &actions)
    case .inquiryAnswered(let last, let inquirerBoot):
      guard inquirerBoot == boot else { return }
      receiveInquiryAnswer(from: message.from, last: last, now: now)
    case .fenced(let acknowledged, _):
      guard message.epoch >= promise, acknowledged > max(durableIndex, log.base.index) else {
        return
      }
      halt(.fenced(acknowledged: acknowledged, found: durableIndex), into: &actions)
    case .stateTold(let index, let hash):
      guard follows(message, into: &actions), index >= appliedIndex else { return }
      actions.append(.compareState(at: index, hash: hash))
    case .snapshotOffered(let number, let last):
      guard follows(message, into: &actions) else { return }
      receiveOffer(message, number: number, last: last, now: now, into: &actions)
    case .snapshotChunk(let chunk):
      guard follows(message, into: &actions) else { return }
      receiveChunk(chunk, into: &actions)
    case .snapshotWanted(let number, let after, let leaderBoot):
      guard speaksToThisLeadership(message, leaderBoot) else { return }
      receiveWanted(from: message.from, number: number, after: after, now: now, into: &actions)
    case .takeOver(let last):
      // On an older revision it would ask in vain.
      guard message.revision <= known.revision else { return hold(message, into: &actions) }
      guard follows(message, into: &actions) else { return }
      receiveTakeOver(last: last, now: now, into: &actions)
    case .splitAsked, .splitDone:
      // Between the shards.
      break
    }
  }

  /// A replica that gave itself up holds nothing, and says so to whoever compares and would wait
  /// for it. One that stopped for another reason may hold what others lost: it says nothing.
  private func receiveStopped(
    _ message: ReplicaMessage, _ reason: ReplicaStop, into actions: inout [ReplicaAction]
  ) {
    guard reason.isFinal, case .inquiry = message.body, message.to == id else { return }
    actions.append(
      .send(
        self.message(
          to: message.from, epoch: promise,
          .inquiryAnswered(last: nil, inquirerBoot: message.fromBoot))))
  }

  /// Whether a leader's message is to be acted upon: its epoch is that of the record and not below
  /// the promise (rules 4 and 8).
  private mutating func follows(_ message: ReplicaMessage, into actions: inout [ReplicaAction])
    -> Bool
  {
    guard let known else { return false }
    let isLower = message.epoch < promise || message.epoch < known.record.epoch
    if isLower, configuration.breaks(.refuseLowerEpochs) { return role == .follower }
    if isLower {
      let refusal = max(promise, known.record.epoch)
      actions.append(
        .send(self.message(to: message.from, epoch: promise, .refused(promise: refusal))))
      return false
    }
    guard message.epoch == known.record.epoch, message.from == known.record.leader,
      isProcess(message.fromBoot, known.record.leaderBoot)
    else {
      hold(message, into: &actions)
      return false
    }
    guard role == .follower || role == .candidate else { return false }
    if message.epoch > promise {
      promise = message.epoch
      matchedIndex = .zero
      acknowledgedIndex = .zero
      deferredAnswers.removeAll()
      abandonInstallation(into: &actions)
      persist(entries: [], into: &actions)
    }
    return true
  }

  /// Rule 8: a sender that the known record does not explain is refused only after a newer look.
  private mutating func hold(_ message: ReplicaMessage, into actions: inout [ReplicaAction]) {
    guard message.revision > known?.revision ?? .zero else { return }
    // Large, and asked for again.
    if case .snapshotChunk = message.body { return }
    if heldMessages.count < configuration.heldMessagesMax { heldMessages.append(message) }
    // The first record is on its way.
    if known != nil { readRecord(for: .refresh, into: &actions) }
  }

  mutating func receiveHeld(now: Instant, into actions: inout [ReplicaAction]) {
    guard !heldMessages.isEmpty else { return }
    let held = heldMessages
    heldMessages = []
    for message in held { messageReceived(message, now: now, into: &actions) }
  }

  private func speaksToThisLeadership(_ message: ReplicaMessage, _ leaderBoot: BootID) -> Bool {
    role == .leader && message.epoch == leadership.epoch && isProcess(leaderBoot, boot)
  }

  /// Leadership belongs to the process that won it (rule 6).
  func isProcess(_ one: BootID, _ other: BootID) -> Bool {
    one == other || configuration.breaks(.leadershipOfProcess)
  }

  /// Log matching (rule 7).
  private mutating func receiveAppend(
    from message: ReplicaMessage, previous: EntryID, entries: [Entry], leaderCommit: LogIndex,
    into actions: inout [ReplicaAction]
  ) {
    guard Self.isContiguous(entries, after: previous, epoch: message.epoch) else { return }
    let isUnchecked = configuration.breaks(.logMatching) && previous.index <= log.last.index
    guard log.epoch(at: previous.index) == previous.epoch || isUnchecked else {
      if previous.index == log.base.index, previous.index > .zero {
        return halt(.conflictBelowCommit(previous.index), into: &actions)
      }
      let hint = log.lastPossiblyShared(with: previous) ?? log.base
      return answer(
        message, .mismatched(previous: previous, hint: hint, leaderBoot: message.fromBoot),
        into: &actions)
    }
    var fresh = entries[...]
    while let entry = fresh.first, log.epoch(at: entry.index) == entry.epoch { fresh.removeFirst() }
    var truncatingFrom: LogIndex?
    if let entry = fresh.first {
      if entry.index <= log.last.index {
        guard entry.index > commitIndex else {
          return halt(.conflictBelowCommit(entry.index), into: &actions)
        }
        truncatingFrom = entry.index
        truncate(from: entry.index)
      }
      for entry in fresh { log.append(entry) }
      persist(truncatingFrom: truncatingFrom, entries: Array(fresh), into: &actions)
    }
    matchedIndex = max(matchedIndex, previous.index + entries.count)
    if comparison.needed, matchedIndex >= leaderCommit,
      log.epoch(at: matchedIndex) == message.epoch
    {
      // Everything that can be committed by now is here, the start of the epoch included; what
      // comes later needs this process's own acknowledgement.
      comparison.needed = false
    }
    commit(through: min(leaderCommit, matchedIndex), into: &actions)
    acknowledge(repeating: fresh.isEmpty, into: &actions)
  }

  private static func isContiguous(_ entries: [Entry], after previous: EntryID, epoch: Epoch)
    -> Bool
  {
    var last = previous
    for entry in entries {
      guard entry.index == last.index.successor, entry.epoch >= last.epoch, entry.epoch <= epoch
      else {
        return false
      }
      last = entry.id
    }
    return true
  }

  /// Tells the leader what is durable *and* known to equal its log (rule 3), once the promise is.
  /// `repeating` answers again although nothing moved: the leader asked.
  mutating func acknowledge(repeating: Bool, into actions: inout [ReplicaAction]) {
    guard durablePromise >= promise, let known, promise == known.record.epoch else { return }
    var match = min(matchedIndex, durableIndex)
    if configuration.breaks(.acknowledgeDurable) { match = matchedIndex }
    if configuration.breaks(.acknowledgeMatched) { match = durableIndex }
    guard repeating || match > acknowledgedIndex else { return }
    acknowledgedIndex = match
    actions.append(
      .send(
        message(
          to: known.record.leader, epoch: promise,
          .appended(match: match, leaderBoot: known.record.leaderBoot))))
  }

  /// Something became durable: send what waited for it.
  mutating func answerDurable(into actions: inout [ReplicaAction]) {
    guard durablePromise >= promise else { return }
    for answer in deferredAnswers { actions.append(.send(answer)) }
    deferredAnswers.removeAll()
    acknowledge(
      repeating: matchedIndex == acknowledgedIndex && acknowledgedIndex == .zero, into: &actions)
  }

  /// Answers a leader's message, not before the promise to it is durable (rule 4).
  mutating func answer(
    _ message: ReplicaMessage, _ body: ReplicaMessage.Body, into actions: inout [ReplicaAction]
  ) {
    let answer = self.message(to: message.from, epoch: message.epoch, body)
    if durablePromise >= promise {
      actions.append(.send(answer))
    } else if deferredAnswers.count < configuration.heldMessagesMax {
      deferredAnswers.append(answer)
    }
  }
}
