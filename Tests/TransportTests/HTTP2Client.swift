import HTTP2Engine
import NIOCore
import NIOPosix
import Primitives
import RawSockets
import TLSEngine

@testable import Transport

/// A client of HTTP/2 that keeps what comes on each stream.
final class HTTP2Client: HTTP2HandlerDelegate, @unchecked Sendable {
  // Safety: touched on `eventLoop` only.

  struct Stream: Sendable {
    var headers: [HTTP2HeaderField] = []
    var body: [UInt8] = []
    var isEnded = false
    var closed: HTTP2ErrorCode?

    var status: String? { headers.value(of: ":status") }
  }

  let eventLoop: any EventLoop
  private(set) var streams: [StreamID: Stream] = [:]
  private(set) var goAway: HTTP2ErrorCode?
  private(set) var isClosed = false
  private(set) var hasSettings = false
  private let http2 = HTTP2Connection(role: .client, configuration: .etcdClient)
  private var handler: HTTP2Handler?
  private var waiters = Waiters<HTTP2Client>()

  private init() { eventLoop = testLoops.next() }

  static func open(_ port: Int, tls: TLSContext? = nil) async throws -> HTTP2Client {
    let client = HTTP2Client()
    _ = try await ClientBootstrap(group: client.eventLoop)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          let pipeline = channel.pipeline.syncOperations
          if let tls {
            let connection = try TLSConnection(client: tls, expecting: .anyTrusted)
            try pipeline.addHandler(TLSHandler(connection, handshakeTimeout: 2_000))
          }
          let handler = HTTP2Handler(client.http2, now: .zero, delegate: client)
          client.handler = handler
          try pipeline.addHandler(handler)
        }
      }
      .connect(host: "127.0.0.1", port: port).get()
    try await client.wait { $0.hasSettings || $0.isClosed }
    return client
  }

  func request(
    _ method: String, _ path: String, _ more: [HTTP2HeaderField] = [], body: [UInt8]? = [],
    authority: String = "chat.test"
  ) async throws -> StreamID {
    try await eventLoop.submit {
      let fields = [
        HTTP2HeaderField(":method", method), HTTP2HeaderField(":scheme", "https"),
        HTTP2HeaderField(":path", path), HTTP2HeaderField(":authority", authority),
      ]
      let id = try self.http2.submitRequest(fields + more, endStream: body == [])
      if let body, !body.isEmpty { self.http2.send(id, body, endStream: true) }
      self.streams[id] = Stream()
      self.handler?.scheduleFlush()
      return id
    }.get()
  }

  func webSocket(origin: String = "https://chat.test") async throws -> StreamID {
    try await request(
      "CONNECT", "/v1/ws",
      [
        HTTP2HeaderField(":protocol", "websocket"), HTTP2HeaderField("origin", origin),
        HTTP2HeaderField("sec-websocket-version", "13"),
        HTTP2HeaderField("sec-websocket-protocol", "martlet.v1.proto"),
      ], body: nil)
  }

  func send(_ id: StreamID, _ bytes: [UInt8], endStream: Bool = false) async throws {
    try await eventLoop.submit {
      self.http2.send(id, bytes, endStream: endStream)
      self.handler?.scheduleFlush()
    }.get()
  }

  func reset(_ id: StreamID) async throws {
    try await eventLoop.submit {
      self.http2.resetStream(id, .cancel)
      self.handler?.scheduleFlush()
    }.get()
  }

  func close() async throws { try await eventLoop.submit { self.handler?.close() }.get() }

  /// **Returns**: the stream when `condition` holds of it, or it has ended.
  func stream(
    _ id: StreamID, until condition: @escaping @Sendable (Stream) -> Bool = { _ in false }
  ) async throws -> Stream {
    try await wait { client in
      guard let stream = client.streams[id] else { return true }
      return stream.isEnded || stream.closed != nil || condition(stream)
    }
    return try await eventLoop.submit { self.streams[id] ?? Stream() }.get()
  }

  func wait(until condition: @escaping @Sendable (HTTP2Client) -> Bool) async throws {
    try await eventLoop.flatSubmit {
      self.waiters.wait(
        of: self, on: self.eventLoop,
        seen: { "\($0.streams), closed: \($0.isClosed)" },
        until: condition)
    }.get()
  }

  private func check() { waiters.check(self) }

  // MARK: HTTP2HandlerDelegate

  func http2Opened(_ handler: HTTP2Handler) {}

  func http2Received(_ events: [HTTP2Event]) {
    for event in events {
      switch event {
      case .headers(let id, let fields, let endStream):
        streams[id]?.headers = fields
        streams[id]?.isEnded = endStream
      case .data(let id, let bytes, let endStream):
        streams[id]?.body += bytes
        streams[id]?.isEnded = endStream
      case .streamClosed(let id, let code): streams[id]?.closed = code
      case .peerSettings: hasSettings = true
      case .goAway(_, let code, _): goAway = code
      default: break
      }
    }
    check()
  }

  func http2WillWrite() {}

  func http2Closed(_ error: (any Error)?) {
    isClosed = true
    handler = nil
    check()
  }
}
