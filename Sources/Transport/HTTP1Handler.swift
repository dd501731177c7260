import NIOCore
import NIOHTTP1
import Primitives
import WebSocketEngine

/// A public connection that speaks HTTP/1.1.
///
/// ```
///   idle ── head ──▶ receiving ── end ──▶ answering ── answered ──▶ idle (keep-alive), or closing
///     └── malformed, too large, too slow ──┴──────────────────────▶ closing ──▶ closed
///                                            └── 101 ──▶ replaced by WebSocketHandler
/// ```
/// While a request is being answered nothing is read, so that a client that pipelines waits for its
/// answers; they leave in order. A closing connection has said its last word and waits for the
/// client's end, since closing at once could take that word away from it.
///
/// **Isolation**: the channel's event loop.
final class HTTP1Handler: ChannelDuplexHandler, RemovableChannelHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  private enum State {
    case idle
    case receiving(HTTP1Request)
    case answering(HTTP1Answer)
    case closing
    case closed
  }

  /// The bytes of a body up to which it is copied behind its head rather than written by itself.
  private static let joinedBodyBytesMax = 4_096

  var slot = 0
  let loop: PublicLoop
  private let remoteAddress: String
  private let isSecure: Bool
  private var state = State.idle
  private var waiting = CircularBuffer<HTTPServerRequestPart>(initialCapacity: 1)
  private var context: ChannelHandlerContext?
  private var decoder: ByteToMessageHandler<HTTPRequestDecoder>?
  private var deadline: (at: Instant, limit: PublicLimit)
  private var sawPart = false
  private var isReading = false
  private var isReadWanted = false
  private var isUnflushed = false
  private var isReplaced = false
  /// Bytes that are no HTTP came behind a request that is still being answered.
  private var isPoisoned = false

  init(_ loop: PublicLoop, remoteAddress: String, isSecure: Bool) {
    self.loop = loop
    self.remoteAddress = remoteAddress
    self.isSecure = isSecure
    deadline = (loop.now + loop.limits.headerTimeout, .headerTime)
  }

  func makeDecoder() -> ByteToMessageHandler<HTTPRequestDecoder> {
    var limits = NIOHTTPDecoderLimitConfiguration()
    limits.maxHeaderFieldSize = loop.limits.headerFieldBytesMax
    limits.maxHeaderListSize = loop.limits.headerListBytesMax
    limits.maxHeaderFieldCount = loop.limits.headerFieldsMax
    let decoder = ByteToMessageHandler(
      HTTPRequestDecoder(leftOverBytesStrategy: .forwardBytes, limitConfiguration: limits))
    self.decoder = decoder
    return decoder
  }

  // MARK: The channel

  func handlerAdded(context: ChannelHandlerContext) { self.context = context }

  func handlerRemoved(context: ChannelHandlerContext) {
    self.context = nil
    guard !isReplaced else { return }
    leave()
    loop.remove(self)
  }

  func channelInactive(context: ChannelHandlerContext) {
    leave()
    context.fireChannelInactive()
  }

  private func leave() {
    let last = state
    state = .closed
    waiting.removeAll()
    if case .answering(let answer) = last { answer.responder.clientLeft() }
  }

  func read(context: ChannelHandlerContext) {
    if case .answering = state { isReadWanted = true } else { context.read() }
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    sawPart = true
    isReading = true
    let part = unwrapInboundIn(data)
    switch state {
    case .idle, .receiving: take(part)
    case .answering:
      waiting.append(part)
      guard waiting.count > loop.limits.pipelinedPartsMax else { return }
      loop.count(.pipelining)
      abort()
    case .closing, .closed: break
    }
  }

  func channelReadComplete(context: ChannelHandlerContext) {
    isReading = false
    if case .idle = state, !sawPart, deadline.limit == .idleTime {
      // Something came, but no whole head.
      deadline = (loop.now + loop.limits.headerTimeout, .headerTime)
    }
    sawPart = false
    flushIfNeeded()
    context.fireChannelReadComplete()
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    let isWritable = context.channel.isWritable
    if isWritable {
      if deadline.limit == .progressTime { deadline.at = .distantFuture }
      if case .answering(var answer) = state, answer.isStalled {
        answer.isStalled = false
        state = .answering(answer)
        answer.responder.roomAppeared()
      }
    } else if case .answering = state {
      deadline = (loop.now + loop.limits.progressTimeout, .progressTime)
    }
    context.fireChannelWritabilityChanged()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    // The decoder says so of everything behind an error, which has been dealt with.
    if error is ByteToMessageDecoderError { return }
    guard let error = error as? HTTPParserError else {
      context.close(promise: nil)
      return
    }
    if case .answering = state {
      isPoisoned = true
    } else if error == .headerOverflow {
      refuse(431, .headerBytes)
    } else {
      refuse(400, .malformed)
    }
  }

  // MARK: Requests

  private func take(_ part: HTTPServerRequestPart) {
    switch (part, state) {
    case (.head(let head), .idle):
      begin(head)
    case (.body(let bytes), .receiving(var incoming)):
      state = .idle
      append(bytes, to: &incoming)
    case (.end, .receiving(let incoming)):
      dispatch(incoming)
    case (.head, _), (.body, _), (.end, _):
      break
    }
  }

  private func begin(_ head: HTTPRequestHead) {
    let headers = HTTPFields(head.headers.map { (name: $0.name, value: $0.value) })
    let checked = HTTP1Checks.check(head, headers)
    guard case .success(let target) = checked else { return refuse(400, .malformed) }
    let declaredBytes = headers["content-length"].flatMap { Int($0) } ?? 0
    guard declaredBytes <= loop.limits.bodyBytesMax else { return refuse(413, .bodyBytes) }
    let request = HTTPRequest(
      method: head.method.rawValue, target: target, headers: headers,
      remoteAddress: remoteAddress, isSecure: isSecure)
    // After an upgrade or CONNECT the decoder reads no further.
    let isLast = headers["upgrade"] != nil || head.method == .CONNECT || loop.isDraining
    let now = loop.now
    state = .receiving(
      HTTP1Request(
        request: request, startedAt: now, keepsAlive: head.isKeepAlive && !isLast,
        version: head.version))
    deadline = (now + loop.limits.bodyGrace, .bodyRate)
    if let expectation = headers["expect"], expectation.lowercased() == "100-continue",
      head.version == .http1_1
    {
      write(ByteBuffer(string: "HTTP/1.1 100 Continue\r\n\r\n"))
      flushUnlessReading()
    }
  }

  private func append(_ bytes: ByteBuffer, to incoming: inout HTTP1Request) {
    var bytes = bytes
    if incoming.request.body.readableBytes == 0 {
      incoming.request.body = bytes
    } else {
      incoming.request.body.writeBuffer(&bytes)
    }
    let count = incoming.request.body.readableBytes
    guard count <= loop.limits.bodyBytesMax else { return refuse(413, .bodyBytes) }
    let seconds = UInt64(count / loop.limits.bodyBytesPerSecondMin)
    deadline.at = incoming.startedAt + loop.limits.bodyGrace + Milliseconds(seconds * 1_000)
    state = .receiving(incoming)
  }

  private func dispatch(_ incoming: HTTP1Request) {
    let request = incoming.request
    let responder = HTTPResponder(self, id: 0)
    state = .answering(
      HTTP1Answer(
        responder: responder, isHead: request.method == "HEAD", keepsAlive: incoming.keepsAlive,
        version: incoming.version))
    deadline = (.distantFuture, .progressTime)
    loop.counters.requests += 1
    guard request.path == loop.endpoint.path, request.headers["upgrade"] != nil,
      request.method == "GET", incoming.version == .http1_1
    else { return loop.handlers.onRequest(request, responder) }
    do {
      let upgrade = try WebSocketUpgrade.accepting(
        request.headers.list, over: .http1, policy: loop.endpoint.policy)
      loop.handlers.onWebSocket(
        request, WebSocketUpgrader(upgrade, responder, carrier: self, id: 0))
    } catch {
      loop.handlers.refuse(error, responder)
    }
  }

  // MARK: Ends

  /// Answers with an error and closes.
  private func refuse(_ status: Int, _ limit: PublicLimit) {
    switch state {
    case .closing, .closed: return
    case .idle, .receiving, .answering: break
    }
    loop.count(limit)
    let refusal = loop.handlers.refusal(status)
    writeHead(
      status, refusal.headers, length: refusal.body.readableBytes, isChunked: false,
      keepsAlive: false, body: refusal.body)
    close()
  }

  private func close() {
    state = .closing
    waiting.removeAll()
    deadline = (loop.now + loop.limits.lingerTimeout, .idleTime)
    flushIfNeeded()
    context?.close(mode: .output, promise: nil)
    resumeReading()
  }

  private func answered(_ answer: HTTP1Answer) {
    guard answer.keepsAlive, !isPoisoned, !loop.isDraining else {
      if isPoisoned { loop.count(.malformed) }
      return close()
    }
    state = .idle
    deadline = (loop.now + loop.limits.idleTimeout, .idleTime)
    flushUnlessReading()
    // An answer that is given at once comes back here; the loop below goes on then.
    guard !isTakingWaiting else { return }
    isTakingWaiting = true
    while let part = waiting.first {
      if case .answering = state { break }
      waiting.removeFirst()
      take(part)
    }
    isTakingWaiting = false
    if case .answering = state { return }
    resumeReading()
  }

  private var isTakingWaiting = false

  private func resumeReading() {
    guard isReadWanted else { return }
    isReadWanted = false
    context?.read()
  }

  // MARK: Writing

  private func write(_ bytes: ByteBuffer) {
    context?.write(wrapOutboundOut(bytes), promise: nil)
    isUnflushed = true
  }

  private func flushIfNeeded() {
    guard isUnflushed else { return }
    isUnflushed = false
    context?.flush()
  }

  private func flushUnlessReading() { if !isReading { flushIfNeeded() } }

  private func writeHead(
    _ status: Int, _ headers: HTTPFields.List, length: Int?, isChunked: Bool, keepsAlive: Bool,
    body: ByteBuffer
  ) {
    guard let context else { return }
    var head = context.channel.allocator.buffer(capacity: 256 + min(body.readableBytes, 4_096))
    head.writeString(
      "HTTP/1.1 \(status) \(HTTP1Checks.reason(status))\r\ndate: \(loop.dateText)\r\n")
    for field in headers { head.writeString("\(field.name): \(field.value)\r\n") }
    if let length { head.writeString("content-length: \(length)\r\n") }
    if isChunked { head.writeString("transfer-encoding: chunked\r\n") }
    let connection = (status == 426 ? ["upgrade"] : []) + (keepsAlive ? [] : ["close"])
    if status == 426 { head.writeString("upgrade: websocket\r\n") }
    if !connection.isEmpty {
      head.writeString("connection: \(connection.joined(separator: ", "))\r\n")
    }
    head.writeString("\r\n")
    if body.readableBytes <= Self.joinedBodyBytesMax {
      head.writeImmutableBuffer(body)
      write(head)
    } else {
      write(head)
      write(body)
    }
  }
}

// MARK: - Answers

extension HTTP1Handler: ResponseCarrier {
  var eventLoop: any EventLoop { loop.eventLoop }

  func sendHead(_ status: Int, _ headers: HTTPFields.List, body: ByteBuffer?, for id: Int32) {
    guard case .answering(var answer) = state, !answer.isStreaming else { return }
    answer.keepsAlive = answer.keepsAlive && !loop.isDraining
    let isSendable = HTTPFields.areSendable(headers)
    let status = isSendable ? status : 500
    let headers = isSendable ? headers : []
    let hasNoBody = status == 204 || status == 304
    if let body {
      let sent = isSendable && !hasNoBody ? body : ByteBuffer()
      writeHead(
        status, headers, length: hasNoBody ? nil : sent.readableBytes, isChunked: false,
        keepsAlive: answer.keepsAlive && !isPoisoned,
        body: answer.isHead ? ByteBuffer() : sent)
      return answered(answer)
    }
    answer.isStreaming = true
    answer.isChunked = answer.version == .http1_1 && !answer.isHead
    // Without chunks only the end of the connection ends the body.
    answer.keepsAlive = answer.keepsAlive && answer.version == .http1_1
    state = .answering(answer)
    writeHead(
      status, headers, length: nil, isChunked: answer.isChunked, keepsAlive: answer.keepsAlive,
      body: ByteBuffer())
    flushUnlessReading()
  }

  func sendBody(_ bytes: ByteBuffer, for id: Int32) -> Bool {
    guard case .answering(var answer) = state, let context else { return true }
    guard context.channel.isWritable else {
      answer.isStalled = true
      state = .answering(answer)
      return false
    }
    guard bytes.readableBytes > 0, !answer.isHead else { return true }
    if answer.isChunked {
      write(ByteBuffer(string: String(bytes.readableBytes, radix: 16) + "\r\n"))
      write(bytes)
      write(ByteBuffer(string: "\r\n"))
    } else {
      write(bytes)
    }
    flushUnlessReading()
    return true
  }

  func endBody(for id: Int32) {
    guard case .answering(let answer) = state else { return }
    if answer.isChunked { write(ByteBuffer(string: "0\r\n\r\n")) }
    answered(answer)
  }

  func canSendBody(for id: Int32) -> Bool { context?.channel.isWritable ?? false }
}

// MARK: - WebSocket

extension HTTP1Handler: UpgradeCarrier {
  func accept(
    _ upgrade: WebSocketUpgrade, _ delegate: any WebSocketSessionDelegate, for id: Int32
  ) -> WebSocketSession? {
    guard case .answering = state, let context, let decoder else { return nil }
    var head = context.channel.allocator.buffer(capacity: 256)
    head.writeString("HTTP/1.1 101 Switching Protocols\r\n")
    for field in upgrade.responseHeaders { head.writeString("\(field.name): \(field.value)\r\n") }
    head.writeString("\r\n")
    write(head)
    flushIfNeeded()
    let handler = WebSocketHandler(loop)
    let session = WebSocketSession(
      loop, subprotocol: upgrade.subprotocol, remoteAddress: remoteAddress, carrier: handler,
      delegate: delegate)
    handler.attach(session)
    let (channel, pipeline) = (context.channel, context.pipeline.syncOperations)
    do {
      try pipeline.addHandler(handler, position: .after(self))
    } catch {
      session.transportEnded()
      return nil
    }
    isReplaced = true
    state = .closed
    loop.replace(self, by: handler)
    pipeline.removeHandler(self, promise: nil)
    // What came behind the request is given to the new handler when the decoder goes, in a later
    // turn that is no read.
    pipeline.removeHandler(decoder).assumeIsolated().whenComplete { _ in session.readComplete() }
    self.decoder = nil
    if isReadWanted { channel.read() }
    return session
  }
}

// MARK: - Times

extension HTTP1Handler: PublicPeer {
  func check(now: Instant) {
    guard now >= deadline.at else { return }
    switch (state, deadline.limit) {
    case (.closing, _), (.closed, _):
      abort()
    case (_, .headerTime), (_, .bodyRate):
      refuse(408, deadline.limit)
    default:
      loop.count(deadline.limit)
      abort()
    }
  }

  func drain() {
    if case .idle = state { close() }
  }

  func abort() { context?.close(promise: nil) }
  func forEachSession(_ body: (WebSocketSession) -> Void) {}
}
