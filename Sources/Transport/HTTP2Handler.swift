import HTTP2Engine
import NIOCore
import Primitives
import TLSEngine

/// Who uses an `HTTP2Handler`.
///
/// **Isolation**: the channel's event loop.
protocol HTTP2HandlerDelegate: AnyObject {
  /// The channel is active: requests may be submitted.
  func http2Opened(_ handler: HTTP2Handler)
  /// What happened since the last call, in order.
  func http2Received(_ events: [HTTP2Event])
  /// Output is about to be taken: the moment to hand over what waits outside.
  func http2WillWrite()
  /// The last call. Every stream has been reported as closed before.
  func http2Closed(_ error: (any Error)?)
}

/// Joins a channel to an `HTTP2Connection`.
///
/// Reads go into the connection as they come; at the end of a read the events are delivered and all
/// output leaves with one flush. Output that is made outside of a read is written at the end of the
/// loop's turn, once (`scheduleFlush`).
///
/// **Isolation**: the channel's event loop.
final class HTTP2Handler: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  /// Output taken from the connection in one piece. **Units**: bytes.
  private static let writeBytesMax = 256 << 10
  /// Capacity to begin such a piece with. **Units**: bytes.
  private static let writeBytesInitial = 2_048

  let http2: HTTP2Connection
  /// The other end's certificate and protocol, on a channel with TLS.
  private(set) var tlsPeer: TLSPeer?
  private(set) var flushCount: UInt64 = 0
  private(set) var bytesReceived: UInt64 = 0
  private(set) var bytesSent: UInt64 = 0
  /// When bytes last came from the peer.
  private(set) var lastReceived: Instant

  private let delegate: any HTTP2HandlerDelegate
  /// At the end, end only the sending side, so that the peer can still read what was sent last:
  /// closing a socket drops what NIO still holds, and with unread bytes in it also what the peer
  /// has not read yet. Somebody above closes the channel if the peer does not.
  var lingers: Bool
  private var context: ChannelHandlerContext?
  private var events: [HTTP2Event] = []
  private var isOpen = false
  private var isClosed = false
  private var isInTurn = false
  private var isFlushScheduled = false
  private var isEndWanted = false
  private var error: (any Error)?

  init(
    _ http2: HTTP2Connection, now: Instant, lingers: Bool = false,
    delegate: any HTTP2HandlerDelegate
  ) {
    self.http2 = http2
    self.lingers = lingers
    self.delegate = delegate
    lastReceived = now
  }

  // MARK: The channel

  func handlerAdded(context: ChannelHandlerContext) { self.context = context }

  func handlerRemoved(context: ChannelHandlerContext) {
    finish()
    self.context = nil
  }

  func channelActive(context: ChannelHandlerContext) {
    open()
    context.fireChannelActive()
  }

  /// For a handler that is added to a channel that is active already.
  func open() {
    guard !isOpen else { return }
    isOpen = true
    delegate.http2Opened(self)
    turn()
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if let established = event as? TLSEstablished { tlsPeer = established.peer }
    context.fireUserInboundEventTriggered(event)
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    receive(unwrapInboundIn(data))
  }

  func receive(_ bytes: ByteBuffer) {
    guard !isClosed, error == nil, let context else { return }
    lastReceived = .now(of: context.eventLoop)
    bytesReceived += UInt64(bytes.readableBytes)
    let result = bytes.withUnsafeReadableBytes { buffer -> Result<Void, HTTP2Error> in
      Result { () throws(HTTP2Error) in try http2.receive(buffer, now: lastReceived) }
    }
    if case .failure(let failure) = result { error = failure }
  }

  func channelReadComplete(context: ChannelHandlerContext) { turn() }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    if context.channel.isWritable { turn() }
    context.fireChannelWritabilityChanged()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    if self.error == nil { self.error = error }
    finish()
    context.close(promise: nil)
  }

  func channelInactive(context: ChannelHandlerContext) {
    finish()
    context.fireChannelInactive()
  }

  // MARK: Turns

  /// Writes what there is at the end of this turn of the loop.
  func scheduleFlush() {
    guard !isFlushScheduled, !isInTurn, !isClosed, let context else { return }
    isFlushScheduled = true
    context.eventLoop.assumeIsolated().execute {
      self.isFlushScheduled = false
      self.turn()
    }
  }

  /// Delivers events and writes until there is nothing more of either.
  func turn() {
    guard !isInTurn, !isClosed, isOpen, let context else { return }
    isInTurn = true
    var didWrite = false
    while true {
      let hadEvents = deliver()
      delegate.http2WillWrite()
      let wrote = write(context)
      didWrite = didWrite || wrote
      guard hadEvents || wrote else { break }
    }
    isInTurn = false
    if didWrite {
      flushCount += 1
      context.flush()
    }
    if let failure = http2.failure, error == nil, failure != .terminated(.none) { error = failure }
    guard http2.isFinished || isEndWanted || (error != nil && !http2.wantsWrite) else { return }
    finish()
    context.close(mode: lingers && !isEndWanted ? .output : .all, promise: nil)
  }

  /// **Returns**: whether there were any.
  private func deliver() -> Bool {
    var taken: [HTTP2Event] = []
    swap(&taken, &events)
    http2.takeEvents(into: &taken)
    let isEmpty = taken.isEmpty
    if !isEmpty { delegate.http2Received(taken) }
    taken.removeAll(keepingCapacity: taken.count <= Self.keptEventsMax)
    swap(&taken, &events)
    return !isEmpty
  }

  /// Events whose list is kept for the next turn rather than freed.
  private static let keptEventsMax = 16

  /// **Returns**: whether there was anything to write.
  private func write(_ context: ChannelHandlerContext) -> Bool {
    var didWrite = false
    while http2.wantsWrite, context.channel.isWritable {
      let queued = http2.queuedBytes
      let capacity = min(Self.writeBytesMax, queued + Self.writeBytesInitial)
      var buffer = context.channel.allocator.buffer(capacity: capacity)
      http2.writeOutput(bytesMax: Self.writeBytesMax) { buffer.writeBytes($0) }
      guard buffer.readableBytes > 0 else { break }
      bytesSent += UInt64(buffer.readableBytes)
      context.write(wrapOutboundOut(buffer), promise: nil)
      didWrite = true
    }
    return didWrite
  }

  /// Ends every stream and says so. The channel is closed by the caller.
  private func finish() {
    guard !isClosed else { return }
    isClosed = true
    http2.transportClosed()
    _ = deliver()
    delegate.http2Closed(error)
  }

  /// Gives the connection up: what can still be written is, and the channel is closed.
  func close() {
    isEndWanted = true
    guard !isOpen else { return turn() }
    finish()
    context?.close(promise: nil)
  }
}

extension Instant {
  /// The process's monotonic clock, as NIO reads it.
  static func now(of eventLoop: any EventLoop) -> Instant {
    Instant(nanoseconds: eventLoop.now.uptimeNanoseconds)
  }
}
