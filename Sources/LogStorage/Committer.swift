import Glibc
import Primitives

/// What became of a call of `submit`.
package enum CommitAdmission: Hashable, Sendable {
  case taken
  /// Taken too, but the queue is beyond `queuedBytesMax`: admit nothing new until completions
  /// come.
  case takenQueueFull
  /// Not taken; its ticket will not complete. `queueFull`, `writeFailed` or `stopped`.
  case refused(StorageError)
}

/// The one thread of a store that writes. While it writes and syncs, what is submitted gathers
/// for the next write, so the busier the store, the more entries share an fsync.
///
/// ```
///   submit ─▶ synced lane   ─┐           ┌─▶ one write + one fsync ─▶ completions, once per sink
///   submit ─▶ unsynced lane ─┴─ a turn ──┼─▶ one bounded write      ─▶ completions
///                                        └─▶ one bounded sweep
/// ```
///
/// A write or an fsync that fails poisons the store: everything that waits and everything that
/// comes fails, and nothing is tried again.
///
/// **Units**, measured (AMD EPYC, 2 cores, virtio disk, entries of 130 B, log alone): 64
/// submitters with one entry each in flight: 110–135k entries/s, 19–24 fsyncs per 1,000, 41–52 a
/// write, 5–6 µs CPU an entry, completions included; submissions of 256 entries: 2 µs an entry. A
/// synced write takes 0.2 ms alone and 0.33 ms with 50 entries.
///
/// **Invariant**: `stop` is called before the last reference goes.
/// **Isolation**: any thread.
package final class Committer: @unchecked Sendable {
  // Safety: everything below `monitor` is read and written inside of `monitor.withLock` only.
  // `store`, `limits` and `remover` are constant and Sendable. `thread` is written once in `init`,
  // and its only reader, `stop`, needs what `init` returns.
  private let store: Store
  private let limits: CommitterLimits
  private let remover: FileRemover
  private var thread: PosixThread?

  private let monitor = Monitor()
  private var queue = CommitQueue()
  private var queuedBytes = 0
  private var failure: StorageError?
  private var isStopping = false
  private var isThreadWaiting = false
  private var isThreadGathering = false
  private var isJoined = false
  private var writeBegan: UInt64 = 0
  private var counters = CommitterMetrics()

  /// Starts the threads. What an earlier process had no time to delete is deleted.
  ///
  /// - Parameter dropsOrphans: every prefix belongs to a replica, so what lies under one that no
  ///   meta names is of no use.
  /// **Throws**: what reading the store's metas throws.
  package init(
    store: Store, limits: CommitterLimits = CommitterLimits(), dropsOrphans: Bool = false
  ) throws(StorageError) {
    self.store = store
    self.limits = limits
    let sweeper = Sweeper(try store.unfinishedSweeps(dropsOrphans: dropsOrphans))
    remover = FileRemover(directory: store.directory)
    thread = PosixThread { [self] in run(sweeper) }
  }

  /// Hands a batch over. Every taken batch completes exactly once.
  package func submit(
    _ batch: StorageBatch, ticket: StorageTicket, sink: any CompletionSink
  ) -> CommitAdmission {
    var wakes = false
    let submission = Submission(batch: batch, ticket: ticket, sink: sink)
    let admission: CommitAdmission = monitor.withLock {
      if let failure { return .refused(failure) }
      if isStopping { return .refused(.stopped) }
      // A batch larger than the limit must be able to go through alone.
      if queuedBytes > 0, queuedBytes + batch.bytes > limits.queuedBytesLimit {
        return .refused(.queueFull(queuedBytes: queuedBytes))
      }
      queuedBytes += batch.bytes
      queue.add(submission)
      wakes = isThreadWaiting
      isThreadWaiting = false
      if isThreadGathering, queue.syncedEntryCount >= limits.gatherEntriesEnough {
        isThreadGathering = false
        wakes = true
      }
      return queuedBytes > limits.queuedBytesMax ? .takenQueueFull : .taken
    }
    if wakes { monitor.signal() }
    return admission
  }

  /// Whether admitting may go on.
  package var hasRoom: Bool { monitor.withLock { queuedBytes <= limits.queuedBytesMax } }

  /// Why the store is poisoned, if it is.
  package var poison: StorageError? { monitor.withLock { failure } }

  package var metrics: CommitterMetrics {
    let now = MonotonicClock.nanoseconds()
    return monitor.withLock {
      var metrics = counters
      metrics.queuedBytes = queuedBytes
      metrics.queuedSubmissionCount = queue.count
      if writeBegan != 0, now > writeBegan { metrics.currentWriteNanoseconds = now - writeBegan }
      return metrics
    }
  }

  /// Writes what waits, completes it, and ends the threads. Sweeps go on at the next start.
  ///
  /// **Isolation**: any thread but the committer's; blocks.
  package func stop() {
    precondition(thread?.isCurrent != true, "stopped from a completion")
    let joins = monitor.withLock {
      isStopping = true
      isThreadWaiting = false
      defer { isJoined = true }
      return !isJoined
    }
    monitor.signal()
    guard joins else { return }
    thread?.join()
    remover.stop()
  }

  // MARK: The thread

  private enum Turn {
    case commit(CommitGroup)
    case sweep
    case end
  }

  private func run(_ sweeper: Sweeper) {
    var sweeper = sweeper
    let batch = WriteBatch()
    do throws(StorageError) {
      while true {
        var keysMax = limits.sweptKeysPerTurnMin
        switch nextTurn(hasSweeps: !sweeper.isIdle) {
        case .commit(let group):
          let begun = MonotonicClock.nanoseconds()
          try commit(group, batch, &sweeper)
          if group.entryCount >= limits.gatherEntriesMin { gather(since: begun) }
          keysMax = max(keysMax, 2 * group.entryCount)
        case .sweep: break
        case .end: return
        }
        try sweep(&sweeper, batch, keysMax: keysMax)
      }
    } catch {
      poison(error)
    }
  }

  /// Lets submissions come together. Short enough that sweeping does not mind.
  private func gather(since begun: UInt64) {
    let end = begun + UInt64(limits.gatherMicroseconds) * 1_000
    monitor.withLock {
      isThreadGathering = queue.syncedEntryCount < limits.gatherEntriesEnough
      while isThreadGathering, !isStopping, MonotonicClock.nanoseconds() < end {
        monitor.wait(until: end)
      }
      isThreadGathering = false
    }
  }

  private func nextTurn(hasSweeps: Bool) -> Turn {
    monitor.withLock {
      while queue.isEmpty, !isStopping, !hasSweeps {
        isThreadWaiting = true
        monitor.wait()
      }
      isThreadWaiting = false
      guard queue.isEmpty else { return .commit(queue.take(limits)) }
      return isStopping ? .end : .sweep
    }
  }

  private func commit(
    _ group: CommitGroup, _ batch: WriteBatch, _ sweeper: inout Sweeper
  ) throws(StorageError) {
    do throws(StorageError) {
      try write(group.synced, sync: true, batch)
    } catch {
      poison(error, failing: group.synced + group.unsynced)
      throw error
    }
    do throws(StorageError) {
      try write(group.unsynced, sync: false, batch)
    } catch {
      poison(error, failing: group.unsynced)
      throw error
    }
    for submission in group.synced { sweeper.add(submission.batch.sweeps) }
    for submission in group.unsynced { sweeper.add(submission.batch.sweeps) }
  }

  private func write(
    _ submissions: [Submission], sync: Bool, _ batch: WriteBatch
  ) throws(StorageError) {
    guard !submissions.isEmpty else { return }
    var entryCount = 0
    var otherKeyCount = 0
    var bytes = 0
    var revision: Int64?
    batch.removeAll()
    for submission in submissions {
      submission.batch.write(to: batch, store.database)
      entryCount += submission.batch.appends.count
      otherKeyCount += submission.batch.otherKeyCount
      bytes += submission.batch.bytes
      if let raised = submission.batch.revision { revision = max(revision ?? raised, raised) }
    }
    let nanoseconds = try timedWrite(batch, revision: revision, sync: sync)
    monitor.withLock {
      queuedBytes -= bytes
      counters.submissionCount += UInt64(submissions.count)
      counters.entryCount += UInt64(entryCount)
      counters.writtenBytes += UInt64(batch.bytes)
      if sync {
        counters.syncedWrites.add(nanoseconds: nanoseconds)
        counters.syncedOtherKeyCount += UInt64(otherKeyCount)
        counters.batchSubmissionsMax = max(counters.batchSubmissionsMax, submissions.count)
      } else {
        counters.unsyncedWriteCount += 1
      }
    }
    CompletionGroups(submissions).complete(nil)
  }

  private func sweep(
    _ sweeper: inout Sweeper, _ batch: WriteBatch, keysMax: Int
  ) throws(StorageError) {
    guard !sweeper.isIdle else { return }
    batch.removeAll()
    do {
      try sweeper.fill(batch, store.database, keysMax: keysMax)
    } catch { throw .writeFailed(error.text) }
    let count = batch.count
    guard count > 0 else { return }
    _ = try timedWrite(batch, revision: nil, sync: false)
    monitor.withLock {
      counters.sweptKeyCount += UInt64(count)
      counters.unsyncedWriteCount += 1
    }
  }

  /// **Returns**: how long the write took, in nanoseconds.
  private func timedWrite(
    _ batch: WriteBatch, revision: Int64?, sync: Bool
  ) throws(StorageError) -> UInt64 {
    let began = MonotonicClock.nanoseconds()
    monitor.withLock { writeBegan = began }
    defer { monitor.withLock { writeBegan = 0 } }
    do {
      if let revision {
        try store.write(batch, raisingRevision: revision, sync: sync)
      } else {
        try store.database.write(batch, sync: sync)
      }
    } catch { throw .writeFailed(error.text) }
    return MonotonicClock.nanoseconds() - began
  }

  private func poison(_ error: StorageError, failing submissions: [Submission] = []) {
    let waiting = monitor.withLock {
      failure = failure ?? error
      queuedBytes = 0
      return queue.takeAll()
    }
    CompletionGroups(submissions + waiting).complete(error)
  }
}
