import Primitives
import Testing

@Suite struct TokenTests {
  @Test func theCircleIsCutIntoEqualContiguousRanges() {
    for count in [1, 2, 3, 5, 7, 256, 1_000, 4_096, .max] as [UInt32] {
      #expect(Token(0).partition(of: count) == PartitionID(0))
      #expect(Token(.max).partition(of: count) == PartitionID(count - 1))
      let samples = Set([0, 1, count / 3, count / 2, count &- 1].filter { $0 < count })
      for partition in samples {
        // The first token of a partition is ⌈partition × 2^64 / count⌉.
        let (quotient, remainder) = UInt64(count).dividingFullWidth((UInt64(partition), 0))
        guard partition > 0 else { continue }
        let first = remainder == 0 ? quotient : quotient + 1
        #expect(Token(first).partition(of: count) == PartitionID(partition))
        #expect(Token(first - 1).partition(of: count) == PartitionID(partition - 1))
      }
    }
  }

  @Test func partitionsGrowWithTokens() {
    let seed: UInt64 = 10
    print("TokenTests seed \(seed)")
    var random = SeededRandom(seed: seed)
    for _ in 0..<1_000 {
      let pair = [Token(random.next()), Token(random.next())].sorted()
      let count = UInt32.random(in: 1...10_000, using: &random)
      #expect(pair[0].partition(of: count) <= pair[1].partition(of: count))
      #expect(pair[1].partition(of: count).rawValue < count)
    }
  }

  @Test func partitionsGetEqualPartsOfRandomTokens() {
    var random = SeededRandom(seed: 13)
    var counts = [Int](repeating: 0, count: 7)
    for _ in 0..<70_000 { counts[Int(Token(random.next()).partition(of: 7).rawValue)] += 1 }
    for count in counts { #expect((9_500...10_500).contains(count)) }
  }
}

extension Token {
  /// With so many partitions, none of them cut.
  fileprivate func partition(of count: UInt32) -> PartitionID {
    PartitionScheme(rootCount: count).partition(of: self, level: 0)
  }
}
