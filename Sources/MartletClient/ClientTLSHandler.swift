import NIOCore
import TLSEngine

/// TLS below everything else of a channel to a gateway. To the handlers above, the channel becomes
/// active when the handshake is done. (The nodes' own handler also gathers writes and watches over
/// handshakes; a client has one frame per turn and its machine's deadlines.)
///
/// **Isolation**: the channel's event loop.
final class ClientTLSHandler: ChannelDuplexHandler {
  typealias InboundIn = ByteBuffer
  typealias InboundOut = ByteBuffer
  typealias OutboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  private var tls: TLSConnection
  private var isEstablished = false
  private var hasEnded = false

  init(_ connection: consuming TLSConnection) { tls = connection }

  func channelActive(context: ChannelHandlerContext) {
    tls.advance()
    stateMayHaveChanged(context)
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard !hasEnded else { return }
    let ciphertext = unwrapInboundIn(data)
    var plaintext = context.channel.allocator.buffer(capacity: ciphertext.readableBytes)
    ciphertext.withUnsafeReadableBytes { bytes in
      tls.receive(bytes) { tls in
        var isFull = true
        while isFull {
          plaintext.writeWithUnsafeMutableBytes(
            minimumWritableBytes: TLSLimits.recordPlaintextBytesMax
          ) { target in
            let count = tls.read(into: target)
            isFull = count == target.count
            return count
          }
        }
      }
    }
    stateMayHaveChanged(context, plaintext: plaintext)
  }

  func channelInactive(context: ChannelHandlerContext) {
    tls.receiveEnd()
    hasEnded = true
    context.fireChannelInactive()
  }

  private func stateMayHaveChanged(
    _ context: ChannelHandlerContext, plaintext: ByteBuffer = ByteBuffer()
  ) {
    let state = tls.state
    writeOutput(context)
    if !isEstablished, case .established = state {
      isEstablished = true
      context.fireChannelActive()
    }
    if plaintext.readableBytes > 0 { context.fireChannelRead(wrapInboundOut(plaintext)) }
    switch state {
    case .handshaking, .established: break
    case .closed: end(context, error: nil)
    case .failed(let error): end(context, error: error)
    }
  }

  private func end(_ context: ChannelHandlerContext, error: TLSError?) {
    guard !hasEnded else { return }
    hasEnded = true
    if let error { context.fireErrorCaught(error) }
    context.close(promise: nil)
  }

  func write(
    context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?
  ) {
    guard isEstablished, !hasEnded else {
      promise?.fail(ChannelError.ioOnClosedChannel)
      return
    }
    let plaintext = unwrapOutboundIn(data)
    var ciphertext = context.channel.allocator.buffer(
      capacity: TLSConnection.ciphertextBytesMax(plaintextBytes: plaintext.readableBytes)
        + tls.pendingOutputBytes)
    var accepted = 0
    plaintext.withUnsafeReadableBytes { bytes in
      _ = ciphertext.writeWithUnsafeMutableBytes(minimumWritableBytes: 0) { target in
        let written = tls.write(bytes, into: target)
        accepted = written.plaintextBytes
        return written.ciphertextBytes
      }
    }
    guard accepted == plaintext.readableBytes else {
      promise?.fail(ChannelError.ioOnClosedChannel)
      return stateMayHaveChanged(context)
    }
    context.write(wrapOutboundOut(ciphertext), promise: promise)
  }

  private func writeOutput(_ context: ChannelHandlerContext) {
    while tls.pendingOutputBytes > 0 {
      var output = context.channel.allocator.buffer(capacity: tls.pendingOutputBytes)
      output.writeWithUnsafeMutableBytes(minimumWritableBytes: tls.pendingOutputBytes) {
        tls.takeOutput(into: $0)
      }
      context.writeAndFlush(wrapOutboundOut(output), promise: nil)
    }
  }

  func close(
    context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?
  ) {
    if mode != .input, !hasEnded {
      hasEnded = true
      tls.close()
      writeOutput(context)
    }
    context.close(mode: mode, promise: promise)
  }
}

extension GatewayAddress {
  /// Whom the certificate must name.
  func peerName(_ serverName: String?) -> TLSPeerName {
    if let serverName { return .name(serverName) }
    return isNumeric ? .address(host) : .name(host)
  }
}
