import NIOCore
import NIOPosix
import Primitives
import TLSEngine
import WebSocketEngine

@testable import Transport

/// A client that sends what it is told, byte for byte, and keeps what comes.
final class RawConnection: @unchecked Sendable {
  // Safety: touched on `eventLoop` only.

  let eventLoop: any EventLoop
  private var channel: (any Channel)?
  private var received: [UInt8] = []
  private var isClosed = false
  private var waiters: [(condition: (RawConnection) -> Bool, promise: EventLoopPromise<Void>)] = []

  private init() { eventLoop = testLoops.next() }

  /// - Parameter reads: false for a client that reads nothing before `startReading`, and whose
  ///   kernel keeps little.
  static func open(
    _ port: Int, tls: TLSContext? = nil, reads: Bool = true
  ) async throws -> RawConnection {
    let connection = RawConnection()
    let active = connection.eventLoop.makePromise(of: Void.self)
    connection.channel = try await ClientBootstrap(group: connection.eventLoop)
      .channelOption(.autoRead, value: reads)
      .channelOption(.socketOption(.so_rcvbuf), value: reads ? 1 << 20 : 8 << 10)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          let pipeline = channel.pipeline.syncOperations
          if let tls {
            let client = try TLSConnection(client: tls, expecting: .anyTrusted)
            try pipeline.addHandler(TLSHandler(client, handshakeTimeout: 2_000))
          }
          try pipeline.addHandler(Reader(connection, active))
        }
      }
      .connect(host: "127.0.0.1", port: port).get()
    try await active.futureResult.get()
    return connection
  }

  func send(_ text: String) async throws { try await send(Array(text.utf8)) }

  func send(_ bytes: [UInt8]) async throws {
    try await eventLoop.submit {
      self.channel?.writeAndFlush(ByteBuffer(bytes: bytes), promise: nil)
    }.get()
  }

  func close() async throws { try? await channel?.close() }

  func startReading() async throws {
    try await channel?.setOption(.autoRead, value: true).get()
  }

  /// **Returns**: everything that has come, when `condition` holds of it or the peer has closed.
  func read(until condition: @escaping @Sendable ([UInt8]) -> Bool) async throws -> [UInt8] {
    try await wait { $0.isClosed || condition($0.received) }
  }

  /// Looks for `part` in the newest bytes only, since what comes can be long.
  func text(until part: String) async throws -> String {
    let part = Array(part.utf8)
    let bytes = try await read { bytes in
      let newest = bytes.suffix(4_096)
      return newest.indices.contains { newest[$0...].starts(with: part) }
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// **Returns**: everything that came before the peer closed.
  func textUntilClosed() async throws -> String {
    String(decoding: try await wait { $0.isClosed }, as: UTF8.self)
  }

  /// Drops the first `count` bytes of what has come, or all.
  func forget(_ count: Int = .max) async throws {
    try await eventLoop.submit { self.received = Array(self.received.dropFirst(count)) }.get()
  }

  private func wait(until condition: @escaping @Sendable (RawConnection) -> Bool) async throws
    -> [UInt8]
  {
    try await eventLoop.flatSubmit {
      let promise = self.eventLoop.makePromise(of: Void.self)
      self.waiters.append((condition, promise))
      self.check()
      return promise.futureResult.map { self.received }
    }.get()
  }

  private func check() {
    waiters.removeAll { waiter in
      guard waiter.condition(self) else { return false }
      waiter.promise.succeed()
      return true
    }
  }

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

// MARK: - WebSocket

extension RawConnection {
  static let upgrade = """
    GET /v1/ws HTTP/1.1\r
    Host: chat.test\r
    Upgrade: websocket\r
    Connection: Upgrade\r
    Sec-WebSocket-Version: 13\r
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r
    Sec-WebSocket-Protocol: martlet.v1.json\r
    Origin: https://chat.test\r

    """ + "\r\n"

  /// A client whose WebSocket is open; the answer to the upgrade is forgotten.
  static func webSocket(
    _ port: Int, tls: TLSContext? = nil, reads: Bool = true
  ) async throws -> RawConnection {
    let connection = try await open(port, tls: tls, reads: reads)
    try await connection.channel?.setOption(.autoRead, value: true).get()
    try await connection.send(upgrade)
    let blankLine = Array("\r\n\r\n".utf8)
    let answer = try await connection.read { bytes in
      bytes.indices.contains { bytes[$0...].starts(with: blankLine) }
    }
    let head = answer.indices.first { answer[$0...].starts(with: blankLine) } ?? answer.endIndex
    // Frames may have come right behind it.
    try await connection.forget(head + blankLine.count)
    if !reads { try await connection.channel?.setOption(.autoRead, value: false).get() }
    return connection
  }

  func sendFrame(_ opcode: WebSocketOpcode, _ payload: [UInt8]) async throws {
    try await send(FrameEncoder.encodeMasked(opcode, payload, maskingKey: 0x1234_5678))
  }
}
