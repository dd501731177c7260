import ChatModel
import ClientProtocol
import Credentials
import GatewayCore
import NIOCore
import Primitives
import Transport
import Wire

/// The HTTP API of one event loop of a gateway: reads a request, asks the lane, writes the answer.
///
/// **Isolation**: the lane's event loop.
final class GatewayAPI {
  /// How many verified tokens are remembered, so that a client's next request costs no signature.
  private static let verifiedTokensMax = 16_384

  let lane: GatewayLane
  let authority: TokenAuthority
  let passwords: PasswordPool
  let origins: WebOrigins
  private let pages: WebFiles
  private let helloTimeout: Milliseconds
  private var verified: [String: (identity: Identity, expires: WallTime)] = [:]

  init(
    lane: GatewayLane, authority: TokenAuthority, passwords: PasswordPool, origins: WebOrigins,
    pages: WebFiles, helloTimeout: Milliseconds
  ) {
    self.lane = lane
    self.authority = authority
    self.passwords = passwords
    self.origins = origins
    self.pages = pages
    self.helloTimeout = helloTimeout
  }

  // MARK: Routing

  func handle(_ request: HTTPRequest, _ responder: HTTPResponder) {
    responder.commonHeaders = origins.answerHeaders(request)
    if let answer = page(for: request) { return answer.send(to: responder) }
    do throws(ServiceError) {
      try route(request, responder)
    } catch {
      fail(error, responder)
    }
  }

  /// What browsers ask for: the page, its files, and whether they may call from elsewhere.
  private func page(for request: HTTPRequest) -> WebAnswer? {
    if let preflight = origins.preflight(request) { return preflight }
    guard request.method == "GET" || request.method == "HEAD" else { return nil }
    return pages.answer(
      request.path, ifNoneMatch: request.headers["if-none-match"],
      acceptEncoding: request.headers["accept-encoding"])
  }

  private func route(_ request: HTTPRequest, _ responder: HTTPResponder) throws(ServiceError) {
    let segments = request.path.dropFirst().split(
      separator: "/", omittingEmptySubsequences: false)
    // `v1/conversations/ID/messages` is told by what is around the id.
    let hasID = segments.count == 4 && segments[..<2] == ["v1", "conversations"]
    let id = hasID ? String(segments[2]) : nil
    let pattern =
      id == nil ? segments.joined(separator: "/") : "v1/conversations/{id}/\(segments[3])"
    // A HEAD's answer is that of GET; the connection leaves its body out.
    let method = request.method == "HEAD" && pattern != "v1/events" ? "GET" : request.method
    switch (method, pattern) {
    case ("POST", "v1/accounts"): try createAccount(request, responder)
    case ("POST", "v1/sessions"): try logIn(request, responder)
    case ("POST", "v1/sessions/refresh"): try refresh(request, responder)
    case ("DELETE", "v1/sessions/current"): try logOut(request, responder)
    case ("POST", "v1/conversations"):
      let wanted = try HTTPBodies.decodeCreateConversation(bytes(request)[...])
      try perform(.createConversation(wanted), request, responder)
    case ("GET", "v1/conversations"):
      try perform(try listing(request), request, responder)
    case ("POST", "v1/conversations/{id}/members"):
      let body = try HTTPBodies.decodeChangeMembers(bytes(request)[...])
      try perform(
        .changeMembers(conversation: conversation(id), add: body.add, remove: body.remove),
        request, responder)
    case ("POST", "v1/conversations/{id}/messages"):
      let body = try HTTPBodies.decodeSend(bytes(request)[...])
      try perform(
        .send(conversation: conversation(id), id: body.id, text: body.text), request, responder)
    case ("GET", "v1/conversations/{id}/messages"):
      try perform(try history(conversation(id), request), request, responder)
    case ("GET", "v1/events"): try events(request, responder)
    case ("GET", "v1/openapi.json"):
      respond(200, Array(OpenAPI.document.utf8), responder)
    case ("GET", "web/config.json"):
      respond(200, HTTPBodies.webConfiguration(gateways: origins.listed), responder)
    case (_, "v1/ws"):
      let error = ServiceError(.failedPrecondition, "a WebSocket's handshake belongs here")
      respond(426, HTTPBodies.error(error), responder)
    default:
      guard let allowed = Self.methods[pattern] else {
        throw ServiceError(.notFound, "no such path")
      }
      let error = ServiceError(.unimplemented, "this path takes \(allowed)")
      respond(405, HTTPBodies.error(error), responder, headers: [("allow", allowed)])
    }
  }

  /// Of every path that takes some and not others.
  private static let methods = [
    "v1/accounts": "POST", "v1/sessions": "POST", "v1/sessions/refresh": "POST",
    "v1/sessions/current": "DELETE", "v1/conversations": "GET, HEAD, POST",
    "v1/conversations/{id}/members": "POST",
    "v1/conversations/{id}/messages": "GET, HEAD, POST", "v1/events": "GET",
    "v1/openapi.json": "GET, HEAD", "": "GET, HEAD", "web/config.json": "GET, HEAD",
  ]

  /// The body of an error that the connection answers before anything is asked of this.
  static func refusal(_ status: Int) -> (headers: HTTPFields.List, body: ByteBuffer) {
    let error =
      switch status {
      case 403: ServiceError(.permissionDenied, "this origin may not open a WebSocket here")
      case 404: ServiceError(.notFound, "no such path")
      case 408: ServiceError(.deadlineExceeded, "the request came too slowly", retryable: true)
      case 413: ServiceError(.invalidArgument, "the body is too long")
      case 426: ServiceError(.failedPrecondition, "this version of WebSocket is not spoken")
      case 431: ServiceError(.invalidArgument, "the header is too long")
      case 501, 505: ServiceError(.unimplemented, "this is not spoken here")
      case 503: ServiceError.overloaded("this connection asks for too much at a time")
      default: ServiceError(.invalidArgument, "the request is malformed")
      }
    return (
      [("content-type", HTTPBodies.contentType)], ByteBuffer(bytes: HTTPBodies.error(error))
    )
  }

  // MARK: Who asks

  /// Access tokens of this session are looked at anew.
  func forget(_ identity: Identity) {
    verified = verified.filter { $0.value.identity != identity }
  }

  func identify(_ request: HTTPRequest) throws(ServiceError) -> Identity {
    guard let header = request.headers["authorization"] else {
      throw ServiceError(.unauthenticated, "an access token is needed: Authorization: Bearer …")
    }
    guard header.utf8.count <= ClientCodec.tokenBytesMax,
      header.prefix(7).lowercased() == "bearer "
    else { throw ServiceError(.unauthenticated, "the Authorization header is no bearer token") }
    let token = String(header.dropFirst(7))
    let now = Clock.wall()
    if let known = verified[token] {
      if known.expires > now { return known.identity }
      verified[token] = nil
    }
    let (identity, expires) = try authority.verify(token, now: now)
    if verified.count >= Self.verifiedTokensMax { verified.removeAll(keepingCapacity: true) }
    verified[token] = (identity, expires)
    return identity
  }

  // MARK: Reading requests

  func bytes(_ request: HTTPRequest) throws(ServiceError) -> [UInt8] {
    guard request.body.readableBytes <= HTTPBodies.bodyBytesMax else {
      throw ServiceError(
        .invalidArgument, "the body is larger than \(HTTPBodies.bodyBytesMax) bytes")
    }
    return Array(request.body.readableBytesView)
  }

  private func conversation(_ text: String?) throws(ServiceError) -> ConversationID {
    guard let text, let id = ConversationID(text) else {
      throw ServiceError(.invalidArgument, "not the id of a conversation")
    }
    return id
  }

  private func parameters(
    _ request: HTTPRequest, allowed: [String]
  ) throws(ServiceError) -> [String: String] {
    var found: [String: String] = [:]
    for pair in (request.query ?? "").split(separator: "&") {
      let parts = pair.split(separator: "=", maxSplits: 1)
      guard let name = parts.first.map(String.init), allowed.contains(name) else {
        let names = allowed.joined(separator: ", ")
        throw ServiceError(.invalidArgument, "unknown parameter; allowed are \(names)")
      }
      found[name] = parts.count == 2 ? String(parts[1]) : ""
    }
    return found
  }

  /// Items of the page that is asked for: of conversations or of events, as on a WebSocket.
  private func limit(_ text: String?) throws(ServiceError) -> Int {
    guard let text else { return ClientCodec.pageDefault }
    guard let limit = Int(text), (1...ClientCodec.pageMax).contains(limit) else {
      throw ServiceError(.invalidArgument, "limit must be 1 to \(ClientCodec.pageMax)")
    }
    return limit
  }

  private func listing(_ request: HTTPRequest) throws(ServiceError) -> ClientOperation {
    let given = try parameters(request, allowed: ["after", "limit"])
    var after: ConversationID?
    if let text = given["after"] { after = try conversation(text) }
    return .listConversations(after: after, limit: try limit(given["limit"]))
  }

  private func history(
    _ conversation: ConversationID, _ request: HTTPRequest
  ) throws(ServiceError) -> ClientOperation {
    let given = try parameters(request, allowed: ["after", "before", "limit"])
    let range: HistoryQuery.Range
    switch (given["after"], given["before"]) {
    case (nil, nil): range = .latest
    case (let text?, nil): range = .after(try sequence(text))
    case (nil, let text?): range = .before(try sequence(text))
    case (_?, _?): throw ServiceError(.invalidArgument, "after and before exclude each other")
    }
    return .history(
      conversation: conversation, range: range, limit: try limit(given["limit"]))
  }

  private func sequence(_ text: String) throws(ServiceError) -> Sequence {
    guard let number = UInt64(text) else {
      throw ServiceError(.invalidArgument, "not a sequence number")
    }
    return Sequence(number)
  }

  // MARK: Operations

  private func perform(
    _ operation: ClientOperation, _ request: HTTPRequest, _ responder: HTTPResponder
  ) throws(ServiceError) {
    let identity = try identify(request)
    let call = GatewayCall.operation(operation, user: identity.user, device: identity.device)
    lane.call(call) { [self] result in
      switch result {
      case .body(let body): answer(body, responder)
      case .failed(let error): fail(error, responder)
      default: fail(ServiceError(.internalError, "another answer was expected"), responder)
      }
    }
  }

  private func answer(_ body: ServerBody, _ responder: HTTPResponder) {
    switch body {
    case .sent(let conversation, let sequence, let time, let repeated):
      let bytes = HTTPBodies.sent(
        conversation: conversation, sequence: sequence, time: time, repeated: repeated)
      respond(repeated ? 200 : 201, bytes, responder)
    case .conversation(let summary, let existed):
      let bytes = HTTPBodies.conversation(summary, existed: existed)
      respond(existed ? 200 : 201, bytes, responder)
    case .membersChanged(let conversation, let sequence):
      respond(
        200, HTTPBodies.membersChanged(conversation: conversation, sequence: sequence), responder)
    case .conversations(let items, let next):
      respond(200, HTTPBodies.conversations(items, next: next), responder)
    case .history(_, let page): respond(200, HTTPBodies.history(page), responder)
    default: fail(ServiceError(.internalError, "another answer was expected"), responder)
    }
  }

  private func events(_ request: HTTPRequest, _ responder: HTTPResponder) throws(ServiceError) {
    let identity = try identify(request)
    let given = try parameters(request, allowed: ["cursor"])
    var cursor: Cursor?
    if let text = request.headers["last-event-id"] ?? given["cursor"], !text.isEmpty {
      cursor = CursorCodec.decode(text)
      guard cursor != nil else { throw ServiceError(.invalidArgument, "not a cursor") }
    }
    let stream = responder.startStream(
      200,
      headers: [("content-type", "text/event-stream"), ("cache-control", "no-store")])
    EventStreamClient(lane: lane, stream: stream).begin(identity: identity, cursor: cursor)
  }

  // MARK: Answers

  func respond(
    _ status: Int, _ body: [UInt8], _ responder: HTTPResponder, headers: HTTPFields.List = []
  ) {
    responder.respond(
      status,
      headers: [
        ("content-type", HTTPBodies.contentType), ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
      ] + headers, body: ByteBuffer(bytes: body))
  }

  func fail(_ error: ServiceError, _ responder: HTTPResponder) {
    respond(Int(error.code.httpStatus), HTTPBodies.error(error), responder)
  }

  // MARK: WebSocket

  func open(_ request: HTTPRequest, _ upgrader: WebSocketUpgrader) {
    let encoding = upgrader.subprotocol.flatMap { ClientEncoding(subprotocol: $0) } ?? .json
    do throws(ServiceError) {
      var identity: Identity?
      if request.headers["authorization"] != nil { identity = try identify(request) }
      let hello = try hello(of: request, identity: identity)
      let client = WebSocketClient(
        lane: lane, authority: authority, encoding: encoding, identity: identity)
      if let session = upgrader.accept(client) {
        client.accepted(session, hello: hello, timeout: helloTimeout)
      }
    } catch {
      upgrader.refuse(
        Int(error.code.httpStatus), headers: [("content-type", HTTPBodies.contentType)],
        body: ByteBuffer(bytes: HTTPBodies.error(error)))
    }
  }

  /// A client whose header says who it is may give its hello in the query (a cursor is no
  /// secret), or say `hello=later` and send it as its first operation.
  private func hello(
    of request: HTTPRequest, identity: Identity?
  ) throws(ServiceError) -> Hello? {
    let given = try parameters(request, allowed: ["cursor", "events", "hello"])
    guard identity != nil, given["hello"] != "later" else { return nil }
    var cursor: Cursor?
    if let text = given["cursor"], !text.isEmpty {
      cursor = CursorCodec.decode(text)
      guard cursor != nil else { throw ServiceError(.invalidArgument, "not a cursor") }
    }
    return Hello(token: "", cursor: cursor, events: given["events"] != "false")
  }
}
