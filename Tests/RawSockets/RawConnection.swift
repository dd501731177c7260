package import NIOCore
import NIOPosix

/// A client that sends what it is told, byte for byte, and keeps what comes.
package final class RawConnection: @unchecked Sendable {
  // Safety: touched on `eventLoop` only.

  private let eventLoop: any EventLoop
  private var channel: (any Channel)?
  private var received: [UInt8] = []
  private var isClosed = false
  private var waiters = Waiters<RawConnection>()

  private init() { eventLoop = MultiThreadedEventLoopGroup.singleton.next() }

  /// - Parameter reads: false for a client that reads nothing before `reads(true)`, and whose
  ///   kernel keeps little.
  /// - Parameter prepare: adds what lies between the socket and the bytes, such as TLS.
  package static func open(
    _ port: Int, reads: Bool = true,
    prepare: @escaping @Sendable (any Channel) throws -> Void = { _ in }
  ) async throws -> RawConnection {
    let connection = RawConnection()
    let active = connection.eventLoop.makePromise(of: Void.self)
    let bootstrap = ClientBootstrap(group: connection.eventLoop)
      .channelOption(.autoRead, value: reads)
      .channelOption(.socketOption(.so_rcvbuf), value: reads ? 1 << 20 : 8 << 10)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try prepare(channel)
          try channel.pipeline.syncOperations.addHandler(Reader(connection, active))
        }
      }
    do {
      connection.channel = try await bootstrap.connect(host: "127.0.0.1", port: port).get()
    } catch {
      active.fail(error)
      throw error
    }
    try await active.futureResult.get()
    return connection
  }

  package func send(_ text: String) async throws { try await send(Array(text.utf8)) }

  package func send(_ bytes: [UInt8]) async throws {
    try await eventLoop.submit {
      self.channel?.writeAndFlush(ByteBuffer(bytes: bytes), promise: nil)
    }.get()
  }

  package func close() async throws { try? await channel?.close() }

  package func reads(_ isReading: Bool) async throws {
    try await channel?.setOption(.autoRead, value: isReading).get()
  }

  /// **Returns**: everything that has come, as soon as `condition` holds of it or the peer has
  /// closed.
  package func read(until condition: @escaping @Sendable ([UInt8]) -> Bool) async throws -> [UInt8]
  {
    try await wait { $0.isClosed || condition($0.received) }
  }

  /// Looks for `part` in the newest bytes only, since what comes can be long.
  package func text(until part: String) async throws -> String {
    let part = Array(part.utf8)
    let bytes = try await read { bytes in
      let newest = bytes.suffix(4_096)
      return newest.indices.contains { newest[$0...].starts(with: part) }
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// **Returns**: everything that came before the peer closed.
  package func bytesUntilClosed() async throws -> [UInt8] { try await wait { $0.isClosed } }

  package func textUntilClosed() async throws -> String {
    String(decoding: try await bytesUntilClosed(), as: UTF8.self)
  }

  /// Drops the first `count` bytes of what has come, or all.
  package func forget(_ count: Int = .max) async throws {
    try await eventLoop.submit { self.received = Array(self.received.dropFirst(count)) }.get()
  }

  private func wait(until condition: @escaping @Sendable (RawConnection) -> Bool) async throws
    -> [UInt8]
  {
    try await eventLoop.flatSubmit {
      self.waiters.wait(
        of: self, on: self.eventLoop,
        seen: { "…" + String(decoding: $0.received.suffix(400), as: UTF8.self) }, until: condition
      ).map { self.received }
    }.get()
  }

  private func check() { waiters.check(self) }

  private final class Reader: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let connection: RawConnection
    private let active: EventLoopPromise<Void>

    init(_ connection: RawConnection, _ active: EventLoopPromise<Void>) {
      self.connection = connection
      self.active = active
    }

    func channelActive(context: ChannelHandlerContext) { active.succeed() }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      connection.received += Array(unwrapInboundIn(data).readableBytesView)
      connection.check()
    }

    func channelInactive(context: ChannelHandlerContext) {
      active.fail(ChannelError.ioOnClosedChannel)
      connection.isClosed = true
      connection.check()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
      context.close(promise: nil)
    }
  }
}
