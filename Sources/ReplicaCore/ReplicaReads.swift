import ClusterModel
import NodeProtocol
package import Primitives

/// Reads that wait until it is certain that this replica still led when they arrived (R1).
///
/// A round begins after a read has arrived, asks every member of the quorum set whether it has
/// promised a higher epoch, and serves all reads that waited when it began.
struct ReadBarrier {
  struct Round {
    let number: UInt64
    var reads: [UInt64]
    /// Who has not confirmed yet.
    var missing: [ReplicaID]
    let index: LogIndex
    let expiresAt: Instant
    /// The read of the record that is under way instead.
    var recordTicket: UInt64?
  }

  /// Arrived after the round in flight began.
  var waiting: [UInt64] = []
  var round: Round?
  var lastNumber: UInt64 = 0
  /// Confirmed, but the state is not applied that far.
  var confirmed: [(reads: [UInt64], index: LogIndex)] = []
}

extension Replica {
  /// A read arrived. It is answered with `readsReady` or `readsFailed`.
  package mutating func readRequested(
    _ read: UInt64, now: Instant, into actions: inout [ReplicaAction]
  ) {
    guard role == .leader, reads.waiting.count < configuration.waitingReadsMax else {
      return actions.append(.readsFailed([read]))
    }
    reads.waiting.append(read)
  }

  /// Begins a round for the reads that wait, if none is in flight. The shell calls it at the end
  /// of a turn of its loop, so that one round serves what arrived in it.
  package mutating func startBarrier(now: Instant, into actions: inout [ReplicaAction]) {
    guard role == .leader, reads.round == nil, !reads.waiting.isEmpty,
      commitIndex >= leadership.epochStart
    else { return }
    reads.lastNumber += 1
    let expiresAt = now + configuration.barrierTimeout
    reads.round = ReadBarrier.Round(
      number: reads.lastNumber, reads: reads.waiting,
      missing: configuration.breaks(.readBarrier) ? [] : quorumMembers.filter { $0 != id },
      index: commitIndex, expiresAt: expiresAt)
    reads.waiting.removeAll(keepingCapacity: true)
    for member in reads.round?.missing ?? [] {
      actions.append(
        .send(message(to: member, epoch: leadership.epoch, .barrier(round: reads.lastNumber))))
    }
    wake(at: expiresAt)
    finishBarrierIfConfirmed(into: &actions)
  }

  mutating func confirmBarrier(
    round: UInt64, by replica: ReplicaID, into actions: inout [ReplicaAction]
  ) {
    guard reads.round?.number == round else { return }
    reads.round?.missing.removeAll { $0 == replica }
    finishBarrierIfConfirmed(into: &actions)
  }

  private mutating func finishBarrierIfConfirmed(into actions: inout [ReplicaAction]) {
    guard let round = reads.round, round.missing.isEmpty else { return }
    finishRound(round, into: &actions)
  }

  private mutating func finishRound(_ round: ReadBarrier.Round, into actions: inout [ReplicaAction])
  {
    reads.round = nil
    reads.confirmed.append((round.reads, round.index))
    releaseReads(into: &actions)
    // Those that arrived meanwhile begin the next round.
    if !reads.waiting.isEmpty { wakeAt = .zero }
  }

  mutating func releaseReads(into actions: inout [ReplicaAction]) {
    while let first = reads.confirmed.first, first.index <= appliedIndex {
      actions.append(.readsReady(first.reads))
      reads.confirmed.removeFirst()
    }
  }

  /// A member is silent: one linearizable read of the record, begun after the reads arrived and
  /// still showing this epoch and process, serves instead.
  mutating func expireBarrier(now: Instant, into actions: inout [ReplicaAction]) {
    guard let round = reads.round else { return startBarrier(now: now, into: &actions) }
    guard now >= round.expiresAt else { return wake(at: round.expiresAt) }
    guard round.recordTicket == nil else { return }
    // Never one that is under way: it may have begun before these reads arrived.
    let ticket = readRecordAnew(for: .barrier, into: &actions)
    reads.round?.recordTicket = ticket
  }

  mutating func finishBarrierByRecord(
    ticket: UInt64, _ observed: VersionedRecord?, now: Instant, into actions: inout [ReplicaAction]
  ) {
    guard let round = reads.round, round.recordTicket == ticket else { return }
    guard let observed, role == .leader, observed.record.epoch == leadership.epoch,
      observed.record.leader == id, observed.record.leaderBoot == boot
    else {
      reads.round = nil
      actions.append(.readsFailed(round.reads))
      return wake(at: now)
    }
    finishRound(round, into: &actions)
  }

  mutating func failReads(into actions: inout [ReplicaAction]) {
    let failed = reads.waiting + (reads.round?.reads ?? []) + reads.confirmed.flatMap(\.reads)
    let lastNumber = reads.lastNumber
    reads = ReadBarrier()
    reads.lastNumber = lastNumber
    if !failed.isEmpty { actions.append(.readsFailed(failed)) }
  }
}
