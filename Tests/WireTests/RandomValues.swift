import ChatModel
import ClientProtocol
import ClusterModel
import Primitives

/// Random values of everything that is coded. Numbers favour the edges of varints; texts favour
/// what JSON has to escape.
struct RandomValues {
  var random: SeededRandom

  init(seed: UInt64) { random = SeededRandom(seed: seed) }

  mutating func below(_ bound: Int) -> Int { Int.random(in: 0..<bound, using: &random) }
  mutating func flag() -> Bool { below(2) == 0 }
  mutating func pick<Value>(_ values: [Value]) -> Value { values[below(values.count)] }

  mutating func list<Value>(_ countMax: Int, _ make: (inout Self) -> Value) -> [Value] {
    var values: [Value] = []
    for _ in 0..<below(countMax + 1) { values.append(make(&self)) }
    return values
  }

  mutating func maybe<Value>(_ make: (inout Self) -> Value) -> Value? { flag() ? make(&self) : nil }

  /// Any number of bits, so that every length of varint occurs; sometimes zero or the maximum.
  mutating func number() -> UInt64 {
    switch below(12) {
    case 0: 0
    case 1: .max
    default: random.next() >> UInt64(below(64))
    }
  }

  mutating func positive() -> UInt64 { max(1, number()) }
  mutating func number32() -> UInt32 { UInt32(truncatingIfNeeded: number()) }
  mutating func signed() -> Int64 { Int64(bitPattern: number()) }
  mutating func id128() -> UInt128 { UInt128(random.next()) << 64 | UInt128(random.next()) | 1 }
  mutating func bytes(_ count: Int) -> [UInt8] {
    var bytes: [UInt8] = []
    for _ in 0..<count { bytes.append(UInt8(truncatingIfNeeded: random.next())) }
    return bytes
  }

  mutating func text(_ charactersMax: Int = 40) -> String {
    let alphabet: [Character] = [
      "a", "Z", " ", "\"", "\\", "/", "\n", "\r", "\t", "\u{0}", "\u{8}", "\u{c}", "\u{1f}",
      "\u{7f}",
      "\u{80}", "\u{9f}", "\u{a0}", "\u{bf}", "é", "ß", "\u{2028}", "漢", "\u{ffff}", "😀",
      "\u{10ffff}",
    ]
    var text = ""
    for _ in 0..<below(charactersMax + 1) { text.append(pick(alphabet)) }
    return text
  }

  /// Now and then long enough to need a length of three bytes.
  mutating func messageText() -> String {
    below(10) == 0 ? String(repeating: "long text ", count: 20 + below(2_000)) : text()
  }
}

// MARK: Chat

extension RandomValues {
  mutating func conversation() -> ConversationID { ConversationID(id128()) }
  mutating func user() -> UserID { UserID(id128()) }
  mutating func device() -> DeviceID { DeviceID(positive()) }
  mutating func partition() -> PartitionID { PartitionID(number32()) }
  mutating func index() -> LogIndex { LogIndex(number()) }
  mutating func time() -> WallTime { WallTime(milliseconds: number()) }
  mutating func kind() -> ConversationKind { pick([.direct, .group]) }

  mutating func handle() -> Handle {
    let letters = Array("abcdefghijklmnopqrstuvwxyz0123456789")
    var text = ""
    for _ in 0..<3 + below(8) { text.append(pick(letters)) }
    for candidate in [text + "_" + text, text] {
      if let handle = Handle(candidate) { return handle }
    }
    preconditionFailure("not a handle: \(text)")
  }

  mutating func clientID() -> ClientMessageID {
    var text = ""
    for _ in 0..<1 + below(64) { text.append(Character(Unicode.Scalar(UInt8(33 + below(94))))) }
    guard let id = ClientMessageID(text) else { preconditionFailure("not an id: \(text)") }
    return id
  }

  mutating func member() -> Member {
    Member(user: user(), handle: handle(), role: pick([.member, .admin]))
  }

  mutating func members() -> [Member] { list(3) { $0.member() } }

  mutating func origin() -> OutboxOrigin { OutboxOrigin(partition: partition(), index: index()) }

  static let commandVariantCount = 13

  mutating func command(_ variant: Int) -> Command {
    switch variant {
    case 0:
      .createConversation(
        CreateConversation(
          conversation: conversation(), kind: kind(), title: text(), creator: user(),
          members: members()))
    case 1:
      .sendMessage(
        SendMessage(
          conversation: conversation(), sender: user(), device: device(), clientID: clientID(),
          text: messageText()))
    case 2:
      .changeMembers(
        ChangeMembers(
          conversation: conversation(), author: user(), added: members(),
          removed: list(3) { $0.user() }))
    case 3:
      .createUser(
        CreateUser(user: user(), handle: handle(), displayName: text(), passwordHash: text()))
    case 4:
      .openSession(
        OpenSession(
          user: user(), device: device(), deviceName: text(), refreshTokenHash: bytes(32),
          expires: time()))
    case 5:
      .rotateRefreshToken(
        RotateRefreshToken(
          user: user(), device: device(), presentedHash: bytes(32), newHash: bytes(32),
          expires: time()))
    case 6: .closeSession(CloseSession(user: user(), device: device()))
    case 7: .claimHandle(ClaimHandle(handle: handle(), user: user(), origin: origin()))
    case 8:
      .handleResolved(
        HandleResolved(user: user(), handle: handle(), granted: flag(), origin: origin()))
    case 9:
      .conversationListed(
        ConversationListed(
          user: user(), conversation: conversation(), removed: flag(), origin: origin()))
    case 11:
      .partitionSplit(
        PartitionSplit(level: 1 + UInt32(below(16)), replicaLimit: number32()))
    case 10: .generationBegan(number32() % (LogIndex.generationMax + 1))
    default:
      .outboxConfirmed(
        OutboxConfirmed(
          entries: list(4) { OutboxEntryID(index: $0.index(), ordinal: $0.number32()) }))
    }
  }

  static let eventVariantCount = 4

  mutating func eventContent(_ variant: Int) -> EventContent {
    switch variant {
    case 0: .message(text: messageText())
    case 1: .created(kind: kind(), title: text(), members: members())
    case 2: .membersChanged(added: members(), removed: list(3) { $0.user() })
    default: .titleChanged(title: text())
    }
  }

  mutating func event(_ variant: Int? = nil) -> Event {
    let content = eventContent(variant ?? below(Self.eventVariantCount))
    return Event(
      conversation: conversation(), sequence: Sequence(positive()), time: time(), author: user(),
      index: index(), content: content)
  }
}

// MARK: Cluster

extension RandomValues {
  mutating func replica() -> ReplicaID {
    ReplicaID(store: StoreID(positive()), number: number32() >> 1)
  }
  mutating func boot() -> BootID { BootID(positive()) }
  mutating func entryID() -> EntryID { EntryID(epoch: Epoch(number()), index: index()) }

  mutating func partitionRecord() -> PartitionRecord {
    PartitionRecord(
      epoch: Epoch(number()), leader: replica(), leaderBoot: BootID(number()),
      inSync: [replica()] + list(2) { $0.replica() }, target: list(3) { $0.replica() },
      nextReplica: .max, generation: number32(), origin: index())
  }

  mutating func nodeRecord() -> NodeRecord {
    NodeRecord(
      name: "node-\(below(100))", role: pick([.shard, .gateway]),
      store: maybe { StoreID($0.positive()) }, boot: BootID(number()),
      laneAddresses: list(3) { NodeAddress(host: "10.0.0.\($0.below(256))", port: 7_000) },
      operatorAddress: maybe { NodeAddress(host: "::1", port: UInt16(1 + $0.below(9_000))) },
      publicURLs: list(2) { "https://\($0.below(9)).example" }, zone: text(), weight: number32(),
      protocolVersion: number32())
  }

  mutating func ringMember() -> RingMember {
    RingMember(
      store: StoreID(positive()), name: text(), weight: 1 + UInt32(below(1_000)), zone: text(),
      isDrained: flag())
  }

  mutating func ringRecord() -> RingRecord {
    let stores = (0..<5).map { _ in StoreID(positive()) }
    let change = maybe { values in
      RingChange(
        number: values.number(), kind: values.pick(RingChange.Kind.allCases),
        subject: values.text(), startedAt: values.time(),
        formerMembers: values.list(3) { $0.ringMember() },
        moves: values.list(4) {
          RingMove(
            partition: $0.partition(), before: [$0.pick(stores), $0.pick(stores)],
            after: [$0.pick(stores)])
        }, isTurnedBack: values.flag())
    }
    var members: [RingMember] = []
    for member in list(4, { $0.ringMember() })
    where !members.contains(where: { $0.store == member.store }) {
      members.append(member)
    }
    return RingRecord(
      members: members, change: change, changeCount: number(),
      movesMax: 1 + UInt32(below(1_024)), bytesPerSecond: 65_536 + UInt64(below(1 << 30)),
      level: UInt32(below(17)))
  }

  mutating func clusterRecord() -> ClusterRecord {
    ClusterRecord(
      clusterID: id128(), partitionCount: 1 + UInt32(below(65_536)),
      replicaCount: 1 + UInt32(below(7)))
  }
}

// MARK: Clients

extension RandomValues {
  mutating func ref() -> String { flag() ? "" : String(below(1_000)) }

  mutating func cursor() -> Cursor {
    var next: UInt32 = 0
    let positions = list(6) { values in
      next += 1 + UInt32(values.below(9))
      return Cursor.Position(
        partition: PartitionID(next - 1), generation: values.number32(), index: values.index())
    }
    let user = Cursor.Position(partition: partition(), generation: number32(), index: index())
    return Cursor(user: user, positions: positions)
  }

  mutating func reference() -> MemberReference { flag() ? .user(user()) : .handle(handle()) }

  mutating func everyClientFrame() -> [ClientFrame] {
    let operations: [ClientOperation] = [
      .hello(Hello(token: text(), cursor: maybe { $0.cursor() }, events: flag())),
      .send(conversation: conversation(), id: clientID(), text: messageText()),
      .createConversation(
        CreateConversationRequest(
          kind: kind(), members: list(4) { $0.reference() }, title: text(20))),
      .changeMembers(
        conversation: conversation(), add: list(3) { $0.reference() },
        remove: list(3) { $0.reference() }),
      .listConversations(after: maybe { $0.conversation() }, limit: 1 + below(200)),
      .history(conversation: conversation(), range: range(), limit: 1 + below(200)),
      .ping,
    ]
    return operations.map { ClientFrame(ref: ref(), operation: $0) }
  }

  /// An event as a client knows it: without its log index, and with members that have names.
  mutating func clientEvent(_ variant: Int? = nil) -> Event {
    var event = event(variant)
    event.index = .zero
    return event
  }

  mutating func clientSummary() -> ConversationSummary {
    var summary = summary()
    summary.last?.index = .zero
    return summary
  }

  mutating func everyServerFrame() -> [ServerFrame] {
    var bodies: [ServerBody] = [
      .welcome(user: profile(), device: device()),
      .sent(
        conversation: conversation(), sequence: Sequence(number()), time: time(), repeated: flag()),
      .conversation(clientSummary(), existed: flag()),
      .membersChanged(conversation: conversation(), sequence: Sequence(number())),
      .conversations(items: list(3) { $0.clientSummary() }, next: maybe { $0.conversation() }),
      .history(
        conversation: conversation(),
        HistoryPage(events: list(3) { $0.clientEvent() }, head: Sequence(number()))),
      .pong, .error(serviceError()), .cursor(cursor()), .behind, .gap(conversation()), .draining,
    ]
    for variant in 0..<Self.eventVariantCount { bodies.append(.event(clientEvent(variant))) }
    return bodies.map { ServerFrame(ref: ref(), body: $0) }
  }
}
