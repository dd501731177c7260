import ChatModel
import ClientProtocol
import Primitives

/// `martlet.v1.ClientFrame`: what a client says, in either encoding.
extension ClientFrame {
  private static let names = FieldNames([
    1: "ref", 2: "hello", 3: "send", 4: "createConversation", 5: "changeMembers",
    6: "listConversations", 7: "history", 8: "ping",
  ])
  private static let refOnly = FieldNames([1: "ref"])

  init<Reader: FieldReader>(_ reader: inout Reader) throws(WireFault) {
    var ref = ""
    var operation: ClientOperation?
    while let number = try reader.next(Self.names) {
      if number == 1 {
        ref = try reader.string(bytesMax: ClientFrame.refBytesMax)
      } else {
        guard operation == nil else { throw reader.fault("a frame carries one operation") }
        operation = try ClientOperation(&reader, number: number)
      }
    }
    guard let operation else {
      let operations = Self.names.entries.dropFirst().map { $0.name.description }
      throw .field("operation", allowed: "must be one of " + operations.joined(separator: ", "))
    }
    self.init(ref: ref, operation: operation)
  }

  /// Finds the `ref` of a frame that cannot be read otherwise, and passes the rest of it.
  ///
  /// **Returns**: an empty text when there is no usable one.
  static func ref<Reader: FieldReader>(_ reader: inout Reader) throws(WireFault) -> String {
    var ref = ""
    while try reader.next(Self.refOnly) != nil {
      ref = try reader.string(bytesMax: ClientFrame.refBytesMax)
    }
    return ref
  }

  func write(to writer: inout some FieldWriter) {
    writer.string(1, "ref", ref)
    operation.write(to: &writer)
  }
}

extension ClientOperation {
  private static let sendNames = FieldNames([1: "conversation", 2: "id", 3: "text"])
  private static let changeMembersNames = FieldNames([1: "conversation", 2: "add", 3: "remove"])
  private static let listNames = FieldNames([1: "after", 2: "limit"])
  private static let historyNames = FieldNames([
    1: "conversation", 2: "after", 3: "before", 4: "limit",
  ])

  fileprivate init<Reader: FieldReader>(
    _ reader: inout Reader, number: Int
  ) throws(WireFault) {
    switch number {
    case 2: self = .hello(try reader.message(Hello.init))
    case 3: self = try reader.message(Self.send)
    case 4: self = .createConversation(try reader.message(CreateConversationRequest.init))
    case 5: self = try reader.message(Self.changeMembers)
    case 6: self = try reader.message(Self.listConversations)
    case 7: self = try reader.message(Self.history)
    default:
      try reader.message { (body: inout Reader) throws(WireFault) in
        while try body.next(.none) != nil {}
      }
      self = .ping
    }
  }

  private static func send<Reader: FieldReader>(
    _ reader: inout Reader
  ) throws(WireFault) -> ClientOperation {
    var conversation: ConversationID?
    var id: ClientMessageID?
    var text = ""
    while let number = try reader.next(sendNames) {
      switch number {
      case 1: conversation = try reader.conversation()
      case 2: id = try reader.clientMessageID()
      default: text = try reader.string(bytesMax: ChatLimits.messageTextBytesMax)
      }
    }
    guard let conversation else { throw .missing("conversation") }
    guard let id else { throw .missing("id") }
    return .send(conversation: conversation, id: id, text: text)
  }

  private static func changeMembers<Reader: FieldReader>(
    _ reader: inout Reader
  ) throws(WireFault) -> ClientOperation {
    var conversation: ConversationID?
    var change = MembersChange()
    while let number = try reader.next(changeMembersNames) {
      switch number {
      case 1: conversation = try reader.conversation()
      default: try change.read(&reader, isAddition: number == 2)
      }
    }
    guard let conversation else { throw .missing("conversation") }
    return .changeMembers(conversation: conversation, add: change.add, remove: change.remove)
  }

  private static func listConversations<Reader: FieldReader>(
    _ reader: inout Reader
  ) throws(WireFault) -> ClientOperation {
    var after: ConversationID?
    var limit = ClientCodec.pageDefault
    while let number = try reader.next(listNames) {
      switch number {
      case 1: after = try reader.conversation()
      default: limit = try reader.limit()
      }
    }
    return .listConversations(after: after, limit: limit)
  }

  private static func history<Reader: FieldReader>(
    _ reader: inout Reader
  ) throws(WireFault) -> ClientOperation {
    var conversation: ConversationID?
    var range: HistoryQuery.Range?
    var limit = ClientCodec.pageDefault
    while let number = try reader.next(historyNames) {
      switch number {
      case 1: conversation = try reader.conversation()
      case 2, 3:
        guard range == nil else { throw reader.fault("only one of after and before") }
        let sequence = Sequence(try reader.uint64())
        range = number == 2 ? .after(sequence) : .before(sequence)
      default: limit = try reader.limit()
      }
    }
    guard let conversation else { throw .missing("conversation") }
    return .history(conversation: conversation, range: range ?? .latest, limit: limit)
  }
}

extension ClientOperation {
  fileprivate func write<Writer: FieldWriter>(to writer: inout Writer) {
    switch self {
    case .hello(let hello): writer.message(2, "hello") { hello.write(to: &$0) }
    case .send(let conversation, let id, let text):
      writer.message(3, "send") {
        $0.conversation(1, "conversation", conversation)
        $0.string(2, "id", id.text)
        $0.string(3, "text", text)
      }
    case .createConversation(let request):
      writer.message(4, "createConversation") { request.write(to: &$0) }
    case .changeMembers(let conversation, let add, let remove):
      writer.message(5, "changeMembers") {
        $0.conversation(1, "conversation", conversation)
        $0.strings(2, "add", add.map(\.text))
        $0.strings(3, "remove", remove.map(\.text))
      }
    case .listConversations(let after, let limit):
      writer.message(6, "listConversations") {
        if let after { $0.conversation(1, "after", after) }
        $0.uint32(2, "limit", UInt32(clamping: limit))
      }
    case .history(let conversation, let range, let limit):
      writer.message(7, "history") {
        $0.conversation(1, "conversation", conversation)
        switch range {
        case .after(let sequence): $0.presentUInt64(2, "after", sequence.rawValue)
        case .before(let sequence): $0.presentUInt64(3, "before", sequence.rawValue)
        case .latest: break
        }
        $0.uint32(4, "limit", UInt32(clamping: limit))
      }
    case .ping: writer.message(8, "ping") { _ in }
    }
  }
}

extension Hello {
  private static let names = FieldNames([1: "token", 2: "cursor", 3: "events"])

  fileprivate init<Reader: FieldReader>(_ reader: inout Reader) throws(WireFault) {
    self.init(token: "", cursor: nil, events: true)
    while let number = try reader.next(Self.names) {
      switch number {
      case 1: token = try reader.string(bytesMax: ClientCodec.tokenBytesMax)
      case 2: cursor = try reader.cursor()
      default: events = try reader.bool()
      }
    }
  }

  fileprivate func write(to writer: inout some FieldWriter) {
    writer.string(1, "token", token)
    if let cursor { writer.string(2, "cursor", CursorCodec.encode(cursor)) }
    if !events { writer.presentBool(3, "events", false) }
  }
}

extension CreateConversationRequest {
  private static let names = FieldNames([1: "kind", 2: "members", 3: "title"])

  init<Reader: FieldReader>(_ reader: inout Reader) throws(WireFault) {
    var kind: ConversationKind?
    var members: [MemberReference] = []
    var title = ""
    while let number = try reader.next(Self.names) {
      switch number {
      case 1: kind = try reader.kind()
      case 2: try reader.references(into: &members, countMax: ChatLimits.membersPerCommandMax)
      default: title = try reader.string(bytesMax: ChatLimits.titleBytesMax)
      }
    }
    guard let kind else { throw .missing("kind") }
    self.init(kind: kind, members: members, title: title)
  }

  func write(to writer: inout some FieldWriter) {
    writer.string(1, "kind", kind.text)
    writer.strings(2, "members", members.map(\.text))
    writer.string(3, "title", title)
  }
}

/// Who is added and removed by one operation, bounded together.
struct MembersChange {
  private(set) var add: [MemberReference] = []
  private(set) var remove: [MemberReference] = []

  mutating func read<Reader: FieldReader>(
    _ reader: inout Reader, isAddition: Bool
  ) throws(WireFault) {
    let others = isAddition ? remove.count : add.count
    let countMax = ChatLimits.membersPerCommandMax - others
    if isAddition {
      try reader.references(into: &add, countMax: countMax)
    } else {
      try reader.references(into: &remove, countMax: countMax)
    }
  }
}

extension MemberReference {
  /// What `MemberReference.init(_:)` reads.
  var text: String {
    switch self {
    case .user(let user): user.description
    case .handle(let handle): handle.text
    }
  }
}

extension ConversationKind {
  var text: String {
    switch self {
    case .direct: "direct"
    case .group: "group"
    }
  }
}

extension WireFault {
  static func missing(_ field: String) -> WireFault { .field(field, allowed: "is required") }
}

extension FieldReader {
  /// **Returns**: `nil` for an empty text.
  mutating func cursor() throws(WireFault) -> Cursor? {
    let bytes = try stringBytes()
    guard !bytes.isEmpty else { return nil }
    guard let cursor = CursorCodec.decode(bytes) else {
      throw fault("must be a cursor as it was given")
    }
    return cursor
  }
}
