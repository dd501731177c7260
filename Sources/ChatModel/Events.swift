package import Primitives

/// What kind of conversation it is. The numbers are stored; they are never reused.
package enum ConversationKind: UInt32, Sendable {
  case direct = 1
  case group = 2
}

/// What a member may do. The numbers are stored.
package enum MemberRole: UInt32, Sendable {
  case member = 1
  /// May add and remove members and change the title.
  case admin = 2
}

/// A participant of a conversation, with the handle that others see.
package struct Member: Equatable, Sendable {
  package var user: UserID
  package var handle: Handle
  package var role: MemberRole

  package init(user: UserID, handle: Handle, role: MemberRole) {
    self.user = user
    self.handle = handle
    self.role = role
  }
}

/// Something that happened in a conversation and that every reader sees in the same place.
package struct Event: Equatable, Sendable {
  package var conversation: ConversationID
  /// Its place in the conversation.
  package var sequence: Sequence
  /// The leader's stamp; never goes back within a partition.
  package var time: WallTime
  /// Who did it.
  package var author: UserID
  /// The entry of the partition's log that made it: what cursors are made of.
  package var index: LogIndex
  package var content: EventContent

  package init(
    conversation: ConversationID, sequence: Sequence, time: WallTime, author: UserID,
    index: LogIndex, content: EventContent
  ) {
    self.conversation = conversation
    self.sequence = sequence
    self.time = time
    self.author = author
    self.index = index
    self.content = content
  }
}

/// What happened.
package enum EventContent: Equatable, Sendable {
  case message(text: String)
  case created(kind: ConversationKind, title: String, members: [Member])
  case membersChanged(added: [Member], removed: [UserID])
  case titleChanged(title: String)
}

extension Member {
  package func encode(into writer: inout ProtobufWriter) {
    writer.identifier(1, user.rawValue)
    writer.string(2, handle.text)
    writer.uint(3, role.rawValue)
  }

  package init(decoding reader: ProtobufScanner) throws(ProtobufError) {
    var reader = reader
    var user: UInt128 = 0
    var handle: Handle?
    var role: MemberRole?
    while let field = try reader.next() {
      switch field.number {
      case 1: user = try field.identifier()
      case 2: handle = Handle(try field.string())
      case 3: role = MemberRole(rawValue: try field.uint32())
      default: break
      }
    }
    guard user != 0 else { throw .missingField(1) }
    guard let handle else { throw .missingField(2) }
    guard let role else { throw .missingField(3) }
    self.init(user: UserID(user), handle: handle, role: role)
  }
}

extension Event {
  /// **Shape**: `martlet.v1.Event` of the schema.
  package func encode(into writer: inout ProtobufWriter) {
    writer.identifier(1, conversation.rawValue)
    writer.uint(2, sequence.rawValue)
    writer.uint(3, time.milliseconds)
    writer.identifier(4, author.rawValue)
    writer.uint(5, index.rawValue)
    switch content {
    case .message(let text):
      writer.message(6) { $0.string(1, text) }
    case .created(let kind, let title, let members):
      writer.message(7) {
        $0.uint(1, kind.rawValue)
        $0.string(2, title)
        for member in members { $0.message(3) { member.encode(into: &$0) } }
      }
    case .membersChanged(let added, let removed):
      writer.message(8) {
        for member in added { $0.message(1) { member.encode(into: &$0) } }
        for user in removed {
          $0.element(2, withUnsafeBytes(of: user.rawValue.bigEndian) { Array($0) })
        }
      }
    case .titleChanged(let title):
      writer.message(9) { $0.string(1, title) }
    }
  }

  /// The bytes of `martlet.v1.Event`.
  package func encoded() -> [UInt8] {
    var writer = ProtobufWriter(reservingBytes: 192)
    encode(into: &writer)
    return writer.bytes
  }

  /// **Throws**: `ProtobufError` when the bytes are no event.
  package init(decoding bytes: ArraySlice<UInt8>) throws(ProtobufError) {
    self = try ProtobufScanner.read(bytes) { reader throws(ProtobufError) in
      try Event(decoding: reader)
    }
  }

  package init(decoding reader: ProtobufScanner) throws(ProtobufError) {
    var reader = reader
    var conversation: UInt128 = 0
    var sequence: UInt64 = 0
    var time: UInt64 = 0
    var author: UInt128 = 0
    var index: UInt64 = 0
    var content: EventContent?
    while let field = try reader.next() {
      switch field.number {
      case 1: conversation = try field.identifier()
      case 2: sequence = try field.uint64()
      case 3: time = try field.uint64()
      case 4: author = try field.identifier()
      case 5: index = try field.uint64()
      case 6...9: content = try EventContent(decoding: try field.reader(), variant: field.number)
      default: break
      }
    }
    guard conversation != 0 else { throw .missingField(1) }
    guard sequence != 0 else { throw .missingField(2) }
    guard let content else { throw .unknownVariant }
    self.init(
      conversation: ConversationID(conversation), sequence: Sequence(sequence),
      time: WallTime(milliseconds: time), author: UserID(author), index: LogIndex(index),
      content: content)
  }
}

extension EventContent {
  fileprivate init(decoding reader: ProtobufScanner, variant: Int) throws(ProtobufError) {
    var reader = reader
    var text = ""
    var kind: ConversationKind?
    var members: [Member] = []
    var removed: [UserID] = []
    while let field = try reader.next() {
      switch (variant, field.number) {
      case (6, 1), (7, 2), (9, 1): text = try field.string()
      case (7, 1): kind = ConversationKind(rawValue: try field.uint32())
      case (7, 3), (8, 1): members.append(try Member(decoding: try field.reader()))
      case (8, 2): removed.append(UserID(try field.identifier()))
      default: break
      }
    }
    switch variant {
    case 6: self = .message(text: text)
    case 7:
      guard let kind else { throw .missingField(1) }
      self = .created(kind: kind, title: text, members: members)
    case 8: self = .membersChanged(added: members, removed: removed)
    default: self = .titleChanged(title: text)
    }
  }
}
