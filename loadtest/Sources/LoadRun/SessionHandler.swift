import LoadDrivers
import LoadModel
import NIOCore

/// The socket of one session: bytes between its channel and its machine.
///
/// **Isolation**: the channel's event loop.
final class SessionHandler: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  /// What waits before it is read, so that a server's long answer is not copied again and again.
  ///
  /// **Units**: bytes.
  private static let keptBytesMax = 1 << 16

  private let session: LoadSession
  private var machine: any ClientMachine
  private var input = ByteBuffer()
  private var output = ByteBuffer()
  private var events: [SessionEvent] = []
  private var context: ChannelHandlerContext?
  private var isEnded = false

  init(_ session: LoadSession, _ machine: any ClientMachine) {
    self.session = session
    self.machine = machine
  }

  func handlerAdded(context: ChannelHandlerContext) {
    self.context = context
    if context.channel.isActive { begin(context) }
  }

  func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

  func channelActive(context: ChannelHandlerContext) { begin(context) }

  private func begin(_ context: ChannelHandlerContext) {
    machine.opened(cursor: session.cursor, into: &output)
    write(context)
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    var bytes = unwrapInboundIn(data)
    if input.readableBytes == 0 { input = bytes } else { input.writeBuffer(&bytes) }
    machine.received(&input, events: &events, into: &output)
    if input.readableBytes == 0 || input.readerIndex > Self.keptBytesMax {
      input.discardReadBytes()
    }
    session.take(events, from: self)
    events.removeAll(keepingCapacity: true)
    flush()
  }

  func channelInactive(context: ChannelHandlerContext) {
    guard !isEnded else { return }
    isEnded = true
    session.connectionEnded(self, why: "the connection was closed")
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    if !isEnded {
      isEnded = true
      session.connectionEnded(self, why: "\(error)")
    }
    context.close(promise: nil)
  }

  // MARK: For the session

  func send(ref: UInt64, place: UInt32, id: String, text: [UInt8]) {
    machine.send(ref: ref, place: place, id: id, text: text)
  }

  func read(_ page: PageRequest) { machine.read(page) }

  /// Writes everything that was added.
  func flush() {
    guard let context else { return }
    machine.flush(into: &output)
    write(context)
  }

  private func write(_ context: ChannelHandlerContext) {
    guard output.readableBytes > 0 else { return }
    let bytes = output
    output = context.channel.allocator.buffer(capacity: 0)
    context.writeAndFlush(wrapOutboundOut(bytes), promise: nil)
  }

  func close() {
    isEnded = true
    context?.close(promise: nil)
  }
}
