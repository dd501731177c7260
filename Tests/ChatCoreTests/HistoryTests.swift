import ChatCore
import ChatModel
import Primitives
import Testing

@Suite struct HistoryTests {
  /// 300 messages, in blocks of 1 to 40 events; the newest 25 are not stored, and of those 15 are
  /// in a checkpoint that is being written.
  private func filled(reopened: Bool = false) throws -> TestPartition {
    var test = try TestPartition(cacheBytesMax: 0)
    try test.apply(group(1))
    var sizes = [1, 40, 3, 17, 2, 1, 1, 30]
    var untilCheckpoint = 5
    for number in 2...301 {
      try test.apply(send("m\(number)", id: "\(number)"))
      untilCheckpoint -= 1
      if number <= 276, untilCheckpoint <= 0 {
        test.checkpoint()
        sizes.append(sizes.removeFirst())
        untilCheckpoint = sizes[0]
      }
      if number == 276 { test.checkpoint() }
      if number == 291, !reopened { _ = test.partition.beginCheckpoint() }
    }
    if reopened { try test.reopen() }
    return test
  }

  @Test(arguments: [false, true])
  func everyRangeIsReadAlikeWhereverItLies(reopened: Bool) throws {
    var test = try filled(reopened: reopened)
    for limit in [1, 2, 7, 40, 200] {
      for from in 0...301 {
        let after = try #require(
          try test.answer(history(.after(Sequence(UInt64(from))), limit: limit)).historyPage)
        let above = (from + 1)..<min(from + 1 + limit, 302)
        #expect(after.events.sequences == above.map { UInt64($0) })
        #expect(after.head == Sequence(301))
        let before = try #require(
          try test.answer(history(.before(Sequence(UInt64(from))), limit: limit)).historyPage)
        let below = max(1, from - limit)..<max(1, from)
        #expect(before.events.sequences == below.map { UInt64($0) })
        for event in after.events + before.events where event.sequence != Sequence(1) {
          #expect(event.content == EventContent.message(text: "m\(event.sequence)"))
        }
      }
    }
  }

  @Test func theLatestEndWithTheHead() throws {
    var test = try filled()
    for limit in [1, 10, 26, 200] {
      let page = try #require(try test.answer(history(.latest, limit: limit)).historyPage)
      #expect(page.events.sequences == ((302 - limit)...301).map { UInt64($0) })
    }
  }

  @Test func positionsBeyondTheHeadAreHarmless() throws {
    var test = try filled()
    let after = try test.answer(history(.after(Sequence(.max)))).historyPage
    #expect(after?.events.isEmpty == true && after?.head == Sequence(301))
    let before = try test.answer(history(.before(Sequence(.max)), limit: 3)).historyPage
    #expect(before?.events.sequences == [299, 300, 301])
    #expect(try test.answer(history(.before(.zero))).historyPage?.events.isEmpty == true)
  }

  @Test func aPageIsBoundedInEventsAndInBytes() throws {
    var test = try TestPartition()
    try test.apply(group(1))
    #expect(try test.answer(history(.latest, limit: 0)).refusal == .invalidArgument)
    #expect(try test.answer(history(.latest, limit: 201)).refusal == .invalidArgument)
    let text = String(repeating: "x", count: ChatLimits.messageTextBytesMax)
    for number in 0..<40 {
      try test.apply(send(text, id: "\(number)"))
      if number % 9 == 0 { test.checkpoint() }
    }
    let after = try #require(try test.answer(history(.after(Sequence(1)))).historyPage)
    #expect(after.events.count == 15)
    #expect(after.events.sequences == (UInt64(2)...16).map { $0 })
    let latest = try #require(try test.answer(history(.latest)).historyPage)
    #expect(latest.events.sequences == (UInt64(27)...41).map { $0 })
  }

  @Test func authorsAndTimesSurviveStorage() throws {
    var test = try TestPartition(cacheBytesMax: 0)
    try test.apply(group(1, members: Array(1...40)))
    var expected: [Event] = test.events(test.deliveries)
    for number in 0..<200 {
      try test.apply(send("m\(number)", by: number * 7 % 40 + 1, id: "\(number)"))
      expected += test.events(test.deliveries)
      if number == 100 {
        try test.apply(change(by: 1, add: [member(50)], remove: [3, 4]))
        expected += test.events(test.deliveries)
        try test.apply(change(by: 1, add: [member(3), member(4)]))
        expected += test.events(test.deliveries)
      }
    }
    test.checkpoint()
    try test.reopen()
    let first = try #require(try test.answer(history(.after(.zero), limit: 200)).historyPage)
    let rest = try #require(try test.answer(history(.after(Sequence(200)))).historyPage)
    #expect(first.events + rest.events == expected)
  }

  @Test func strangersSeeNothing() throws {
    var test = try TestPartition()
    try test.apply(group(1))
    #expect(try test.answer(history(.latest, of: 1, by: 9)).refusal == .notFound)
    let summaries = Query.summaries(
      reader: user(9), conversations: [conversation(1), conversation(2)])
    #expect(try test.answer(summaries).summaryList == [])
    #expect(try test.answer(changes(by: 9, [(1, 0), (2, 0)])).changesPage?.events == [])
  }
}

@Suite struct SummaryTests {
  @Test(arguments: [false, true])
  func aSummaryShowsMembersInOrderAndTheLastEvent(stored: Bool) throws {
    var test = try TestPartition(cacheBytesMax: stored ? 0 : 1 << 20)
    try test.apply(group(1, members: Array((1...100).reversed()), title: "hundred"))
    try test.apply(group(2, members: [1, 2]), group(3, creator: 2, members: [2]))
    try test.apply(change(by: 1, add: [member(200)], remove: [5, 6]))
    try test.apply(send("last", id: "1"))
    let last = test.events(test.deliveries).last
    if stored {
      test.checkpoint()
      try test.reopen()
    }
    try test.apply(change(2, by: 1, add: [member(3)]))
    let query = Query.summaries(
      reader: user(1), conversations: [conversation(1), conversation(3), conversation(2)])
    let summaries = try #require(try test.answer(query).summaryList)
    #expect(summaries.map(\.conversation) == [conversation(1), conversation(2)])
    let numbers = [1, 2, 3, 4] + Array(7...100)
    let shown = numbers.prefix(64).map { member($0, $0 == 1 ? .admin : .member) }
    #expect(summaries[0].members == shown)
    #expect(summaries[0].memberCount == 99)
    #expect(summaries[0].title == "hundred" && summaries[0].head == Sequence(3))
    #expect(summaries[0].last == last)
    #expect(summaries[1].members.map(\.user) == [user(1), user(2), user(3)])
  }

  @Test func aQueryNamesABoundedNumber() throws {
    var test = try TestPartition()
    let many = (0...256).map { conversation($0 + 1) }
    let query = Query.summaries(reader: user(1), conversations: many)
    #expect(try test.answer(query).refusal == .invalidArgument)
  }
}
