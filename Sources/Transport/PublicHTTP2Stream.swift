import HTTP2Engine
import NIOCore
import Primitives

/// One request, or one WebSocket, of a connection of HTTP/2.
final class PublicStream {
  var request: HTTPRequest
  let startedAt: Instant
  let isHead: Bool
  /// The client has not ended its side.
  var isReceiving: Bool
  /// The answer was given before the client ended its side; the stream is still to be reset.
  var isRefused = false
  var bodyBytes = 0
  var responder: HTTPResponder?
  var session: WebSocketSession?
  /// The rest of a body that HTTP/2 does not take now; the end follows it.
  var pending = ByteBuffer()

  init(_ request: HTTPRequest, at instant: Instant, isReceiving: Bool) {
    self.request = request
    startedAt = instant
    self.isReceiving = isReceiving
    isHead = request.method == "HEAD"
  }

  func takeRequest() -> HTTPRequest {
    let taken = request
    request.body = ByteBuffer()
    return taken
  }
}

/// Carries a session on a stream of HTTP/2.
final class HTTP2SessionCarrier: WebSocketCarrier {
  private let connection: PublicHTTP2
  private let http2: HTTP2Connection
  private let id: StreamID
  private var hasEnded = false

  init(_ connection: PublicHTTP2, _ http2: HTTP2Connection, _ id: StreamID) {
    self.connection = connection
    self.http2 = http2
    self.id = id
  }

  func write(_ bytes: ByteBuffer) -> Bool {
    hasEnded || http2.send(id, Array(bytes.readableBytesView)) != .full
  }

  func flush() { connection.scheduleFlush() }

  func consumed(_ byteCount: Int) {
    guard byteCount > 0 else { return }
    http2.consume(id, byteCount: byteCount)
    connection.scheduleFlush()
  }

  func closeOutput() {
    guard !hasEnded else { return }
    hasEnded = true
    http2.send(id, [], endStream: true)
    connection.scheduleFlush()
  }

  func abort() {
    hasEnded = true
    http2.resetStream(id, .cancel)
    connection.scheduleFlush()
  }
}
