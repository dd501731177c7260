/// Names a submission to whoever submitted it.
package struct StorageTicket: Hashable, Sendable {
  package let rawValue: UInt64

  package init(_ rawValue: UInt64) { self.rawValue = rawValue }
}

/// Where completions go: one for each event loop.
package protocol CompletionSink: AnyObject, Sendable {
  /// All of one write's tickets of this sink, in the order of their submission.
  ///
  /// - Parameter failure: `nil` when the batches are written (and on the disk, if they asked for it). Otherwise
  ///   nothing is known of them and the store is poisoned.
  ///
  /// **Isolation**: called on the committer's thread; hop to the event loop and return.
  func storageCompleted(_ tickets: [StorageTicket], failure: StorageError?)
}

struct Submission {
  let batch: StorageBatch
  let ticket: StorageTicket
  let sink: any CompletionSink
}

/// What the committer does in one turn: a synced write, then an unsynced one.
struct CommitGroup {
  var synced: [Submission] = []
  var unsynced: [Submission] = []

  var isEmpty: Bool { synced.isEmpty && unsynced.isEmpty }
}

/// Submissions that wait, in two lanes.
///
/// A synced submission overtakes the unsynced ones before it (appends do not wait for checkpoints), unless one
/// of those writes one of the same targets: a checkpoint's meta must not overwrite a newer promise. Within a lane the order
/// is that of submission.
struct CommitQueue {
  private var synced: [Submission] = []
  private var unsynced: [Submission] = []
  /// How many unsynced submissions write each target.
  private var unsyncedTargets: [WriteTarget: Int] = [:]

  var count: Int { synced.count + unsynced.count }
  var isEmpty: Bool { synced.isEmpty && unsynced.isEmpty }

  mutating func add(_ submission: Submission) {
    if submission.batch.needsSync {
      synced.append(submission)
    } else {
      unsynced.append(submission)
      for target in submission.batch.targets { unsyncedTargets[target, default: 0] += 1 }
    }
  }

  /// The next group: everything that waits, as far as the limits allow, and at least one submission of each
  /// lane that has one.
  mutating func take(_ limits: CommitterLimits) -> CommitGroup {
    var group = CommitGroup()
    if synced.isEmpty {
      group.unsynced = takeUnsynced(bytesMax: limits.unsyncedBytesPerTurnMax)
      return group
    }
    var bytes = 0
    var count = 0
    for submission in synced {
      if count > 0, bytes + submission.batch.bytes > limits.batchBytesMax { break }
      let earlier = takeUnsynced(before: submission)
      bytes += earlier.reduce(submission.batch.bytes) { $0 + $1.batch.bytes }
      group.synced.append(contentsOf: earlier)
      group.synced.append(submission)
      count += 1
    }
    if count == synced.count {
      synced.removeAll(keepingCapacity: true)
    } else {
      synced.removeFirst(count)
    }
    group.unsynced = takeUnsynced(bytesMax: limits.unsyncedBytesPerTurnMax)
    return group
  }

  /// Empties the queue.
  mutating func takeAll() -> [Submission] {
    defer { self = CommitQueue() }
    return synced + unsynced
  }

  /// The unsynced submissions up to the last one that writes a target of `submission`.
  private mutating func takeUnsynced(before submission: Submission) -> [Submission] {
    guard !unsynced.isEmpty else { return [] }
    let targets = submission.batch.targets
    guard targets.contains(where: { unsyncedTargets[$0] != nil }) else { return [] }
    guard let last = unsynced.lastIndex(where: { !$0.batch.targets.isDisjoint(with: targets) })
    else { return [] }
    return removeUnsynced(last + 1)
  }

  private mutating func takeUnsynced(bytesMax: Int) -> [Submission] {
    var bytes = 0
    var count = 0
    for submission in unsynced {
      bytes += submission.batch.bytes
      if count > 0, bytes > bytesMax { break }
      count += 1
    }
    return removeUnsynced(count)
  }

  private mutating func removeUnsynced(_ count: Int) -> [Submission] {
    guard count > 0 else { return [] }
    let taken = Array(unsynced.prefix(count))
    unsynced.removeFirst(count)
    for submission in taken {
      for target in submission.batch.targets {
        let left = unsyncedTargets[target, default: 1] - 1
        unsyncedTargets[target] = left == 0 ? nil : left
      }
    }
    return taken
  }
}

/// The tickets of some submissions, gathered by sink.
struct CompletionGroups {
  private var sinks: [any CompletionSink] = []
  private var tickets: [[StorageTicket]] = []

  init(_ submissions: [Submission]) {
    for submission in submissions {
      // Few sinks, and neighbours are often of the same one.
      if let place = sinks.firstIndex(where: { $0 === submission.sink }) {
        tickets[place].append(submission.ticket)
      } else {
        sinks.append(submission.sink)
        tickets.append([submission.ticket])
      }
    }
  }

  func complete(_ failure: StorageError?) {
    for (sink, tickets) in zip(sinks, tickets) {
      sink.storageCompleted(tickets, failure: failure)
    }
  }
}
