import NodeProtocol
import Primitives
import ReplicaCore

/// What one store keeps of one replica: what is durable, and the writes that a crash may lose.
///
/// Its state is the list of the entries that were applied, so that a snapshot can be held against
/// what was committed, entry by entry. So nothing is really deleted when the log is shortened.
struct WalkDisk {
  enum Write {
    case log(ReplicaWrite)
    case checkpoint(applied: LogIndex, commit: LogIndex)
    case truncation(base: EntryID)
    case snapshot(ReplicaInstallation, [Entry])

    /// Of one that is waited for.
    var ticket: UInt64? {
      switch self {
      case .log(let write): write.ticket
      case .snapshot(let installation, _): installation.ticket
      case .checkpoint, .truncation: nil
      }
    }
  }

  let id: ReplicaID
  private(set) var promise = Epoch.zero
  private(set) var entries: [Entry] = []
  /// Where the log begins.
  private(set) var base = EntryID.zero
  private(set) var applied = LogIndex.zero
  private(set) var commit = LogIndex.zero
  private var pending: [Write] = []

  init(id: ReplicaID) { self.id = id }

  var last: EntryID { entries.last?.id ?? .zero }
  /// The promise that holds once everything pending is durable.
  var latestPromise: Epoch {
    for write in pending.reversed() {
      switch write {
      case .log(let log): return log.promise
      case .snapshot(let installation, _): return installation.promise
      case .checkpoint, .truncation: break
      }
    }
    return promise
  }
  var pendingCount: Int { pending.count }

  func entry(at index: UInt64) -> Entry? {
    index >= 1 && index <= UInt64(entries.count) ? entries[Int(index) - 1] : nil
  }

  /// The entries whose effects a checkpoint holds.
  var state: [Entry] { Array(entries.prefix(Int(applied.rawValue))) }

  mutating func submit(_ write: Write) { pending.append(write) }

  /// Makes every write up to the one with this ticket durable.
  mutating func sync(through ticket: UInt64) throws {
    var count = 0
    for (position, write) in pending.enumerated() {
      guard let waited = write.ticket else { continue }
      guard waited <= ticket else { break }
      count = position + 1
    }
    try persist(count)
  }

  /// Keeps the first `count` un-synced writes and loses the others.
  mutating func crash(keeping count: Int) throws {
    try persist(count)
    pending.removeAll()
  }

  private mutating func persist(_ count: Int) throws {
    for write in pending.prefix(count) {
      switch write {
      case .log(let log): try persist(log)
      case .checkpoint(let applied, let commit):
        self.applied = applied
        self.commit = commit
      case .truncation(let base):
        guard base.index <= applied, entry(at: base.index.rawValue)?.id == base else {
          throw Violation(kind: .divergence, text: "\(id) gives up to \(base), applied \(applied)")
        }
        self.base = base
      case .snapshot(let installation, let state):
        promise = installation.promise
        entries = state
        base = installation.last
        applied = base.index
        commit = base.index
      }
    }
    pending.removeFirst(count)
  }

  private mutating func persist(_ log: ReplicaWrite) throws {
    promise = log.promise
    if let index = log.truncatingFrom {
      guard index > commit else {
        throw Violation(kind: .divergence, text: "\(id) truncates from \(index), below \(commit)")
      }
      entries.removeLast(max(0, entries.count - Int(index.rawValue) + 1))
    }
    for entry in log.entries {
      guard entry.index.rawValue == UInt64(entries.count) + 1 else {
        throw Violation(kind: .divergence, text: "\(id) writes \(entry.id) after \(last)")
      }
      entries.append(entry)
    }
  }

  /// Loses what was durable: the last entries, perhaps with the promise.
  mutating func damage(losing count: Int, forgettingPromise: Bool) {
    entries.removeLast(min(count, last.index - base.index))
    applied = min(applied, last.index)
    commit = min(commit, last.index)
    if forgettingPromise { promise = last.epoch }
  }

  var recovered: RecoveredReplica {
    var starts: [EntryID] = []
    for entry in entries where entry.index > base.index {
      if entry.epoch > starts.last?.epoch ?? .zero { starts.append(entry.id) }
    }
    return RecoveredReplica(
      id: id, promise: promise, commitIndex: commit, appliedIndex: applied, base: base,
      epochStarts: starts, last: last, tail: Array(entries[Int(applied.rawValue)...]))
  }
}
