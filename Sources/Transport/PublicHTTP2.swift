import HTTP2Engine
import NIOCore
import Primitives
import WebSocketEngine

/// A public connection that speaks HTTP/2: each stream is a request, or a WebSocket by extended
/// CONNECT (RFC 8441).
///
/// **Isolation**: the channel's event loop.
final class PublicHTTP2 {
  var slot = 0
  let loop: PublicLoop
  private let channel: any Channel
  private let remoteAddress: String
  private let isSecure: Bool
  private let http2: HTTP2Connection
  private var handler: HTTP2Handler?
  private var streams: [Int32: PublicStream] = [:]
  private var readSessions: [WebSocketSession] = []
  /// Of bodies that are being received.
  private var bodyBytes = 0
  private var lastBusy: Instant
  private var headersSince: Instant?
  private var progress: (bytesSent: UInt64, at: Instant)
  private var closedAt: Instant?

  init(_ loop: PublicLoop, _ channel: any Channel, remoteAddress: String, isSecure: Bool) {
    self.loop = loop
    self.channel = channel
    self.remoteAddress = remoteAddress
    self.isSecure = isSecure
    let now = loop.now
    lastBusy = now
    progress = (0, now)
    http2 = HTTP2Connection(role: .server, configuration: loop.limits.http2, now: now)
  }

  func makeHandler() -> HTTP2Handler {
    let handler = HTTP2Handler(http2, now: loop.now, lingers: true, delegate: self)
    self.handler = handler
    channel.closeFuture.assumeIsolated().whenComplete { _ in self.loop.remove(self) }
    return handler
  }

  // MARK: Requests

  private func handle(_ event: HTTP2Event) {
    switch event {
    case .headers(let id, let fields, let endStream):
      begin(id, fields, endStream: endStream)
    case .data(let id, let bytes, let endStream):
      received(bytes, on: id, endStream: endStream)
    case .trailers(let id, _):
      // Nothing of this interface looks at them.
      received([], on: id, endStream: true)
    case .streamClosed(let id, _):
      streamClosed(id)
    case .writable(let id):
      roomAppeared(id)
    case .informational, .peerSettings, .settingsAcknowledged, .pingAcknowledged, .goAway:
      break
    }
  }

  private func begin(_ id: StreamID, _ fields: [HTTP2HeaderField], endStream: Bool) {
    var headers = HTTPFields()
    var pseudo: [String: String] = [:]
    for field in fields {
      if field.name.hasPrefix(":") {
        pseudo[field.name] = field.value
      } else if field.name != "host" {
        headers.list.append((field.name, field.value))
      }
    }
    let authority = pseudo[":authority"] ?? fields.value(of: "host")
    if let authority { headers.list.append(("host", authority)) }
    let request = HTTPRequest(
      method: pseudo[":method"] ?? "", target: pseudo[":path"] ?? "", headers: headers,
      remoteAddress: remoteAddress, isSecure: isSecure)
    let stream = PublicStream(request, at: loop.now, isReceiving: !endStream)
    streams[id.rawValue] = stream
    if let scheme = pseudo[":protocol"] {
      return upgrade(id, stream, to: scheme, endStream: endStream)
    }
    guard authority != nil, request.path.hasPrefix("/") || request.path == "*",
      HTTPFields.areSendable(headers.list), request.path.utf8.allSatisfy({ $0 > 0x20 })
    else { return refuse(id, stream, 400, .malformed) }
    let declared = headers["content-length"].flatMap { Int($0) } ?? 0
    guard declared <= loop.limits.bodyBytesMax else { return refuse(id, stream, 413, .bodyBytes) }
    if endStream { return dispatch(id, stream) }
    if headers["expect"]?.lowercased() == "100-continue" {
      try? http2.submitInformational(id, [HTTP2HeaderField(":status", "100")])
    }
  }

  private func received(_ bytes: [UInt8], on id: StreamID, endStream: Bool) {
    guard let stream = streams[id.rawValue] else { return }
    if let session = stream.session {
      session.received(ByteBuffer(bytes: bytes))
      if !readSessions.contains(where: { $0 === session }) { readSessions.append(session) }
      if endStream { session.transportEnded() }
      return
    }
    http2.consume(id, byteCount: bytes.count)
    guard stream.isReceiving else { return }
    stream.request.body.writeBytes(bytes)
    stream.bodyBytes += bytes.count
    bodyBytes += bytes.count
    let limits = loop.limits
    guard stream.bodyBytes <= limits.bodyBytesMax else {
      return refuse(id, stream, 413, .bodyBytes)
    }
    guard bodyBytes <= limits.connectionBodyBytesMax else {
      return refuse(id, stream, 503, .bodyBytes)
    }
    if endStream { dispatch(id, stream) }
  }

  private func dispatch(_ id: StreamID, _ stream: PublicStream) {
    endReceiving(stream)
    loop.counters.requests += 1
    let responder = HTTPResponder(self, id: id.rawValue)
    stream.responder = responder
    loop.handlers.onRequest(stream.takeRequest(), responder)
  }

  private func endReceiving(_ stream: PublicStream) {
    guard stream.isReceiving else { return }
    stream.isReceiving = false
    bodyBytes -= stream.bodyBytes
  }

  /// Answers with an error and takes nothing more of the stream.
  private func refuse(
    _ id: StreamID, _ stream: PublicStream, _ status: Int, _ limit: PublicLimit
  ) {
    loop.count(limit)
    stream.isRefused = stream.isReceiving
    endReceiving(stream)
    stream.request.body = ByteBuffer()
    let refusal = loop.handlers.refusal(status)
    let fields =
      [HTTP2HeaderField(":status", "\(status)")]
      + refusal.headers.map { HTTP2HeaderField($0.name, $0.value) }
    let isEmpty = refusal.body.readableBytes == 0
    try? http2.submitResponse(id, fields, endStream: isEmpty)
    guard !isEmpty else { return }
    stream.pending = refusal.body
    sendPending(id, stream)
  }

  private func streamClosed(_ id: StreamID) {
    guard let stream = streams.removeValue(forKey: id.rawValue) else { return }
    endReceiving(stream)
    if streams.isEmpty { lastBusy = loop.now }
    stream.session?.transportEnded()
    stream.responder?.clientLeft()
  }

  private func roomAppeared(_ id: StreamID) {
    guard let stream = streams[id.rawValue] else { return }
    if stream.pending.readableBytes > 0 { return sendPending(id, stream) }
    stream.session?.roomAppeared()
    stream.responder?.roomAppeared()
  }

  // MARK: WebSocket

  private func upgrade(
    _ id: StreamID, _ stream: PublicStream, to scheme: String, endStream: Bool
  ) {
    let request = stream.request
    guard request.method == "CONNECT", scheme == "websocket", !endStream else {
      return refuse(id, stream, 501, .malformed)
    }
    guard request.path == loop.endpoint.path else { return refuse(id, stream, 404, .webSocket) }
    endReceiving(stream)
    loop.counters.requests += 1
    let responder = HTTPResponder(self, id: id.rawValue)
    stream.responder = responder
    do {
      let upgrade = try WebSocketUpgrade.accepting(
        request.headers.list, over: .http2, policy: loop.endpoint.policy)
      loop.handlers.onWebSocket(
        request, WebSocketUpgrader(upgrade, responder, carrier: self, id: id.rawValue))
    } catch {
      loop.handlers.refuse(error, responder)
    }
  }
}

// MARK: - Answers

extension PublicHTTP2: ResponseCarrier {
  var eventLoop: any EventLoop { loop.eventLoop }

  func sendHead(_ status: Int, _ headers: HTTPFields.List, body: ByteBuffer?, for id: Int32) {
    guard let stream = streams[id] else { return }
    let isSendable = HTTPFields.areSendable(headers)
    let body = isSendable ? body : ByteBuffer()
    var fields = [
      HTTP2HeaderField(":status", String(isSendable ? status : 500)),
      HTTP2HeaderField("date", loop.dateText),
    ]
    for field in isSendable ? headers : [] {
      fields.append(HTTP2HeaderField(field.name.lowercased(), field.value))
    }
    if let body, status != 204, status != 304 {
      fields.append(HTTP2HeaderField("content-length", String(body.readableBytes)))
    }
    let isEnd = body.map { $0.readableBytes == 0 || stream.isHead } ?? false
    try? http2.submitResponse(StreamID(id), fields, endStream: isEnd)
    if let body, !isEnd {
      stream.pending = body
      sendPending(StreamID(id), stream)
    }
    if body != nil { stream.responder = nil }
    handler?.scheduleFlush()
  }

  /// Pieces in which a body is handed over. **Units**: bytes.
  private static let pieceBytesMax = 64 << 10

  private func sendPending(_ id: StreamID, _ stream: PublicStream) {
    while stream.pending.readableBytes > 0 {
      let bytes = Array(stream.pending.readableBytesView.prefix(Self.pieceBytesMax))
      let isEnd = bytes.count == stream.pending.readableBytes
      guard http2.send(id, bytes, endStream: isEnd) == .queued else { return }
      stream.pending.moveReaderIndex(forwardBy: bytes.count)
    }
    stream.pending = ByteBuffer()
  }

  func sendBody(_ bytes: ByteBuffer, for id: Int32) -> Bool {
    guard let stream = streams[id], bytes.readableBytes > 0, !stream.isHead else { return true }
    let outcome = http2.send(StreamID(id), Array(bytes.readableBytesView))
    handler?.scheduleFlush()
    return outcome != .full
  }

  func endBody(for id: Int32) {
    streams[id]?.responder = nil
    http2.send(StreamID(id), [], endStream: true)
    handler?.scheduleFlush()
  }

  func canSendBody(for id: Int32) -> Bool {
    http2.queuedBytes(StreamID(id)) < loop.limits.streamQueueBytesMax
  }
}

extension PublicHTTP2: UpgradeCarrier {
  func accept(
    _ upgrade: WebSocketUpgrade, _ delegate: any WebSocketSessionDelegate, for id: Int32
  ) -> WebSocketSession? {
    guard let stream = streams[id], stream.session == nil else { return nil }
    stream.responder = nil
    var fields = [HTTP2HeaderField(":status", "200")]
    for field in upgrade.responseHeaders {
      fields.append(HTTP2HeaderField(field.name.lowercased(), field.value))
    }
    do {
      try http2.submitResponse(StreamID(id), fields, endStream: false)
    } catch {
      return nil
    }
    let session = WebSocketSession(
      loop, subprotocol: upgrade.subprotocol, remoteAddress: remoteAddress,
      carrier: HTTP2SessionCarrier(self, http2, StreamID(id)), delegate: delegate)
    stream.session = session
    handler?.scheduleFlush()
    return session
  }

  func scheduleFlush() { handler?.scheduleFlush() }
}

// MARK: - From the channel

extension PublicHTTP2: HTTP2HandlerDelegate {
  func http2Opened(_ handler: HTTP2Handler) {}

  func http2Received(_ events: [HTTP2Event]) {
    for event in events { handle(event) }
    let sessions = readSessions
    readSessions.removeAll()
    for session in sessions { session.readComplete() }
    if !events.isEmpty { lastBusy = loop.now }
  }

  func http2WillWrite() {}

  func http2Closed(_ error: (any Error)?) {
    switch error {
    case HTTP2Error.limitExceeded?, HTTP2Error.protocolViolation?, HTTP2Error.badPreface?:
      loop.count(.http2)
    default: break
    }
    handler = nil
    closedAt = loop.now
  }
}

// MARK: - Times

extension PublicHTTP2: PublicPeer {
  func check(now: Instant) {
    let limits = loop.limits
    if let closedAt {
      if now >= closedAt + limits.lingerTimeout { abort() }
      return
    }
    for (id, stream) in streams {
      if stream.isRefused {
        // Otherwise the client could keep the stream open for ever. Not together with the answer,
        // which would be dropped then.
        stream.isRefused = false
        http2.resetStream(StreamID(id), .none, blamesPeer: true)
        handler?.scheduleFlush()
      } else if stream.isReceiving {
        let seconds = UInt64(stream.bodyBytes / limits.bodyBytesPerSecondMin)
        if now >= stream.startedAt + limits.bodyGrace + Milliseconds(seconds * 1_000) {
          refuse(StreamID(id), stream, 408, .bodyRate)
          handler?.scheduleFlush()
        }
      }
      stream.session?.check(now: now)
    }
    checkConnection(now, limits)
  }

  private func checkConnection(_ now: Instant, _ limits: PublicLimits) {
    if http2.isReceivingHeaders {
      let since = headersSince ?? now
      headersSince = since
      if now >= since + limits.headerTimeout { return end(.headerTime) }
    } else {
      headersSince = nil
    }
    if http2.queuedBytes == 0 || handler?.bytesSent != progress.bytesSent {
      progress = (handler?.bytesSent ?? 0, now)
    } else if now >= progress.at + limits.progressTimeout {
      return end(.progressTime)
    }
    if streams.isEmpty, now >= lastBusy + limits.idleTimeout { end(.idleTime) }
  }

  private func end(_ limit: PublicLimit) {
    loop.count(limit)
    http2.terminate(limit == .idleTime ? .none : .enhanceYourCalm)
    handler?.scheduleFlush()
  }

  func drain() {
    http2.shutdown()
    handler?.scheduleFlush()
  }

  func abort() { channel.close(promise: nil) }

  func forEachSession(_ body: (WebSocketSession) -> Void) {
    for stream in streams.values { stream.session.map(body) }
  }
}
