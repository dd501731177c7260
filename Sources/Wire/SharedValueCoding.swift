import ChatModel
import ClusterModel
import Primitives

// Values of the lower modules inside of frames. Those modules code them as they are stored; here
// the same bytes are written and read as part of a frame, by its faster writer and reader. The
// tests hold both to the schema.

extension ReplicaID {
  func encode(into writer: inout FrameWriter) {
    writer.fixed64(1, store.rawValue)
    writer.uint(2, number)
  }

  init(decoding reader: FrameReader) throws(ProtobufError) {
    var reader = reader
    var store: UInt64 = 0
    var number: UInt32 = 0
    while let field = try reader.next() {
      switch field.number {
      case 1: store = try field.fixed64()
      case 2: number = try field.uint32()
      default: break
      }
    }
    guard store != 0 else { throw .missingField(1) }
    self.init(store: StoreID(store), number: number)
  }
}

extension Member {
  func encode(into writer: inout FrameWriter) {
    writer.identifier(1, user.rawValue)
    writer.string(2, handle.text)
    writer.uint(3, role.rawValue)
  }

  init(decoding reader: FrameReader) throws(ProtobufError) {
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
  func encode(into writer: inout FrameWriter) {
    encodeEnvelope(into: &writer)
    switch content {
    case .message(let text):
      writer.header(6, bytes: FieldBytes.string(text))
      writer.string(1, text)
    case .created(let kind, let title, let members):
      writer.message(7) {
        $0.uint(1, kind.rawValue)
        $0.string(2, title)
        for member in members { $0.message(3) { member.encode(into: &$0) } }
      }
    case .membersChanged(let added, let removed):
      writer.message(8) {
        for member in added { $0.message(1) { member.encode(into: &$0) } }
        for user in removed { $0.element(2, user.bytes) }
      }
    case .titleChanged(let title): writer.message(9) { $0.string(1, title) }
    }
  }

  /// Everything but the content.
  func encodeEnvelope(into writer: inout FrameWriter) {
    writer.identifier(1, conversation.rawValue)
    writer.uint(2, sequence.rawValue)
    writer.uint(3, time.milliseconds)
    writer.identifier(4, author.rawValue)
    writer.uint(5, index.rawValue)
  }

  /// **Units**: bytes that `encodeEnvelope` writes.
  var envelopeBytes: Int {
    FieldBytes.identifier(conversation.rawValue) + FieldBytes.uint(sequence.rawValue)
      + FieldBytes.uint(time.milliseconds) + FieldBytes.identifier(author.rawValue)
      + FieldBytes.uint(index.rawValue)
  }

  init(decoding reader: FrameReader) throws(ProtobufError) {
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
  fileprivate init(decoding reader: FrameReader, variant: Int) throws(ProtobufError) {
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
