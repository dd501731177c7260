import ClusterModel
import NIOCore
import NIOPosix
import Primitives
import RawSockets
import TLSEngine
import Testing
import WebSocketEngine

@testable import Transport

/// A public port with a few paths, and what its handlers saw.
///
/// | path | answer |
/// |---|---|
/// | `/echo` | the request's body |
/// | `/held` | none until `answerHeld` |
/// | `/events` | a stream that begins with `data: 1` and ends at `finishStreams` |
/// | `/big` | `bigBytes` bytes |
/// | `/inject` | a header field with a line break in it |
/// | `/v1/ws` | a WebSocket that echoes; `big` is answered with `bigBytes` bytes, `flood` with
/// `floodBytes` bytes, a part whenever it is not congested |
final class PublicFixture: @unchecked Sendable {
  // Safety: touched on `eventLoop` only, the one loop of the port.

  static let bigBytes = 3 << 20
  /// More than the kernel keeps for a client that does not read.
  static let floodBytes = 16 << 20

  let eventLoop: any EventLoop
  private(set) var listener: PublicListener?
  private(set) var requests: [HTTPRequest] = []
  private(set) var held: [HTTPResponder] = []
  private(set) var streams: [HTTPResponseStream] = []
  private(set) var sessions: [WebSocketSession] = []
  private(set) var congestion: [Bool] = []
  private(set) var ends: [WebSocketEnd] = []
  private(set) var clientsLeft = 0
  /// What a flood has not sent yet. **Units**: bytes.
  private(set) var floodBytesLeft = 0
  private var waiters = Waiters<PublicFixture>()

  private init() { eventLoop = testLoops.next() }

  static func open(
    tls: TLSContext? = nil, _ change: (inout PublicLimits) -> Void = { _ in }
  ) async throws -> PublicFixture {
    let fixture = PublicFixture()
    var limits = PublicLimits()
    limits.sweepInterval = 5
    change(&limits)
    let policy = WebSocketUpgradePolicy(
      subprotocols: ["martlet.v1.json", "martlet.v1.proto"], origins: .only(["https://chat.test"]))
    fixture.listener = try await PublicListener.bind(
      NodeAddress(host: "127.0.0.1", port: 0), tls: tls, group: fixture.eventLoop,
      endpoint: WebSocketEndpoint(policy: policy), limits: limits,
      handlers: PublicHandlers(
        onRequest: { fixture.answer($0, $1) },
        onWebSocket: { fixture.upgrade($0, $1) })
    ).get()
    return fixture
  }

  var port: Int { Int(listener?.address.port ?? 0) }

  func close() async throws { try await listener?.close().get() }

  func limitCount(_ limit: PublicLimit) async throws -> UInt64 {
    try await listener?.counters().get().limits[limit] ?? 0
  }

  private func answer(_ request: HTTPRequest, _ responder: HTTPResponder) {
    requests.append(request)
    responder.onClose = {
      self.clientsLeft += 1
      self.check()
    }
    switch request.path {
    case "/echo":
      responder.respond(200, headers: [("content-type", "text/plain")], body: request.body)
    case "/held":
      held.append(responder)
    case "/events":
      let stream = responder.startStream(200, headers: [("content-type", "text/event-stream")])
      stream.write(ByteBuffer(string: "data: 1\n\n"))
      streams.append(stream)
    case "/big":
      responder.respond(200, body: ByteBuffer(repeating: 0x78, count: Self.bigBytes))
    case "/inject":
      responder.respond(200, headers: [("x-name", "a\r\nset-cookie: b")])
    default:
      responder.respond(404)
    }
    check()
  }

  private func upgrade(_ request: HTTPRequest, _ upgrader: WebSocketUpgrader) {
    requests.append(request)
    if request.headers["authorization"] == "Bearer bad" {
      upgrader.refuse(401)
    } else if let session = upgrader.accept(self) {
      sessions.append(session)
    }
    check()
  }

  // MARK: Waiting

  private func check() { waiters.check(self) }

  func wait(until condition: @escaping @Sendable (PublicFixture) -> Bool) async throws {
    try await eventLoop.flatSubmit {
      self.waiters.wait(
        of: self, on: self.eventLoop,
        seen: { "\($0.requests.count) requests, ends: \($0.ends), congestion: \($0.congestion)" },
        until: condition)
    }.get()
  }

  @discardableResult
  func on<Value: Sendable>(_ body: @escaping @Sendable (PublicFixture) throws -> Value) async throws
    -> Value
  {
    try await eventLoop.submit { try body(self) }.get()
  }
}

extension PublicFixture: WebSocketSessionDelegate {
  func session(_ session: WebSocketSession, received messages: [WebSocketMessage]) {
    for message in messages {
      switch message {
      case .text(Array("big".utf8)):
        session.send(
          WebSocketSession.frame(binary: [UInt8](repeating: 7, count: Self.bigBytes)))
      case .text(Array("flood".utf8)):
        floodBytesLeft = Self.floodBytes
        flood(session)
      case .text(let bytes): session.send(WebSocketSession.frame(text: bytes))
      case .binary(let bytes): session.send(WebSocketSession.frame(binary: bytes))
      }
    }
  }

  func session(_ session: WebSocketSession, congestionChanged isCongested: Bool) {
    congestion.append(isCongested)
    check()
    flood(session)
  }

  private func flood(_ session: WebSocketSession) {
    let frame = WebSocketSession.frame(binary: [UInt8](repeating: 7, count: 10_000))
    while floodBytesLeft > 0, !session.isCongested {
      floodBytesLeft -= frame.readableBytes
      session.send(frame)
    }
    check()
  }

  func session(_ session: WebSocketSession, ended end: WebSocketEnd) {
    ends.append(end)
    check()
  }
}
