package import ClusterModel
package import Coordination
import Credentials
import GatewayCore
package import Logging
import NIOCore
import NIOPosix
import NodeProtocol
package import Primitives
import Synchronization
import TLSEngine
import Transport
import WebSocketEngine
import Wire

/// A running gateway: its public ports, its event loops, its links to the shards. It keeps nothing.
package final class GatewayNode: Sendable {
  /// How long clients have to leave by themselves when the gateway stops.
  static let drainGrace: Milliseconds = 3_000

  package let name: String
  /// With the port that was bound; `nil` when there is no such listener.
  package let plainAddress: NodeAddress?
  /// With the port that was bound; `nil` when there is no such listener.
  package let tlsAddress: NodeAddress?
  private let lanes: [GatewayLane]
  let listeners: [PublicListener]
  private let operatorServer: OperatorServer?
  private let passwords: PasswordPool
  private let group: MultiThreadedEventLoopGroup
  private let background: Task<Void, any Error>
  private let logger: Logger
  private let isStopping = Atomic(false)

  private init(
    name: String, plainAddress: NodeAddress?, tlsAddress: NodeAddress?, lanes: [GatewayLane],
    listeners: [PublicListener], operatorServer: OperatorServer?, passwords: PasswordPool,
    group: MultiThreadedEventLoopGroup, background: Task<Void, any Error>, logger: Logger
  ) {
    self.name = name
    self.plainAddress = plainAddress
    self.tlsAddress = tlsAddress
    self.lanes = lanes
    self.listeners = listeners
    self.operatorServer = operatorServer
    self.passwords = passwords
    self.group = group
    self.background = background
    self.logger = logger
  }

  /// **Throws**: `StartError` with one line for the operator; `CoordinationError`.
  package static func start(
    _ options: GatewayOptions, coordinator: any Coordinator, logger: Logger
  ) async throws -> GatewayNode {
    let logger = logger.of(node: options.name)
    guard options.plainAddress != nil || options.tlsAddress != nil else {
      throw StartError("--plain-address, --tls-address: one of them is needed")
    }
    let operatorServer = try await OperatorServer.start(options.operatorAddress, logger: logger)
    let linkTLS = try options.identity?.contexts()
    let view = ClusterView(coordinator, logger: logger)
    let (cluster, authority) = try await StartPatience().ask(logger) {
      let cluster = try await view.clusterRecord()
      _ = try await VersionActivation.read(coordinator)
      let authority = try await TokenAuthority.load(
        coordinator, times: options.tokenTimes, logger: logger)
      return (cluster, authority)
    }
    let boot = BootID(SecureRandom.uint64() | 1)
    var record = NodeRecord(
      name: options.name, role: .gateway, store: nil, boot: boot, laneAddresses: [],
      operatorAddress: options.operatorAddress,
      publicURLs: urls(options.plainAddress, options.tlsAddress), zone: "", weight: 1,
      protocolVersion: ProtocolVersion.newest)
    let registration = NodeRegistration(record, in: coordinator, logger: logger)
    try await StartPatience().ask(logger) { try await registration.check() }
    var hello = LinkHello(
      clusterID: cluster.clusterID, node: options.name, role: .gateway, store: nil, boot: boot,
      requestCredits: 0)
    let group = MultiThreadedEventLoopGroup(numberOfThreads: options.eventLoopCount)
    let passwords = PasswordPool(threads: options.passwordThreadCount)
    let origins = WebOrigins(options)
    let pages = WebFiles.chat(gateways: origins.listed)
    var lanes: [GatewayLane] = []
    var apis: [ObjectIdentifier: APIBox] = [:]
    for eventLoop in group.makeIterator() {
      hello.lane = UInt32(lanes.count)
      let dialer = ShardDialer(
        on: eventLoop, tls: linkTLS?.client, hello: hello, logger: logger,
        seed: SecureRandom.uint64())
      let core = GatewayCore(
        configuration: GatewayConfiguration(
          node: options.name, boot: boot, partitionCount: cluster.partitionCount),
        seed: SecureRandom.uint64())
      let lane = GatewayLane(core: core, dialer: dialer, on: eventLoop, logger: logger)
      try await eventLoop.submit { lane.start() }.get()
      lanes.append(lane)
      apis[ObjectIdentifier(eventLoop)] = APIBox(
        GatewayAPI(
          lane: lane, authority: authority, passwords: passwords, origins: origins, pages: pages,
          helloTimeout: options.helloTimeout))
    }

    let handlers = PublicHandlers(
      onRequest: { [apis] request, responder in
        apis[ObjectIdentifier(responder.eventLoop)]?.api.handle(request, responder)
      },
      onWebSocket: { [apis] request, upgrader in
        apis[ObjectIdentifier(upgrader.eventLoop)]?.api.open(request, upgrader)
      }, refusal: GatewayAPI.refusal)
    let (listeners, plain, tls) = try await listen(options, origins, on: group, handlers)
    record.publicURLs = urls(plain, tls)
    let background = Task { [lanes, record] in
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask {
          try await view.follow { changes in for lane in lanes { lane.deliver(changes) } }
        }
        group.addTask { try await VersionActivation.follow(coordinator) { _ in } }
        group.addTask { try await authority.run() }
        group.addTask {
          try await NodeRegistration(record, in: coordinator, logger: logger).run()
        }
        try await group.waitForFailure()
      }
    }
    logger.info("the gateway serves", metadata: ["urls": "\(record.publicURLs)"])
    let node = GatewayNode(
      name: options.name, plainAddress: plain, tlsAddress: tls, lanes: lanes,
      listeners: listeners, operatorServer: operatorServer, passwords: passwords, group: group,
      background: background, logger: logger)
    operatorServer?.serve(node.operatorSource(coordinator))
    return node
  }

  /// What clients connect to; nothing while it is not known which port that is.
  private static func urls(_ plain: NodeAddress?, _ tls: NodeAddress?) -> [String] {
    guard plain?.port != 0, tls?.port != 0 else { return [] }
    return [plain.map { "http://\($0)" }, tls.map { "https://\($0)" }].compactMap { $0 }
  }

  private static func listen(
    _ options: GatewayOptions, _ origins: WebOrigins, on group: MultiThreadedEventLoopGroup,
    _ handlers: PublicHandlers
  ) async throws -> (all: [PublicListener], plain: NodeAddress?, tls: NodeAddress?) {
    let endpoint = WebSocketEndpoint(
      policy: WebSocketUpgradePolicy(
        subprotocols: ClientEncoding.allCases.map(\.subprotocol),
        origins: origins.policy))
    var listeners: [PublicListener] = []
    var plain: NodeAddress?
    var tls: NodeAddress?
    if let address = options.plainAddress {
      let listener = try await bind(
        address, nil, "--plain-address", endpoint, on: group, handlers)
      listeners.append(listener)
      plain = listener.address
    }
    if let address = options.tlsAddress {
      guard let files = options.tlsFiles else {
        throw StartError("--tls-certificate, --tls-private-key: needed with --tls-address")
      }
      let context = try TLSContext(
        configuration: TLSConfiguration(
          role: .server, certificateChainFile: files.certificate,
          privateKeyFile: files.privateKey, clientCertificate: .none,
          alpnProtocols: ["h2", "http/1.1"], minimumVersion: .tls12))
      let listener = try await bind(
        address, context, "--tls-address", endpoint, on: group, handlers)
      listeners.append(listener)
      tls = listener.address
    }
    return (listeners, plain, tls)
  }

  private static func bind(
    _ address: NodeAddress, _ tls: TLSContext?, _ setting: String, _ endpoint: WebSocketEndpoint,
    on group: MultiThreadedEventLoopGroup, _ handlers: PublicHandlers
  ) async throws -> PublicListener {
    do {
      return try await PublicListener.bind(
        address, tls: tls, group: group, endpoint: endpoint, handlers: handlers
      ).get()
    } catch {
      throw StartError(setting, address, cannotListen: error)
    }
  }

  /// What health checks and metrics show.
  package struct Health: Sendable {
    package var isReady = true
    package var sessionCount = 0
    package var pendingRequestCount = 0
    package var subscriptionCount = 0
    package var linkCount = 0
    /// From clients' messages to their answers.
    package var sends = DurationHistogram()
  }

  /// As of now; not ready when an event loop does not answer.
  package func health() async -> Health {
    var health = Health()
    for lane in lanes {
      let part = try? await lane.eventLoop.submit {
        (
          lane.isReady, lane.sessionCount, lane.pendingRequestCount, lane.subscriptionCount,
          lane.linkCount, lane.sends
        )
      }.get()
      guard let part else { return Health(isReady: false) }
      health.isReady = health.isReady && part.0
      health.sessionCount += part.1
      health.pendingRequestCount += part.2
      health.subscriptionCount += part.3
      health.linkCount += part.4
      health.sends.add(part.5)
    }
    return health
  }

  /// Ends with `stop`. **Throws**: why the node does not follow the cluster any more: a coordinator
  /// that has gone back in time, or refuses.
  package func watch() async throws { try await background.value }

  /// Tells every client to go elsewhere, waits a little, leaves. A second call does nothing.
  package func stop() async {
    guard !isStopping.exchange(true, ordering: .relaxed) else { return }
    operatorServer?.drain()
    background.cancel()
    _ = await background.result
    for lane in lanes { try? await lane.eventLoop.submit { lane.drain() }.get() }
    for listener in listeners { try? await listener.drain(grace: Self.drainGrace).get() }
    for lane in lanes { try? await lane.eventLoop.submit { lane.stop() }.get() }
    await passwords.stop()
    try? await group.shutdownGracefully()
    await operatorServer?.stop()
    logger.info("the gateway has stopped")
  }
}

/// Carries an event loop's API into the handlers, which run on that loop only.
private final class APIBox: @unchecked Sendable {
  // Safety: `api` is used on its lane's event loop only; the handlers choose it by that loop.
  let api: GatewayAPI

  init(_ api: GatewayAPI) { self.api = api }
}
