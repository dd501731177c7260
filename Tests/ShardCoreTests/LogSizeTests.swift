import NodeProtocol
import Primitives
import Testing
import WalkSupport

@testable import ShardCore

/// How large a log is, and where it would begin if it were not too large.
@Suite struct LogSizeTests {
  private func entries(_ indexes: ClosedRange<UInt64>, bytes: Int = 76) -> [Entry] {
    indexes.map {
      Entry(
        id: EntryID(epoch: Epoch(1), index: LogIndex($0)),
        payload: [UInt8](repeating: 1, count: bytes))
    }
  }

  private func size(entriesMax: Int = 1_000, bytesMax: Int = 1 << 30) -> LogSize {
    LogSize(entriesMax: entriesMax, bytesMax: bytesMax)
  }

  @Test func `a log within its bounds keeps everything`() {
    var size = size()
    size.write(truncatingFrom: nil, entries(1...1_000))
    #expect(size.entries == 1_000 && size.bytes == 100_000)
    #expect(size.excess(factor: 1) == nil)
  }

  @Test func `one with too many entries, or too many bytes, shrinks to three quarters`() throws {
    var many = size()
    many.write(truncatingFrom: nil, entries(1...1_001))
    let first = try #require(many.excess(factor: 1))
    #expect((251...320).contains(first.rawValue))
    #expect(many.excess(factor: 4) == nil)
    var large = size(entriesMax: 1 << 30, bytesMax: 100_000)
    large.write(truncatingFrom: nil, entries(1...1_001))
    let second = try #require(large.excess(factor: 1))
    #expect((251...320).contains(second.rawValue))
  }

  @Test func `what was given up and what was cut off counts no more`() {
    var size = size()
    size.write(truncatingFrom: nil, entries(1...1_001))
    size.begin(after: LogIndex(300))
    #expect(size.entries == 701 && size.excess(factor: 1) == nil)
    size.write(truncatingFrom: LogIndex(400), entries(400...409))
    #expect(size.entries == 109)
    // By the nearest mark, so not to the byte.
    #expect((4_000...20_000).contains(size.bytes))
    size.reset(base: LogIndex(500), last: LogIndex(500), bytes: 0)
    #expect(size.entries == 0 && size.bytes == 0)
  }

  @Test func `one that was found on the disk counts as even`() throws {
    var size = size(entriesMax: 1 << 30, bytesMax: 100_000)
    size.reset(base: LogIndex(1_000), last: LogIndex(3_000), bytes: 200_000)
    let first = try #require(size.excess(factor: 1))
    #expect((2_200...2_400).contains(first.rawValue))
    size.begin(after: first)
    #expect(size.bytes <= 80_000)
  }

  @Test func `its bounds hold under random use`() {
    var dice = Dice(seed: 5)
    for _ in 0..<50 {
      var size = size(entriesMax: dice.between(4...200), bytesMax: dice.between(500...20_000))
      var last: UInt64 = 0
      for _ in 0..<200 {
        let count = UInt64(dice.between(1...20))
        size.write(
          truncatingFrom: nil, entries(last + 1...last + count, bytes: dice.between(1...300)))
        last += count
        guard let base = size.excess(factor: 1) else { continue }
        size.begin(after: base)
        let rest = size.excess(factor: 1)
        #expect(rest == nil || base == LogIndex(last))
      }
    }
  }
}
