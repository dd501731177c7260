import ChatCore
import ClusterModel
import NodeProtocol
import Primitives
import ReplicaCore
import Routing

/// How fast this store reads its logs and states for replicas that learn them, so that a move does
/// not take the disk and the network from the messages of the day. A follower that is in sync and
/// fell behind does not wait.
struct LearningBudget {
  struct Load {
    let partition: PartitionID
    let replica: ReplicaID
    let what: Content
    let bytesMax: Int

    enum Content: Equatable {
      case entries(from: LogIndex)
      /// Of the snapshot with this number.
      case chunk(UInt64, after: [UInt8])
    }
  }

  /// What was read.
  enum Page {
    case entries([Entry])
    case chunk(SnapshotChunk?)
  }

  var bytesPerSecond: UInt64 = RingRecord.usualBytesPerSecond
  /// May be negative: the last page was larger than what was left. **Units**: bytes.
  private(set) var left: Int64 = 0
  private var filledAt = Instant.zero
  /// In the order in which they were asked for.
  private(set) var waiting: [Load] = []

  /// What a quiet while saves up. **Units**: milliseconds.
  private static let burst: Int64 = 100

  mutating func fill(now: Instant) {
    let elapsed = min(Int64(now.milliseconds(since: filledAt).rawValue), Self.burst)
    guard elapsed > 0 else { return }
    filledAt = now
    let rate = Int64(clamping: bytesPerSecond)
    left = min(left + rate * elapsed / 1_000, rate * Self.burst / 1_000)
  }

  mutating func take(_ bytes: Int) { left -= Int64(bytes) }

  /// What may be read now, if anything waits.
  mutating func next() -> Load? {
    guard left > 0, !waiting.isEmpty else { return nil }
    return waiting.removeFirst()
  }

  /// A replica that asks again keeps its place.
  mutating func wait(_ load: Load) {
    let place = waiting.firstIndex {
      $0.partition == load.partition && $0.replica == load.replica
    }
    if let place { waiting[place] = load } else { waiting.append(load) }
  }
}

extension ShardCore {
  /// Reads entries or a part of a snapshot for a follower that is far behind; for one that only
  /// learns, when it is its turn.
  mutating func load(
    _ load: LearningBudget.Load, _ position: Int, pending: inout [ReplicaAction], now: Instant
  ) {
    let isLearner = isLearner(load.replica, position)
    if isLearner {
      learning.fill(now: now)
      // Nobody goes before those who wait.
      guard learning.left > 0, learning.waiting.isEmpty else { return learning.wait(load) }
    }
    let page = read(load, position, isLearner: isLearner)
    hosts[position].visit { Self.give(page, of: load, to: &$0, now: now, into: &pending) }
  }

  /// Reads what waited, as far as the budget goes.
  mutating func loadForLearners(now: Instant, into actions: inout [ShardAction]) {
    guard !learning.waiting.isEmpty else { return }
    learning.fill(now: now)
    while let load = learning.next() {
      guard let position = position(of: load.partition), hosts[position].standing.isLeader else {
        continue
      }
      let page = read(load, position, isLearner: isLearner(load.replica, position))
      drive(position, now: now, into: &actions) { replica, pending in
        Self.give(page, of: load, to: &replica, now: now, into: &pending)
      }
    }
  }

  private mutating func read(
    _ load: LearningBudget.Load, _ position: Int, isLearner: Bool
  ) -> Result<LearningBudget.Page, StateReadError> {
    do throws(StateReadError) {
      switch load.what {
      case .entries(let index):
        // The log may have been shortened since.
        guard index > hosts[position].visit({ $0.baseEntry.index }) else {
          return .success(.entries([]))
        }
        let entries = try storage.entries(
          of: load.partition, from: index, bytesMax: load.bytesMax)
        if isLearner { learning.take(entries.reduce(0) { $0 + $1.bytes }) }
        return .success(.entries(entries))
      case .chunk(let number, let key):
        let chunk = try readChunk(
          number, after: key, bytesMax: load.bytesMax, of: load.partition, for: load.replica)
        if isLearner { learning.take(chunk?.records.count ?? 0) }
        return .success(.chunk(chunk))
      }
    } catch {
      return .failure(error)
    }
  }

  private static func give(
    _ page: Result<LearningBudget.Page, StateReadError>, of load: LearningBudget.Load,
    to replica: inout Replica, now: Instant, into pending: inout [ReplicaAction]
  ) {
    switch page {
    case .success(.entries(let entries)):
      guard case .entries(let index) = load.what else { return }
      replica.entriesLoaded(
        for: load.replica, from: index, entries: entries, now: now, into: &pending)
    case .success(.chunk(let chunk)):
      guard case .chunk(let number, _) = load.what else { return }
      replica.chunkLoaded(for: load.replica, number: number, chunk, now: now, into: &pending)
    case .failure(let error): replica.gaveUp(.damaged("\(error)"), into: &pending)
    }
  }

  /// Whether a replica counts for nothing yet.
  private func isLearner(_ replica: ReplicaID, _ position: Int) -> Bool {
    guard let record = routing.record(of: hosts[position].partition)?.record else { return false }
    return !record.inSync.contains(replica)
  }
}
