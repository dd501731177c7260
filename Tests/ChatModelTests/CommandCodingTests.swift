import ChatModel
import Primitives
import Testing

/// One of each kind, with every field set, and their smallest forms.
enum Samples {
  static let alice = UserID(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10)
  static let bob = UserID(7)
  static let conversation = ConversationID(UInt128.max)
  static let device = DeviceID(0xfedc_ba98_7654_3210)
  static let hash = [UInt8](0..<32)
  static let otherHash = [UInt8](32..<64)
  static let origin = OutboxOrigin(partition: PartitionID(255), index: LogIndex(1 << 40))

  static func handle(_ text: String) -> Handle {
    guard let handle = Handle(text) else { preconditionFailure(text) }
    return handle
  }

  static func clientID(_ text: String) -> ClientMessageID {
    guard let id = ClientMessageID(text) else { preconditionFailure(text) }
    return id
  }

  static let members = [
    Member(user: alice, handle: handle("alice"), role: .admin),
    Member(user: bob, handle: handle("bob_b"), role: .member),
  ]

  static let commands: [Command] = [
    .createConversation(
      CreateConversation(
        conversation: conversation, kind: .group, title: "Tea & ünïcödé", creator: alice,
        members: members)),
    .createConversation(
      CreateConversation(
        conversation: ConversationID(directBetween: alice, and: bob), kind: .direct, title: "",
        creator: bob, members: [])),
    .sendMessage(
      SendMessage(
        conversation: conversation, sender: alice, device: device, clientID: clientID("a-1"),
        text: String(repeating: "schön ", count: 60))),
    .sendMessage(
      SendMessage(
        conversation: conversation, sender: alice, device: device, clientID: clientID("!"),
        text: "")),
    .changeMembers(
      ChangeMembers(conversation: conversation, author: alice, added: members, removed: [bob])),
    .changeMembers(
      ChangeMembers(conversation: conversation, author: alice, added: [], removed: [])),
    .createUser(
      CreateUser(
        user: alice, handle: handle("alice"), displayName: "Alice", passwordHash: "$argon2id$x")),
    .openSession(
      OpenSession(
        user: alice, device: device, deviceName: "phone", refreshTokenHash: hash,
        expires: WallTime(milliseconds: 1 << 41))),
    .rotateRefreshToken(
      RotateRefreshToken(
        user: alice, device: device, presentedHash: hash, newHash: otherHash, expires: .zero)),
    .closeSession(CloseSession(user: alice, device: device)),
    .claimHandle(ClaimHandle(handle: handle("bob_b"), user: bob, origin: origin)),
    .handleResolved(
      HandleResolved(user: bob, handle: handle("bob_b"), granted: true, origin: origin)),
    .handleResolved(
      HandleResolved(user: bob, handle: handle("bob_b"), granted: false, origin: origin)),
    .conversationListed(
      ConversationListed(user: bob, conversation: conversation, removed: true, origin: origin)),
    .conversationListed(
      ConversationListed(user: bob, conversation: conversation, removed: false, origin: origin)),
    .outboxConfirmed(
      OutboxConfirmed(entries: [
        OutboxEntryID(index: LogIndex(9), ordinal: 0),
        OutboxEntryID(index: LogIndex(1 << 50), ordinal: .max),
      ])),
    .outboxConfirmed(OutboxConfirmed(entries: [])),
    .partitionSplit(
      PartitionSplit(level: 3, replicaLimit: .max)),
    .partitionSplit(PartitionSplit(level: 1, replicaLimit: 0)),
    .generationBegan(1), .generationBegan(LogIndex.generationMax),
  ]

  static let contents: [EventContent] = [
    .message(text: "hello"), .message(text: String(repeating: "long ", count: 100)),
    .created(kind: .group, title: "tea", members: members),
    .created(kind: .direct, title: "", members: []),
    .membersChanged(added: members, removed: [alice, bob]),
    .membersChanged(added: [], removed: []), .titleChanged(title: "new"),
  ]

  static func event(_ content: EventContent) -> Event {
    Event(
      conversation: conversation, sequence: Sequence(300), time: WallTime(milliseconds: 1 << 40),
      author: alice, index: LogIndex(12_345), content: content)
  }
}

@Suite struct CommandCodingTests {
  @Test(arguments: Samples.commands)
  func aCommandComesBackAsItWas(command: Command) throws {
    #expect(try Command(decoding: command.encoded()[...]) == command)
  }

  /// A command is one length-delimited field, so every prefix of it is an error.
  @Test(arguments: Samples.commands)
  func aTruncatedCommandIsAnErrorAtEveryByte(command: Command) {
    let bytes = command.encoded()
    for length in bytes.indices {
      #expect(throws: ProtobufError.self) { try Command(decoding: bytes[..<length]) }
    }
  }

  @Test func mutatedCommandsNeverTrap() {
    let seed: UInt64 = 0xc0de
    print("CommandCodingTests seed \(seed)")
    var random = SeededRandom(seed: seed)
    var decoded = 0
    for command in Samples.commands {
      let bytes = command.encoded()
      for _ in 0..<2_000 {
        var mutated = bytes
        for _ in 0...Int.random(in: 0..<3, using: &random) {
          mutated[Int.random(in: 0..<mutated.count, using: &random)] = UInt8.random(
            in: 0...255, using: &random)
        }
        if let other = try? Command(decoding: mutated[...]) {
          decoded += 1
          #expect((try? Command(decoding: other.encoded()[...])) == other)
        }
      }
    }
    #expect(decoded > 1_000)
  }

  @Test func aCommandOfALaterVersionIsAnUnknownVariant() {
    var writer = ProtobufWriter()
    writer.message(99) { $0.uint(1, UInt64(1)) }
    #expect(throws: ProtobufError.unknownVariant) { try Command(decoding: writer.bytes[...]) }
    #expect(throws: ProtobufError.unknownVariant) { try Command(decoding: []) }
  }

  @Test func twoVariantsAreNoCommand() {
    let bytes = Samples.commands[0].encoded() + Samples.commands[2].encoded()
    #expect(throws: ProtobufError.unknownVariant) { try Command(decoding: bytes[...]) }
  }

  @Test func anUnknownFieldOfAKnownCommandIsSkipped() throws {
    let close = CloseSession(user: Samples.alice, device: Samples.device)
    var writer = ProtobufWriter()
    writer.message(7) {
      $0.identifier(1, close.user.rawValue)
      $0.string(14, "later")
      $0.fixed64(2, close.device.rawValue)
    }
    #expect(try Command(decoding: writer.bytes[...]) == .closeSession(close))
  }

  @Test func anIdentifierIsSixteenBytesAndNotZero() {
    for count in [0, 1, 15, 17] {
      var writer = ProtobufWriter()
      writer.message(7) {
        $0.element(1, [UInt8](repeating: 1, count: count))
        $0.fixed64(2, 5)
      }
      #expect(throws: ProtobufError.wrongLength(field: 1)) {
        try Command(decoding: writer.bytes[...])
      }
    }
    let nobody = Command.closeSession(CloseSession(user: UserID(0), device: DeviceID(1)))
    #expect(throws: ProtobufError.missingField(1)) {
      try Command(decoding: nobody.encoded()[...])
    }
  }

  @Test func tokenHashesHave32Bytes() {
    let open = OpenSession(
      user: Samples.alice, device: Samples.device, deviceName: "", refreshTokenHash: [1, 2, 3],
      expires: .zero)
    #expect(throws: ProtobufError.wrongLength(field: 4)) {
      try Command(decoding: Command.openSession(open).encoded()[...])
    }
  }

  @Test func everyCommandNamesWhomItChanges() {
    let entities = Samples.commands.map(\.entity)
    #expect(entities[2] == .conversation(Samples.conversation))
    #expect(entities[6] == .user(Samples.alice))
    #expect(entities[10] == .handle(Samples.handle("bob_b")))
    #expect(entities.last == .some(nil))
  }
}

@Suite struct EntryPayloadTests {
  @Test func aPayloadComesBackAsItWas() throws {
    let payload = EntryPayload(
      time: WallTime(milliseconds: 1_700_000_000_000),
      commands: Samples.commands.map { $0.encoded()[...] })
    let decoded = try EntryPayload(decoding: payload.encoded())
    #expect(decoded.time == payload.time)
    #expect(try decoded.commands.map { try Command(decoding: $0) } == Samples.commands)
    let empty = EntryPayload(time: .zero, commands: [])
    #expect(try EntryPayload(decoding: empty.encoded()) == empty)
  }

  @Test func anotherVersionIsRefused() {
    #expect(throws: ProtobufError.outOfRange(field: 1)) { try EntryPayload(decoding: [0x08, 2]) }
    #expect(throws: ProtobufError.outOfRange(field: 1)) { try EntryPayload(decoding: []) }
  }

  @Test func aTruncatedPayloadIsAnErrorOrHoldsFewerCommands() {
    let commands = Samples.commands.prefix(5).map { $0.encoded()[...] }
    let payload = EntryPayload(time: WallTime(milliseconds: 5), commands: commands)
    let bytes = payload.encoded()
    for length in bytes.indices {
      guard let shorter = try? EntryPayload(decoding: Array(bytes[..<length])) else { continue }
      #expect(shorter.commands.count < commands.count)
      #expect(zip(shorter.commands, commands).allSatisfy { $0 == $1 })
    }
  }
}

@Suite struct EventCodingTests {
  @Test(arguments: Samples.contents)
  func anEventComesBackAsItWas(content: EventContent) throws {
    let event = Samples.event(content)
    #expect(try Event(decoding: event.encoded()[...]) == event)
  }

  @Test(arguments: Samples.contents)
  func aTruncatedEventIsAnErrorAtEveryByte(content: EventContent) {
    let bytes = Samples.event(content).encoded()
    for length in bytes.indices {
      #expect(throws: ProtobufError.self) {
        try Event(decoding: bytes[..<length])
      }
    }
  }

  @Test func mutatedEventsNeverTrap() {
    let seed: UInt64 = 0xe7e7
    print("EventCodingTests seed \(seed)")
    var random = SeededRandom(seed: seed)
    var decoded = 0
    for content in Samples.contents {
      let bytes = Samples.event(content).encoded()
      for _ in 0..<2_000 {
        var mutated = bytes
        mutated[Int.random(in: 0..<mutated.count, using: &random)] = UInt8.random(
          in: 0...255, using: &random)
        if let other = try? Event(decoding: mutated[...]) {
          decoded += 1
          #expect((try? Event(decoding: other.encoded()[...])) == other)
        }
      }
    }
    #expect(decoded > 1_000)
  }
}
