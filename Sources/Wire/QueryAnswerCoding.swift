import ChatModel
import NodeProtocol
import Primitives

/// `martlet.v1.QueryAnswer`
extension QueryAnswer {
  func encode(into writer: inout FrameWriter) {
    switch self {
    case .handle(let user):
      if let user { writer.identifier(1, user.rawValue) } else { writer.element(1, []) }
    case .user(let profile):
      writer.message(2) {
        if let profile { $0.message(1) { profile.encode(into: &$0) } }
      }
    case .credentials(let credentials):
      writer.message(3) {
        guard let credentials else { return }
        $0.message(1) { credentials.profile.encode(into: &$0) }
        $0.string(2, credentials.passwordHash)
      }
    case .conversationList(let page): writer.message(4) { page.encode(into: &$0) }
    case .summaries(let summaries):
      writer.message(5) {
        for summary in summaries { $0.message(1) { summary.encode(into: &$0) } }
      }
    case .history(let page):
      writer.message(6) {
        for event in page.events { $0.message(1) { event.encode(into: &$0) } }
        $0.uint(2, page.head.rawValue)
      }
    case .changes(let page):
      writer.message(7) {
        for event in page.events { $0.message(1) { event.encode(into: &$0) } }
        $0.uint(2, page.through.rawValue)
        $0.bool(3, page.more)
        $0.uint(4, page.generation)
        for conversation in page.refused { $0.identifier(5, conversation.rawValue) }
      }
    case .refused(let error): writer.message(8) { error.encode(into: &$0) }
    }
  }

  init(decoding reader: ProtobufScanner) throws(ProtobufError) {
    var reader = reader
    guard let field = try reader.next() else { throw .unknownVariant }
    switch field.number {
    case 1:
      self = .handle(field.isEmpty ? nil : UserID(try field.identifier()))
    case 2: self = .user(try UserCredentials.decode(try field.reader())?.profile)
    case 3: self = .credentials(try UserCredentials.decode(try field.reader()))
    case 4: self = .conversationList(try ConversationListPage(decoding: try field.reader()))
    case 5: self = .summaries(try Self.summaries(decoding: try field.reader()))
    case 6:
      let page = try ChangesPage(decoding: try field.reader())
      self = .history(HistoryPage(events: page.events, head: Sequence(page.through.rawValue)))
    case 7: self = .changes(try ChangesPage(decoding: try field.reader()))
    case 8: self = .refused(try ServiceError(decoding: try field.reader()))
    default: throw .unknownVariant
    }
    guard reader.isAtEnd else { throw .unknownVariant }
  }

  private static func summaries(
    decoding reader: ProtobufScanner
  ) throws(ProtobufError) -> [ConversationSummary] {
    var reader = reader
    var summaries: [ConversationSummary] = []
    while let field = try reader.next() {
      guard field.number == 1 else { continue }
      summaries.append(try ConversationSummary(decoding: try field.reader()))
    }
    return summaries
  }
}

extension UserProfile {
  fileprivate func encode(into writer: inout FrameWriter) {
    writer.identifier(1, user.rawValue)
    writer.string(2, handle.text)
    writer.string(3, displayName)
  }

  fileprivate init(decoding reader: ProtobufScanner) throws(ProtobufError) {
    var reader = reader
    var user: UInt128 = 0
    var handle: Handle?
    var displayName = ""
    while let field = try reader.next() {
      switch field.number {
      case 1: user = try field.identifier()
      case 2: handle = Handle(try field.string())
      case 3: displayName = try field.string()
      default: break
      }
    }
    guard user != 0 else { throw .missingField(1) }
    guard let handle else { throw .missingField(2) }
    self.init(user: UserID(user), handle: handle, displayName: displayName)
  }
}

extension UserCredentials {
  /// Reads `QueryAnswer.Credentials`, of which `QueryAnswer.User` is a part.
  ///
  /// **Returns**: `nil` when there is no profile.
  fileprivate static func decode(
    _ reader: ProtobufScanner
  ) throws(ProtobufError) -> UserCredentials? {
    var reader = reader
    var profile: UserProfile?
    var passwordHash = ""
    while let field = try reader.next() {
      switch field.number {
      case 1: profile = try UserProfile(decoding: try field.reader())
      case 2: passwordHash = try field.string()
      default: break
      }
    }
    return profile.map { UserCredentials(profile: $0, passwordHash: passwordHash) }
  }
}

extension ListedConversation {
  func encode(into writer: inout FrameWriter) {
    writer.identifier(1, conversation.rawValue)
    writer.uint(2, joined.rawValue)
    writer.uint(3, listed.rawValue)
  }

  init(decoding reader: ProtobufScanner) throws(ProtobufError) {
    var reader = reader
    var conversation: UInt128 = 0
    var joined = LogIndex.zero
    var listed = LogIndex.zero
    while let field = try reader.next() {
      switch field.number {
      case 1: conversation = try field.identifier()
      case 2: joined = LogIndex(try field.uint64())
      case 3: listed = LogIndex(try field.uint64())
      default: break
      }
    }
    guard conversation != 0 else { throw .missingField(1) }
    self.init(conversation: ConversationID(conversation), joined: joined, listed: listed)
  }
}

extension ConversationListPage {
  fileprivate func encode(into writer: inout FrameWriter) {
    for conversation in conversations { writer.message(1) { conversation.encode(into: &$0) } }
    writer.uint(2, applied.rawValue)
    writer.uint(3, generation)
    writer.bool(4, more)
  }

  fileprivate init(decoding reader: ProtobufScanner) throws(ProtobufError) {
    var reader = reader
    self.init(conversations: [], applied: .zero, generation: 0, more: false)
    while let field = try reader.next() {
      switch field.number {
      case 1: conversations.append(try ListedConversation(decoding: try field.reader()))
      case 2: applied = LogIndex(try field.uint64())
      case 3: generation = try field.uint32()
      case 4: more = try field.bool()
      default: break
      }
    }
  }
}

extension ConversationSummary {
  fileprivate func encode(into writer: inout FrameWriter) {
    writer.identifier(1, conversation.rawValue)
    writer.uint(2, kind.rawValue)
    writer.string(3, title)
    for member in members { writer.message(4) { member.encode(into: &$0) } }
    writer.uint(5, UInt32(clamping: memberCount))
    writer.uint(6, head.rawValue)
    if let last { writer.message(7) { last.encode(into: &$0) } }
  }

  fileprivate init(decoding reader: ProtobufScanner) throws(ProtobufError) {
    var reader = reader
    var conversation: UInt128 = 0
    var kind: ConversationKind?
    var title = ""
    var members: [Member] = []
    var memberCount = 0
    var head = Sequence.zero
    var last: Event?
    while let field = try reader.next() {
      switch field.number {
      case 1: conversation = try field.identifier()
      case 2: kind = ConversationKind(rawValue: try field.uint32())
      case 3: title = try field.string()
      case 4: members.append(try Member(decoding: try field.reader()))
      case 5: memberCount = Int(try field.uint32())
      case 6: head = Sequence(try field.uint64())
      case 7: last = try Event(decoding: try field.reader())
      default: break
      }
    }
    guard conversation != 0 else { throw .missingField(1) }
    guard let kind else { throw .missingField(2) }
    self.init(
      conversation: ConversationID(conversation), kind: kind, title: title, members: members,
      memberCount: memberCount, head: head, last: last)
  }
}

extension ChangesPage {
  /// Reads `QueryAnswer.Changes`, of which `QueryAnswer.History` is a part (`through` is its head).
  fileprivate init(decoding reader: ProtobufScanner) throws(ProtobufError) {
    var reader = reader
    self.init(events: [], through: .zero, more: false, generation: 0)
    while let field = try reader.next() {
      switch field.number {
      case 1: events.append(try Event(decoding: try field.reader()))
      case 2: through = LogIndex(try field.uint64())
      case 3: more = try field.bool()
      case 4: generation = try field.uint32()
      case 5: refused.append(ConversationID(try field.identifier()))
      default: break
      }
    }
  }
}
