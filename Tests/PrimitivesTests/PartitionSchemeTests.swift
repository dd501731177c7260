import Primitives
import Testing

@Suite struct PartitionSchemeTests {
  @Test(arguments: [1, 2, 3, 7, 256, 1_000] as [UInt32])
  func rangesCoverTheCircleOnceAtEveryLevel(rootCount: UInt32) {
    let scheme = PartitionScheme(rootCount: rootCount)
    for level in 0...4 as ClosedRange<UInt32> {
      let count = scheme.count(level: level)
      let ranges = (0..<count).map { scheme.range(of: PartitionID(UInt32($0)), level: level) }
        .sorted { $0.lowerBound < $1.lowerBound }
      #expect(ranges.first?.lowerBound == Token(0))
      #expect(ranges.last?.upperBound == Token(.max))
      #expect(
        zip(ranges, ranges.dropFirst()).allSatisfy {
          $0.upperBound.rawValue + 1 == $1.lowerBound.rawValue
        })
      let even = UInt64.max / UInt64(count)
      #expect(
        ranges.allSatisfy {
          let width = $0.upperBound.rawValue - $0.lowerBound.rawValue
          return abs(Int64(truncatingIfNeeded: width &- even)) <= 2
        })
    }
  }

  @Test func tokensBelongToThePartitionWhoseRangeHoldsThem() {
    var random = SeededRandom(seed: 7)
    for rootCount in [1, 3, 256, 65_536] as [UInt32] {
      let scheme = PartitionScheme(rootCount: rootCount)
      for level in 0...5 as ClosedRange<UInt32> {
        for _ in 0..<500 {
          let token = Token(random.next())
          let partition = scheme.partition(of: token, level: level)
          let range = scheme.range(of: partition, level: level)
          #expect(range.contains(token))
          for edge in [range.lowerBound, range.upperBound] {
            #expect(scheme.partition(of: edge, level: level) == partition)
          }
        }
      }
    }
  }

  @Test func aCutKeepsTheLowerHalfAndItsNumber() {
    let scheme = PartitionScheme(rootCount: 5)
    for level in 1...4 as ClosedRange<UInt32> {
      for number in 0..<UInt32(scheme.count(level: level - 1)) {
        let whole = PartitionID(number)
        let half = scheme.half(of: whole, level: level)
        let before = scheme.range(of: whole, level: level - 1)
        let lower = scheme.range(of: whole, level: level)
        let upper = scheme.range(of: half, level: level)
        #expect(lower.lowerBound == before.lowerBound && upper.upperBound == before.upperBound)
        #expect(lower.upperBound.rawValue + 1 == upper.lowerBound.rawValue)
        #expect(scheme.origin(of: half) == whole)
        #expect(scheme.firstLevel(of: half) == level)
      }
    }
    #expect(scheme.origin(of: PartitionID(4)) == nil)
    #expect(scheme.firstLevel(of: PartitionID(4)) == 0)
  }
}
