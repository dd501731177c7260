import NIOCore
import NIOPosix
import SocketErrors
import Primitives
import TLSEngine
import WebSocketEngine
import Wire

/// What a client's WebSocket tells its shell, on the shell's event loop.
protocol WebSocketClientDelegate: AnyObject {
  func webSocketOpened(_ attempt: UInt64)
  /// Something came in: any bytes, with the messages that they complete.
  func webSocketReceived(_ attempt: UInt64, _ messages: [[UInt8]])
  /// Once, last; not after `hangUp`.
  func webSocketClosed(_ attempt: UInt64, _ loss: SocketLoss)
}

/// One WebSocket to a gateway: the handshake over HTTP/1.1, then frames.
///
/// ```
///   connecting ── 101 ──▶ open ──▶ ended
///        └── anything else ─────────▶│
/// ```
/// **Isolation**: the channel's event loop.
///
/// **Source**: RFC 6455, section 4.1.
final class WebSocketClientHandler: ChannelInboundHandler, @unchecked Sendable {
  // Safety: made on the event loop and touched there only; it crosses into the bootstrap's
  // closures, which run on the same loop.
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  /// **Units**: bytes of a gateway's answer to the handshake.
  private static let headBytesMax = 16_384
  /// **Units**: bytes of one frame's payload; a longer message goes out in several frames, because
  /// a gateway takes frames up to 65,536.
  private static let frameBytesMax = 32_768
  /// A page of history is one message of one frame.
  private static let limits = WebSocketLimits(
    frameBytesMax: 64 << 20, messageBytesMax: 64 << 20, pingInterval: 0)

  private enum Phase {
    case connecting
    case open(WebSocketConnection)
    case ended
  }

  private let attempt: UInt64
  private let gateway: GatewayAddress
  private let path: String
  private let encoding: ClientEncoding
  private let key: String
  private weak var delegate: (any WebSocketClientDelegate)?
  private var phase = Phase.connecting
  private var head: [UInt8] = []
  private var context: ChannelHandlerContext?
  private var actions: [WebSocketAction] = []
  private var generator = SystemRandomNumberGenerator()

  init(
    attempt: UInt64, gateway: GatewayAddress, path: String, encoding: ClientEncoding,
    delegate: any WebSocketClientDelegate
  ) {
    self.attempt = attempt
    self.gateway = gateway
    self.path = path
    self.encoding = encoding
    self.delegate = delegate
    var generator = SystemRandomNumberGenerator()
    key = WebSocketUpgrade.key(UInt128(generator.next()) << 64 | UInt128(generator.next()))
  }

  /// Connects. What comes of it is told to the delegate.
  func dial(
    on eventLoop: any EventLoop, tls: TLSContext?, serverName: String?, timeout: TimeAmount
  ) {
    let peerName = gateway.peerName(serverName)
    ClientBootstrap(group: eventLoop)
      .connectTimeout(timeout)
      .channelOption(.socketOption(.so_keepalive), value: 1)
      .channelOption(.tcpOption(.tcp_nodelay), value: 1)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          if let tls {
            let connection = try TLSConnection(client: tls, expecting: peerName)
            try channel.pipeline.syncOperations.addHandler(ClientTLSHandler(connection))
          }
          try channel.pipeline.syncOperations.addHandler(self)
        }
      }
      .connect(host: gateway.host, port: gateway.port)
      .hop(to: eventLoop)
      .whenFailure { self.end(.lost(SocketErrors.text(of: $0))) }
  }

  // MARK: From the shell

  func send(_ message: [UInt8]) {
    guard case .open = phase, let context else { return }
    let opcode: WebSocketOpcode = encoding == .json ? .text : .binary
    if message.count <= Self.frameBytesMax {
      write(opcode, message, context)
    } else {
      sendFragmented(opcode, message, context)
    }
    context.flush()
  }

  func ping() {
    guard case .open = phase, let context else { return }
    write(.ping, [], context)
    context.flush()
  }

  func setReading(_ isReading: Bool) {
    guard let context, context.channel.isActive else { return }
    // Fails only on a channel that was closed, which tells so itself.
    try? context.channel.syncOptions?.setOption(.autoRead, value: isReading)
  }

  /// Closes; the delegate hears nothing more.
  func hangUp() {
    delegate = nil
    guard let context else {
      phase = .ended
      return
    }
    if case .open = phase {
      write(.close, FrameEncoder.closePayload(.normal), context)
      context.flush()
    }
    phase = .ended
    context.close(promise: nil)
  }

  // MARK: Channel

  func handlerAdded(context: ChannelHandlerContext) {
    self.context = context
    if case .ended = phase { context.close(promise: nil) }
  }

  func handlerRemoved(context: ChannelHandlerContext) {
    self.context = nil
    // Why no connection came about is told right after this, by who wanted it.
    context.eventLoop.assumeIsolated().execute { self.end(.lost("the connection was closed")) }
  }

  func channelActive(context: ChannelHandlerContext) {
    guard case .connecting = phase else { return }
    let request = """
      GET \(path) HTTP/1.1\r
      Host: \(gateway.authority)\r
      Upgrade: websocket\r
      Connection: Upgrade\r
      Sec-WebSocket-Version: 13\r
      Sec-WebSocket-Key: \(key)\r
      Sec-WebSocket-Protocol: \(encoding.subprotocol)\r
      \r

      """
    context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: request)), promise: nil)
  }

  func channelInactive(context: ChannelHandlerContext) {
    end(.lost("the connection was closed"))
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    end(.lost(SocketErrors.text(of: error)))
    context.close(promise: nil)
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let buffer = unwrapInboundIn(data)
    switch phase {
    case .connecting:
      head.append(contentsOf: buffer.readableBytesView)
      readHead(context)
    case .open:
      buffer.withUnsafeReadableBytes { receive($0, context) }
    case .ended:
      break
    }
  }

  // MARK: Handshake

  private func readHead(_ context: ChannelHandlerContext) {
    guard let answer = HTTPHead(head) else {
      if head.count > Self.headBytesMax { fail("no HTTP answer", context) }
      return
    }
    guard answer.status == 101 else {
      end(answer.status == 401 ? .unauthenticated : .lost("HTTP status \(answer.status)"))
      return context.close(promise: nil)
    }
    do throws(WebSocketUpgradeError) {
      let chosen = try WebSocketUpgrade.confirmed(
        by: answer.headers, key: key, offered: [encoding.subprotocol])
      guard chosen == encoding.subprotocol else {
        return fail("the gateway does not speak \(encoding.subprotocol)", context)
      }
    } catch {
      return fail("no WebSocket: \(error)", context)
    }
    let rest = Array(head[answer.bodyStart...])
    head = []
    phase = .open(WebSocketConnection(role: .client, limits: Self.limits))
    delegate?.webSocketOpened(attempt)
    if !rest.isEmpty { rest.withUnsafeBytes { receive($0, context) } }
  }

  private func fail(_ reason: String, _ context: ChannelHandlerContext) {
    end(.lost(reason))
    context.close(promise: nil)
  }

  private func end(_ loss: SocketLoss) {
    if case .ended = phase { return }
    phase = .ended
    let delegate = self.delegate
    self.delegate = nil
    switch loss {
    case .unauthenticated: delegate?.webSocketClosed(attempt, loss)
    case .lost(let why): delegate?.webSocketClosed(attempt, .lost("\(gateway.text): \(why)"))
    }
  }

  // MARK: Frames

  private func receive(_ bytes: UnsafeRawBufferPointer, _ context: ChannelHandlerContext) {
    guard case .open(var connection) = phase else { return }
    phase = .ended
    let now = Instant(nanoseconds: NIODeadline.now().uptimeNanoseconds)
    connection.bytesReceived(bytes, now: now, into: &actions)
    phase = .open(connection)
    var taken: [WebSocketAction] = []
    swap(&taken, &actions)
    var messages: [[UInt8]] = []
    var loss: SocketLoss?
    for action in taken {
      switch action {
      case .deliverText(let message), .deliverBinary(let message): messages.append(message)
      case .pongReceived: break
      case .send(let opcode, let payload): write(opcode, payload, context)
      case .ended(let end): loss = .lost(Self.reason(of: end))
      case .closeTransport: break
      }
    }
    taken.removeAll(keepingCapacity: true)
    swap(&taken, &actions)
    delegate?.webSocketReceived(attempt, messages)
    if let loss {
      context.flush()
      end(loss)
      context.close(promise: nil)
    }
  }

  private static func reason(of end: WebSocketEnd) -> String {
    switch end {
    case .closed(let code, let reason): "closed with \(code.map { "\($0)" } ?? "no code") \(reason)"
    case .failed(let error): "the gateway broke the protocol: \(error)"
    case .lost: "the connection was lost"
    }
  }

  func channelReadComplete(context: ChannelHandlerContext) {
    // Pongs.
    context.flush()
    context.fireChannelReadComplete()
  }

  private func sendFragmented(
    _ opcode: WebSocketOpcode, _ message: [UInt8], _ context: ChannelHandlerContext
  ) {
    var start = 0
    while start < message.count {
      let end = min(start + Self.frameBytesMax, message.count)
      write(
        start == 0 ? opcode : .continuation, Array(message[start..<end]), context,
        isFinal: end == message.count)
      start = end
    }
  }

  private func write(
    _ opcode: WebSocketOpcode, _ payload: [UInt8], _ context: ChannelHandlerContext,
    isFinal: Bool = true
  ) {
    let frame = FrameEncoder.encodeMasked(
      opcode, payload, isFinal: isFinal, maskingKey: generator.next())
    context.write(wrapOutboundOut(ByteBuffer(bytes: frame)), promise: nil)
  }
}

/// The status line and header fields of an answer, as far as a WebSocket handshake needs them.
struct HTTPHead {
  let status: Int
  let headers: WebSocketUpgrade.Headers
  let bodyStart: Int

  /// **Returns**: `nil` until the head is whole; status 0 for what is no HTTP/1.1.
  init?(_ bytes: [UInt8]) {
    let end = Array("\r\n\r\n".utf8)
    guard let range = bytes.firstRange(of: end) else { return nil }
    bodyStart = range.upperBound
    let text = String(decoding: bytes[..<range.lowerBound], as: UTF8.self)
    var lines = text.split(separator: "\r\n", omittingEmptySubsequences: false)[...]
    let first = (lines.popFirst() ?? "").split(separator: " ", maxSplits: 2)
    status = first.count >= 2 && first[0] == "HTTP/1.1" ? Int(first[1]) ?? 0 : 0
    headers = lines.compactMap { line in
      guard let colon = line.firstIndex(of: ":") else { return nil }
      return (String(line[..<colon]), String(line[line.index(after: colon)...]))
    }
  }
}
