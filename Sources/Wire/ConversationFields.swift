import ChatModel
import ClientProtocol
import Primitives

/// `martlet.v1.ClientEvent`: an event as clients see it, in either encoding. Its log index stays
/// inside: cursors carry it.
extension Event {
  private static let names = FieldNames([
    1: "conversation", 2: "seq", 3: "time", 4: "author", 6: "message", 7: "created",
    8: "membersChanged", 9: "titleChanged",
  ])

  func write(to writer: inout some FieldWriter) {
    writer.conversation(1, "conversation", conversation)
    writer.uint64(2, "seq", sequence.rawValue)
    writer.uint64(3, "time", time.milliseconds)
    writer.user(4, "author", author)
    switch content {
    case .message(let text): writer.message(6, "message") { $0.string(1, "text", text) }
    case .created(let kind, let title, let members):
      writer.message(7, "created") {
        $0.string(1, "kind", kind.text)
        $0.string(2, "title", title)
        $0.messages(3, "members", members, present: false) { $0.write(to: &$1) }
      }
    case .membersChanged(let added, let removed):
      writer.message(8, "membersChanged") {
        $0.messages(1, "added", added, present: false) { $0.write(to: &$1) }
        $0.strings(2, "removed", removed.map(\.description))
      }
    case .titleChanged(let title):
      writer.message(9, "titleChanged") { $0.string(1, "title", title) }
    }
  }

  init<Reader: FieldReader>(_ reader: inout Reader) throws(WireFault) {
    var conversation: ConversationID?
    var sequence = Sequence.zero
    var time = WallTime.zero
    var author: UserID?
    var content: EventContent?
    while let number = try reader.next(Self.names) {
      switch number {
      case 1: conversation = try reader.conversation()
      case 2: sequence = Sequence(try reader.uint64())
      case 3: time = WallTime(milliseconds: try reader.uint64())
      case 4: author = try reader.user()
      default:
        guard content == nil else { throw reader.fault("an event has one content") }
        content = try EventContent(&reader, number: number)
      }
    }
    guard let conversation else { throw .missing("conversation") }
    guard let author else { throw .missing("author") }
    guard let content else { throw .missing("content") }
    self.init(
      conversation: conversation, sequence: sequence, time: time, author: author, index: .zero,
      content: content)
  }
}

extension EventContent {
  private static let messageNames = FieldNames([1: "text"])
  private static let createdNames = FieldNames([1: "kind", 2: "title", 3: "members"])
  private static let membersChangedNames = FieldNames([1: "added", 2: "removed"])
  private static let titleChangedNames = FieldNames([1: "title"])

  fileprivate init<Reader: FieldReader>(
    _ reader: inout Reader, number: Int
  ) throws(WireFault) {
    switch number {
    case 6:
      self = .message(
        text: try reader.message { (body: inout Reader) throws(WireFault) in
          try Self.text(&body, Self.messageNames, bytesMax: ChatLimits.messageTextBytesMax)
        })
    case 7: self = try reader.message(Self.created)
    case 8: self = try reader.message(Self.membersChanged)
    default:
      self = .titleChanged(
        title: try reader.message { (body: inout Reader) throws(WireFault) in
          try Self.text(&body, Self.titleChangedNames, bytesMax: ChatLimits.titleBytesMax)
        })
    }
  }

  private static func text<Reader: FieldReader>(
    _ reader: inout Reader, _ names: FieldNames, bytesMax: Int
  ) throws(WireFault) -> String {
    var text = ""
    while try reader.next(names) != nil { text = try reader.string(bytesMax: bytesMax) }
    return text
  }

  private static func created<Reader: FieldReader>(
    _ reader: inout Reader
  ) throws(WireFault) -> EventContent {
    var kind: ConversationKind?
    var title = ""
    var members: [Member] = []
    while let number = try reader.next(createdNames) {
      switch number {
      case 1: kind = try reader.kind()
      case 2: title = try reader.string(bytesMax: ChatLimits.titleBytesMax)
      default: try Member.readList(&reader, into: &members)
      }
    }
    guard let kind else { throw .missing("kind") }
    return .created(kind: kind, title: title, members: members)
  }

  private static func membersChanged<Reader: FieldReader>(
    _ reader: inout Reader
  ) throws(WireFault) -> EventContent {
    var added: [Member] = []
    var removed: [UserID] = []
    while let number = try reader.next(membersChangedNames) {
      switch number {
      case 1: try Member.readList(&reader, into: &added)
      default:
        try reader.elements { (element: inout Reader) throws(WireFault) in
          removed.append(try element.user())
        }
      }
    }
    return .membersChanged(added: added, removed: removed)
  }
}

/// `martlet.v1.ClientMember`
extension Member {
  private static let names = FieldNames([1: "id", 2: "handle", 3: "role"])

  fileprivate func write(to writer: inout some FieldWriter) {
    writer.user(1, "id", user)
    writer.string(2, "handle", handle.text)
    writer.string(3, "role", role.text)
  }

  fileprivate static func readList<Reader: FieldReader>(
    _ reader: inout Reader, into members: inout [Member]
  ) throws(WireFault) {
    var found = members
    try reader.elements { (element: inout Reader) throws(WireFault) in
      found.append(try element.message(Member.init))
    }
    members = found
  }

  private init<Reader: FieldReader>(_ reader: inout Reader) throws(WireFault) {
    var user: UserID?
    var handle: Handle?
    var role: MemberRole?
    while let number = try reader.next(Self.names) {
      switch number {
      case 1: user = try reader.user()
      case 2: handle = try reader.handle()
      default: role = try reader.role()
      }
    }
    guard let user else { throw .missing("id") }
    guard let handle else { throw .missing("handle") }
    guard let role else { throw .missing("role") }
    self.init(user: user, handle: handle, role: role)
  }
}

/// `martlet.v1.Conversation`
extension ConversationSummary {
  private static let names = FieldNames([
    1: "id", 2: "kind", 3: "title", 4: "members", 5: "memberCount", 6: "head", 7: "last",
    8: "existed",
  ])

  func write(to writer: inout some FieldWriter, existed: Bool) {
    writer.conversation(1, "id", conversation)
    writer.string(2, "kind", kind.text)
    writer.string(3, "title", title)
    writer.messages(4, "members", members, present: true) { $0.write(to: &$1) }
    writer.presentUInt32(5, "memberCount", UInt32(clamping: memberCount))
    writer.presentUInt64(6, "head", head.rawValue)
    if let last { writer.message(7, "last") { last.write(to: &$0) } }
    writer.bool(8, "existed", existed)
  }

  static func readAnswer<Reader: FieldReader>(
    _ reader: inout Reader
  ) throws(WireFault) -> ServerBody {
    let (summary, existed) = try read(&reader)
    return .conversation(summary, existed: existed)
  }

  static func read<Reader: FieldReader>(
    _ reader: inout Reader
  ) throws(WireFault) -> (summary: ConversationSummary, existed: Bool) {
    var conversation: ConversationID?
    var kind: ConversationKind?
    var title = ""
    var members: [Member] = []
    var memberCount = 0
    var head = Sequence.zero
    var last: Event?
    var existed = false
    while let number = try reader.next(names) {
      switch number {
      case 1: conversation = try reader.conversation()
      case 2: kind = try reader.kind()
      case 3: title = try reader.string(bytesMax: ChatLimits.titleBytesMax)
      case 4: try Member.readList(&reader, into: &members)
      case 5: memberCount = Int(try reader.uint32())
      case 6: head = Sequence(try reader.uint64())
      case 7: last = try reader.message(Event.init)
      default: existed = try reader.bool()
      }
    }
    guard let conversation else { throw .missing("id") }
    guard let kind else { throw .missing("kind") }
    let summary = ConversationSummary(
      conversation: conversation, kind: kind, title: title, members: members,
      memberCount: memberCount, head: head, last: last)
    return (summary, existed)
  }
}

/// `martlet.v1.User`
extension UserProfile {
  private static let names = FieldNames([1: "id", 2: "handle", 3: "displayName"])

  func write(to writer: inout some FieldWriter) {
    writer.user(1, "id", user)
    writer.string(2, "handle", handle.text)
    writer.string(3, "displayName", displayName)
  }

  init<Reader: FieldReader>(_ reader: inout Reader) throws(WireFault) {
    var user: UserID?
    var handle: Handle?
    var displayName = ""
    while let number = try reader.next(Self.names) {
      switch number {
      case 1: user = try reader.user()
      case 2: handle = try reader.handle()
      default: displayName = try reader.string(bytesMax: ChatLimits.displayNameBytesMax)
      }
    }
    guard let user else { throw .missing("id") }
    guard let handle else { throw .missing("handle") }
    self.init(user: user, handle: handle, displayName: displayName)
  }
}

/// `martlet.v1.History`, without the conversation's id.
extension HistoryPage {
  func write(to writer: inout some FieldWriter) {
    writer.messages(2, "events", events, present: true) { $0.write(to: &$1) }
    writer.presentUInt64(3, "head", head.rawValue)
  }
}

/// `martlet.v1.ServiceError`
extension ServiceError {
  func write(to writer: inout some FieldWriter) {
    writer.string(1, "code", code.name)
    writer.string(2, "message", message)
    writer.presentBool(3, "retryable", retryable)
    writer.presentUInt32(4, "retryAfterMilliseconds", retryAfterMilliseconds)
  }
}

extension MemberRole {
  fileprivate var text: String {
    switch self {
    case .member: "member"
    case .admin: "admin"
    }
  }
}

extension FieldReader {
  fileprivate mutating func role() throws(WireFault) -> MemberRole {
    let bytes = try stringBytes()
    if bytes.elementsEqual("member".utf8) { return .member }
    if bytes.elementsEqual("admin".utf8) { return .admin }
    throw fault("must be \"member\" or \"admin\"")
  }
}
