package import ChatModel
package import ClientProtocol
package import Primitives

/// Bodies of the HTTP API, as JSON. Requests are read strictly: a field of a wrong type or out of
/// its bounds is refused by name; unknown fields are ignored.
///
/// **Throws** (every reading function): the `ServiceError` that the client is to get.
package enum HTTPBodies {
  /// Enough for the longest text with every character escaped.
  package static let bodyBytesMax = 524_288
  package static let contentType = "application/json"
}

/// `POST /v1/accounts`
package struct CreateAccountBody: Equatable, Sendable {
  /// **Units**: bytes of a password that an account may be made with.
  package static let passwordBytesRange = 8...1_024

  package var handle: Handle
  package var password: String
  package var displayName: String

  package init(handle: Handle, password: String, displayName: String) {
    self.handle = handle
    self.password = password
    self.displayName = displayName
  }
}

/// `POST /v1/sessions`
package struct LoginBody: Equatable, Sendable {
  package var handle: Handle
  package var password: String
  /// What the user calls the device; may be empty.
  package var device: String
  /// Whether the refresh token goes into a cookie.
  package var cookie: Bool

  package init(handle: Handle, password: String, device: String, cookie: Bool = false) {
    self.handle = handle
    self.password = password
    self.device = device
    self.cookie = cookie
  }
}

/// `POST /v1/sessions/refresh`
package enum RefreshBody: Equatable, Sendable {
  case token(String)
  /// It is in the request's cookie, and the next one goes there as well.
  case cookie
}

/// `POST /v1/conversations/{id}/messages`
package struct SendBody: Equatable, Sendable {
  package var id: ClientMessageID
  package var text: String

  package init(id: ClientMessageID, text: String) {
    self.id = id
    self.text = text
  }
}

/// `POST /v1/conversations/{id}/members`
package struct ChangeMembersBody: Equatable, Sendable {
  package var add: [MemberReference]
  package var remove: [MemberReference]

  package init(add: [MemberReference], remove: [MemberReference]) {
    self.add = add
    self.remove = remove
  }
}

/// The answer to a login and to a refresh.
package struct SessionBody: Equatable, Sendable {
  package var accessToken: String
  /// Empty when it goes into a cookie.
  package var refreshToken: String
  /// How long the access token is good.
  package var expiresInSeconds: UInt32
  package var user: UserProfile
  package var device: DeviceID

  package init(
    accessToken: String, refreshToken: String, expiresInSeconds: UInt32, user: UserProfile,
    device: DeviceID
  ) {
    self.accessToken = accessToken
    self.refreshToken = refreshToken
    self.expiresInSeconds = expiresInSeconds
    self.user = user
    self.device = device
  }
}

// MARK: Requests

extension HTTPBodies {
  private static let accountNames = FieldNames([1: "handle", 2: "password", 3: "displayName"])
  private static let loginNames = FieldNames([
    1: "handle", 2: "password", 3: "device", 4: "cookie",
  ])
  private static let refreshNames = FieldNames([1: "refreshToken", 2: "cookie"])
  private static let sendNames = FieldNames([1: "id", 2: "text"])
  private static let membersNames = FieldNames([2: "add", 3: "remove"])

  /// The body of `POST /v1/accounts`.
  package static func decodeCreateAccount(
    _ body: ArraySlice<UInt8>
  ) throws(ServiceError) -> CreateAccountBody {
    try read(body) { (reader: inout JSONFieldReader) throws(WireFault) in
      var handle: Handle?
      var password = ""
      var displayName = ""
      while let number = try reader.next(accountNames) {
        switch number {
        case 1: handle = try reader.handle()
        case 2: password = try reader.password()
        default: displayName = try reader.string(bytesMax: ChatLimits.displayNameBytesMax)
        }
      }
      guard let handle else { throw .missing("handle") }
      let range = CreateAccountBody.passwordBytesRange
      guard range.contains(password.utf8.count) else {
        throw .field(
          "password", allowed: "must be \(range.lowerBound) to \(range.upperBound) bytes")
      }
      return CreateAccountBody(handle: handle, password: password, displayName: displayName)
    }
  }

  /// The body of `POST /v1/sessions`.
  package static func decodeLogin(_ body: ArraySlice<UInt8>) throws(ServiceError) -> LoginBody {
    try read(body) { (reader: inout JSONFieldReader) throws(WireFault) in
      var handle: Handle?
      var password = ""
      var device = ""
      var cookie = false
      while let number = try reader.next(loginNames) {
        switch number {
        case 1: handle = try reader.handle()
        case 2: password = try reader.password()
        case 4: cookie = try reader.bool()
        default: device = try reader.string(bytesMax: ChatLimits.deviceNameBytesMax)
        }
      }
      guard let handle else { throw .missing("handle") }
      guard !password.isEmpty else { throw .missing("password") }
      return LoginBody(handle: handle, password: password, device: device, cookie: cookie)
    }
  }

  /// The body of `POST /v1/sessions/refresh`.
  package static func decodeRefresh(
    _ body: ArraySlice<UInt8>
  ) throws(ServiceError) -> RefreshBody {
    try read(body) { (reader: inout JSONFieldReader) throws(WireFault) in
      var token = ""
      var cookie = false
      while let number = try reader.next(refreshNames) {
        switch number {
        case 1: token = try reader.string(bytesMax: ClientCodec.tokenBytesMax)
        default: cookie = try reader.bool()
        }
      }
      guard !cookie || token.isEmpty else {
        throw .field("cookie", allowed: "excludes refreshToken")
      }
      guard cookie || !token.isEmpty else { throw .missing("refreshToken") }
      return cookie ? .cookie : .token(token)
    }
  }

  /// The body of `POST /v1/conversations`.
  package static func decodeCreateConversation(
    _ body: ArraySlice<UInt8>
  ) throws(ServiceError) -> CreateConversationRequest {
    try read(body, CreateConversationRequest.init)
  }

  /// The body of `POST /v1/conversations/{id}/members`.
  package static func decodeChangeMembers(
    _ body: ArraySlice<UInt8>
  ) throws(ServiceError) -> ChangeMembersBody {
    try read(body) { (reader: inout JSONFieldReader) throws(WireFault) in
      var change = MembersChange()
      while let number = try reader.next(membersNames) {
        try change.read(&reader, isAddition: number == 2)
      }
      return ChangeMembersBody(add: change.add, remove: change.remove)
    }
  }

  /// The body of `POST /v1/conversations/{id}/messages`.
  package static func decodeSend(_ body: ArraySlice<UInt8>) throws(ServiceError) -> SendBody {
    try read(body) { (reader: inout JSONFieldReader) throws(WireFault) in
      var id: ClientMessageID?
      var text = ""
      while let number = try reader.next(sendNames) {
        switch number {
        case 1: id = try reader.clientMessageID()
        default: text = try reader.string(bytesMax: ChatLimits.messageTextBytesMax)
        }
      }
      guard let id else { throw .missing("id") }
      return SendBody(id: id, text: text)
    }
  }

  private static func read<Body>(
    _ body: ArraySlice<UInt8>, _ read: (inout JSONFieldReader) throws(WireFault) -> Body
  ) throws(ServiceError) -> Body {
    guard body.count <= bodyBytesMax else {
      throw ServiceError(.invalidArgument, "a body is at most \(bodyBytesMax) bytes")
    }
    do throws(WireFault) {
      var reader = JSONFieldReader(body)
      let value = try reader.message(read)
      try reader.finish()
      return value
    } catch {
      throw error.serviceError
    }
  }
}

extension FieldReader {
  fileprivate mutating func password() throws(WireFault) -> String {
    try string(bytesMax: CreateAccountBody.passwordBytesRange.upperBound)
  }
}

// MARK: Answers

extension HTTPBodies {
  /// The answer to a registration.
  package static func account(_ user: UserProfile) -> [UInt8] {
    object { $0.message(1, "user") { user.write(to: &$0) } }
  }

  /// The answer to a login and to a refresh.
  package static func session(_ session: SessionBody) -> [UInt8] {
    object {
      $0.string(1, "accessToken", session.accessToken)
      $0.string(2, "refreshToken", session.refreshToken)
      $0.uint32(3, "expiresInSeconds", session.expiresInSeconds)
      $0.message(4, "user") { session.user.write(to: &$0) }
      $0.string(5, "device", session.device.description)
    }
  }

  /// The answer to the making of a conversation.
  package static func conversation(_ summary: ConversationSummary, existed: Bool) -> [UInt8] {
    object { summary.write(to: &$0, existed: existed) }
  }

  /// The answer to `GET /web/config.json`.
  package static func webConfiguration(gateways: [String]) -> [UInt8] {
    object { $0.strings(1, "gateways", gateways) }
  }

  /// A page of the list; `next` is what to ask for after it.
  package static func conversations(
    _ items: [ConversationSummary], next: ConversationID?
  ) -> [UInt8] {
    object { ServerBody.writePage(items: items, next: next, to: &$0) }
  }

  /// The answer to a message.
  package static func sent(
    conversation: ConversationID, sequence: Sequence, time: WallTime, repeated: Bool
  ) -> [UInt8] {
    object {
      ServerBody.writeSent(
        conversation: conversation, sequence: sequence, time: time, repeated: repeated, to: &$0)
    }
  }

  /// The answer to a change of members.
  package static func membersChanged(
    conversation: ConversationID, sequence: Sequence
  ) -> [UInt8] {
    object {
      $0.conversation(1, "conversation", conversation)
      $0.uint64(2, "seq", sequence.rawValue)
    }
  }

  /// A page of events.
  package static func history(_ page: HistoryPage) -> [UInt8] { object { page.write(to: &$0) } }

  /// The body of every answer that is no success.
  package static func error(_ error: ServiceError) -> [UInt8] {
    object { $0.message(1, "error") { error.write(to: &$0) } }
  }

  fileprivate static func object(_ write: (inout JSONFieldWriter) -> Void) -> [UInt8] {
    var writer = JSONFieldWriter(reservingBytes: 256)
    writer.object(write)
    return writer.bytes
  }
}

// MARK: Server-sent events

extension HTTPBodies {
  /// One block of `GET /v1/events`, or `nil` for a body that is never pushed.
  ///
  /// **Shape**: `event:` with what it is (`message` for every event of a conversation, `behind`,
  /// `gap`, `draining`), `data:` with the body's JSON, an empty line; of a cursor `id:` alone,
  /// which moves the browser's `Last-Event-ID` without an event.
  ///
  /// **Source**: WHATWG HTML, section "Server-sent events".
  package static func serverSentEvent(_ body: ServerBody) -> [UInt8]? {
    let name: String
    let data: [UInt8]
    switch body {
    case .event(let event): (name, data) = ("message", object { event.write(to: &$0) })
    case .cursor(let cursor): return Array("id: \(CursorCodec.encode(cursor))\n\n".utf8)
    case .behind: (name, data) = ("behind", object { _ in })
    case .gap(let conversation):
      name = "gap"
      data = object { $0.conversation(1, "conversation", conversation) }
    case .draining: (name, data) = ("draining", object { _ in })
    default: return nil
    }
    return Array("event: \(name)\ndata: ".utf8) + data + Array("\n\n".utf8)
  }
}
