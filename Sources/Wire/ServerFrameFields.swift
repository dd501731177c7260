import ChatModel
import ClientProtocol
import Primitives

/// `martlet.v1.ServerFrame`: what a gateway says, in either encoding.
extension ServerFrame {
  private static let names = FieldNames([
    1: "ref", 2: "welcome", 3: "sent", 4: "conversation", 5: "membersChanged", 6: "conversations",
    7: "history", 8: "pong", 9: "error", 10: "event", 11: "cursor", 12: "behind", 13: "gap",
    14: "draining",
  ])

  /// **Returns**: `nil` for a body that this version does not know.
  static func read<Reader: FieldReader>(
    _ reader: inout Reader
  ) throws(WireFault) -> ServerFrame? {
    var ref = ""
    var body: ServerBody?
    while let number = try reader.next(Self.names) {
      if number == 1 {
        ref = try reader.string(bytesMax: ClientFrame.refBytesMax)
      } else {
        guard body == nil else { throw reader.fault("a frame carries one body") }
        body = try ServerBody(&reader, number: number)
      }
    }
    return body.map { ServerFrame(ref: ref, body: $0) }
  }

  func write(to writer: inout some FieldWriter) {
    writer.string(1, "ref", ref)
    body.write(to: &writer)
  }
}

extension ServerBody {
  private static let welcomeNames = FieldNames([1: "user", 2: "device"])
  private static let sentNames = FieldNames([1: "conversation", 2: "seq", 3: "time", 4: "repeated"])
  private static let pageNames = FieldNames([1: "items", 2: "next"])
  private static let historyNames = FieldNames([1: "conversation", 2: "events", 3: "head"])
  private static let gapNames = FieldNames([1: "conversation"])
  private static let errorNames = FieldNames([
    1: "code", 2: "message", 3: "retryable", 4: "retryAfterMilliseconds",
  ])

  func write<Writer: FieldWriter>(to writer: inout Writer) {
    switch self {
    case .welcome(let user, let device):
      writer.message(2, "welcome") {
        $0.message(1, "user") { user.write(to: &$0) }
        $0.string(2, "device", device.description)
      }
    case .sent(let conversation, let sequence, let time, let repeated):
      writer.message(3, "sent") {
        Self.writeSent(
          conversation: conversation, sequence: sequence, time: time, repeated: repeated, to: &$0)
      }
    case .conversation(let summary, let existed):
      writer.message(4, "conversation") { summary.write(to: &$0, existed: existed) }
    case .membersChanged(let conversation, let sequence):
      writer.message(5, "membersChanged") {
        $0.conversation(1, "conversation", conversation)
        $0.uint64(2, "seq", sequence.rawValue)
      }
    case .conversations(let items, let next):
      writer.message(6, "conversations") { Self.writePage(items: items, next: next, to: &$0) }
    case .history(let conversation, let page):
      writer.message(7, "history") {
        $0.conversation(1, "conversation", conversation)
        page.write(to: &$0)
      }
    case .pong: writer.message(8, "pong") { _ in }
    case .error(let error): writer.message(9, "error") { error.write(to: &$0) }
    case .event(let event): writer.message(10, "event") { event.write(to: &$0) }
    case .cursor(let cursor): writer.string(11, "cursor", CursorCodec.encode(cursor))
    case .behind: writer.message(12, "behind") { _ in }
    case .gap(let conversation):
      writer.message(13, "gap") { $0.conversation(1, "conversation", conversation) }
    case .draining: writer.message(14, "draining") { _ in }
    }
  }

  static func writeSent(
    conversation: ConversationID, sequence: Sequence, time: WallTime, repeated: Bool,
    to writer: inout some FieldWriter
  ) {
    writer.conversation(1, "conversation", conversation)
    writer.uint64(2, "seq", sequence.rawValue)
    writer.uint64(3, "time", time.milliseconds)
    writer.bool(4, "repeated", repeated)
  }

  static func writePage(
    items: [ConversationSummary], next: ConversationID?, to writer: inout some FieldWriter
  ) {
    writer.messages(1, "items", items, present: true) { $0.write(to: &$1, existed: false) }
    if let next { writer.conversation(2, "next", next) }
  }
}

extension ServerBody {
  fileprivate init<Reader: FieldReader>(
    _ reader: inout Reader, number: Int
  ) throws(WireFault) {
    switch number {
    case 2: self = try reader.message(Self.welcome)
    case 3: self = try reader.message(Self.sent)
    case 4: self = try reader.message(ConversationSummary.readAnswer)
    case 5: self = try reader.message(Self.membersChanged)
    case 6: self = try reader.message(Self.conversations)
    case 7: self = try reader.message(Self.history)
    case 8:
      try reader.message(Self.nothing)
      self = .pong
    case 9: self = .error(try reader.message(Self.error))
    case 10: self = .event(try reader.message(Event.init))
    case 11:
      guard let cursor = try reader.cursor() else { throw .missing("cursor") }
      self = .cursor(cursor)
    case 12:
      try reader.message(Self.nothing)
      self = .behind
    case 13: self = try reader.message(Self.gap)
    default:
      try reader.message(Self.nothing)
      self = .draining
    }
  }

  private static func nothing<Reader: FieldReader>(_ reader: inout Reader) throws(WireFault) {
    while try reader.next(.none) != nil {}
  }

  private static func welcome<Reader: FieldReader>(
    _ reader: inout Reader
  ) throws(WireFault) -> ServerBody {
    var user: UserProfile?
    var device: DeviceID?
    while let number = try reader.next(welcomeNames) {
      switch number {
      case 1: user = try reader.message(UserProfile.init)
      default: device = try reader.device()
      }
    }
    guard let user else { throw .missing("user") }
    guard let device else { throw .missing("device") }
    return .welcome(user: user, device: device)
  }

  private static func sent<Reader: FieldReader>(
    _ reader: inout Reader
  ) throws(WireFault) -> ServerBody {
    var conversation: ConversationID?
    var sequence = Sequence.zero
    var time = WallTime.zero
    var repeated = false
    while let number = try reader.next(sentNames) {
      switch number {
      case 1: conversation = try reader.conversation()
      case 2: sequence = Sequence(try reader.uint64())
      case 3: time = WallTime(milliseconds: try reader.uint64())
      default: repeated = try reader.bool()
      }
    }
    guard let conversation else { throw .missing("conversation") }
    return .sent(conversation: conversation, sequence: sequence, time: time, repeated: repeated)
  }

  private static func membersChanged<Reader: FieldReader>(
    _ reader: inout Reader
  ) throws(WireFault) -> ServerBody {
    guard
      case .sent(let conversation, let sequence, _, _) = try Self.sent(&reader)
    else { throw .missing("conversation") }
    return .membersChanged(conversation: conversation, sequence: sequence)
  }

  private static func conversations<Reader: FieldReader>(
    _ reader: inout Reader
  ) throws(WireFault) -> ServerBody {
    var items: [ConversationSummary] = []
    var next: ConversationID?
    while let number = try reader.next(pageNames) {
      switch number {
      case 1:
        try reader.elements { (element: inout Reader) throws(WireFault) in
          items.append(try element.message(ConversationSummary.read).summary)
        }
      default: next = try reader.conversation()
      }
    }
    return .conversations(items: items, next: next)
  }

  private static func history<Reader: FieldReader>(
    _ reader: inout Reader
  ) throws(WireFault) -> ServerBody {
    var conversation: ConversationID?
    var page = HistoryPage(events: [], head: .zero)
    while let number = try reader.next(historyNames) {
      switch number {
      case 1: conversation = try reader.conversation()
      case 2:
        try reader.elements { (element: inout Reader) throws(WireFault) in
          page.events.append(try element.message(Event.init))
        }
      default: page.head = Sequence(try reader.uint64())
      }
    }
    guard let conversation else { throw .missing("conversation") }
    return .history(conversation: conversation, page)
  }

  private static func gap<Reader: FieldReader>(
    _ reader: inout Reader
  ) throws(WireFault) -> ServerBody {
    var conversation: ConversationID?
    while try reader.next(gapNames) != nil { conversation = try reader.conversation() }
    guard let conversation else { throw .missing("conversation") }
    return .gap(conversation)
  }

  private static func error<Reader: FieldReader>(
    _ reader: inout Reader
  ) throws(WireFault) -> ServiceError {
    var error = ServiceError(.internalError, "")
    while let number = try reader.next(errorNames) {
      switch number {
      case 1:
        let name = try reader.string(bytesMax: 64)
        // A code of a later version is an error all the same.
        error.code = ServiceErrorCode.allCases.first { $0.name == name } ?? .internalError
      case 2: error.message = try reader.string(bytesMax: ClientCodec.errorMessageBytesMax)
      case 3: error.retryable = try reader.bool()
      default: error.retryAfterMilliseconds = try reader.uint32()
      }
    }
    return error
  }
}
