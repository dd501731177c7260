import ChatCore
import ChatModel
import NodeProtocol
import Primitives
import Testing
import WalkSupport

@Suite struct AccountTests {
  /// Delivers everything in the outbox to the same partition, until nothing is left.
  static func deliverOutbox(_ test: inout TestPartition) throws {
    while let entry = test.partition.outbox.entries(after: nil, countMax: 1).first {
      let command = try Command(decoding: entry.command[...])
      try test.apply(command)
      try test.apply(.outboxConfirmed(OutboxConfirmed(entries: [entry.id])))
    }
  }

  @Test func anAccountIsPendingUntilItsHandleIsGranted() throws {
    var test = try TestPartition()
    #expect(try test.apply(createUser(1)) == [.userPending])
    #expect(try test.apply(createUser(1)) == [.userPending])
    #expect(
      test.outboxCommands == [
        .claimHandle(
          ClaimHandle(
            handle: handle("user1"), user: user(1),
            origin: OutboxOrigin(partition: PartitionID(7), index: LogIndex(1))))
      ])
    #expect(try test.answer(.user(user(1))) == .user(nil))
    #expect(try test.answer(.credentials(user(1))) == .credentials(nil))
    try Self.deliverOutbox(&test)
    #expect(try test.apply(createUser(1)) == [.userActive(user(1))])
    #expect(try test.answer(.handle(handle("user1"))) == .handle(user(1)))
    let profile = UserProfile(user: user(1), handle: handle("user1"), displayName: "User 1")
    #expect(try test.answer(.user(user(1))) == .user(profile))
    #expect(
      try test.answer(.credentials(user(1)))
        == .credentials(UserCredentials(profile: profile, passwordHash: "$argon2id$1")))
  }

  @Test(arguments: [false, true])
  func ofTwoWhoWantAHandleTheFirstClaimWins(inOneEntry: Bool) throws {
    var test = try TestPartition()
    if inOneEntry {
      try test.apply(createUser(1, handle: "bob"), createUser(2, handle: "bob"))
    } else {
      try test.apply(createUser(1, handle: "bob"))
      try test.apply(createUser(2, handle: "Bob"))
    }
    let claims = test.outboxCommands
    #expect(claims.count == 2)
    try test.apply(claims[1])
    try test.apply(claims[0])
    try test.apply(claims[0], claims[1])
    try Self.deliverOutbox(&test)
    #expect(try test.apply(createUser(2, handle: "bob")) == [.userActive(user(2))])
    #expect(try test.apply(createUser(1, handle: "bob"))[0].refusal == .alreadyExists)
    #expect(try test.answer(.handle(handle("bob"))) == .handle(user(2)))
    #expect(try test.answer(.user(user(1))) == .user(nil))
  }

  @Test func anActiveAccountIgnoresALateRefusal() throws {
    var test = try TestPartition()
    try test.apply(createUser(1))
    try Self.deliverOutbox(&test)
    let origin = OutboxOrigin(partition: PartitionID(1), index: LogIndex(99))
    try test.apply(
      .handleResolved(
        HandleResolved(user: user(1), handle: handle("user1"), granted: false, origin: origin)),
      .handleResolved(
        HandleResolved(user: user(5), handle: handle("user5"), granted: true, origin: origin)))
    #expect(try test.apply(createUser(1)) == [.userActive(user(1))])
    #expect(try test.answer(.user(user(5))) == .user(nil))
  }

  @Test func anIdIsUsedOnceAndFieldsAreBounded() throws {
    var test = try TestPartition()
    try test.apply(createUser(1))
    #expect(try test.apply(createUser(1, handle: "other"))[0].refusal == .alreadyExists)
    let long = CreateUser(
      user: user(2), handle: handle("user2"), displayName: String(repeating: "n", count: 129),
      passwordHash: "x")
    #expect(try test.apply(.createUser(long))[0].refusal == .invalidArgument)
    let open = CreateUser(
      user: user(2), handle: handle("user2"), displayName: "n", passwordHash: "")
    #expect(try test.apply(.createUser(open))[0].refusal == .invalidArgument)
  }

  @Test func aDeletedAccountStaysDeletedAfterAReload() throws {
    var test = try TestPartition()
    try test.apply(createUser(1, handle: "bob"), createUser(2, handle: "bob"))
    try Self.deliverOutbox(&test)
    test.checkpoint()
    try test.reopen()
    #expect(try test.apply(createUser(2, handle: "bob"))[0].refusal == .alreadyExists)
    #expect(try test.apply(openSession(2, device: 1, token: 1))[0].refusal == .notFound)
  }
}

@Suite struct SessionTests {
  private func opened() throws -> TestPartition {
    var test = try TestPartition()
    try test.apply(createUser(1))
    try AccountTests.deliverOutbox(&test)
    return test
  }

  @Test func onlyActiveAccountsLogIn() throws {
    var test = try TestPartition()
    #expect(try test.apply(openSession(1, device: 1, token: 1))[0].refusal == .notFound)
    try test.apply(createUser(1))
    #expect(try test.apply(openSession(1, device: 1, token: 1))[0].refusal == .failedPrecondition)
    try AccountTests.deliverOutbox(&test)
    #expect(try test.apply(openSession(1, device: 1, token: 1)) == [.sessionOpened])
    #expect(try test.apply(openSession(1, device: 1, token: 1)) == [.sessionOpened])
  }

  @Test func aTokenIsReplacedOnce() throws {
    var test = try opened()
    try test.apply(openSession(1, device: 1, token: 1))
    #expect(try test.apply(rotate(1, device: 1, from: 1, to: 2)) == [.refreshTokenRotated])
    test.checkpoint()
    try test.reopen()
    #expect(try test.apply(rotate(1, device: 1, from: 2, to: 3)) == [.refreshTokenRotated])
  }

  @Test func theSameRotationTwiceIsNoTheft() throws {
    var test = try opened()
    try test.apply(openSession(1, device: 1, token: 1), rotate(1, device: 1, from: 1, to: 2))
    #expect(try test.apply(rotate(1, device: 1, from: 1, to: 2)) == [.refreshTokenRotated])
    #expect(test.deliveries.isEmpty)
  }

  @Test func theSameRotationIsTheftWhenItComesTooLate() throws {
    for (late, refusal) in [(60_000, nil), (60_001, ServiceErrorCode.unauthenticated)] {
      var test = try opened()
      try test.apply(openSession(1, device: 1, token: 1))
      try test.apply(rotate(1, device: 1, from: 1, to: 2, expires: 1_000_000))
      let again = rotate(1, device: 1, from: 1, to: 2, expires: 1_000_000 + UInt64(late))
      #expect(try test.apply(again)[0].refusal == refusal)
    }
  }

  @Test func aReplacedTokenEndsTheSession() throws {
    var test = try opened()
    try test.apply(openSession(1, device: 1, token: 1), rotate(1, device: 1, from: 1, to: 2))
    #expect(try test.apply(rotate(1, device: 1, from: 1, to: 3))[0].refusal == .unauthenticated)
    #expect(
      test.deliveries
        == [
          ApplyOutput.AddressedDelivery(
            entity: .user(user(1)), content: .sessionClosed(user: user(1), device: device(1)))
        ])
    #expect(try test.apply(rotate(1, device: 1, from: 2, to: 4))[0].refusal == .unauthenticated)
  }

  @Test func anUnknownTokenIsRefusedAndTheSessionStays() throws {
    var test = try opened()
    try test.apply(openSession(1, device: 1, token: 1))
    let results = try test.apply(
      rotate(1, device: 1, from: 9, to: 2), rotate(1, device: 2, from: 1, to: 2),
      rotate(3, device: 1, from: 1, to: 2))
    #expect(results.allSatisfy { $0.refusal == .unauthenticated })
    #expect(test.deliveries.isEmpty)
    #expect(try test.apply(rotate(1, device: 1, from: 1, to: 2)) == [.refreshTokenRotated])
  }

  @Test func anExpiredTokenEndsTheSession() throws {
    var test = try opened()
    _ = try test.apply([openSession(1, device: 1, token: 1, expires: 9_000)], at: 8_000)
    let fresh = try test.apply(
      [rotate(1, device: 1, from: 1, to: 2, expires: 9_500)], at: 8_999)
    #expect(fresh == [.refreshTokenRotated])
    let stale = try test.apply([rotate(1, device: 1, from: 2, to: 3)], at: 9_500)
    #expect(stale[0].refusal == .unauthenticated)
    #expect(test.deliveries.count == 1)
  }

  @Test func loggingOutIsIdempotent() throws {
    var test = try opened()
    let close = Command.closeSession(CloseSession(user: user(1), device: device(1)))
    try test.apply(openSession(1, device: 1, token: 1))
    test.checkpoint()
    #expect(try test.apply(close) == [.sessionClosed])
    #expect(test.deliveries.count == 1)
    #expect(try test.apply(close) == [.sessionClosed])
    #expect(test.deliveries.isEmpty)
    test.checkpoint()
    try test.reopen()
    #expect(try test.apply(rotate(1, device: 1, from: 1, to: 2))[0].refusal == .unauthenticated)
  }

  @Test func oneDeviceTooManyEndsTheLongestUnused() throws {
    var test = try opened()
    for number in 1...ChatLimits.devicesPerUserMax {
      try test.apply(openSession(1, device: number, token: number))
    }
    try test.apply(rotate(1, device: 1, from: 1, to: 200))
    try test.apply(openSession(1, device: 100, token: 100))
    #expect(
      test.deliveries.map(\.content) == [.sessionClosed(user: user(1), device: device(2))])
    #expect(try test.apply(rotate(1, device: 2, from: 2, to: 201))[0].refusal == .unauthenticated)
    #expect(try test.apply(rotate(1, device: 1, from: 200, to: 202)) == [.refreshTokenRotated])
  }

  @Test func deviceNamesAreBounded() throws {
    var test = try opened()
    let open = OpenSession(
      user: user(1), device: device(1), deviceName: String(repeating: "d", count: 65),
      refreshTokenHash: token(1), expires: WallTime(milliseconds: 9))
    #expect(try test.apply(.openSession(open))[0].refusal == .invalidArgument)
  }
}

@Suite struct ListingTests {
  private func list(_ test: inout TestPartition) throws -> [ListedConversation] {
    let query = Query.conversationList(user: user(1), after: nil, limit: 100)
    return try #require(try test.answer(query).listPage).conversations
  }

  @Test func onlyANewerOriginChangesAListing() throws {
    var test = try TestPartition()
    try test.apply(listed(1, 5, origin: 10))
    #expect(
      try list(&test)
        == [
          ListedConversation(
            conversation: conversation(5), joined: LogIndex(10), listed: LogIndex(1))
        ])
    #expect(
      test.deliveries.map(\.content) == [
        .listed(
          user: user(1),
          conversation: ListedConversation(
            conversation: conversation(5), joined: LogIndex(10), listed: LogIndex(1)),
          removed: false)
      ])
    try test.apply(listed(1, 5, origin: 10), listed(1, 5, removed: true, origin: 9))
    #expect(test.deliveries.isEmpty)
    #expect(try list(&test).count == 1)
  }

  @Test(arguments: [false, true])
  func aLateListingDoesNotUndoARemoval(reloaded: Bool) throws {
    var test = try TestPartition()
    try test.apply(listed(1, 5, removed: true, origin: 12))
    #expect(test.deliveries.isEmpty)
    if reloaded {
      test.checkpoint()
      try test.reopen()
    }
    try test.apply(listed(1, 5, origin: 10))
    #expect(try list(&test).isEmpty)
    try test.apply(listed(1, 5, origin: 13))
    #expect(try list(&test).map(\.joined) == [LogIndex(13)])
    try test.apply(listed(1, 5, removed: true, origin: 14))
    #expect(test.deliveries.count == 1)
    #expect(try list(&test).isEmpty)
  }

  @Test func pagesFollowTheIdsAcrossStoredAndNewRecords() throws {
    var test = try TestPartition()
    for number in stride(from: 1, through: 299, by: 2) {
      try test.apply(listed(1, number, origin: UInt64(number)))
    }
    test.checkpoint()
    for number in stride(from: 2, through: 300, by: 2) {
      try test.apply(listed(1, number, origin: UInt64(number)))
    }
    for number in stride(from: 3, through: 300, by: 3) {
      try test.apply(listed(1, number, removed: true, origin: 1_000))
    }
    try test.apply(listed(2, 1, origin: 5))
    let frozen = test.partition.beginCheckpoint()
    try test.apply(listed(1, 301, origin: 1), listed(1, 4, removed: true, origin: 2_000))
    let expected = (1...301).filter { ($0 % 3 != 0 && $0 != 4) || $0 == 301 }
    for limit in [1, 7, 128, 1_000] {
      #expect(try pages(&test, limit: limit) == expected)
    }
    test.state.write(frozen)
    test.partition.checkpointWritten()
    #expect(try pages(&test, limit: 50) == expected)
    test.checkpoint()
    try test.reopen()
    #expect(try pages(&test, limit: 50) == expected)
  }

  private func pages(_ test: inout TestPartition, limit: Int) throws -> [Int] {
    var found: [Int] = []
    while true {
      let query = Query.conversationList(
        user: user(1), after: found.last.map { conversation($0) }, limit: limit)
      let page = try #require(try test.answer(query).listPage)
      found += page.conversations.map { Int($0.conversation.rawValue >> 64) }
      #expect(page.applied == test.partition.appliedIndex && page.generation == 0)
      guard page.more else { return found }
      #expect(page.conversations.count == limit)
    }
  }

  @Test func aPageIsBounded() throws {
    var test = try TestPartition()
    for limit in [0, -1, 1_001] {
      let query = Query.conversationList(user: user(1), after: nil, limit: limit)
      #expect(try test.answer(query).refusal == .invalidArgument)
    }
    let last = ConversationID(.max)
    let query = Query.conversationList(user: user(1), after: last, limit: 10)
    #expect(try test.answer(query).listPage?.conversations.isEmpty == true)
  }

  @Test func aListIsBoundedAndARemovalMakesRoom() throws {
    var test = try TestPartition(cacheBytesMax: 0)
    for number in 1...ChatLimits.conversationsPerUserMax {
      try test.apply(listed(1, number, origin: 1))
      if number % 4_096 == 0 { test.checkpoint() }
    }
    test.checkpoint()
    try test.reopen()
    let tooMany = ChatLimits.conversationsPerUserMax + 1
    #expect(try test.apply(listed(1, tooMany, origin: 1))[0].refusal == .resourceExhausted)
    #expect(try test.apply(listed(1, 3, removed: true, origin: 2)) == [.done])
    #expect(try test.apply(listed(1, tooMany, origin: 1)) == [.done])
  }
}
