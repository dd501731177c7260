import ChatModel
import Primitives
import Testing

@Suite struct IdentifierTests {
  private static let values: [UInt128] = [1, 31, 32, 1 << 64, UInt128.max - 1, .max]

  @Test(arguments: values)
  func identifiersOf128BitsReadTheirOwnText(value: UInt128) {
    let user = UserID(value)
    let conversation = ConversationID(value)
    #expect(UserID(user.description) == user)
    #expect(ConversationID(conversation.description) == conversation)
    #expect(user.description.count == 27 && user.description.first == "u")
    #expect(conversation.description.count == 27 && conversation.description.first == "c")
    #expect(UserID(user.bytes.reduce(UInt128(0)) { $0 << 8 | UInt128($1) }) == user)
  }

  @Test(arguments: [1, 31, UInt64.max])
  func devicesReadTheirOwnText(value: UInt64) {
    let device = DeviceID(value)
    #expect(DeviceID(device.description) == device)
    #expect(device.description.count == 14 && device.description.first == "d")
  }

  /// Zero is how a missing id looks where ids are coded.
  @Test func nobodyHasTheIdZero() {
    #expect(UserID(UserID(0).description) == nil)
    #expect(ConversationID(ConversationID(0).description) == nil)
    #expect(DeviceID(DeviceID(0).description) == nil)
  }

  @Test func textsOfOtherKindsAreRefused() {
    let text = UserID(5).description
    #expect(ConversationID(text) == nil)
    #expect(DeviceID(text) == nil)
    let others = [
      "", "u", "uu", String(text.dropLast()), text + "0", "u" + text, "é" + text.dropFirst(),
    ]
    for other in others {
      #expect(UserID(other) == nil)
    }
    #expect(UserID("u8" + String(repeating: "0", count: 25)) == nil, "does not fit into 128 bits")
    #expect(UserID("u7" + String(repeating: "z", count: 25)) == UserID(.max))
  }

  @Test func lookAlikesAreRead() {
    let text = UserID(1).description
    #expect(UserID("u" + String(repeating: "O", count: 25) + "I") == UserID(1))
    #expect(UserID("u" + text.dropFirst().uppercased()) == UserID(1))
  }

  @Test func theOrderOfTextsIsTheOrderOfNumbers() {
    var random = SeededRandom(seed: 3)
    let users = (0..<200).map { _ in UserID(UInt128.random(in: 0 ... .max, using: &random)) }
    #expect(users.sorted().map(\.description) == users.map(\.description).sorted())
  }

  @Test func aDirectConversationIsOfBothAlike() {
    let first = UserID(1)
    let second = UserID(2)
    let id = ConversationID(directBetween: first, and: second)
    #expect(id == ConversationID(directBetween: second, and: first))
    #expect(id != ConversationID(directBetween: first, and: UserID(3)))
    #expect(id != ConversationID(directBetween: first, and: first))
  }

  @Test func clientIdsAreShortPrintableASCII() {
    for text in ["a", "!", "~", String(repeating: "x", count: 64), "0b8f-1.2:3"] {
      #expect(ClientMessageID(text)?.text == text)
    }
    for text in ["", " ", "a b", "a\n", "é", "\u{7f}", String(repeating: "x", count: 65)] {
      #expect(ClientMessageID(text) == nil)
    }
    #expect(ClientMessageID("a")?.digest != ClientMessageID("b")?.digest)
  }

  @Test func entitiesOfDifferentKindsMayShareANumber() {
    let user = EntityID.user(UserID(9))
    let conversation = EntityID.conversation(ConversationID(9))
    #expect(user != conversation)
    #expect(user.token == conversation.token)
  }
}

@Suite struct HandleTests {
  @Test(arguments: [
    ("alice", "alice"), ("ALICE", "alice"), ("A-b_C.9", "a-b_c.9"), ("000", "000"),
    ("abcdefghijklmnopqrstuvwxyz012345", "abcdefghijklmnopqrstuvwxyz012345"),
  ])
  func aHandleIsLowered(raw: String, normal: String) throws {
    let handle = try #require(Handle(raw))
    #expect(handle.text == normal)
    #expect(Handle(handle.text) == handle)
  }

  @Test(arguments: [
    "", "ab", "abcdefghijklmnopqrstuvwxyz0123456", "-abc", "abc-", ".abc", "abc_", "a..b", "a-_b",
    "a b", "aé1", "ａｂｃ", "a\u{200b}bc", "a@b.c", "abc\n", "аbc", "a\0bc",
  ])
  func whatIsNotInTheTableIsRefused(raw: String) {
    #expect(Handle(raw) == nil)
  }

  @Test func everyByteIsEitherKeptLoweredOrRefused() {
    for byte in UInt8.min...UInt8.max {
      let raw = "a" + String(UnicodeScalar(byte)) + "z"
      let scalar = UnicodeScalar(byte)
      let isKept =
        ("a"..."z").contains(scalar) || ("A"..."Z").contains(scalar)
        || ("0"..."9").contains(scalar) || ["_", "-", "."].contains(scalar)
      #expect((Handle(raw) != nil) == isKept, "\(byte)")
      if isKept { #expect(Handle(raw)?.text == raw.lowercased()) }
    }
  }
}

@Suite struct ServiceErrorTests {
  @Test func everyCodeHasANameAndAStatus() {
    #expect(Set(ServiceErrorCode.allCases.map(\.name)).count == ServiceErrorCode.allCases.count)
    #expect(ServiceErrorCode.allCases.allSatisfy { (400..<600).contains($0.httpStatus) })
    #expect(ServiceErrorCode.allCases.map(\.rawValue) == Array(3...16))
  }

  @Test func onlyPassingRefusalsMayBeRetried() {
    #expect(ServiceError.unavailable("").retryable && ServiceError.overloaded("").retryable)
    #expect(!ServiceError(.notFound, "").retryable)
  }
}

@Suite struct QueryTests {
  @Test func aQueryNamesWhomItReads() {
    let conversation = ConversationID(4)
    #expect(Query.user(UserID(3)).entity == .user(UserID(3)))
    #expect(Query.credentials(UserID(3)).entity == .user(UserID(3)))
    #expect(
      Query.conversationList(user: UserID(3), after: nil, limit: 1).entity == .user(UserID(3)))
    #expect(
      Query.history(
        HistoryQuery(conversation: conversation, reader: UserID(3), range: .latest, limit: 1)
      ).entity == .conversation(conversation))
    #expect(
      Query.summaries(reader: UserID(3), conversations: [conversation]).entity
        == .conversation(conversation))
    #expect(Query.summaries(reader: UserID(3), conversations: []).entity == nil)
    #expect(
      Query.changes(
        ChangesQuery(
          reader: UserID(3),
          requests: [ChangesQuery.Request(conversation: conversation, after: .zero)], limit: 1)
      ).entity == .conversation(conversation))
  }
}
