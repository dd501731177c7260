import ChatCore
package import Primitives
import ReplicaCore

/// What is due.
///
/// A tick looks at a partition when something has happened to it since the last one, or when a
/// time of its own has come (`lookTimes`). Of partitions at rest it looks at none.
extension ShardCore {
  /// Does what is due. The shell calls it every few milliseconds.
  package mutating func tick(now: Instant, wall: WallTime, into actions: inout [ShardAction]) {
    notePause(now: now, into: &actions)
    tendPeers(now: now, wall: wall, into: &actions)
    for position in lookTimes.indices where lookTimes[position] <= now {
      lookTimes[position] = .distantFuture
      lookCount += 1
      tend(position, now: now, into: &actions)
      // What was done may have made something else due: then it was marked again.
      lookTimes[position] = min(lookTimes[position], nextLook(position, now: now))
    }
    assert(hosts.indices.allSatisfy { nextLook($0, now: now) >= lookTimes[$0] }, "not marked")
    considerHandoffs(now: now, into: &actions)
    considerSplits(now: now, into: &actions)
    dropUnusedSnapshots()
    loadForLearners(now: now, into: &actions)
  }

  /// Something has happened to a partition.
  mutating func look(at position: Int) { lookTimes[position] = .zero }

  private mutating func tend(
    _ position: Int, now: Instant, into actions: inout [ShardAction]
  ) {
    if hosts[position].standing.wakeAt <= now {
      drive(position, now: now, into: &actions) { replica, pending in
        replica.tick(now: now, into: &pending)
      }
    }
    if hosts[position].courier.wakeAt <= now { deliverOutbox(position, now: now, into: &actions) }
    beginGeneration(position, now: now, into: &actions)
    considerReplacement(position, now: now, into: &actions)
    checkpointIfDue(position, now: now, into: &actions)
    tellStateIfDue(position, now: now, into: &actions)
  }

  /// When one of a partition's own times comes. Whatever else there is to do about it follows from
  /// something that happens to it.
  private func nextLook(_ position: Int, now: Instant) -> Instant {
    let host = hosts[position]
    var next = min(host.standing.wakeAt, host.courier.wakeAt)
    if host.standing.isStopped {
      if host.replacementAt > now { next = min(next, host.replacementAt) }
    } else if host.entriesToCheckpoint > 0, host.checkpointing == nil, host.cut == nil {
      next = min(next, host.lastCheckpoint + configuration.checkpointInterval)
    }
    if host.standing.isLeader, host.standing.appliedIndex > host.toldState.index {
      next = min(next, host.toldState.at + configuration.stateComparisonInterval)
    }
    return next
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
    guard entries > 0, hosts[position].checkpointing == nil, hosts[position].cut == nil,
      !hosts[position].standing.isStopped
    else { return }
    guard
      entries >= configuration.checkpointEntries
        || now >= hosts[position].lastCheckpoint + configuration.checkpointInterval
        || hosts[position].visitChat({ $0.overlayBytes }) >= configuration.checkpointOverlayBytes
    else { return }
    hosts[position].checkpointing = hosts[position].standing.appliedIndex
    actions.append(
      .checkpoint(
        hosts[position].partition, hosts[position].replica.id,
        hosts[position].chat.beginCheckpoint(), commitIndex: hosts[position].replica.commitIndex))
    hosts[position].noteEntries()
  }
}
