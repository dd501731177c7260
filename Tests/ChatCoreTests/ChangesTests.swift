import ChatCore
import ChatModel
import Primitives
import Testing

@Suite struct ChangesTests {
  /// Three conversations; entry 1 makes them, entry i ≥ 2 sends to one, two or all of them.
  private func filled(checkpointEvery: Int, entries: Int = 120) throws -> TestPartition {
    var test = try TestPartition(cacheBytesMax: 0)
    try test.apply(group(1), group(2), group(3, creator: 2, members: [2]))
    for number in 2...entries {
      var commands: [Command] = []
      for target in 1...3 where number % target == 0 {
        for part in 0..<(number % 5 == 0 ? 3 : 1) {
          commands.append(
            send("\(number)", to: target, by: target == 3 ? 2 : 1, id: "\(number)-\(part)"))
        }
      }
      _ = try test.apply(commands, at: UInt64(number))
      if number % checkpointEvery == 0 { test.checkpoint() }
    }
    return test
  }

  /// What each entry holds of conversations 1 and 2.
  private func expected(after: (Int, Int), entries: Int = 120) -> [(index: Int, count: Int)] {
    (1...entries).map { index in
      guard index > 1 else { return (1, (after.0 < 1 ? 1 : 0) + (after.1 < 1 ? 1 : 0)) }
      let each = index % 5 == 0 ? 3 : 1
      return (index, (index > after.0 ? each : 0) + (index > after.1 && index % 2 == 0 ? each : 0))
    }
  }

  @Test(arguments: [1, 3, 50, 1_000])
  func pagesHoldEveryChangeOnceInTheOrderOfTheLog(checkpointEvery: Int) throws {
    var test = try filled(checkpointEvery: checkpointEvery)
    for limit in [1, 2, 5, 64, 1_000] {
      for start in [(0, 0), (0, 57), (118, 3), (120, 119), (77, 78)] {
        try expectPages(&test, limit: limit, start: start)
      }
    }
  }

  private func expectPages(_ test: inout TestPartition, limit: Int, start: (Int, Int)) throws {
    var position = start
    var found: [Event] = []
    while true {
      let query = changes([(1, UInt64(position.0)), (2, UInt64(position.1)), (3, 0)], limit: limit)
      let page = try #require(try test.answer(query).changesPage)
      let whole = expected(after: position)
      let through = Int(page.through.rawValue)
      let due = whole.filter { $0.index <= through }.reduce(0) { $0 + $1.count }
      #expect(page.events.count == due)
      #expect(page.generation == 0)
      if page.events.count > limit {
        #expect(Set(page.events.map(\.index)).count == 1, "only a single entry exceeds the limit")
      }
      found += page.events
      guard page.more else {
        #expect(page.through == test.partition.appliedIndex)
        break
      }
      #expect(!page.events.isEmpty && page.through == page.events.last?.index)
      position = (max(position.0, through), max(position.1, through))
    }
    #expect(found.count == expected(after: start).reduce(0) { $0 + $1.count })
    #expect(zip(found, found.dropFirst()).allSatisfy { $0.index <= $1.index })
    for number in 1...2 {
      let sequences = found.filter { $0.conversation == conversation(number) }.sequences
      #expect(zip(sequences, sequences.dropFirst()).allSatisfy { $0 + 1 == $1 })
    }
  }

  @Test func aPositionAheadGivesNothing() throws {
    var test = try filled(checkpointEvery: 10)
    let page = try #require(try test.answer(changes([(1, 5_000), (2, .max)])).changesPage)
    #expect(page.events.isEmpty && !page.more && page.through == test.partition.appliedIndex)
  }

  @Test func anEntryThatExceedsTheLimitIsGivenWhole() throws {
    var test = try TestPartition()
    try test.apply(group(1))
    let commands = (0..<500).map { send("m", id: "\($0)") }
    _ = try test.apply(commands, at: 1)
    try test.apply(send("after", id: "x"))
    let page = try #require(try test.answer(changes([(1, 1)], limit: 10)).changesPage)
    #expect(page.events.count == 500 && page.through == LogIndex(2) && page.more)
    let next = try #require(try test.answer(changes([(1, 2)], limit: 10)).changesPage)
    #expect(next.events.texts == ["after"] && !next.more)
  }

  @Test func aPageIsBoundedInBytes() throws {
    var test = try TestPartition()
    try test.apply(group(1), group(2))
    let text = String(repeating: "x", count: ChatLimits.messageTextBytesMax)
    for number in 0..<40 {
      try test.apply(send(text, to: 1, id: "\(number)"), send(text, to: 2, id: "\(number)"))
      if number == 20 { test.checkpoint() }
    }
    var position: UInt64 = 1
    var counts: [Int] = []
    while true {
      let page = try #require(
        try test.answer(changes([(1, position), (2, position)])).changesPage)
      counts.append(page.events.count)
      position = page.through.rawValue
      guard page.more else { break }
    }
    #expect(counts == [14, 14, 14, 14, 14, 10])
  }

  @Test func requestsAreBounded() throws {
    var test = try TestPartition()
    let many = (0...ChatLimits.conversationsPerUserMax).map {
      (conversation: $0 + 1, after: UInt64(0))
    }
    #expect(try test.answer(changes(many)).refusal == .invalidArgument)
    #expect(try test.answer(changes([(1, 0)], limit: 0)).refusal == .invalidArgument)
  }

  @Test func aLongAbsenceIsFoundInManyBlocks() throws {
    var test = try TestPartition(cacheBytesMax: 0)
    try test.apply(group(1), group(2))
    for number in 0..<3_000 {
      try test.apply(send("\(number)", to: number % 7 == 0 ? 2 : 1, id: "\(number)"))
      if number % 3 == 0 { test.checkpoint() }
    }
    for after in [2, 3, 400, 1_501, 2_500, 2_990, 3_000, 3_001] {
      let page = try #require(
        try test.answer(changes([(2, UInt64(after))], limit: 5)).changesPage)
      let expected = (0..<3_000).filter { $0 % 7 == 0 && $0 + 2 > after }.prefix(5)
      #expect(page.events.texts == expected.map { String($0) })
    }
  }
}
