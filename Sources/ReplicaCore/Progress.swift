import DequeModule
import NodeProtocol
import Primitives

/// What a leader knows about one other replica's log.
///
/// ```
///                answer that matches
///     ┌─ probing ─────────────────────▶ streaming
///     │     ▲  ▲                            │  ▲
///     │     │  └────────────────────────────┘  │
///     │     │     mismatch, no answer, restart │
///     │     │ nothing heard for long           │ it is installed
///     └──▶ installing ─────────────────────────┘
///   the log does not reach back
/// ```
struct Progress {
  enum Mode: Equatable {
    /// One append at a time until a common entry is found.
    case probing
    /// Appends follow each other without waiting, within the window.
    case streaming
    /// It is sent a snapshot.
    case installing
  }

  let replica: ReplicaID
  /// Durable there and equal to the leader's log, as acknowledged in this epoch.
  var match = LogIndex.zero
  /// The next entry to send.
  var next: LogIndex
  var mode = Mode.probing
  /// The last index and the bytes of each append that is on its way.
  var inFlight: Deque<(last: LogIndex, bytes: Int, count: Int)> = []
  var inFlightBytes = 0
  var inFlightEntries = 0
  /// When a probe or an append was first sent that is not answered yet; `nil` when nothing is owed.
  var owedSince: Instant?
  /// Since when an in-sync member has been behind without moving on.
  var laggingSince: Instant?
  /// When `match` last moved on.
  var movedAt = Instant.zero
  /// The highest commit index that was sent.
  var toldCommit = LogIndex.zero
  /// Entries are being read from storage.
  var isLoading = false
  /// It lost entries that it had acknowledged and was told so.
  var isFenced = false
  /// `match` was acknowledged by an earlier process, whose disk may have lost it since: it counts
  /// for no commit until the present one has said the same.
  var isOfEarlierProcess = false
  /// While `mode` is `installing`.
  var transfer: SnapshotTransfer?

  init(replica: ReplicaID, next: LogIndex) {
    self.replica = replica
    self.next = next
  }

  mutating func sent(through last: LogIndex, bytes: Int, count: Int, now: Instant) {
    inFlight.append((last, bytes, count))
    inFlightBytes += bytes
    inFlightEntries += count
    next = last.successor
    if owedSince == nil { owedSince = now }
  }

  /// Takes an acknowledgement.
  ///
  /// - Parameter base: where the log begins, so from where on it can be sent.
  mutating func acknowledged(_ index: LogIndex, base: LogIndex, now: Instant) {
    if index > match { movedAt = now }
    match = max(match, index)
    isFenced = false
    isOfEarlierProcess = false
    if let transfer {
      guard match >= base || transfer.last.map({ match >= $0.index }) ?? false else { return }
      probe(from: match.successor)
    }
    while let first = inFlight.first, first.last <= match {
      inFlightBytes -= first.bytes
      inFlightEntries -= first.count
      inFlight.removeFirst()
    }
    if mode == .probing {
      // Less than what precedes the probe is no answer to it: that is still on its way.
      guard match.rawValue + UInt64(inFlightEntries) >= next.predecessor.rawValue else { return }
      mode = .streaming
      next = match.successor
    }
    next = max(next, match.successor)
    owedSince = inFlight.isEmpty ? nil : now
  }

  /// Starts over from an entry that the follower may share.
  mutating func probe(from index: LogIndex) {
    mode = .probing
    transfer = nil
    next = max(index, match.successor)
    inFlight.removeAll()
    inFlightBytes = 0
    inFlightEntries = 0
    owedSince = nil
    isLoading = false
  }
}
