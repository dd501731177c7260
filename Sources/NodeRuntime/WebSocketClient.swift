import ChatModel
import ClientProtocol
import GatewayCore
import NIOCore
import Primitives
import Transport
import WebSocketEngine
import Wire

/// One client on a WebSocket: reads its operations and writes its answers and events.
///
/// ```
///  token in the header ──▶ open
///  otherwise ──▶ awaiting hello ──▶ open ──▶ ended
///                     └─ refused or too late ──▶ ended
/// ```
///
/// **Isolation**: the lane's event loop.
final class WebSocketClient: WebSocketSessionDelegate, SessionOutput {
  /// Answers of one turn that share a frame.
  private static let answersPerFrameMax = 256

  private enum State {
    case awaitingHello
    case open(SessionID)
    case ended
  }

  private let lane: GatewayLane
  private let authority: TokenAuthority
  private let encoding: ClientEncoding
  /// Who the header said it is.
  private let identity: Identity?
  private var state = State.awaitingHello
  private weak var session: WebSocketSession?
  private var answers: [ServerFrame] = []

  init(
    lane: GatewayLane, authority: TokenAuthority, encoding: ClientEncoding, identity: Identity?
  ) {
    self.lane = lane
    self.authority = authority
    self.encoding = encoding
    self.identity = identity
  }

  /// The upgrade is done. With a token in the header events begin at once, unless the client
  /// wants to say hello itself, within `timeout`.
  func accepted(_ session: WebSocketSession, hello: Hello?, timeout: Milliseconds) {
    self.session = session
    if let identity, let hello {
      state = .open(lane.open(self, identity: identity, hello: hello, ref: ""))
      return
    }
    lane.eventLoop.assumeIsolated().scheduleTask(in: timeout.timeAmount) { [weak self] in
      guard let self, case .awaitingHello = state else { return }
      end(ServiceError(.unauthenticated, "no hello came in time"))
    }
  }

  // MARK: WebSocketSessionDelegate

  func session(_ session: WebSocketSession, received messages: [WebSocketMessage]) {
    for message in messages { receive(message) }
  }

  func session(_ session: WebSocketSession, congestionChanged isCongested: Bool) {
    guard case .open(let id) = state else { return }
    lane.congestionChanged(id, isCongested: isCongested)
  }

  func session(_ session: WebSocketSession, ended end: WebSocketEnd) {
    if case .open(let id) = state { lane.close(id) }
    state = .ended
  }

  private func receive(_ message: WebSocketMessage) {
    do throws(ClientCodecError) {
      let operations =
        switch message {
        case .text(let bytes): try ClientCodec.decode(text: bytes)
        case .binary(let bytes): try ClientCodec.decode(binary: bytes)
        }
      perform(operations)
    } catch {
      answer(ServerFrame(ref: "", body: .error(error.serviceError)))
      turnEnded()
    }
  }

  private func perform(_ operations: [Result<ClientFrame, RefusedOperation>]) {
    var frames: [ClientFrame] = []
    frames.reserveCapacity(operations.count)
    for operation in operations {
      switch operation {
      case .failure(let refused): answer(refused.frame)
      case .success(let frame):
        if case .awaitingHello = state {
          begin(frame)
        } else {
          frames.append(frame)
        }
      }
    }
    if !frames.isEmpty, case .open(let id) = state { lane.receive(frames, from: id) }
    turnEnded()
  }

  private func begin(_ frame: ClientFrame) {
    guard case .hello(let hello) = frame.operation else {
      let error = ServiceError(.unauthenticated, "the first operation is hello")
      return answer(ServerFrame(ref: frame.ref, body: .error(error)))
    }
    do throws(ServiceError) {
      let found: Identity
      if hello.token.isEmpty, let identity {
        found = identity
      } else {
        found = try authority.verify(hello.token, now: Clock.wall()).0
      }
      state = .open(lane.open(self, identity: found, hello: hello, ref: frame.ref))
    } catch {
      answer(ServerFrame(ref: frame.ref, body: .error(error)))
    }
  }

  // MARK: SessionOutput

  func answer(_ frame: ServerFrame) {
    answers.append(frame)
    if answers.count >= Self.answersPerFrameMax { turnEnded() }
  }

  func push(_ body: ServerBody, _ frames: EncodedPush) -> Bool {
    // A sender learns the number of its message before it sees the message.
    turnEnded()
    session?.send(frames.webSocketFrame(as: encoding))
    return false
  }

  func turnEnded() {
    guard !answers.isEmpty, let session else { return }
    let bytes =
      answers.count == 1
      ? ClientCodec.encode(answers[0], as: encoding) : ClientCodec.encode(answers, as: encoding)
    answers.removeAll(keepingCapacity: true)
    session.send(
      encoding == .json
        ? WebSocketSession.frame(text: bytes) : WebSocketSession.frame(binary: bytes))
  }

  func end(_ error: ServiceError) {
    answer(ServerFrame(ref: "", body: .error(error)))
    turnEnded()
    session?.close(.policyViolation, reason: error.message)
  }
}

/// One client that reads server-sent events.
///
/// **Isolation**: the lane's event loop.
final class EventStreamClient: SessionOutput {
  private static let leavingSteps: UInt64 = 16

  private let lane: GatewayLane
  private let stream: HTTPResponseStream
  private var id: SessionID?
  /// What the stream did not take. Bounded by one page: the core pushes nothing to a congested
  /// session.
  private var backlog: [ByteBuffer] = []
  private var lastCursor: Cursor?
  private var isPositionDue = false

  init(lane: GatewayLane, stream: HTTPResponseStream) {
    self.lane = lane
    self.stream = stream
  }

  func begin(identity: Identity, cursor: Cursor?) {
    stream.onClose { [self] in
      if let id { lane.close(id) }
      id = nil
    }
    stream.onWritable { [self] in drainBacklog() }
    id = lane.open(
      self, identity: identity, hello: Hello(token: "", cursor: cursor, events: true), ref: "")
  }

  func answer(_ frame: ServerFrame) { write(frame.body) }

  /// The position follows at the turn's end: with the first event of several, a connection that
  /// breaks between them would lose the others.
  func push(_ body: ServerBody, _ frames: EncodedPush) -> Bool {
    write(body)
    if case .draining = body { leave() }
    defer { isPositionDue = true }
    return !isPositionDue
  }

  /// A client that is told to go reads on until the stream ends, and then comes back, by itself,
  /// to another gateway. Within the grace, not all at once.
  private func leave() {
    guard let id else { return }
    let wait = GatewayNode.drainGrace.rawValue * (id.rawValue % Self.leavingSteps)
    lane.eventLoop.assumeIsolated().scheduleTask(
      in: Milliseconds(wait / Self.leavingSteps).timeAmount
    ) { [self] in finish() }
  }

  private func write(_ body: ServerBody) {
    guard let block = HTTPBodies.serverSentEvent(body) else { return }
    let bytes = ByteBuffer(bytes: block)
    if backlog.isEmpty, stream.write(bytes) { return }
    backlog.append(bytes)
    if backlog.count == 1, let id { lane.congestionChanged(id, isCongested: true) }
  }

  private func drainBacklog() {
    while let first = backlog.first {
      guard stream.write(first) else { return }
      backlog.removeFirst()
    }
    if let id { lane.congestionChanged(id, isCongested: false) }
  }

  func turnEnded() {
    isPositionDue = false
    guard let id, let cursor = lane.cursor(of: id), cursor != lastCursor else { return }
    lastCursor = cursor
    write(.cursor(cursor))
  }

  func end(_ error: ServiceError) { finish() }

  private func finish() {
    guard let id else { return }
    self.id = nil
    lane.close(id)
    stream.finish()
  }
}
