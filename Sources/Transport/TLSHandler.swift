import NIOCore
import Primitives
import TLSEngine

/// Goes up the pipeline, before `channelActive`, when the handshake is done.
struct TLSEstablished: Sendable {
  let peer: TLSPeer
}

/// Why a channel with TLS ended, besides what `TLSError` says.
enum TLSHandlerError: Error, Hashable, Sendable {
  case handshakeTimeout
  /// The stream ended without a `close_notify`: what was read may be cut short.
  case truncated
}

/// TLS below everything else of a channel.
///
/// To the handlers above, the channel becomes active when the handshake is done. What they write
/// in a turn is gathered and encrypted at `flush`, in full records but for the last; writing before
/// the channel is active fails. An idle connection keeps no buffer.
///
/// ```
///   close (all, output):  close_notify ──▶ then the socket; what still comes is dropped
///   errors:               alert, `errorCaught` above, close
/// ```
/// **Isolation**: the channel's event loop.
final class TLSHandler: ChannelDuplexHandler {
  typealias InboundIn = ByteBuffer
  typealias InboundOut = ByteBuffer
  typealias OutboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  private struct Write {
    let bytes: ByteBuffer
    let promise: EventLoopPromise<Void>?
  }

  private enum Phase { case handshaking, established, ended }

  private var tls: TLSConnection
  private var phase = Phase.handshaking
  private var pending: [Write] = []
  private let handshakeTimeout: Milliseconds?
  private var deadline: Scheduled<Void>?

  /// - Parameter handshakeTimeout: `nil` when somebody above watches over it.
  init(_ connection: consuming TLSConnection, handshakeTimeout: Milliseconds?) {
    tls = connection
    self.handshakeTimeout = handshakeTimeout
  }

  // MARK: Handshake

  func handlerAdded(context: ChannelHandlerContext) {
    if context.channel.isActive { start(context) }
  }

  func channelActive(context: ChannelHandlerContext) { start(context) }

  private func start(_ context: ChannelHandlerContext) {
    guard phase == .handshaking, deadline == nil else { return }
    if let handshakeTimeout {
      let isolated = context.eventLoop.assumeIsolated()
      deadline = isolated.scheduleTask(in: TimeAmount(handshakeTimeout)) {
        self.deadlineReached(context)
      }
    }
    tls.advance()
    stateMayHaveChanged(context)
  }

  private func deadlineReached(_ context: ChannelHandlerContext) {
    guard phase == .handshaking else { return }
    end(context, error: TLSHandlerError.handshakeTimeout)
    context.close(promise: nil)
  }

  func handlerRemoved(context: ChannelHandlerContext) {
    deadline?.cancel()
    deadline = nil
    failPending()
  }

  // MARK: Reading

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard phase != .ended else { return }
    let ciphertext = unwrapInboundIn(data)
    var plaintext = context.channel.allocator.buffer(
      capacity: phase == .established ? ciphertext.readableBytes : 0)
    ciphertext.withUnsafeReadableBytes { bytes in
      tls.receive(bytes) { tls in Self.decrypt(&tls, expecting: bytes.count, into: &plaintext) }
    }
    stateMayHaveChanged(context, plaintext: plaintext)
  }

  private static func decrypt(
    _ tls: inout TLSConnection, expecting byteCount: Int, into plaintext: inout ByteBuffer
  ) {
    tls.advance()
    guard case .established = tls.state else { return }
    var room = max(1, byteCount)
    var isFull = true
    while isFull {
      plaintext.writeWithUnsafeMutableBytes(minimumWritableBytes: room) { target in
        let count = tls.read(into: target)
        isFull = count == target.count
        return count
      }
      room = TLSLimits.recordPlaintextBytesMax
    }
  }

  func channelInactive(context: ChannelHandlerContext) {
    if phase != .ended {
      tls.receiveEnd()
      stateMayHaveChanged(context)
      end(context, error: nil)
    }
    context.fireChannelInactive()
  }

  /// Tells the handlers above, in the order in which it happened.
  private func stateMayHaveChanged(
    _ context: ChannelHandlerContext, plaintext: ByteBuffer = ByteBuffer()
  ) {
    let state = tls.state
    if phase == .handshaking, let peer = agreedPeer {
      phase = .established
      deadline?.cancel()
      deadline = nil
      writeOutput(context)
      context.fireUserInboundEventTriggered(TLSEstablished(peer: peer))
      context.fireChannelActive()
    } else {
      writeOutput(context)
    }
    if plaintext.readableBytes > 0 { context.fireChannelRead(wrapInboundOut(plaintext)) }
    guard phase != .ended else { return }
    switch state {
    case .handshaking, .established:
      break
    case .closed(let isClean):
      end(context, error: isClean ? nil : TLSHandlerError.truncated)
      context.close(promise: nil)
    case .failed(let error):
      end(context, error: error)
      context.close(promise: nil)
    }
  }

  private var agreedPeer: TLSPeer? {
    if case .established(let peer) = tls.state { peer } else { nil }
  }

  private func end(_ context: ChannelHandlerContext, error: (any Error)?) {
    guard phase != .ended else { return }
    phase = .ended
    deadline?.cancel()
    deadline = nil
    failPending()
    if let error { context.fireErrorCaught(error) }
  }

  // MARK: Writing

  func write(
    context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?
  ) {
    guard phase == .established else {
      promise?.fail(ChannelError.ioOnClosedChannel)
      return
    }
    pending.append(Write(bytes: unwrapOutboundIn(data), promise: promise))
  }

  func flush(context: ChannelHandlerContext) {
    encryptPending(context)
    context.flush()
  }

  private func encryptPending(_ context: ChannelHandlerContext) {
    guard !pending.isEmpty else { return }
    var writes: [Write] = []
    swap(&writes, &pending)
    let byteCount = writes.reduce(0) { $0 + $1.bytes.readableBytes }
    let room = TLSConnection.ciphertextBytesMax(plaintextBytes: byteCount) + tls.pendingOutputBytes
    var ciphertext = context.channel.allocator.buffer(capacity: room)
    let isComplete =
      writes.count == 1
      ? writes[0].bytes.withUnsafeReadableBytes { encrypt($0, into: &ciphertext) }
      : encryptGathered(writes, into: &ciphertext)
    let promise = Self.joined(writes)
    if writes.count <= Self.keptWritesMax {
      writes.removeAll(keepingCapacity: true)
      if pending.isEmpty { swap(&writes, &pending) }
    }
    if isComplete {
      context.write(wrapOutboundOut(ciphertext), promise: promise)
    } else {
      promise?.fail(ChannelError.ioOnClosedChannel)
      stateMayHaveChanged(context)
    }
  }

  /// Writes whose list is kept for the next turn rather than freed. An idle connection should not
  /// hold the list of its busiest turn.
  private static let keptWritesMax = 4

  /// Fills records with what was written in small pieces; what fills records by itself is
  /// encrypted from where it lies.
  private func encryptGathered(_ writes: [Write], into ciphertext: inout ByteBuffer) -> Bool {
    let recordBytes = TLSLimits.recordPlaintextBytesMax
    return withUnsafeTemporaryAllocation(byteCount: recordBytes, alignment: 1) { record in
      var filled = 0
      for write in writes {
        let isComplete = write.bytes.withUnsafeReadableBytes { bytes in
          var rest = bytes
          while !rest.isEmpty {
            if filled == 0, rest.count >= recordBytes {
              let whole = UnsafeRawBufferPointer(
                rebasing: rest.prefix(rest.count / recordBytes * recordBytes))
              guard encrypt(whole, into: &ciphertext) else { return false }
              rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(whole.count))
              continue
            }
            let piece = UnsafeRawBufferPointer(rebasing: rest.prefix(recordBytes - filled))
            record[filled...].copyBytes(from: piece)
            filled += piece.count
            rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(piece.count))
            if filled == recordBytes {
              guard encrypt(UnsafeRawBufferPointer(record), into: &ciphertext) else { return false }
              filled = 0
            }
          }
          return true
        }
        guard isComplete else { return false }
      }
      return filled == 0
        || encrypt(UnsafeRawBufferPointer(rebasing: record.prefix(filled)), into: &ciphertext)
    }
  }

  private func encrypt(
    _ plaintext: UnsafeRawBufferPointer, into ciphertext: inout ByteBuffer
  ) -> Bool {
    guard !plaintext.isEmpty else { return true }
    var accepted = 0
    ciphertext.writeWithUnsafeMutableBytes(minimumWritableBytes: 0) { target in
      let written = tls.write(plaintext, into: target)
      accepted = written.plaintextBytes
      return written.ciphertextBytes
    }
    return accepted == plaintext.count
  }

  private static func joined(_ writes: [Write]) -> EventLoopPromise<Void>? {
    var first: EventLoopPromise<Void>?
    for case let promise? in writes.lazy.map(\.promise) {
      if let first { first.futureResult.cascade(to: promise) } else { first = promise }
    }
    return first
  }

  private func failPending() {
    let writes = pending
    pending = []
    for write in writes { write.promise?.fail(ChannelError.ioOnClosedChannel) }
  }

  private func writeOutput(_ context: ChannelHandlerContext) {
    guard tls.pendingOutputBytes > 0 else { return }
    var output = context.channel.allocator.buffer(capacity: tls.pendingOutputBytes)
    while tls.pendingOutputBytes > 0 {
      output.writeWithUnsafeMutableBytes(minimumWritableBytes: tls.pendingOutputBytes) {
        tls.takeOutput(into: $0)
      }
    }
    context.writeAndFlush(wrapOutboundOut(output), promise: nil)
  }

  func close(
    context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?
  ) {
    if mode != .input, phase != .ended {
      encryptPending(context)
      tls.close()
      writeOutput(context)
      end(context, error: nil)
    }
    context.close(mode: mode, promise: promise)
  }
}

extension TimeAmount {
  /// A limit as NIO wants it.
  init(_ milliseconds: Milliseconds) {
    self = .milliseconds(Int64(clamping: min(milliseconds.rawValue, 1 << 40)))
  }
}
