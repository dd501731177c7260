import ClusterModel
package import NodeProtocol
package import Primitives

/// A snapshot on its way to a replica that the log does not reach back for. The receiver asks for
/// its parts, one after the other, so that it is never sent more than it can write and goes on
/// where it broke off; the sender freezes its state and keeps nothing else.
///
/// ```
///  leader                                      follower
///    freeze the state up to `last`
///    snapshotOffered ────────────────────────▶ make room beside the present state
///    ◀───────────────── snapshotWanted(after)
///    snapshotChunk ──────────────────────────▶ write it there, ask for the next
///      …
///    snapshotChunk, the last ────────────────▶ make it readable, then switch: one durable write
///    ◀──────────────── appended(match: last)   puts it in the place of state and log
///    append …
/// ```
///
/// Why this is safe: everything up to `last` is committed, so every later leader holds it. Whoever
/// is in sync holds it, too, and never gives its log away for a snapshot, because it looks whether
/// it holds `last` first; so no acknowledged entry leaves the disk of one who counts for it.
struct SnapshotTransfer: Equatable {
  /// Within the leadership.
  let number: UInt64
  /// The last entry in it; `nil` until the state is frozen.
  var last: EntryID?
  /// When it began, or a part of it was asked for.
  var heardAt: Instant
  var offeredAt: Instant
  /// A part is being read.
  var isLoading = false
  /// The last part that was sent, by the key before it, when, and for how long asking for it once
  /// more changes nothing: on a slow link the answer is still on its way.
  var answered: (after: [UInt8], at: Instant, pause: Milliseconds)?

  static func == (left: Self, right: Self) -> Bool {
    left.number == right.number && left.last == right.last && left.isLoading == right.isLoading
  }
}

/// A snapshot that comes in.
struct Installation {
  let id: InstallationID
  /// The leader's, and the number within its leadership.
  let epoch: Epoch
  let number: UInt64
  let last: EntryID
  /// The key after which the next part begins.
  var next: [UInt8] = []
  /// Parts that were received and are not written yet.
  var unwrittenCount = 0
  var hasLastChunk = false
}

extension Replica {
  // MARK: As the leader

  /// A follower has answered that it shares nothing with the log as far back as that goes.
  mutating func beginSnapshot(
    for position: Int, now: Instant, into actions: inout [ReplicaAction]
  ) {
    leadership.lastSnapshot += 1
    let number = leadership.lastSnapshot
    leadership.progress[position].probe(from: log.base.index.successor)
    leadership.progress[position].mode = .installing
    leadership.progress[position].transfer = SnapshotTransfer(
      number: number, last: nil, heardAt: now, offeredAt: now)
    wake(at: now + configuration.resend)
    actions.append(
      .beginSnapshot(for: leadership.progress[position].replica, number: number))
  }

  /// The state is frozen with everything up to `index` applied; `nil`: not now, ask again.
  package mutating func snapshotBegun(
    for replica: ReplicaID, number: UInt64, through index: LogIndex?, now: Instant,
    into actions: inout [ReplicaAction]
  ) {
    guard let position = transferPosition(replica, number: number) else { return }
    guard let index, let epoch = log.epoch(at: index) else {
      leadership.progress[position].transfer?.offeredAt = now
      return wake(at: now + configuration.resend)
    }
    leadership.progress[position].transfer?.last = EntryID(epoch: epoch, index: index)
    offerSnapshot(to: position, now: now, into: &actions)
  }

  /// The link is another one: what was on its way is lost.
  mutating func resumeTransfer(
    to position: Int, now: Instant, into actions: inout [ReplicaAction]
  ) {
    leadership.progress[position].transfer?.answered = nil
    offerSnapshot(to: position, now: now, into: &actions)
  }

  mutating func offerSnapshot(
    to position: Int, now: Instant, into actions: inout [ReplicaAction]
  ) {
    guard let transfer = leadership.progress[position].transfer, let last = transfer.last else {
      return
    }
    leadership.progress[position].transfer?.offeredAt = now
    wake(at: now + configuration.resend)
    actions.append(
      .send(
        message(
          to: leadership.progress[position].replica, epoch: leadership.epoch,
          .snapshotOffered(number: transfer.number, last: last))))
  }

  mutating func receiveWanted(
    from replica: ReplicaID, number: UInt64, after: [UInt8], now: Instant,
    into actions: inout [ReplicaAction]
  ) {
    guard let position = transferPosition(replica, number: number),
      let transfer = leadership.progress[position].transfer, transfer.last != nil
    else { return }
    leadership.progress[position].transfer?.heardAt = now
    guard !transfer.isLoading else { return }
    var pause = configuration.resend
    if let answered = transfer.answered, answered.after == after {
      guard now >= answered.at + answered.pause else { return }
      pause = Milliseconds(
        min(answered.pause.rawValue * 2, configuration.snapshotPatience.rawValue / 2))
    }
    leadership.progress[position].transfer?.answered = (after, now, pause)
    leadership.progress[position].transfer?.isLoading = true
    actions.append(
      .loadChunk(
        for: replica, number: number, after: after, bytesMax: configuration.chunkBytesMax))
  }

  /// The part that was asked for; `nil` when the snapshot is not there any more.
  package mutating func chunkLoaded(
    for replica: ReplicaID, number: UInt64, _ chunk: SnapshotChunk?, now: Instant,
    into actions: inout [ReplicaAction]
  ) {
    guard let position = transferPosition(replica, number: number) else { return }
    guard let chunk else { return giveUpTransfer(to: position, now: now) }
    leadership.progress[position].transfer?.isLoading = false
    leadership.progress[position].transfer?.offeredAt = now
    leadership.progress[position].transfer?.answered?.at = now
    actions.append(.send(message(to: replica, epoch: leadership.epoch, .snapshotChunk(chunk))))
  }

  /// Offers it again when nothing is asked for, and gives it up when nobody is there.
  mutating func tendTransfer(
    to position: Int, now: Instant, into actions: inout [ReplicaAction]
  ) {
    guard let transfer = leadership.progress[position].transfer else { return }
    if transfer.isLoading || transfer.last == nil {
      leadership.progress[position].transfer?.heardAt = now
      if transfer.last == nil, now >= transfer.offeredAt + configuration.resend {
        leadership.progress[position].transfer?.offeredAt = now
        actions.append(
          .beginSnapshot(
            for: leadership.progress[position].replica, number: transfer.number))
      }
    } else if now >= transfer.heardAt + configuration.snapshotPatience {
      return giveUpTransfer(to: position, now: now)
    } else if now >= max(transfer.offeredAt, transfer.heardAt) + configuration.resend {
      offerSnapshot(to: position, now: now, into: &actions)
    }
    wake(at: now + configuration.resend)
  }

  /// It is asked again what it has, in a while.
  private mutating func giveUpTransfer(to position: Int, now: Instant) {
    leadership.progress[position].probe(from: log.last.index.successor)
    leadership.progress[position].owedSince = now
    wake(at: now + configuration.resend)
  }

  private func transferPosition(_ replica: ReplicaID, number: UInt64) -> Int? {
    guard role == .leader else { return nil }
    return leadership.progress.firstIndex {
      $0.replica == replica && $0.transfer?.number == number
    }
  }

  /// Whether a snapshot that was begun may still be asked for.
  package func sendsSnapshot(_ number: UInt64, to replica: ReplicaID) -> Bool {
    transferPosition(replica, number: number) != nil
  }

  // MARK: Where the log begins

  /// How far the log may be given up.
  ///
  /// - Parameters:
  ///   - checkpointed: the state is on the disk up to here.
  ///   - bound: up to here it is given up although somebody who does not move is not that far.
  ///   - limit: the same of somebody who moves, or who is being sent a snapshot.
  package func expendable(
    through checkpointed: LogIndex, atLeast bound: LogIndex, limit: LogIndex, now: Instant
  ) -> LogIndex {
    guard role == .leader else { return max(checkpointed, log.base.index) }
    var (all, moving) = (checkpointed, checkpointed)
    for progress in leadership.progress where !unreachable.contains(progress.replica.store) {
      if let transfer = progress.transfer {
        // What comes after the snapshot is needed once that is installed.
        guard let last = transfer.last else { continue }
        (all, moving) = (min(all, last.index), min(moving, last.index))
      } else if progress.match > .zero {
        all = min(all, progress.match)
        let isMoving = now < progress.movedAt + configuration.snapshotPatience
        if isMoving { moving = min(moving, progress.match) }
      }
    }
    let index = max(all, min(bound, moving), min(limit, checkpointed))
    return max(index, log.base.index)
  }

  /// Lets the log begin after the entry at `index`, which a checkpoint covers.
  package mutating func beginLog(after index: LogIndex) {
    precondition(index <= appliedIndex, "\(partition): \(index) is not applied")
    log.begin(after: index)
  }

  // MARK: As the follower

  /// Whether this replica has all that a snapshot up to `last` has.
  private func holds(_ last: EntryID) -> Bool {
    last.index <= commitIndex || log.epoch(at: last.index) == last.epoch
  }

  mutating func receiveOffer(
    _ message: ReplicaMessage, number: UInt64, last: EntryID, now: Instant,
    into actions: inout [ReplicaAction]
  ) {
    let known = log.epoch(at: last.index)
    if holds(last), !configuration.breaks(.keepWhatIsHeld) {
      if let known, known != last.epoch {
        return halt(.conflictBelowCommit(last.index), into: &actions)
      }
      abandonInstallation(into: &actions)
      matchedIndex = max(matchedIndex, known == nil ? log.base.index : last.index)
      return acknowledge(repeating: true, into: &actions)
    }
    guard now >= installAfter else { return }
    // An offer from before, on an earlier link.
    if let installation, installation.epoch == message.epoch, number < installation.number {
      return
    }
    if installation?.epoch != message.epoch || installation?.number != number {
      abandonInstallation(into: &actions)
      lastInstallation += 1
      let id = InstallationID(lastInstallation)
      installation = Installation(id: id, epoch: message.epoch, number: number, last: last)
      actions.append(.prepare(id, .begin))
    }
    askForChunk(into: &actions)
  }

  private mutating func askForChunk(into actions: inout [ReplicaAction]) {
    guard let installation, let known, !installation.hasLastChunk,
      installation.unwrittenCount < configuration.chunksUnwrittenMax
    else { return }
    let wanted = message(
      to: known.record.leader, epoch: promise,
      .snapshotWanted(
        number: installation.number, after: installation.next,
        leaderBoot: known.record.leaderBoot))
    if durablePromise >= promise {
      actions.append(.send(wanted))
    } else if deferredAnswers.count < configuration.heldMessagesMax {
      deferredAnswers.append(wanted)
    }
  }

  mutating func receiveChunk(_ chunk: SnapshotChunk, into actions: inout [ReplicaAction]) {
    guard let installation, installation.epoch == promise, chunk.number == installation.number,
      chunk.after == installation.next, !installation.hasLastChunk,
      installation.unwrittenCount < configuration.chunksUnwrittenMax
    else { return }
    // One that goes nowhere would be asked for for ever.
    guard chunk.isIntact, chunk.isLast || installation.next.lexicographicallyPrecedes(chunk.through)
    else { return askForChunk(into: &actions) }
    self.installation?.next = chunk.through
    self.installation?.hasLastChunk = chunk.isLast
    self.installation?.unwrittenCount += 1
    actions.append(.prepare(installation.id, .write(chunk)))
    askForChunk(into: &actions)
  }

  /// A part is written aside.
  package mutating func chunkInstalled(
    _ id: InstallationID, into actions: inout [ReplicaAction]
  ) {
    guard let installation, installation.id == id else { return }
    let count = installation.unwrittenCount - 1
    self.installation?.unwrittenCount = count
    if installation.hasLastChunk {
      if count == 0 { actions.append(.prepare(id, .finish)) }
    } else if count == configuration.chunksUnwrittenMax - 1 {
      askForChunk(into: &actions)
    }
  }

  /// Everything is written aside and can be read: the replica goes over to it, unless its own log
  /// has come that far meanwhile.
  package mutating func installationReady(
    _ id: InstallationID, into actions: inout [ReplicaAction]
  ) {
    guard let installation, installation.id == id else { return }
    let last = installation.last
    guard role == .follower, installation.epoch == promise,
      !holds(last) || configuration.breaks(.keepWhatIsHeld) && last.index >= appliedIndex
    else { return abandonInstallation(into: &actions) }
    self.installation = nil
    log = LogTail(base: last, last: last, epochStarts: [], tail: [])
    pendingWrites.logReplaced()
    durableIndex = configuration.breaks(.acknowledgeInstalled) ? last.index : .zero
    commitIndex = last.index
    appliedIndex = last.index
    matchedIndex = last.index
    acknowledgedIndex = .zero
    let ticket = pendingWrites.begin(last: last.index, promise: promise)
    actions.append(
      .install(ReplicaInstallation(ticket: ticket, id: id, promise: promise, last: last)))
    actions.append(.statusChanged)
    if configuration.breaks(.acknowledgeInstalled) { acknowledge(repeating: true, into: &actions) }
  }

  /// What was written aside is lost: another try, later.
  package mutating func installationFailed(_ id: InstallationID, now: Instant) {
    guard installation?.id == id else { return }
    installation = nil
    installAfter = now + configuration.snapshotPatience
  }

  mutating func abandonInstallation(into actions: inout [ReplicaAction]) {
    guard let id = installation?.id else { return }
    installation = nil
    actions.append(.prepare(id, .abandon))
  }
}
