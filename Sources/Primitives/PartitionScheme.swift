/// How the circle of tokens is cut into partitions: first into `rootCount` equal ranges, then, as
/// often as the ring was split, each of them in two.
///
/// Whatever is cut keeps its number and its lower half; the upper half gets that number plus the
/// count of partitions before. So a split renames nothing, and of which one a partition was cut off
/// can be read from its number.
///
/// ```
///  level 0   |        p0         |        p1         |
///  level 1   |   p0    |   p2    |   p1    |   p3    |
///  level 2   | p0 | p4 | p2 | p6 | p1 | p5 | p3 | p7 |
/// ```
package struct PartitionScheme: Hashable, Sendable {
  /// With how many partitions the ring was made.
  package let rootCount: UInt32

  package init(rootCount: UInt32) {
    precondition(rootCount > 0, "a ring has partitions")
    self.rootCount = rootCount
  }

  /// How many partitions there are once all are cut so often.
  package func count(level: UInt32) -> Int { Int(rootCount) << Int(level) }

  /// The partition whose range holds the token when all partitions are cut so often.
  package func partition(of token: Token, level: UInt32) -> PartitionID {
    let (root, fraction) = token.rawValue.multipliedFullWidth(by: UInt64(rootCount))
    var number = UInt32(truncatingIfNeeded: root)
    for cut in 0..<level where fraction >> UInt64(63 - cut) & 1 == 1 { number += rootCount << cut }
    return PartitionID(number)
  }

  /// The level at which a partition first is one.
  package func firstLevel(of partition: PartitionID) -> UInt32 {
    var level: UInt32 = 0
    while UInt64(partition.rawValue) >= UInt64(rootCount) << UInt64(level) { level += 1 }
    return level
  }

  /// The one that a partition was cut off from; `nil` when the ring was made with it.
  package func origin(of partition: PartitionID) -> PartitionID? {
    let level = firstLevel(of: partition)
    guard level > 0 else { return nil }
    return PartitionID(partition.rawValue - rootCount << (level - 1))
  }

  /// What is cut off from a partition when it comes to a level.
  package func half(of partition: PartitionID, level: UInt32) -> PartitionID {
    PartitionID(partition.rawValue + rootCount << (level - 1))
  }

  /// All partitions of a level, in the order of their ranges.
  package func inOrder(level: UInt32) -> [PartitionID] {
    (0..<UInt32(count(level: level))).map { PartitionID($0) }
      .sorted { range(of: $0, level: level).lowerBound < range(of: $1, level: level).lowerBound }
  }

  /// The tokens of a partition that was cut so often, all cuts counted.
  package func range(of partition: PartitionID, level: UInt32) -> ClosedRange<Token> {
    let (path, root) = partition.rawValue.quotientAndRemainder(dividingBy: rootCount)
    var fraction: UInt64 = 0
    for cut in 0..<level where path >> cut & 1 == 1 { fraction |= 1 << UInt64(63 - cut) }
    let first = firstToken(UInt64(root), fraction)
    let (end, carry) = level == 0 ? (0, true) : fraction.addingReportingOverflow(1 << (64 - level))
    // After the last root range comes the end of the circle.
    let isLast = carry && root + 1 == rootCount
    let last = isLast ? .max : firstToken(UInt64(root) + (carry ? 1 : 0), end) - 1
    return Token(first)...Token(last)
  }

  /// The first token whose product with `rootCount` is not below (root, fraction).
  private func firstToken(_ root: UInt64, _ fraction: UInt64) -> UInt64 {
    let (quotient, remainder) = UInt64(rootCount).dividingFullWidth((root, fraction))
    return remainder == 0 ? quotient : quotient + 1
  }
}
