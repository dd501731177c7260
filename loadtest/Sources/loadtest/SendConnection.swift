import NIOCore

/// One WebSocket of a send run: keeps `window` messages unanswered and notes how long each took.
///
/// **Isolation**: its channel's event loop.
final class SendConnection: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  private enum Phase {
    case upgrading
    case greeting
    case sending
    case finished
  }

  /// **Units**: bytes of one WebSocket message.
  private static let messageBytesMax = 1 << 20
  /// What a send takes beside its text, rounded up. **Units**: bytes.
  private static let frameOverheadBytes = 128

  private let plan: SendPlan
  private let conversation: String
  private let token: String
  private let number: Int
  private let run: SendRun
  private var phase = Phase.upgrading
  private var received = ByteBuffer()
  private var lastRef: UInt64 = 0
  /// When each unanswered message was sent.
  private var sentAt: [UInt64: NIODeadline] = [:]

  init(plan: SendPlan, number: Int, conversation: String, token: String, run: SendRun) {
    self.plan = plan
    self.number = number
    self.conversation = conversation
    self.token = token
    self.run = run
  }

  func channelActive(context: ChannelHandlerContext) {
    var request = "GET /v1/ws HTTP/1.1\r\nHost: \(plan.host)\r\nConnection: Upgrade\r\n"
    request += "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    request += "Sec-WebSocket-Key: bWFydGxldC1sb2FkdGVzdA==\r\n"
    request += "Sec-WebSocket-Protocol: martlet.v1.proto\r\n\r\n"
    context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: request)), promise: nil)
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    var bytes = unwrapInboundIn(data)
    received.writeBuffer(&bytes)
    if phase == .upgrading, !finishUpgrade(context) { return }
    var answers = 0
    while let payload = nextFrame() {
      MartletFrames.read(payload[...]) { answer in
        if take(answer) { answers += 1 }
      }
    }
    received.discardReadBytes()
    if phase == .sending, answers > 0 { send(answers, context) }
  }

  func channelInactive(context: ChannelHandlerContext) {
    if phase != .finished { run.failed("connection \(number) was closed by the gateway") }
    phase = .finished
    run.connectionEnded(number, unanswered: sentAt.count)
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

  private func finishUpgrade(_ context: ChannelHandlerContext) -> Bool {
    let view = received.readableBytesView
    guard view.count >= 4 else { return false }
    var index = view.startIndex
    while index + 4 <= view.endIndex {
      if view[index] == 13, view[index + 1] == 10, view[index + 2] == 13, view[index + 3] == 10 {
        let head = String(decoding: view[..<index], as: UTF8.self)
        received.moveReaderIndex(to: index + 4)
        guard head.hasPrefix("HTTP/1.1 101") else {
          run.failed("the gateway refused a WebSocket: \(head.prefix(40))")
          context.close(promise: nil)
          return false
        }
        phase = .greeting
        write(MartletFrames.hello(token: token, events: false), context)
        return true
      }
      index += 1
    }
    return false
  }

  private func acknowledge(_ ref: UInt64) -> Bool {
    guard let began = sentAt.removeValue(forKey: ref) else {
      run.failed("an answer to a message that was not sent, or was answered before: \(ref)")
      return false
    }
    run.acknowledged(after: NIODeadline.now() - began)
    return true
  }

  /// **Returns**: whether a message was answered and another may go.
  private func take(_ answer: MartletFrames.Answer) -> Bool {
    switch (phase, answer) {
    case (.greeting, .other):
      phase = .sending
      run.connectionReady(self)
      return false
    case (.greeting, .error(_, let code, let message)):
      run.failed("hello was refused: \(code) \(message)")
      return false
    case (.sending, .sent(let ref)), (.finished, .sent(let ref)):
      return acknowledge(ref)
    case (_, .error(let ref, "NOT_FOUND", _)) where plan.isLogOnly:
      return acknowledge(ref)
    case (_, .error(let ref, let code, _)):
      sentAt[ref] = nil
      run.refused(code)
      return true
    default: return false
    }
  }

  /// Called on the event loop when all connections are ready.
  func begin(_ context: ChannelHandlerContext) { send(plan.window, context) }

  func finish() { phase = .finished }
  var unanswered: Int { sentAt.count }

  private func send(_ count: Int, _ context: ChannelHandlerContext) {
    guard run.isOpen else { return }
    // A gateway closes a connection whose message is longer than 1 MiB.
    let frameBytes = plan.text.utf8.count + Self.frameOverheadBytes
    var batch: [UInt8] = []
    batch.reserveCapacity(min(count * frameBytes, Self.messageBytesMax))
    let now = NIODeadline.now()
    for _ in 0..<count {
      if batch.count + frameBytes > Self.messageBytesMax {
        write(batch, context)
        batch.removeAll(keepingCapacity: true)
      }
      lastRef += 1
      sentAt[lastRef] = now
      MartletFrames.appendSend(
        ref: lastRef, conversation: conversation, id: "\(plan.runID)-\(number)-\(lastRef)",
        text: plan.text, to: &batch)
    }
    write(batch, context)
  }

  // MARK: WebSocket

  /// A client's binary frame. The mask is zero, which the protocol allows and which costs nothing.
  private func write(_ payload: [UInt8], _ context: ChannelHandlerContext) {
    var frame = context.channel.allocator.buffer(capacity: payload.count + 14)
    frame.writeInteger(UInt8(0x82))
    switch payload.count {
    case ..<126: frame.writeInteger(UInt8(0x80 | payload.count))
    case ..<65_536:
      frame.writeInteger(UInt8(0x80 | 126))
      frame.writeInteger(UInt16(payload.count))
    default:
      frame.writeInteger(UInt8(0x80 | 127))
      frame.writeInteger(UInt64(payload.count))
    }
    frame.writeInteger(UInt32(0))
    frame.writeBytes(payload)
    context.writeAndFlush(wrapOutboundOut(frame), promise: nil)
  }

  /// **Returns**: the payload of the next whole data frame.
  private func nextFrame() -> [UInt8]? {
    while true {
      let start = received.readerIndex
      guard let head = received.readInteger(as: UInt8.self),
        let second = received.readInteger(as: UInt8.self)
      else {
        received.moveReaderIndex(to: start)
        return nil
      }
      var length = Int(second & 0x7f)
      if length == 126 {
        guard let long = received.readInteger(as: UInt16.self) else {
          received.moveReaderIndex(to: start)
          return nil
        }
        length = Int(long)
      } else if length == 127 {
        guard let long = received.readInteger(as: UInt64.self), long <= 16 << 20 else {
          received.moveReaderIndex(to: start)
          return nil
        }
        length = Int(long)
      }
      guard let payload = received.readBytes(length: length) else {
        received.moveReaderIndex(to: start)
        return nil
      }
      if head & 0x0f <= 2 { return payload }
    }
  }
}
