import NodeProtocol
import Primitives
@testable import ReplicaCore
import Testing
import WalkSupport

@Suite struct LogTailTests {
  typealias F = ReplicaFixture

  private func tail(_ epochs: [UInt64]) -> LogTail {
    var tail = LogTail(last: .zero, epochStarts: [], tail: [])
    for entry in F.entries(epochs: epochs) { tail.append(entry) }
    return tail
  }

  @Test func `the epoch of every entry is known, before the first it is zero, beyond the end none`()
  {
    let tail = tail([1, 1, 3, 3, 4])
    let epochs = (0...6).map { tail.epoch(at: LogIndex($0))?.rawValue }
    #expect(epochs == [0, 1, 1, 3, 3, 4, nil])
  }

  @Test func `epochs are known of entries that are not in memory`() {
    let entries = F.entries(epochs: [1, 1, 2])
    let tail = LogTail(
      last: F.id(2, 3), epochStarts: [F.id(1, 1), F.id(2, 3)], tail: [entries[2]])
    #expect(tail.epoch(at: LogIndex(2)) == Epoch(1))
    #expect(tail.firstInMemory == LogIndex(3))
    #expect(tail.entry(at: LogIndex(2)) == nil)
    #expect(tail.slice(from: LogIndex(2), bytesMax: 1_000, countMax: 9) == nil)
  }

  @Test func `truncation takes the epochs back, down to nothing`() {
    var tail = tail([1, 1, 3, 3, 4])
    tail.truncate(from: LogIndex(4))
    #expect(tail.last == F.id(3, 3))
    tail.truncate(from: LogIndex(3))
    #expect(tail.last == F.id(1, 2))
    tail.append(F.entry(7, 3))
    #expect(tail.last == F.id(7, 3))
    tail.truncate(from: LogIndex(1))
    #expect(tail.last == .zero)
    #expect(tail.epochStarts.isEmpty)
  }

  @Test func `a slice has at least one entry and otherwise keeps to its bounds`() {
    let tail = tail([1, 1, 1, 1])
    #expect(tail.slice(from: LogIndex(1), bytesMax: 1, countMax: 9)?.count == 1)
    #expect(tail.slice(from: LogIndex(1), bytesMax: 52, countMax: 9)?.count == 2)
    #expect(
      tail.slice(from: LogIndex(2), bytesMax: 1_000, countMax: 2)?.map(\.index.rawValue) == [2, 3])
    #expect(tail.slice(from: LogIndex(5), bytesMax: 1_000, countMax: 2) == [])
  }

  @Test func `trimming keeps what is not applied yet`() {
    var tail = tail([1, 1, 1, 1])
    tail.trim(entriesMax: 1, bytesMax: 1_000, keepingAfter: LogIndex(2))
    #expect(tail.firstInMemory == LogIndex(3))
    tail.trim(entriesMax: 9, bytesMax: 0, keepingAfter: LogIndex(4))
    #expect(tail.firstInMemory == LogIndex(5))
    #expect(tail.last == F.id(1, 4))
  }

  @Test(arguments: 0..<200) func `the last possibly shared entry is what a search finds`(seed: Int)
  {
    var dice = Dice(seed: UInt64(seed))
    func epochs() -> [UInt64] {
      (0..<dice.below(8)).map { _ in UInt64(dice.between(1...4)) }.sorted()
    }
    let mine = epochs()
    let id = F.id(UInt64(dice.between(0...5)), UInt64(dice.below(9)))
    let found = F.entries(epochs: mine).map(\.id)
      .last { $0.epoch <= id.epoch && $0.index <= id.index }
    #expect(tail(mine).lastPossiblyShared(with: id) == found ?? .zero, "seed \(seed)")
  }

  @Test func `a log that was shortened knows what is left, and the epoch of what was before`() {
    var tail = tail([1, 1, 3, 3, 4])
    tail.begin(after: LogIndex(3))
    #expect(tail.base == F.id(3, 3))
    let epochs = (2...6).map { tail.epoch(at: LogIndex($0))?.rawValue }
    #expect(epochs == [nil, 3, 3, 4, nil])
    #expect(tail.slice(from: LogIndex(3), bytesMax: 1_000, countMax: 9) == nil)
    #expect(tail.firstInMemory == LogIndex(4))
    tail.begin(after: LogIndex(2))
    #expect(tail.base == F.id(3, 3), "it never goes back")
    tail.truncate(from: LogIndex(4))
    #expect(tail.last == F.id(3, 3))
    tail.append(F.entry(3, 4))
    #expect(tail.epoch(at: LogIndex(4)) == Epoch(3))
  }

  @Test func `what is shared lies in the log, or is not known`() {
    var tail = tail([1, 1, 3, 3, 4])
    tail.begin(after: LogIndex(3))
    #expect(tail.lastPossiblyShared(with: F.id(4, 9)) == F.id(4, 5))
    #expect(tail.lastPossiblyShared(with: F.id(3, 9)) == F.id(3, 4))
    #expect(tail.lastPossiblyShared(with: F.id(3, 3)) == F.id(3, 3))
    #expect(tail.lastPossiblyShared(with: F.id(3, 2)) == nil)
    #expect(tail.lastPossiblyShared(with: F.id(2, 9)) == nil)
  }
}
