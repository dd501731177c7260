/// Names a submission to whoever submitted it.
package struct StorageTicket: Hashable, Sendable {
  package let rawValue: UInt64

  package init(_ rawValue: UInt64) { self.rawValue = rawValue }
}

/// Where completions go: one for each event loop.
package protocol CompletionSink: AnyObject, Sendable {
  /// All of one write's tickets of this sink, in the order of their submission.
  ///
  /// - Parameter failure: `nil` when the batches are written (and on the disk, if they asked for
  ///   it). Otherwise nothing is known of them and the store is poisoned.
  ///
  /// **Isolation**: called on the committer's thread; hop to the event loop and return.
  func storageCompleted(_ tickets: [StorageTicket], failure: StorageError?)
}

struct Submission {
  let batch: StorageBatch
  let ticket: StorageTicket
  let sink: any CompletionSink
  /// What an unsynced batch writes, found before the queue's lock is taken. Empty for a synced
  /// one, which is asked only when unsynced ones wait.
  let unsyncedTargets: Set<WriteTarget>

  init(batch: StorageBatch, ticket: StorageTicket, sink: any CompletionSink) {
    self.batch = batch
    self.ticket = ticket
    self.sink = sink
    unsyncedTargets = batch.needsSync ? [] : batch.targets
  }
}

/// What the committer does in one turn: a synced write, then an unsynced one.
struct CommitGroup {
  var synced: [Submission] = []
  var unsynced: [Submission] = []

  var entryCount: Int { synced.reduce(0) { $0 + $1.batch.appends.count } }
}

/// Submissions that wait, in two lanes.
///
/// A synced submission overtakes the unsynced ones before it (appends do not wait for
/// checkpoints), unless one of those writes one of the same targets: a checkpoint's meta must not
/// overwrite a newer promise. Within a lane the order is that of submission.
struct CommitQueue {
  private struct Place {
    /// Grows with every submission.
    let number: UInt64
    let submission: Submission

    var batch: StorageBatch { submission.batch }
  }

  private var synced: [Place] = []
  private var unsynced: [Place] = []
  private var nextNumber: UInt64 = 0
  /// Entries of the synced lane.
  private(set) var syncedEntryCount = 0
  /// How many unsynced submissions write each target.
  private var unsyncedTargets: [WriteTarget: Int] = [:]

  var count: Int { synced.count + unsynced.count }
  var isEmpty: Bool { synced.isEmpty && unsynced.isEmpty }

  mutating func add(_ submission: Submission) {
    let place = Place(number: nextNumber, submission: submission)
    nextNumber += 1
    if submission.batch.needsSync {
      synced.append(place)
      syncedEntryCount += submission.batch.appends.count
    } else {
      unsynced.append(place)
      for target in submission.unsyncedTargets { unsyncedTargets[target, default: 0] += 1 }
    }
  }

  /// The next group: everything that waits, as far as the limits allow; never empty when something
  /// waits.
  mutating func take(_ limits: CommitterLimits) -> CommitGroup {
    var group = CommitGroup()
    var bytes = 0
    var count = 0
    for place in synced {
      if count > 0, bytes + place.batch.bytes > limits.batchBytesMax { break }
      let earlier = takeUnsynced(thatConflictWith: place)
      bytes += earlier.reduce(place.batch.bytes) { $0 + $1.batch.bytes }
      group.synced.append(contentsOf: earlier)
      group.synced.append(place.submission)
      syncedEntryCount -= place.batch.appends.count
      count += 1
    }
    if count == synced.count {
      synced.removeAll(keepingCapacity: true)
    } else {
      synced.removeFirst(count)
    }
    group.unsynced = takeUnsynced(
      before: synced.first?.number ?? .max, bytesMax: limits.unsyncedBytesPerTurnMax)
    return group
  }

  /// Empties the queue.
  mutating func takeAll() -> [Submission] {
    defer { self = CommitQueue() }
    return (synced + unsynced).map(\.submission)
  }

  /// The unsynced submissions up to the last one that came before `place` and writes one of its
  /// targets.
  private mutating func takeUnsynced(thatConflictWith place: Place) -> [Submission] {
    guard !unsynced.isEmpty else { return [] }
    let targets = place.batch.targets
    guard targets.contains(where: { unsyncedTargets[$0] != nil }) else { return [] }
    let last = unsynced.lastIndex {
      $0.number < place.number && !$0.submission.unsyncedTargets.isDisjoint(with: targets)
    }
    return last.map { removeUnsynced($0 + 1) } ?? []
  }

  /// - Parameter number: of the first synced submission that still waits. None overtakes it here,
  ///   so that conflicts need not be looked for once more.
  private mutating func takeUnsynced(before number: UInt64, bytesMax: Int) -> [Submission] {
    var bytes = 0
    var count = 0
    for place in unsynced {
      bytes += place.batch.bytes
      if place.number > number || (count > 0 && bytes > bytesMax) { break }
      count += 1
    }
    return removeUnsynced(count)
  }

  private mutating func removeUnsynced(_ count: Int) -> [Submission] {
    guard count > 0 else { return [] }
    let taken = unsynced.prefix(count).map(\.submission)
    unsynced.removeFirst(count)
    for submission in taken {
      for target in submission.unsyncedTargets {
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
