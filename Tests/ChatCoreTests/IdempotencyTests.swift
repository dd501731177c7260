import ChatCore
import ChatModel
import Primitives
import Testing

@Suite struct IdempotencyTests {
  @Test func theSameIdAnswersWithTheSameNumbers() throws {
    var test = try TestPartition()
    try test.apply(group(1))
    let first = try test.apply(send("a", id: "x"))[0]
    let time = test.time
    for _ in 0..<3 {
      try test.apply(send("b", id: "y\(test.time)"))
      test.checkpoint()
      try test.reopen()
      let again = try test.apply(send("other text", id: "x"))[0]
      #expect(
        first
          == .messageSent(
            sequence: Sequence(2), time: WallTime(milliseconds: time), repeated: false))
      #expect(
        again
          == .messageSent(
            sequence: Sequence(2), time: WallTime(milliseconds: time), repeated: true))
    }
  }

  @Test func idsBelongToADeviceOfAMemberInAConversation() throws {
    var test = try TestPartition()
    try test.apply(group(1), group(2))
    let results = try test.apply(
      send("a", id: "x"), send("b", device: 2, id: "x"), send("c", by: 2, id: "x"),
      send("d", to: 2, id: "x"))
    #expect(results.map(\.sequence) == [2, 3, 4, 2])
    #expect(results.allSatisfy { !$0.isRepeated })
  }

  /// The window is exact wherever checkpoints fall: the 1,025th id forgets the first.
  @Test(arguments: [1_000_000, 1, 7, 16, 100, 1_024, 1_025])
  func theWindowHoldsExactly1024Ids(checkpointEvery: Int) throws {
    let capacity = ChatLimits.idempotencyWindowCount
    var test = try TestPartition(cacheBytesMax: 0)
    try test.apply(group(1))
    for number in 0..<(capacity + 40) {
      #expect(try test.apply(send("m", id: "m\(number)"))[0].sequence == UInt64(number + 2))
      if number % checkpointEvery == checkpointEvery - 1 {
        test.checkpoint()
        if number % 3 == 0 { try test.reopen() }
      }
    }
    test.checkpoint()
    try test.reopen()
    let oldest = try test.apply(send("m", id: "m40"))[0]
    #expect(oldest.sequence == 42 && oldest.isRepeated)
    let forgotten = try test.apply(send("m", id: "m39"))[0]
    #expect(forgotten.sequence == UInt64(capacity + 42) && !forgotten.isRepeated)
    let nowForgotten = try test.apply(send("m", id: "m40"))[0]
    #expect(!nowForgotten.isRepeated)
  }

  @Test func manyMoreIdsThanTheWindowBetweenTwoCheckpoints() throws {
    var test = try TestPartition()
    try test.apply(group(1))
    for number in 0..<10 { try test.apply(send("m", id: "a\(number)")) }
    test.checkpoint()
    for number in 0..<3_000 { try test.apply(send("m", id: "b\(number)")) }
    test.checkpoint()
    let stored = test.state.rows.count
    try test.reopen()
    #expect(try test.apply(send("m", id: "b2999"))[0].isRepeated)
    #expect(try test.apply(send("m", id: "b1976"))[0].isRepeated)
    #expect(try test.apply(send("m", id: "b1975"))[0].isRepeated == false)
    #expect(try test.apply(send("m", id: "a9"))[0].isRepeated == false)
    #expect(stored < 100, "old segments are deleted")
  }

  @Test func storedSegmentsDoNotAccumulate() throws {
    var test = try TestPartition(cacheBytesMax: 0)
    try test.apply(group(1))
    var counts: [Int] = []
    for number in 0..<6_000 {
      try test.apply(send("m", id: "\(number)"))
      if number % 50 == 0 { test.checkpoint() }
      if number % 1_000 == 999 { try test.reopen() }
      if number >= 2_000, number % 2_000 == 0 {
        counts.append(test.state.rows.count - number / 50)
      }
    }
    #expect(counts.count == 2)
    #expect(abs(counts[0] - counts[1]) <= 2, "\(counts)")
  }
}
