import ClusterModel
package import NodeProtocol
package import Primitives

/// What only a leader has.
struct Leadership {
  let epoch: Epoch
  /// The entry with which the epoch began. Once it is committed, so is everything before it.
  let epochStart: LogIndex
  var progress: [Progress] = []
  /// Positions in `progress` of the members that must acknowledge (rule 1), and whether the leader
  /// itself must, which it does unless it is leaving.
  var quorum: [Int] = []
  /// Members that must acknowledge but have no progress: nothing commits until they have.
  var isQuorumUnknown = false
  var uncommittedBytes = 0
  var noticeAt: Instant?
  /// A learner that has nearly everything: it must acknowledge before it joins, so that under a
  /// steady load it does not chase the commit index for ever.
  var joining: (replica: ReplicaID, since: Instant)?
  /// No learner is waited for before then: one was, in vain.
  var joiningAfter = Instant.zero
  var handoff: Handoff?
  /// Nobody is asked to lead before then: one was, in vain.
  var handoffAfter = Instant.zero
  var failedHandoffCount = 0
  /// The number of the latest snapshot that was begun.
  var lastSnapshot: UInt64 = 0

  init(epoch: Epoch, epochStart: LogIndex) {
    self.epoch = epoch
    self.epochStart = epochStart
  }

  /// - Parameter inherits: a planted bug: what another replica of the store acknowledged is kept.
  mutating func setMembers(_ members: [ReplicaID], next: LogIndex, inherits: Bool) {
    progress = members.map { member in
      if let known = progress.first(where: { $0.replica == member }) { return known }
      var fresh = Progress(replica: member, next: next)
      if inherits, let other = progress.first(where: { $0.replica.store == member.store }) {
        fresh.match = other.match
      }
      return fresh
    }
  }

  mutating func quorumChanged(_ members: [ReplicaID], of leader: ReplicaID) {
    isQuorumUnknown = false
    quorum = members.compactMap { member in
      if member == leader { return nil }
      let position = progress.firstIndex { $0.replica == member }
      if position == nil { isQuorumUnknown = true }
      return position
    }
  }
}

extension Replica {
  // MARK: Appending

  /// Appends a client's commands: one entry, to the own disk and to the followers in the same turn.
  ///
  /// **Returns**: the entry's name, or `nil` when commands are not accepted now
  /// (`acceptsCommands`).
  package mutating func propose(
    payload: [UInt8], now: Instant, into actions: inout [ReplicaAction]
  ) -> EntryID? {
    precondition(!payload.isEmpty, "an empty payload is the start of an epoch")
    guard acceptsCommands else { return nil }
    let id = EntryID(epoch: leadership.epoch, index: log.last.index.successor)
    append(Entry(id: id, payload: payload), now: now, into: &actions)
    return id
  }

  mutating func append(_ entry: Entry, now: Instant, into actions: inout [ReplicaAction]) {
    log.append(entry)
    leadership.uncommittedBytes += entry.bytes
    persist(entries: [entry], into: &actions)
    for position in leadership.progress.indices {
      sendAppends(to: position, now: now, into: &actions)
    }
    wake(at: now + configuration.resend)
  }

  /// Sends what the window of a follower allows.
  mutating func sendAppends(to position: Int, now: Instant, into actions: inout [ReplicaAction]) {
    while true {
      if leadership.progress[position].mode == .installing { return }
      if leadership.progress[position].next <= log.base.index {
        // Whether a snapshot is needed, the answer to the first entry tells.
        leadership.progress[position].probe(from: log.base.index.successor)
      }
      let progress = leadership.progress[position]
      guard !progress.isLoading else { return }
      switch progress.mode {
      case .installing: return
      case .probing:
        guard progress.owedSince == nil else { return }
      case .streaming:
        guard progress.next <= log.last.index,
          progress.inFlightEntries < configuration.windowEntriesMax,
          progress.inFlightBytes < configuration.windowBytesMax
        else { return }
      }
      guard
        let entries = log.slice(
          from: progress.next, bytesMax: configuration.appendBytesMax,
          countMax: configuration.windowEntriesMax)
      else {
        leadership.progress[position].isLoading = true
        actions.append(
          .loadEntries(
            for: progress.replica, from: progress.next, bytesMax: configuration.appendBytesMax))
        return
      }
      send(entries, to: position, now: now, into: &actions)
    }
  }

  /// Entries that `loadEntries` asked for; empty when they could not be read.
  package mutating func entriesLoaded(
    for replica: ReplicaID, from index: LogIndex, entries: [Entry], now: Instant,
    into actions: inout [ReplicaAction]
  ) {
    guard role == .leader,
      let position = leadership.progress.firstIndex(where: { $0.replica == replica }),
      leadership.progress[position].isLoading
    else { return }
    leadership.progress[position].isLoading = false
    // What was asked for in an earlier leadership may have been replaced since.
    guard leadership.progress[position].next == index, entries.first?.index == index,
      entries.allSatisfy({ log.epoch(at: $0.index) == $0.epoch })
    else {
      return wake(at: now + configuration.resend)
    }
    send(entries, to: position, now: now, into: &actions)
    sendAppends(to: position, now: now, into: &actions)
  }

  private mutating func send(
    _ entries: [Entry], to position: Int, now: Instant, into actions: inout [ReplicaAction]
  ) {
    let before = leadership.progress[position].next.predecessor
    guard let epoch = log.epoch(at: before) else {
      preconditionFailure("\(partition): the log has no epoch for \(before)")
    }
    leadership.progress[position].sent(
      through: before + entries.count, bytes: entries.reduce(0) { $0 + $1.bytes },
      count: entries.count, now: now)
    leadership.progress[position].toldCommit = commitIndex
    actions.append(
      .send(
        message(
          to: leadership.progress[position].replica, epoch: leadership.epoch,
          .append(
            previous: EntryID(epoch: epoch, index: before), entries: entries,
            commitIndex: commitIndex))))
    wake(at: now + configuration.resend)
  }

  // MARK: Answers

  mutating func receiveAppended(
    from replica: ReplicaID, match: LogIndex, now: Instant, into actions: inout [ReplicaAction]
  ) {
    guard let position = leadership.progress.firstIndex(where: { $0.replica == replica }),
      match <= log.last.index
    else { return }
    if match > leadership.progress[position].match {
      leadership.progress[position].laggingSince = nil
    }
    leadership.progress[position].acknowledged(match, base: log.base.index, now: now)
    advanceCommit(now: now, into: &actions)
    sendAppends(to: position, now: now, into: &actions)
    // What this answers may have been sent before the newest commit.
    if leadership.progress[position].toldCommit < commitIndex { noticeCommit(now: now) }
    if let known,
      !known.record.inSync.contains(replica)
        || known.record.inSync.count > known.record.target.count
    {
      considerMembership(now: now, into: &actions)
    }
  }

  mutating func receiveMismatch(
    from replica: ReplicaID, previous: EntryID, hint: EntryID, now: Instant,
    into actions: inout [ReplicaAction]
  ) {
    guard let position = leadership.progress.firstIndex(where: { $0.replica == replica }) else {
      return
    }
    let progress = leadership.progress[position]
    // What came with the append was not taken either.
    leadership.progress[position].toldCommit = .zero
    noticeCommit(now: now)
    if previous.index <= progress.match, hint.index < progress.match,
      hint.index <= previous.index
    {
      // It lost what it had acknowledged; if the answer is only old, it will know that it did not.
      return sendFenced(to: position, reported: hint.index, into: &actions)
    }
    // An answer to something older than what is known by now says nothing.
    // One whose log begins later than what it was sent says where.
    // That the follower asks itself, too (rule 12): the planted mistake leaves out both.
    let isNews = hint.index >= progress.match || configuration.breaks(.keepWhatIsHeld)
    let beginsLater = hint.index > previous.index && isNews
    guard previous.index > progress.match || beginsLater, previous.index < progress.next,
      progress.mode != .installing
    else { return }
    guard let shared = log.lastPossiblyShared(with: hint) else {
      return beginSnapshot(for: position, now: now, into: &actions)
    }
    leadership.progress[position].probe(from: shared.index.successor)
    sendAppends(to: position, now: now, into: &actions)
  }

  // MARK: Committing

  /// Rule 1: an entry is committed when it is durable here and acknowledged as durable by every
  /// member of the quorum set. What earlier epochs left is committed with the entry that started
  /// this one.
  mutating func advanceCommit(now: Instant, into actions: inout [ReplicaAction]) {
    guard !leadership.isQuorumUnknown else { return }
    var index = durableIndex
    for position in leadership.quorum where !configuration.breaks(.commitIsAll) {
      guard !leadership.progress[position].isOfEarlierProcess else { return }
      index = min(index, leadership.progress[position].match)
    }
    guard index >= leadership.epochStart, index > commitIndex else { return }
    let startsService = commitIndex < leadership.epochStart
    var next = commitIndex.successor
    while next <= index {
      if next >= leadership.epochStart, let entry = log.entry(at: next) {
        leadership.uncommittedBytes -= entry.bytes
      }
      next = next.successor
    }
    commit(through: index, into: &actions)
    if startsService {
      actions.append(.statusChanged)
      startBarrier(now: now, into: &actions)
    }
    noticeCommit(now: now)
    tellHeir(into: &actions)
  }

  /// Lets followers that wait for nothing else know at once how far everything is committed.
  package mutating func tellCommit(now: Instant, into actions: inout [ReplicaAction]) {
    guard role == .leader else { return }
    for position in leadership.progress.indices {
      let progress = leadership.progress[position]
      guard progress.toldCommit < commitIndex, progress.mode == .streaming, !progress.isLoading,
        progress.next > log.last.index
      else { continue }
      send([], to: position, now: now, into: &actions)
    }
  }

  private mutating func noticeCommit(now: Instant) {
    let noticeAt = leadership.noticeAt ?? now + configuration.commitNotice
    leadership.noticeAt = noticeAt
    wake(at: noticeAt)
  }

  /// Tells idle followers the commit index, sends again what was not answered, notes who lags.
  mutating func tendFollowers(now: Instant, into actions: inout [ReplicaAction]) {
    let isNoticeDue = leadership.noticeAt.map { now >= $0 } ?? false
    if isNoticeDue { leadership.noticeAt = nil }
    for position in leadership.progress.indices {
      let progress = leadership.progress[position]
      if progress.mode == .installing {
        tendTransfer(to: position, now: now, into: &actions)
      } else if let since = progress.owedSince {
        if now >= since + configuration.resend {
          leadership.progress[position].probe(from: progress.match.successor)
          sendAppends(to: position, now: now, into: &actions)
        }
        wake(at: now + configuration.resend)
      } else {
        sendAppends(to: position, now: now, into: &actions)
        let current = leadership.progress[position]
        if isNoticeDue, current.toldCommit < commitIndex, current.mode == .streaming,
          current.next > log.last.index
        {
          send([], to: position, now: now, into: &actions)
        }
      }
      noteLag(position, now: now)
    }
    if let noticeAt = leadership.noticeAt { wake(at: noticeAt) }
  }

  private mutating func noteLag(_ position: Int, now: Instant) {
    let progress = leadership.progress[position]
    guard progress.match < log.last.index || progress.isOfEarlierProcess else {
      leadership.progress[position].laggingSince = nil
      return
    }
    if leadership.progress[position].laggingSince == nil {
      leadership.progress[position].laggingSince = now
    }
    wake(at: now + configuration.resend)
  }

  // MARK: Membership (T2, T3)

  mutating func membershipChanged(now: Instant, into actions: inout [ReplicaAction]) {
    guard let known else { return }
    leadership.setMembers(
      known.record.members.filter { $0 != id }, next: log.last.index.successor,
      inherits: configuration.breaks(.replicaIDsMatter))
    if let joining = leadership.joining?.replica,
      known.record.inSync.contains(joining) || !known.record.target.contains(joining)
    {
      leadership.joining = nil
    }
    leadership.quorumChanged(quorumMembers, of: id)
    for position in leadership.progress.indices {
      sendAppends(to: position, now: now, into: &actions)
    }
    advanceCommit(now: now, into: &actions)
    considerMembership(now: now, into: &actions)
    startBarrier(now: now, into: &actions)
  }

  /// Proposes at most one change: first somebody joins, then somebody leaves.
  mutating func considerMembership(now: Instant, into actions: inout [ReplicaAction]) {
    guard role == .leader, pendingChange == nil, leadership.handoff == nil, let known else {
      return
    }
    let record = known.record
    if let joining = joiningMember(record) {
      var changed = record
      changed.inSync = (record.inSync + [joining]).sorted()
      return propose(changed, now: now, into: &actions)
    }
    awaitLearner(record, now: now, into: &actions)
    guard record.inSync.count > configuration.leastInSync, reachesEnough(record),
      let leaving = leavingMember(record, now: now)
    else { return }
    var changed = record
    changed.inSync.removeAll { $0 == leaving }
    propose(changed, now: now, into: &actions)
  }

  /// Rule 5: a learner that holds everything that may be committed, the start of this epoch
  /// included.
  private func joiningMember(_ record: PartitionRecord) -> ReplicaID? {
    let required =
      configuration.breaks(.expandCaughtUp) ? .zero : max(commitIndex, leadership.epochStart)
    return record.target.first { member in
      guard !record.inSync.contains(member),
        let progress = leadership.progress.first(where: { $0.replica == member })
      else { return false }
      return progress.match >= required && !progress.isFenced && !progress.isOfEarlierProcess
        && !unreachable.contains(member.store)
    }
  }

  /// Counts a learner that was sent everything as a member of the quorum set before it is one: to
  /// count more is always safe, and then its match reaches the commit index. For `lagMax`, so that
  /// a learner that stops does not hold the others up.
  private mutating func awaitLearner(
    _ record: PartitionRecord, now: Instant, into actions: inout [ReplicaAction]
  ) {
    if let joining = leadership.joining {
      let isGone = unreachable.contains(joining.replica.store)
      guard isGone || now >= joining.since + configuration.lagMax else {
        return wake(at: joining.since + configuration.lagMax)
      }
      leadership.joining = nil
      leadership.joiningAfter = now + configuration.lagMax
      leadership.quorumChanged(quorumMembers, of: id)
      return advanceCommit(now: now, into: &actions)
    }
    guard now >= leadership.joiningAfter else { return wake(at: leadership.joiningAfter) }
    let candidate = leadership.progress.first { progress in
      record.target.contains(progress.replica) && !record.inSync.contains(progress.replica)
        && progress.mode == .streaming && progress.next > log.last.index
        && progress.match >= leadership.epochStart && !progress.isFenced
        && !unreachable.contains(progress.replica.store)
    }
    guard let candidate else { return }
    leadership.joining = (candidate.replica, now)
    leadership.quorumChanged(quorumMembers, of: id)
    wake(at: now + configuration.lagMax)
  }

  /// Somebody who cannot be reached, does not keep up, lost its data, or is not wanted any more.
  private func leavingMember(_ record: PartitionRecord, now: Instant) -> ReplicaID? {
    let isTargetInSync = record.target.allSatisfy { record.inSync.contains($0) }
    return record.inSync.first { member in
      guard member != id, let progress = leadership.progress.first(where: { $0.replica == member })
      else { return false }
      let isLagging = progress.laggingSince.map { now >= $0 + configuration.lagMax } ?? false
      let isLeaving = !record.target.contains(member) && isTargetInSync && !keepsLeaving
      return isLagging || isLeaving || progress.isFenced || record.isSuperseded(member)
        || unreachable.contains(member.store)
    }
  }
}
