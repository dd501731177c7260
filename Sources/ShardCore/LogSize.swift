import DequeModule
import NodeProtocol
import Primitives

/// About how large a log is, and where it would have to begin to be smaller. It keeps a few marks,
/// not the size of every entry.
struct LogSize {
  private struct Mark {
    let index: LogIndex
    /// Of everything up to `index`.
    let bytes: UInt64
  }

  /// Marks that a full log has.
  private static let markCount = 16
  /// A log that is too large shrinks to three quarters, so that it does so seldom.
  private static let (kept, of) = (3, 4)

  private let entriesMax: Int
  private let bytesMax: UInt64
  /// The entry before the first one.
  private var base: Mark
  private var last: Mark
  private var marks: Deque<Mark> = []

  init(entriesMax: Int, bytesMax: Int) {
    self.entriesMax = entriesMax
    self.bytesMax = UInt64(bytesMax)
    base = Mark(index: .zero, bytes: 0)
    last = base
  }

  var entries: Int { last.index - base.index }
  /// **Units**: bytes.
  var bytes: UInt64 { last.bytes - base.bytes }

  /// The log holds the entries after `base` up to `last`, equally large as far as anybody knows.
  mutating func reset(base: LogIndex, last: LogIndex, bytes: UInt64) {
    self.base = Mark(index: base, bytes: 0)
    self.last = Mark(index: last, bytes: bytes)
    marks.removeAll()
    let count = last - base
    for number in 1..<Self.markCount where count >= Self.markCount {
      let part = UInt64(number)
      marks.append(
        Mark(
          index: base + Int(UInt64(count) * part / UInt64(Self.markCount)),
          bytes: bytes / UInt64(Self.markCount) * part))
    }
  }

  mutating func write(truncatingFrom: LogIndex?, _ entries: [Entry]) {
    if let from = truncatingFrom {
      while let mark = marks.last, mark.index >= from { marks.removeLast() }
      last = Mark(index: from.predecessor, bytes: marks.last?.bytes ?? base.bytes)
    }
    for entry in entries {
      last = Mark(index: entry.index, bytes: last.bytes + UInt64(entry.bytes))
      let before = marks.last ?? base
      if last.index - before.index >= max(1, entriesMax / Self.markCount)
        || last.bytes - before.bytes >= bytesMax / UInt64(Self.markCount)
      {
        marks.append(last)
      }
    }
  }

  mutating func begin(after index: LogIndex) {
    while let mark = marks.first, mark.index <= index {
      base = mark
      marks.removeFirst()
    }
    base = Mark(index: index, bytes: base.bytes)
  }

  /// After which entry the log should begin, if it is too large.
  ///
  /// - Parameter factor: how many times larger than usual it may be.
  func excess(factor: Int) -> LogIndex? {
    let entriesMax = entriesMax * factor
    let bytesMax = bytesMax * UInt64(factor)
    guard entries > entriesMax || bytes > bytesMax else { return nil }
    let fits = marks.first { mark in
      last.index - mark.index <= entriesMax * Self.kept / Self.of
        && last.bytes - mark.bytes <= bytesMax * UInt64(Self.kept) / UInt64(Self.of)
    }
    return fits?.index ?? last.index
  }
}
