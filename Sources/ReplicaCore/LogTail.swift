import DequeModule
import NodeProtocol
import Primitives

/// What a replica knows of its log without the disk: the newest entries, and for the whole log
/// where each epoch begins. What came before the log is in the state, and committed.
///
/// ```
///   in the state  │ the log ──────────────────────────────▶
///                 │ on the disk          │ in memory, too
///               base              firstInMemory         last
/// ```
///
/// **Invariant**: entries in memory are contiguous and end with `last`; epochs never go down.
struct LogTail {
  private var entries: Deque<Entry> = []
  private var bytes = 0
  /// The entry before the first one.
  private(set) var base: EntryID
  private(set) var last: EntryID
  /// (epoch, first index of it), ascending in both, of what follows `base`. Where the log goes on
  /// in the epoch of `base`, that one may be missing.
  private(set) var epochStarts: [EntryID]

  init(base: EntryID = .zero, last: EntryID, epochStarts: [EntryID], tail: [Entry]) {
    precondition(tail.last.map { $0.id == last } ?? true, "the tail does not end the log")
    precondition(last.index >= base.index, "the log ends at \(last), before it begins at \(base)")
    self.base = base
    self.last = last
    self.epochStarts = epochStarts
    entries = Deque(tail)
    bytes = tail.reduce(0) { $0 + $1.bytes }
  }

  /// The first index that is in memory; one past the end when nothing is.
  var firstInMemory: LogIndex { entries.first?.index ?? last.index.successor }

  /// The epoch of the entry at `index`; `zero` before the first entry of all, `nil` before `base`
  /// and beyond the end.
  func epoch(at index: LogIndex) -> Epoch? {
    guard index >= base.index, index <= last.index else { return nil }
    // Almost every question is about the newest epoch.
    for start in epochStarts.reversed() where start.index <= index { return start.epoch }
    return base.epoch
  }

  /// The last entry of this log, or `base`, that another log could hold too, if that one holds
  /// `id`: no later epoch and no higher index.
  ///
  /// **Returns**: `nil` when it lies before `base`.
  func lastPossiblyShared(with id: EntryID) -> EntryID? {
    var end = last.index
    for start in epochStarts.reversed() {
      let index = min(end, id.index)
      if start.epoch <= id.epoch, index >= start.index {
        return EntryID(epoch: start.epoch, index: index)
      }
      end = start.index.predecessor
    }
    let index = min(end, id.index)
    guard base.epoch <= id.epoch, index >= base.index else { return nil }
    return EntryID(epoch: base.epoch, index: index)
  }

  func entry(at index: LogIndex) -> Entry? {
    guard let first = entries.first?.index, index >= first, index <= last.index else { return nil }
    return entries[index - first]
  }

  /// Entries from `index` on, at least one and otherwise at most `bytesMax` and `countMax` of them.
  /// **Returns**: `nil` when `index` is no longer in memory.
  func slice(from index: LogIndex, bytesMax: Int, countMax: Int) -> [Entry]? {
    guard index <= last.index else { return [] }
    guard let first = entries.first?.index, index >= first else { return nil }
    var slice: [Entry] = []
    var sliceBytes = 0
    var position = index - first
    while position < entries.count, slice.count < countMax {
      let entry = entries[position]
      if !slice.isEmpty, sliceBytes + entry.bytes > bytesMax { break }
      slice.append(entry)
      sliceBytes += entry.bytes
      position += 1
    }
    return slice
  }

  mutating func append(_ entry: Entry) {
    precondition(entry.index == last.index.successor, "\(entry.id) does not follow \(last)")
    precondition(entry.epoch >= last.epoch, "\(entry.id) goes back from \(last)")
    if entry.epoch > last.epoch { epochStarts.append(entry.id) }
    entries.append(entry)
    bytes += entry.bytes
    last = entry.id
  }

  /// Removes the entries from `index` on.
  mutating func truncate(from index: LogIndex) {
    while let entry = entries.last, entry.index >= index {
      bytes -= entry.bytes
      entries.removeLast()
    }
    while let start = epochStarts.last, start.index >= index { epochStarts.removeLast() }
    let end = index.predecessor
    precondition(end >= base.index, "\(index) is before the log's beginning after \(base)")
    last = EntryID(epoch: epochStarts.last?.epoch ?? base.epoch, index: end)
  }

  /// Lets the log begin after the entry at `index`, which is in it.
  mutating func begin(after index: LogIndex) {
    guard index > base.index, let epoch = epoch(at: index) else { return }
    base = EntryID(epoch: epoch, index: index)
    epochStarts.removeAll { $0.index <= index }
    while let first = entries.first, first.index <= index {
      bytes -= first.bytes
      entries.removeFirst()
    }
  }

  /// Forgets the oldest entries that are over the bounds, but none after `kept`.
  mutating func trim(entriesMax: Int, bytesMax: Int, keepingAfter kept: LogIndex) {
    while entries.count > entriesMax || bytes > bytesMax, let first = entries.first,
      first.index <= kept
    {
      bytes -= first.bytes
      entries.removeFirst()
    }
  }
}
