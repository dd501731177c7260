import DequeModule
import NodeProtocol
import Primitives

/// What a replica knows of its log without the disk: the newest entries, and for the whole log
/// where each epoch begins.
///
/// **Invariant**: entries in memory are contiguous and end with `last`; epochs never go down.
struct LogTail {
  private var entries: Deque<Entry> = []
  private var bytes = 0
  private(set) var last: EntryID
  /// (epoch, first index of it), ascending in both.
  private(set) var epochStarts: [EntryID]

  init(last: EntryID, epochStarts: [EntryID], tail: [Entry]) {
    precondition(tail.last.map { $0.id == last } ?? true, "the tail does not end the log")
    self.last = last
    self.epochStarts = epochStarts
    entries = Deque(tail)
    bytes = tail.reduce(0) { $0 + $1.bytes }
  }

  /// The first index that is in memory; one past the end when nothing is.
  var firstInMemory: LogIndex { entries.first?.index ?? last.index.successor }

  /// The epoch of the entry at `index`; `zero` before the first entry, `nil` beyond the end.
  func epoch(at index: LogIndex) -> Epoch? {
    if index == .zero { return .zero }
    guard index <= last.index else { return nil }
    // Almost every question is about the newest epoch.
    for start in epochStarts.reversed() where start.index <= index { return start.epoch }
    return nil
  }

  /// The last entry of this log that another log could hold too, if that one holds `id`: no later
  /// epoch and no higher index.
  func lastPossiblyShared(with id: EntryID) -> EntryID {
    var end = last.index
    for start in epochStarts.reversed() {
      let index = min(end, id.index)
      if start.epoch <= id.epoch, index >= start.index {
        return EntryID(epoch: start.epoch, index: index)
      }
      end = start.index.predecessor
    }
    return .zero
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
    last = EntryID(epoch: end == .zero ? .zero : epochStarts.last?.epoch ?? .zero, index: end)
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
