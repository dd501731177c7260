import HTTP2Engine
import NIOCore
import NIOHTTP1
import Primitives
import TLSEngine

/// The first phase of a public connection: finds out which protocol the client speaks, by ALPN or
/// by its first bytes, and makes way for that.
///
/// **Isolation**: the channel's event loop.
final class ProtocolDetector: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = ByteBuffer

  /// How HTTP/2 begins; no method of HTTP/1 does. **Source**: RFC 9113, section 3.4.
  private static let prefaceStart = Array("PRI ".utf8)

  var slot = 0
  private let loop: PublicLoop
  private let remoteAddress: String
  private let isSecure: Bool
  private let deadline: Instant
  private var received = ByteBuffer()
  private var context: ChannelHandlerContext?
  private var isReplaced = false

  init(_ loop: PublicLoop, remoteAddress: String, isSecure: Bool) {
    self.loop = loop
    self.remoteAddress = remoteAddress
    self.isSecure = isSecure
    deadline = loop.now + loop.limits.prefaceTimeout
  }

  func handlerAdded(context: ChannelHandlerContext) {
    self.context = context
    loop.add(self)
  }

  func handlerRemoved(context: ChannelHandlerContext) {
    self.context = nil
    if !isReplaced { loop.remove(self) }
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    guard let established = event as? TLSEstablished else {
      return context.fireUserInboundEventTriggered(event)
    }
    switch established.peer.alpn {
    case HTTP2Library.applicationProtocol?: becomeHTTP2(context)
    case .some: becomeHTTP1(context)
    case nil: break
    }
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    var bytes = unwrapInboundIn(data)
    if received.readableBytes == 0 { received = bytes } else { received.writeBuffer(&bytes) }
    let start = received.readableBytesView.prefix(Self.prefaceStart.count)
    if !start.elementsEqual(Self.prefaceStart.prefix(start.count)) {
      becomeHTTP1(context)
    } else if start.count == Self.prefaceStart.count {
      becomeHTTP2(context)
    }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    context.close(promise: nil)
  }

  private func becomeHTTP1(_ context: ChannelHandlerContext) {
    let handler = HTTP1Handler(loop, remoteAddress: remoteAddress, isSecure: isSecure)
    let decoder = handler.makeDecoder()
    become(handler, [decoder, handler], context)
  }

  private func becomeHTTP2(_ context: ChannelHandlerContext) {
    let connection = PublicHTTP2(
      loop, context.channel, remoteAddress: remoteAddress, isSecure: isSecure)
    let handler = connection.makeHandler()
    become(connection, [handler], context)
    handler.open()
  }

  private func become(
    _ peer: any PublicPeer, _ handlers: [any ChannelHandler], _ context: ChannelHandlerContext
  ) {
    isReplaced = true
    loop.replace(self, by: peer)
    let pipeline = context.pipeline.syncOperations
    do {
      try pipeline.addHandlers(handlers, position: .after(self))
    } catch {
      return context.close(promise: nil)
    }
    let bytes = received
    received = ByteBuffer()
    if bytes.readableBytes > 0 { context.fireChannelRead(wrapInboundOut(bytes)) }
    pipeline.removeHandler(context: context, promise: nil)
  }

  typealias InboundOut = ByteBuffer
}

extension ProtocolDetector: PublicPeer {
  func check(now: Instant) {
    guard now >= deadline else { return }
    loop.count(.prefaceTime)
    abort()
  }

  func drain() { abort() }
  func abort() { context?.close(promise: nil) }
  func forEachSession(_ body: (WebSocketSession) -> Void) {}
}
