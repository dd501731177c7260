package import ClusterModel
package import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
import Primitives
import Synchronization
package import Telemetry

/// What a process tells its operator.
package struct OperatorSource: Sendable {
  /// The names of the nodes in this process.
  package var nodes: [String]
  /// Whether it does its work now.
  package var isReady: @Sendable () async -> Bool
  /// Adds what it measures to a page.
  package var collect: @Sendable (inout MetricsPage) async -> Void
  /// The ring as the coordinator knows it; `nil` when none has been made. Throws when the
  /// coordinator does not answer.
  package var ring: @Sendable () async throws -> RingStatus?
  /// A line for each replica here; empty where there are none.
  package var partitions: @Sendable () async -> [String]
  /// The same for `RingVerification`.
  package var marks: @Sendable () async -> [String]
  /// All registered nodes; `nil` when the coordinator does not answer.
  package var registered: @Sendable () async -> [NodeRecord]?

  package init(
    nodes: [String], isReady: @escaping @Sendable () async -> Bool,
    collect: @escaping @Sendable (inout MetricsPage) async -> Void,
    ring: @escaping @Sendable () async throws -> RingStatus?,
    partitions: @escaping @Sendable () async -> [String] = { [] },
    marks: @escaping @Sendable () async -> [String] = { [] },
    registered: @escaping @Sendable () async -> [NodeRecord]? = { nil }
  ) {
    self.nodes = nodes
    self.isReady = isReady
    self.collect = collect
    self.ring = ring
    self.partitions = partitions
    self.marks = marks
    self.registered = registered
  }
}

/// The operator's port: a few read-only paths over HTTP/1.1, on a thread of its own so that it
/// answers when the event loops of the message path do not.
///
/// | path | answer |
/// |---|---|
/// | `/healthz` | 200 while the process lives |
/// | `/readyz` | 200 when it does its work, 503 otherwise and while it starts |
/// | `/metrics` | Prometheus text |
/// | `/ring` | the ring's status as JSON, `/ring?format=text` as a table (`&all`: each
/// partition); 503 when it is not whole |
/// | `/partitions` | how far the log of each replica here goes; `?format=marks`: what their states
/// hash to, for `martlet ring verify` |
/// | `/history` | `NodeHistory` of the last hour |
/// | `/nodes/NAME/metrics`, `/nodes/NAME/history` | the same of any registered node, which is asked
/// for it: a page in a browser can reach one origin only |
/// | `/console` | a page that shows all of this |
///
/// There is no authentication: the address belongs on loopback or an operators' network.
package final class OperatorServer: Sendable {
  static let connectionsMax = 64
  fileprivate static let idleTimeout: Milliseconds = 30_000

  /// With the port that was bound.
  package let address: NodeAddress
  private let group: MultiThreadedEventLoopGroup
  private let channel: any Channel
  private let paths: OperatorPaths

  private init(
    _ channel: any Channel, _ address: NodeAddress, _ paths: OperatorPaths,
    _ group: MultiThreadedEventLoopGroup
  ) {
    self.channel = channel
    self.address = address
    self.paths = paths
    self.group = group
  }

  /// Answers from now on; not ready until `serve`.
  ///
  /// - Parameter address: port 0 takes any free one.
  ///
  /// **Throws**: `StartError` when the address cannot be listened on.
  package static func start(
    _ address: NodeAddress, logger: Logger
  ) async throws(StartError) -> OperatorServer {
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let paths = OperatorPaths()
    do {
      let channel = try await ServerBootstrap(group: group)
        .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
        .serverChannelOption(.backlog, value: Int32(connectionsMax))
        .childChannelInitializer { channel in
          channel.eventLoop.makeCompletedFuture {
            let pipeline = channel.pipeline.syncOperations
            try pipeline.configureHTTPServerPipeline(withErrorHandling: true)
            try pipeline.addHandler(IdleStateHandler(allTimeout: idleTimeout.timeAmount))
            try pipeline.addHandler(OperatorHandler(paths))
          }
        }
        .bind(host: address.host, port: Int(address.port)).get()
      let port = channel.localAddress?.port.flatMap(UInt16.init(exactly:)) ?? address.port
      let bound = NodeAddress(host: address.host, port: port)
      logger.info("operators are answered", metadata: ["address": "\(bound)"])
      return OperatorServer(channel, bound, paths, group)
    } catch {
      try? await group.shutdownGracefully()
      throw StartError("--operator-address", address, cannotListen: error)
    }
  }

  /// The same, where an address need not be given.
  static func start(
    _ address: NodeAddress?, logger: Logger
  ) async throws(StartError) -> OperatorServer? {
    guard let address else { return nil }
    let server: OperatorServer = try await start(address, logger: logger)
    return server
  }

  /// The process has started: ask it.
  package func serve(_ source: OperatorSource) {
    paths.serve(source)
    _ = group.next().scheduleRepeatedAsyncTask(
      initialDelay: .zero, delay: NodeHistory.interval.timeAmount
    ) { [paths, group] _ in
      group.next().makeFutureWithTask { await paths.sample() }
    }
  }

  /// Not ready any more, but still there to be asked.
  package func drain() { paths.drain() }

  /// Closes the port and what is open.
  package func stop() async {
    try? await channel.close().get()
    try? await group.shutdownGracefully()
  }
}

/// One connection of an operator. NIO's pipelining handler lets one request in at a time.
private final class OperatorHandler: ChannelInboundHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundOut = HTTPServerResponsePart

  private let paths: OperatorPaths
  private var head: HTTPRequestHead?
  private var isCounted = false

  init(_ paths: OperatorPaths) { self.paths = paths }

  func channelActive(context: ChannelHandlerContext) {
    isCounted = paths.connectionOpened()
    if isCounted { context.fireChannelActive() } else { context.close(promise: nil) }
  }

  func channelInactive(context: ChannelHandlerContext) {
    if isCounted { paths.connectionClosed() }
    isCounted = false
    context.fireChannelInactive()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head(let head): self.head = head
    case .body: break
    case .end:
      guard let head else { return }
      self.head = nil
      respond(to: head, context)
    }
  }

  private func respond(to head: HTTPRequestHead, _ context: ChannelHandlerContext) {
    let paths = paths
    let promise = context.eventLoop.makePromise(of: WebAnswer.self)
    promise.completeWithTask { await paths.answer(head) }
    let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
    promise.futureResult.assumeIsolated().whenSuccess { answer in
      self.write(answer, to: head, bound.value)
    }
  }

  private func write(
    _ answer: WebAnswer, to head: HTTPRequestHead, _ context: ChannelHandlerContext
  ) {
    let body = answer.body
    var fields = HTTPHeaders()
    for field in answer.headers { fields.add(name: field.name, value: field.value) }
    if answer.status != 304 {
      fields.add(name: "content-length", value: "\(body.readableBytes)")
    }
    let keeps = head.isKeepAlive
    if !keeps { fields.add(name: "connection", value: "close") }
    let response = HTTPResponseHead(
      version: .http1_1, status: HTTPResponseStatus(statusCode: answer.status), headers: fields)
    context.write(wrapOutboundOut(.head(response)), promise: nil)
    if head.method != .HEAD, body.readableBytes > 0 {
      context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
    }
    let done = context.eventLoop.makePromise(of: Void.self)
    if !keeps {
      let channel = context.channel
      done.futureResult.whenComplete { _ in channel.close(promise: nil) }
    }
    context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: done)
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if event is IdleStateHandler.IdleStateEvent {
      context.close(promise: nil)
    } else {
      context.fireUserInboundEventTriggered(event)
    }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
