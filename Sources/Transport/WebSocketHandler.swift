import NIOCore
import Primitives

/// Carries a session on a connection of its own, after the upgrade from HTTP/1.1.
///
/// **Isolation**: the channel's event loop.
final class WebSocketHandler: ChannelDuplexHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  var slot = 0
  private let loop: PublicLoop
  private var session: WebSocketSession?
  private var context: ChannelHandlerContext?
  private var isReadWanted = false

  init(_ loop: PublicLoop) { self.loop = loop }

  func attach(_ session: WebSocketSession) { self.session = session }

  func handlerAdded(context: ChannelHandlerContext) { self.context = context }
  func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

  func read(context: ChannelHandlerContext) {
    if session?.isCongested == true { isReadWanted = true } else { context.read() }
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    session?.received(unwrapInboundIn(data))
  }

  func channelReadComplete(context: ChannelHandlerContext) { session?.readComplete() }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    if context.channel.isWritable { session?.roomAppeared() }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    context.close(promise: nil)
  }

  func channelInactive(context: ChannelHandlerContext) {
    session?.transportEnded()
    session = nil
    loop.remove(self)
    context.fireChannelInactive()
  }
}

extension WebSocketHandler: WebSocketCarrier {
  func write(_ bytes: ByteBuffer) -> Bool {
    guard let context else { return true }
    guard context.channel.isWritable else { return false }
    context.write(wrapOutboundOut(bytes), promise: nil)
    return true
  }

  func flush() { context?.flush() }

  func consumed(_ byteCount: Int) {
    guard isReadWanted else { return }
    isReadWanted = false
    context?.read()
  }

  func closeOutput() { context?.close(mode: .output, promise: nil) }
  func abort() { context?.close(promise: nil) }
}

extension WebSocketHandler: PublicPeer {
  func check(now: Instant) { session?.check(now: now) }
  /// The loop closes sessions one after the other.
  func drain() {}
  func forEachSession(_ body: (WebSocketSession) -> Void) { session.map(body) }
}
