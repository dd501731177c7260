import LoadDrivers
package import LoadModel
import NIOCore
import NIOPosix

/// A server that acknowledges everything at once and keeps nothing: what is measured with it is the
/// generator.
package final class NullTarget: Target {
  package let name = "null"
  package let durability = DurabilityClass.d0
  package let servers = Servers()
  private let group: MultiThreadedEventLoopGroup
  private let channel: any Channel

  /// **Throws**: `LoadError` when nothing can be listened on.
  package init() async throws {
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    self.group = group
    do {
      channel = try await ServerBootstrap(group: group)
        .serverChannelOption(.backlog, value: 1_024)
        .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
        .childChannelInitializer { channel in
          channel.eventLoop.makeCompletedFuture {
            try channel.pipeline.syncOperations.addHandler(NullSession())
          }
        }
        .bind(host: "127.0.0.1", port: 0).get()
    } catch {
      try? await group.shutdownGracefully()
      throw LoadError("the null server cannot listen: \(error)")
    }
  }

  package func prepare(
    _ traffic: Traffic, runID: UInt32, tell: @Sendable (String) -> Void
  ) async throws -> Prepared {
    guard traffic.listening == .nobody, !traffic.isTLS else {
      throw LoadError("the null server only acknowledges: nobody hears anything of it")
    }
    let port = channel.localAddress?.port ?? 0
    return Prepared(
      seats: seats(
        traffic, endpoints: [Endpoint(host: "127.0.0.1", port: port)], speaks: .martlet,
        credentials: [String](repeating: "nobody", count: traffic.userCount)),
      names: PlaceNames((0..<traffic.conversations).map { "c\($0)" }))
  }

  package func readBack(
    _ prepared: Prepared, runID: UInt32, expected: [Int: Tally]
  ) async throws -> [Int: Tally]? { nil }

  package func shutDown() async throws {
    try await channel.close()
    try await group.shutdownGracefully()
  }
}

/// The server's side of one session.
private final class NullSession: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  private var machine = NullServerMachine()
  private var input = ByteBuffer()

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    var bytes = unwrapInboundIn(data)
    input.writeBuffer(&bytes)
    var output = context.channel.allocator.buffer(capacity: 1_024)
    let isRight = machine.received(&input, into: &output)
    input.discardReadBytes()
    if output.readableBytes > 0 { context.writeAndFlush(wrapOutboundOut(output), promise: nil) }
    if !isRight { context.close(promise: nil) }
  }
}
