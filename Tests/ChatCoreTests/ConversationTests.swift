import ChatCore
import ChatModel
import NodeProtocol
import Primitives
import Testing

@Suite struct ConversationTests {
  @Test func aGroupBeginsWithItsCreationAsEventOne() throws {
    var test = try TestPartition()
    let results = try test.apply(group(1, members: [1, 2, 3]))
    #expect(results == [.conversationCreated(conversation: conversation(1), existed: false)])
    let events = test.events(test.deliveries)
    #expect(events.sequences == [1])
    #expect(events[0].index == LogIndex(1))
    #expect(
      events[0].content
        == .created(
          kind: .group, title: "tea", members: [member(1, .admin), member(2), member(3)]))
    #expect(test.deliveries.map(\.entity) == [.conversation(conversation(1))])
  }

  @Test func aCreationTellsEveryMembersPartition() throws {
    var test = try TestPartition()
    try test.apply(group(1, members: [1, 2]))
    let expected = [1, 2].map { number in
      Command.conversationListed(
        ConversationListed(
          user: user(number), conversation: conversation(1), removed: false,
          origin: OutboxOrigin(partition: PartitionID(7), index: LogIndex(1))))
    }
    #expect(test.outboxCommands == expected)
    let entries = test.partition.outbox.entries(after: nil, countMax: 10)
    #expect(entries.map(\.target) == [.user(user(1)), .user(user(2))])
    #expect(entries.map(\.id.ordinal) == [0, 1])
  }

  @Test func creatingTwiceFindsTheFirst() throws {
    var test = try TestPartition()
    let results = try test.apply(group(1), group(1, title: "other"))
    #expect(results[1] == .conversationCreated(conversation: conversation(1), existed: true))
    #expect(test.events(test.deliveries).count == 1)
    #expect(test.outboxCommands.count == 2)
  }

  @Test func theIdOfSomebodyElsesConversationIsTaken() throws {
    var test = try TestPartition()
    let results = try test.apply(group(1), group(1, creator: 5, members: [5, 6]))
    #expect(results[1].refusal == .alreadyExists)
  }

  @Test func bothSidesReachTheSameDirectConversation() throws {
    var test = try TestPartition()
    let results = try test.apply(direct(1, 2), direct(2, 1))
    let id = ConversationID(directBetween: user(1), and: user(2))
    #expect(results[0] == .conversationCreated(conversation: id, existed: false))
    #expect(results[1] == .conversationCreated(conversation: id, existed: true))
    let alone = try test.apply(direct(4, 4))
    #expect(alone[0].refusal == nil)
  }

  @Test(arguments: [
    // not the id of these two
    CreateConversation(
      conversation: conversation(9), kind: .direct, title: "", creator: user(1),
      members: [member(1), member(2)]),
    // three are no couple
    CreateConversation(
      conversation: ConversationID(directBetween: user(1), and: user(3)), kind: .direct, title: "",
      creator: user(1), members: [member(1), member(2), member(3)]),
    // direct conversations have no title
    CreateConversation(
      conversation: ConversationID(directBetween: user(1), and: user(2)), kind: .direct,
      title: "tea", creator: user(1), members: [member(1), member(2)]),
    CreateConversation(
      conversation: conversation(9), kind: .group, title: "", creator: user(1), members: []),
    // without its creator
    CreateConversation(
      conversation: conversation(9), kind: .group, title: "", creator: user(1),
      members: [member(2)]),
    // one of them twice
    CreateConversation(
      conversation: conversation(9), kind: .group, title: "", creator: user(1),
      members: [member(1), member(2), member(2)]),
    CreateConversation(
      conversation: conversation(9), kind: .group, title: "", creator: user(1),
      members: (1...257).map { member($0) }),
    CreateConversation(
      conversation: conversation(9), kind: .group, title: String(repeating: "t", count: 257),
      creator: user(1), members: [member(1)]),
  ])
  func aMalformedCreationIsRefusedAndLeavesNothing(create: CreateConversation) throws {
    var test = try TestPartition()
    let results = try test.apply(.createConversation(create))
    #expect(results[0].refusal == .invalidArgument)
    #expect(test.deliveries.isEmpty && test.partition.outbox.isEmpty)
  }

  @Test func sequencesHaveNoGapsWhateverIsRefused() throws {
    var test = try TestPartition()
    try test.apply(group(1))
    for number in 0..<50 {
      let results = try test.apply(
        send("", id: "empty\(number)"), send("hello", by: 9, id: "x\(number)"),
        send("hello", id: "m\(number)"), send("again", id: "m\(number)"))
      #expect(results[0].refusal == .invalidArgument)
      #expect(results[1].refusal == .notFound)
      #expect(results[2].sequence == UInt64(number + 2))
      #expect(
        results[3]
          == .messageSent(
            sequence: Sequence(UInt64(number + 2)), time: WallTime(milliseconds: test.time),
            repeated: true))
      #expect(test.events(test.deliveries).sequences == [UInt64(number + 2)])
    }
  }

  @Test func aForeignConversationLooksLikeAMissingOne() throws {
    var test = try TestPartition()
    try test.apply(group(1))
    let results = try test.apply(
      send("hi", to: 1, by: 9, id: "a"), send("hi", to: 2, by: 9, id: "a"),
      change(1, by: 9, add: [member(9)]), change(2, by: 9, add: [member(9)]))
    #expect(results[0] == results[1])
    #expect(results[2] == results[3])
    #expect(results.allSatisfy { $0.refusal == .notFound })
    let foreign = try test.answer(history(.latest, of: 1, by: 9))
    #expect(try test.answer(history(.latest, of: 2, by: 9)) == foreign)
  }

  @Test func textsAreBounded() throws {
    var test = try TestPartition()
    try test.apply(group(1))
    let largest = String(repeating: "x", count: ChatLimits.messageTextBytesMax)
    #expect(try test.apply(send(largest, id: "a"))[0].sequence == 2)
    #expect(try test.apply(send(largest + "x", id: "b"))[0].refusal == .invalidArgument)
  }

  @Test func timeNeverGoesBack() throws {
    var test = try TestPartition()
    _ = try test.apply([group(1)], at: 5_000)
    let results = try test.apply([send("hi", id: "a")], at: 4_000)
    #expect(
      results == [
        .messageSent(sequence: Sequence(2), time: WallTime(milliseconds: 5_000), repeated: false)
      ])
    test.checkpoint()
    try test.reopen()
    let later = try test.apply([send("ho", id: "b")], at: 3_000)
    #expect(
      later == [
        .messageSent(sequence: Sequence(3), time: WallTime(milliseconds: 5_000), repeated: false)
      ])
  }

  @Test func anEpochStartChangesNothingButThePosition() throws {
    var test = try TestPartition()
    #expect(try test.append([]).isEmpty)
    #expect(test.partition.appliedIndex == LogIndex(1))
    #expect(test.deliveries.isEmpty)
  }
}

@Suite struct MembershipTests {
  private func opened(_ members: [Int] = [1, 2, 3]) throws -> TestPartition {
    var test = try TestPartition()
    try test.apply(group(1, members: members))
    return test
  }

  @Test func anAdminAddsAndRemoves() throws {
    var test = try opened()
    let results = try test.apply(change(by: 1, add: [member(4)], remove: [2]))
    #expect(results == [.membersChanged(sequence: Sequence(2))])
    #expect(
      test.events(test.deliveries).map(\.content)
        == [.membersChanged(added: [member(4)], removed: [user(2)])])
    let after = try test.apply(send("a", by: 4, id: "1"), send("b", by: 2, id: "1"))
    #expect(after[0].sequence == 3)
    #expect(after[1].refusal == .notFound)
    #expect(
      test.outboxCommands.suffix(2) == [
        .conversationListed(
          ConversationListed(
            user: user(4), conversation: conversation(1), removed: false,
            origin: OutboxOrigin(partition: PartitionID(7), index: LogIndex(2)))),
        .conversationListed(
          ConversationListed(
            user: user(2), conversation: conversation(1), removed: true,
            origin: OutboxOrigin(partition: PartitionID(7), index: LogIndex(2)))),
      ])
  }

  @Test func onlyAdminsChangeOthersButAnyoneLeaves() throws {
    var test = try opened()
    #expect(try test.apply(change(by: 2, add: [member(4)]))[0].refusal == .permissionDenied)
    #expect(try test.apply(change(by: 2, remove: [3]))[0].refusal == .permissionDenied)
    #expect(
      try test.apply(change(by: 2, add: [member(4)], remove: [2]))[0].refusal == .permissionDenied)
    #expect(try test.apply(change(by: 2, remove: [2]))[0].sequence == 2)
    #expect(try test.apply(change(by: 2, remove: [2]))[0].refusal == .notFound)
  }

  @Test(arguments: [false, true])
  func whenTheLastAdminLeavesTheLowestIdIsPromoted(afterCheckpoint: Bool) throws {
    var test = try opened([1, 5, 3, 4])
    if afterCheckpoint {
      test.checkpoint()
      try test.reopen()
    }
    try test.apply(change(by: 1, remove: [1]))
    #expect(
      test.events(test.deliveries).map(\.content)
        == [.membersChanged(added: [member(3, .admin)], removed: [user(1)])])
    #expect(try test.apply(change(by: 3, remove: [5]))[0].sequence == 3)
    #expect(test.outboxCommands.count == 6, "a promotion is no listing")
  }

  @Test func aLaterAdminKeepsTheFirstFromBeingReplaced() throws {
    var test = try opened()
    try test.apply(change(by: 1, add: [member(3, .admin)]))
    #expect(
      test.events(test.deliveries).map(\.content)
        == [.membersChanged(added: [member(3, .admin)], removed: [])])
    try test.apply(change(by: 1, remove: [1]))
    #expect(
      test.events(test.deliveries).map(\.content)
        == [.membersChanged(added: [], removed: [user(1)])])
  }

  @Test func addingThoseWhoAreThereAndRemovingThoseWhoAreNotDoesNothing() throws {
    var test = try opened()
    let results = try test.apply(change(by: 1, add: [member(1), member(2)], remove: [8]))
    #expect(results == [.membersChanged(sequence: Sequence(1))])
    #expect(test.deliveries.isEmpty)
    #expect(try test.apply(change(by: 1, remove: [2]))[0].sequence == 2, "1 is still admin")
  }

  @Test func anEmptyGroupIsNobodys() throws {
    var test = try opened([1])
    #expect(try test.apply(change(by: 1, remove: [1]))[0].sequence == 2)
    #expect(try test.apply(change(by: 1, add: [member(1)]))[0].refusal == .notFound)
  }

  @Test func directConversationsAreFixed() throws {
    var test = try TestPartition()
    try test.apply(direct(1, 2))
    let id = ConversationID(directBetween: user(1), and: user(2))
    let results = try test.apply(
      .changeMembers(
        ChangeMembers(conversation: id, author: user(1), added: [], removed: [user(1)])))
    #expect(results[0].refusal == .failedPrecondition)
  }

  @Test func aChangeIsBoundedAndNamesEachOnce() throws {
    var test = try opened()
    let many = (10...266).map { member($0) }
    #expect(try test.apply(change(by: 1))[0].refusal == .invalidArgument)
    #expect(try test.apply(change(by: 1, add: many))[0].refusal == .invalidArgument)
    #expect(
      try test.apply(change(by: 1, add: [member(4)], remove: [4]))[0].refusal == .invalidArgument)
    #expect(
      try test.apply(change(by: 1, add: [member(4), member(4)]))[0].refusal == .invalidArgument)
  }

  @Test func aGroupIsBounded() throws {
    var test = try TestPartition(cacheBytesMax: 0)
    try test.apply(group(1, members: [1]))
    var next = 2
    while next <= ChatLimits.membersMax {
      let added = (next..<min(next + 256, ChatLimits.membersMax + 1)).map { member($0) }
      #expect(try test.apply(change(by: 1, add: added))[0].refusal == nil)
      next += added.count
      test.checkpoint()
    }
    let results = try test.apply(change(by: 1, add: [member(next)]))
    #expect(results[0].refusal == .resourceExhausted)
    #expect(try test.apply(change(by: 1, add: [member(next)], remove: [2]))[0].refusal == nil)
  }

  @Test func ofTwoChangesInOneEntryOnlyTheLastIsTold() throws {
    var test = try opened()
    try test.apply(change(by: 1, add: [member(4)]), change(by: 1, remove: [4]))
    let about4 = test.outboxCommands.compactMap { command in
      if case .conversationListed(let listed) = command, listed.user == user(4) {
        listed.removed
      } else {
        nil
      }
    }
    #expect(about4 == [true])
  }

  @Test func aStoredSendIsAnsweredAlikeAfterItsAuthorLeft() throws {
    var test = try opened()
    try test.apply(send("bye", by: 2, id: "last"))
    try test.apply(change(by: 2, remove: [2]))
    test.checkpoint()
    try test.reopen()
    let results = try test.apply(send("bye", by: 2, id: "last"), send("no", by: 2, id: "new"))
    #expect(results[0].sequence == 2 && results[0].isRepeated)
    #expect(results[1].refusal == .notFound)
  }
}
