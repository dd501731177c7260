package import Primitives

extension Command {
  /// The bytes of `martlet.v1.Command`.
  package func encoded() -> [UInt8] {
    var writer = ProtobufWriter(reservingBytes: 224)
    encode(into: &writer)
    return writer.bytes
  }

  package func encode(into writer: inout ProtobufWriter) {
    switch self {
    case .createConversation(let command):
      writer.message(1) {
        $0.identifier(1, command.conversation.rawValue)
        $0.uint(2, command.kind.rawValue)
        $0.string(3, command.title)
        $0.identifier(4, command.creator.rawValue)
        for member in command.members { $0.message(5) { member.encode(into: &$0) } }
      }
    case .sendMessage(let command):
      writer.message(2) {
        $0.identifier(1, command.conversation.rawValue)
        $0.identifier(2, command.sender.rawValue)
        $0.fixed64(3, command.device.rawValue)
        $0.string(4, command.clientID.text)
        $0.string(5, command.text)
      }
    case .changeMembers(let command):
      writer.message(3) {
        $0.identifier(1, command.conversation.rawValue)
        $0.identifier(2, command.author.rawValue)
        for member in command.added { $0.message(3) { member.encode(into: &$0) } }
        for user in command.removed { $0.element(4, user.bytes) }
      }
    case .createUser(let command):
      writer.message(4) {
        $0.identifier(1, command.user.rawValue)
        $0.string(2, command.handle.text)
        $0.string(3, command.displayName)
        $0.string(4, command.passwordHash)
      }
    case .openSession(let command):
      writer.message(5) {
        $0.identifier(1, command.user.rawValue)
        $0.fixed64(2, command.device.rawValue)
        $0.string(3, command.deviceName)
        $0.data(4, command.refreshTokenHash)
        $0.uint(5, command.expires.milliseconds)
      }
    case .rotateRefreshToken(let command):
      writer.message(6) {
        $0.identifier(1, command.user.rawValue)
        $0.fixed64(2, command.device.rawValue)
        $0.data(3, command.presentedHash)
        $0.data(4, command.newHash)
        $0.uint(5, command.expires.milliseconds)
      }
    case .closeSession(let command):
      writer.message(7) {
        $0.identifier(1, command.user.rawValue)
        $0.fixed64(2, command.device.rawValue)
      }
    case .claimHandle(let command):
      writer.message(8) {
        $0.string(1, command.handle.text)
        $0.identifier(2, command.user.rawValue)
        $0.message(3) { command.origin.encode(into: &$0) }
      }
    case .handleResolved(let command):
      writer.message(9) {
        $0.identifier(1, command.user.rawValue)
        $0.string(2, command.handle.text)
        $0.bool(3, command.granted)
        $0.message(4) { command.origin.encode(into: &$0) }
      }
    case .conversationListed(let command):
      writer.message(10) {
        $0.identifier(1, command.user.rawValue)
        $0.identifier(2, command.conversation.rawValue)
        $0.bool(3, command.removed)
        $0.message(4) { command.origin.encode(into: &$0) }
      }
    case .outboxConfirmed(let command):
      writer.message(11) {
        for entry in command.entries {
          $0.message(1) {
            $0.uint(1, entry.index.rawValue)
            $0.uint(2, entry.ordinal)
          }
        }
      }
    case .generationBegan(let generation):
      writer.message(12) { $0.uint(1, generation) }
    case .partitionSplit(let command):
      writer.message(13) { command.encode(into: &$0) }
    }
  }

  /// **Throws**: `ProtobufError.unknownVariant` for a command of a later version; another case when
  /// the bytes are no command.
  package init(decoding bytes: ArraySlice<UInt8>) throws(ProtobufError) {
    self = try ProtobufScanner.read(bytes) { reader throws(ProtobufError) in
      try Command(decoding: &reader)
    }
  }

  private init(decoding reader: inout ProtobufScanner) throws(ProtobufError) {
    var found: Command?
    while let field = try reader.next() {
      guard found == nil else { throw .unknownVariant }
      let body = try field.reader()
      if field.number == 2 {
        found = .sendMessage(try SendMessage(decoding: body))
        continue
      }
      var fields = CommandFields()
      switch field.number {
      case 1: found = .createConversation(try fields.createConversation(body))
      case 3: found = .changeMembers(try fields.changeMembers(body))
      case 4: found = .createUser(try fields.createUser(body))
      case 5: found = .openSession(try fields.openSession(body))
      case 6: found = .rotateRefreshToken(try fields.rotateRefreshToken(body))
      case 7: found = .closeSession(try fields.closeSession(body))
      case 8: found = .claimHandle(try fields.claimHandle(body))
      case 9: found = .handleResolved(try fields.handleResolved(body))
      case 10: found = .conversationListed(try fields.conversationListed(body))
      case 11: found = .outboxConfirmed(try fields.outboxConfirmed(body))
      case 12: found = .generationBegan(try fields.generationBegan(body))
      case 13: found = .partitionSplit(try PartitionSplit(decoding: body))
      default: throw .unknownVariant
      }
    }
    guard let found else { throw .unknownVariant }
    self = found
  }
}

extension UserID {
  /// 16 bytes, big-endian.
  package var bytes: [UInt8] { withUnsafeBytes(of: rawValue.bigEndian) { Array($0) } }
}

extension OutboxOrigin {
  func encode(into writer: inout ProtobufWriter) {
    writer.uint(1, partition.rawValue)
    writer.uint(2, index.rawValue)
  }

  init(decoding reader: ProtobufScanner) throws(ProtobufError) {
    var reader = reader
    self.init(partition: PartitionID(0), index: .zero)
    while let field = try reader.next() {
      switch field.number {
      case 1: partition = PartitionID(try field.uint32())
      case 2: index = LogIndex(try field.uint64())
      default: break
      }
    }
  }
}

extension SendMessage {
  fileprivate init(decoding body: ProtobufScanner) throws(ProtobufError) {
    var body = body
    var conversation: UInt128 = 0
    var sender: UInt128 = 0
    var device: UInt64 = 0
    var clientID: ClientMessageID?
    var text = ""
    while let field = try body.next() {
      switch field.number {
      case 1: conversation = try field.identifier()
      case 2: sender = try field.identifier()
      case 3: device = try field.fixed64()
      case 4: clientID = try field.withBytes { ClientMessageID(ascii: $0) }
      case 5: text = try field.string()
      default: break
      }
    }
    guard conversation != 0 else { throw .missingField(1) }
    guard sender != 0 else { throw .missingField(2) }
    guard device != 0 else { throw .missingField(3) }
    guard let clientID else { throw .missingField(4) }
    self.init(
      conversation: ConversationID(conversation), sender: UserID(sender),
      device: DeviceID(device), clientID: clientID, text: text)
  }
}

/// The union of all fields of commands while one is read, so that each variant names only its own.
/// `SendMessage` is read without it: making and unmaking it costs as much as reading the message.
private struct CommandFields {
  private var conversation: UInt128 = 0
  private var user: UInt128 = 0
  private var device: UInt64 = 0
  private var handle: Handle?
  private var clientID: ClientMessageID?
  private var text = ""
  private var secret = ""
  private var kind: ConversationKind?
  private var members: [Member] = []
  private var users: [UserID] = []
  private var hash: [UInt8] = []
  private var newHash: [UInt8] = []
  private var time = WallTime.zero
  private var flag = false
  private var origin: OutboxOrigin?
  private var entries: [OutboxEntryID] = []

  private static let sha256Bytes = 32

  private func requireConversation() throws(ProtobufError) -> ConversationID {
    guard conversation != 0 else { throw .missingField(1) }
    return ConversationID(conversation)
  }

  private func requireUser(_ field: Int) throws(ProtobufError) -> UserID {
    guard user != 0 else { throw .missingField(field) }
    return UserID(user)
  }

  private func requireDevice(_ field: Int) throws(ProtobufError) -> DeviceID {
    guard device != 0 else { throw .missingField(field) }
    return DeviceID(device)
  }

  private func requireHandle(_ field: Int) throws(ProtobufError) -> Handle {
    guard let handle else { throw .missingField(field) }
    return handle
  }

  private func requireOrigin(_ field: Int) throws(ProtobufError) -> OutboxOrigin {
    guard let origin else { throw .missingField(field) }
    return origin
  }

  private func requireHash(_ bytes: [UInt8], _ field: Int) throws(ProtobufError) -> [UInt8] {
    guard bytes.count == Self.sha256Bytes else { throw .wrongLength(field: field) }
    return bytes
  }

  mutating func createConversation(_ body: ProtobufScanner) throws(ProtobufError)
    -> CreateConversation
  {
    var body = body
    while let field = try body.next() {
      switch field.number {
      case 1: conversation = try field.identifier()
      case 2: kind = ConversationKind(rawValue: try field.uint32())
      case 3: text = try field.string()
      case 4: user = try field.identifier()
      case 5: members.append(try Member(decoding: try field.reader()))
      default: break
      }
    }
    guard let kind else { throw .missingField(2) }
    return CreateConversation(
      conversation: try requireConversation(), kind: kind, title: text,
      creator: try requireUser(4), members: members)
  }

  mutating func changeMembers(_ body: ProtobufScanner) throws(ProtobufError) -> ChangeMembers {
    var body = body
    while let field = try body.next() {
      switch field.number {
      case 1: conversation = try field.identifier()
      case 2: user = try field.identifier()
      case 3: members.append(try Member(decoding: try field.reader()))
      case 4: users.append(UserID(try field.identifier()))
      default: break
      }
    }
    return ChangeMembers(
      conversation: try requireConversation(), author: try requireUser(2), added: members,
      removed: users)
  }

  mutating func createUser(_ body: ProtobufScanner) throws(ProtobufError) -> CreateUser {
    var body = body
    while let field = try body.next() {
      switch field.number {
      case 1: user = try field.identifier()
      case 2: handle = Handle(try field.string())
      case 3: text = try field.string()
      case 4: secret = try field.string()
      default: break
      }
    }
    return CreateUser(
      user: try requireUser(1), handle: try requireHandle(2), displayName: text,
      passwordHash: secret)
  }

  mutating func openSession(_ body: ProtobufScanner) throws(ProtobufError) -> OpenSession {
    var body = body
    while let field = try body.next() {
      switch field.number {
      case 1: user = try field.identifier()
      case 2: device = try field.fixed64()
      case 3: text = try field.string()
      case 4: hash = Array(try field.bytes())
      case 5: time = WallTime(milliseconds: try field.uint64())
      default: break
      }
    }
    return OpenSession(
      user: try requireUser(1), device: try requireDevice(2), deviceName: text,
      refreshTokenHash: try requireHash(hash, 4), expires: time)
  }

  mutating func rotateRefreshToken(_ body: ProtobufScanner) throws(ProtobufError)
    -> RotateRefreshToken
  {
    var body = body
    while let field = try body.next() {
      switch field.number {
      case 1: user = try field.identifier()
      case 2: device = try field.fixed64()
      case 3: hash = Array(try field.bytes())
      case 4: newHash = Array(try field.bytes())
      case 5: time = WallTime(milliseconds: try field.uint64())
      default: break
      }
    }
    return RotateRefreshToken(
      user: try requireUser(1), device: try requireDevice(2),
      presentedHash: try requireHash(hash, 3), newHash: try requireHash(newHash, 4), expires: time)
  }

  mutating func closeSession(_ body: ProtobufScanner) throws(ProtobufError) -> CloseSession {
    var body = body
    while let field = try body.next() {
      switch field.number {
      case 1: user = try field.identifier()
      case 2: device = try field.fixed64()
      default: break
      }
    }
    return CloseSession(user: try requireUser(1), device: try requireDevice(2))
  }

  mutating func claimHandle(_ body: ProtobufScanner) throws(ProtobufError) -> ClaimHandle {
    var body = body
    while let field = try body.next() {
      switch field.number {
      case 1: handle = Handle(try field.string())
      case 2: user = try field.identifier()
      case 3: origin = try OutboxOrigin(decoding: try field.reader())
      default: break
      }
    }
    return ClaimHandle(
      handle: try requireHandle(1), user: try requireUser(2), origin: try requireOrigin(3))
  }

  mutating func handleResolved(_ body: ProtobufScanner) throws(ProtobufError) -> HandleResolved {
    var body = body
    while let field = try body.next() {
      switch field.number {
      case 1: user = try field.identifier()
      case 2: handle = Handle(try field.string())
      case 3: flag = try field.bool()
      case 4: origin = try OutboxOrigin(decoding: try field.reader())
      default: break
      }
    }
    return HandleResolved(
      user: try requireUser(1), handle: try requireHandle(2), granted: flag,
      origin: try requireOrigin(4))
  }

  mutating func conversationListed(_ body: ProtobufScanner) throws(ProtobufError)
    -> ConversationListed
  {
    var body = body
    while let field = try body.next() {
      switch field.number {
      case 1: user = try field.identifier()
      case 2: conversation = try field.identifier()
      case 3: flag = try field.bool()
      case 4: origin = try OutboxOrigin(decoding: try field.reader())
      default: break
      }
    }
    guard conversation != 0 else { throw .missingField(2) }
    return ConversationListed(
      user: try requireUser(1), conversation: ConversationID(conversation), removed: flag,
      origin: try requireOrigin(4))
  }

  mutating func generationBegan(_ body: ProtobufScanner) throws(ProtobufError) -> UInt32 {
    var body = body
    var generation: UInt32 = 0
    while let field = try body.next() {
      if field.number == 1 { generation = try field.uint32() }
    }
    guard generation <= LogIndex.generationMax else { throw .outOfRange(field: 1) }
    return generation
  }

  mutating func outboxConfirmed(_ body: ProtobufScanner) throws(ProtobufError) -> OutboxConfirmed {
    var body = body
    while let field = try body.next() {
      guard field.number == 1 else { continue }
      var entry = try field.reader()
      var index: UInt64 = 0
      var ordinal: UInt32 = 0
      while let part = try entry.next() {
        switch part.number {
        case 1: index = try part.uint64()
        case 2: ordinal = try part.uint32()
        default: break
        }
      }
      entries.append(OutboxEntryID(index: LogIndex(index), ordinal: ordinal))
    }
    return OutboxConfirmed(entries: entries)
  }
}
