import ChatModel
import NodeProtocol
import Primitives

/// `martlet.v1.Query`
extension Query {
  func encode(into writer: inout FrameWriter) {
    switch self {
    case .handle(let handle): writer.string(1, handle.text)
    case .user(let user): writer.identifier(2, user.rawValue)
    case .credentials(let user): writer.identifier(3, user.rawValue)
    case .conversationList(let user, let after, let limit):
      writer.message(4) {
        $0.identifier(1, user.rawValue)
        $0.identifier(2, after?.rawValue ?? 0)
        $0.uint(3, UInt32(clamping: limit))
      }
    case .summaries(let user, let conversations):
      writer.message(5) {
        $0.identifier(1, user.rawValue)
        for conversation in conversations { $0.identifier(2, conversation.rawValue) }
      }
    case .history(let query): writer.message(6) { query.encode(into: &$0) }
    case .changes(let query): writer.message(7) { query.encode(into: &$0) }
    }
  }

  init(decoding reader: ProtobufScanner) throws(ProtobufError) {
    var reader = reader
    guard let field = try reader.next() else { throw .unknownVariant }
    switch field.number {
    case 1:
      guard let handle = Handle(try field.string()) else { throw .outOfRange(field: 1) }
      self = .handle(handle)
    case 2: self = .user(UserID(try field.identifier()))
    case 3: self = .credentials(UserID(try field.identifier()))
    case 4: self = try Self.conversationList(decoding: try field.reader())
    case 5: self = try Self.summaries(decoding: try field.reader())
    case 6: self = .history(try HistoryQuery(decoding: try field.reader()))
    case 7: self = .changes(try ChangesQuery(decoding: try field.reader()))
    default: throw .unknownVariant
    }
    guard reader.isAtEnd else { throw .unknownVariant }
  }

  private static func conversationList(
    decoding reader: ProtobufScanner
  ) throws(ProtobufError) -> Query {
    var reader = reader
    var user: UInt128 = 0
    var after: UInt128 = 0
    var limit = 0
    while let field = try reader.next() {
      switch field.number {
      case 1: user = try field.identifier()
      case 2: after = try field.identifier()
      case 3: limit = Int(try field.uint32())
      default: break
      }
    }
    guard user != 0 else { throw .missingField(1) }
    return .conversationList(
      user: UserID(user), after: after == 0 ? nil : ConversationID(after), limit: limit)
  }

  private static func summaries(decoding reader: ProtobufScanner) throws(ProtobufError) -> Query {
    var reader = reader
    var user: UInt128 = 0
    var conversations: [ConversationID] = []
    while let field = try reader.next() {
      switch field.number {
      case 1: user = try field.identifier()
      case 2: conversations.append(ConversationID(try field.identifier()))
      default: break
      }
    }
    guard user != 0 else { throw .missingField(1) }
    return .summaries(reader: UserID(user), conversations: conversations)
  }
}

extension HistoryQuery {
  fileprivate func encode(into writer: inout FrameWriter) {
    writer.identifier(1, conversation.rawValue)
    writer.identifier(2, reader.rawValue)
    writer.uint(3, UInt32(clamping: limit))
    switch range {
    case .after(let sequence): writer.present(4, sequence.rawValue)
    case .before(let sequence): writer.present(5, sequence.rawValue)
    case .latest: break
    }
  }

  fileprivate init(decoding bytes: ProtobufScanner) throws(ProtobufError) {
    var bytes = bytes
    var conversation: UInt128 = 0
    var user: UInt128 = 0
    var range = Range.latest
    var limit = 0
    while let field = try bytes.next() {
      switch field.number {
      case 1: conversation = try field.identifier()
      case 2: user = try field.identifier()
      case 3: limit = Int(try field.uint32())
      case 4: range = .after(Sequence(try field.uint64()))
      case 5: range = .before(Sequence(try field.uint64()))
      default: break
      }
    }
    guard conversation != 0 else { throw .missingField(1) }
    guard user != 0 else { throw .missingField(2) }
    self.init(
      conversation: ConversationID(conversation), reader: UserID(user), range: range, limit: limit)
  }
}

extension ChangesQuery {
  fileprivate func encode(into writer: inout FrameWriter) {
    writer.identifier(1, reader.rawValue)
    writer.uint(2, UInt32(clamping: limit))
    for request in requests {
      writer.message(3) {
        $0.identifier(1, request.conversation.rawValue)
        $0.uint(2, request.after.rawValue)
      }
    }
  }

  fileprivate init(decoding bytes: ProtobufScanner) throws(ProtobufError) {
    var bytes = bytes
    var user: UInt128 = 0
    var limit = 0
    var requests: [Request] = []
    while let field = try bytes.next() {
      switch field.number {
      case 1: user = try field.identifier()
      case 2: limit = Int(try field.uint32())
      case 3: requests.append(try Request(decoding: try field.reader()))
      default: break
      }
    }
    guard user != 0 else { throw .missingField(1) }
    self.init(reader: UserID(user), requests: requests, limit: limit)
  }
}

extension ChangesQuery.Request {
  fileprivate init(decoding reader: ProtobufScanner) throws(ProtobufError) {
    var reader = reader
    var conversation: UInt128 = 0
    var after = LogIndex.zero
    while let field = try reader.next() {
      switch field.number {
      case 1: conversation = try field.identifier()
      case 2: after = LogIndex(try field.uint64())
      default: break
      }
    }
    guard conversation != 0 else { throw .missingField(1) }
    self.init(conversation: ConversationID(conversation), after: after)
  }
}
