import NIOCore
import NIOPosix
import Synchronization

/// A TCP proxy on loopback that can fail in the ways in which networks do.
final class FaultyProxy: Sendable {
  enum Mode: Sendable {
    case pass
    /// New connections are closed at once.
    case refuse
    /// Requests arrive; their answers are lost.
    case swallowAnswers
    /// Nothing arrives in either direction; no connection ends.
    case blackHole
  }

  private struct State {
    var mode = Mode.pass
    var channels: [ObjectIdentifier: any Channel] = [:]
    var connectionCount = 0
  }

  private final class SharedState: Sendable {
    let value = Mutex(State())
    var mode: Mode { value.withLock { $0.mode } }
  }

  private let shared: SharedState
  private let listener: any Channel
  let port: UInt16

  static func start(to targetPort: UInt16) async throws -> FaultyProxy {
    let state = SharedState()
    let listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelOption(.autoRead, value: false)
      .childChannelInitializer { client in
        Self.join(client, targetPort, state)
      }
      .bind(host: "127.0.0.1", port: 0).get()
    return FaultyProxy(state, listener)
  }

  private init(_ shared: SharedState, _ listener: any Channel) {
    self.shared = shared
    self.listener = listener
    port = UInt16(listener.localAddress?.port ?? 0)
  }

  private static func join(
    _ client: any Channel, _ targetPort: UInt16, _ shared: SharedState
  ) -> EventLoopFuture<Void> {
    let mode = shared.value.withLock { state in
      state.connectionCount += 1
      state.channels[ObjectIdentifier(client)] = client
      return state.mode
    }
    client.closeFuture.whenComplete { _ in
      _ = shared.value.withLock { $0.channels.removeValue(forKey: ObjectIdentifier(client)) }
    }
    if mode == .refuse { return client.close() }
    return ClientBootstrap(group: client.eventLoop)
      .channelOption(.autoRead, value: false)
      .connect(host: "127.0.0.1", port: Int(targetPort))
      .flatMapThrowing { server in
        let toServer = Pump(to: server) { [.pass, .swallowAnswers].contains(shared.mode) }
        let toClient = Pump(to: client) { shared.mode == .pass }
        try client.pipeline.syncOperations.addHandler(toServer)
        try server.pipeline.syncOperations.addHandler(toClient)
        server.setOption(.autoRead, value: true).whenComplete { _ in }
        client.setOption(.autoRead, value: true).whenComplete { _ in }
      }
  }

  var connectionCount: Int { shared.value.withLock { $0.connectionCount } }

  func setMode(_ mode: Mode) { shared.value.withLock { $0.mode = mode } }

  /// Ends all connections, without a word on any of them.
  func cut() {
    let channels = shared.value.withLock { $0.channels.values.map(\.self) }
    for channel in channels { channel.close(promise: nil) }
  }

  func stop() async throws {
    try await listener.close()
    cut()
  }

  private final class Pump: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let other: any Channel
    private let passes: () -> Bool

    init(to other: any Channel, passes: @escaping () -> Bool) {
      self.other = other
      self.passes = passes
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      guard passes() else { return }
      other.writeAndFlush(unwrapInboundIn(data), promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) { other.close(promise: nil) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
      context.close(promise: nil)
    }
  }
}
