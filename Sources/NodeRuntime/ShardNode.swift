package import ClusterModel
package import Coordination
import Credentials
package import Logging
import LogStorage
import NIOCore
import NIOPosix
import NodeProtocol
package import Primitives
package import ShardCore
import TLSEngine
import Transport

/// A running shard: its store, its event loop, its place in the cluster.
///
/// Start: open the store, wait for the ring, take in the replicas found on disk, listen, register,
/// follow the records. Stop: refuse commands, finish what was taken, leave.
package final class ShardNode: Sendable {
  private static let leaveTimeout: Milliseconds = 3_000
  private static let drainTimeout: Milliseconds = 5_000

  package let name: String
  package let storeID: StoreID
  package let linkAddress: NodeAddress
  let lane: ShardLane
  let committer: Committer
  let store: Store
  private let operatorServer: OperatorServer?
  private let listener: LinkListener
  private let group: MultiThreadedEventLoopGroup
  private let background: Task<Void, any Error>
  private let logger: Logger

  private init(
    name: String, linkAddress: NodeAddress, lane: ShardLane, store: Store, committer: Committer,
    operatorServer: OperatorServer?, listener: LinkListener, group: MultiThreadedEventLoopGroup,
    background: Task<Void, any Error>, logger: Logger
  ) {
    self.name = name
    storeID = store.id
    self.linkAddress = linkAddress
    self.lane = lane
    self.store = store
    self.committer = committer
    self.operatorServer = operatorServer
    self.listener = listener
    self.group = group
    self.background = background
    self.logger = logger
  }

  /// **Throws**: `StartError` with one line for the operator; `StorageError`; `CoordinationError`.
  package static func start(
    _ options: ShardOptions, coordinator: any Coordinator, logger: Logger
  ) async throws -> ShardNode {
    let logger = logger.of(node: options.name)
    // The directory is opened first: a wrong one is refused whether or not the ring exists.
    let view = ClusterView(coordinator, logger: logger)
    let opened = try await open(options, view: view, logger: logger)
    let store = opened.store
    let operatorServer = try await OperatorServer.start(options.operatorAddress, logger: logger)
    let boot = BootID(SecureRandom.uint64() | 1)
    let tls = try options.identity?.contexts()
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let eventLoop = group.next()

    // Nodes register before the ring exists: making it needs to know them.
    let provisional = NodeRecord(
      name: options.name, role: .shard, store: store.id, boot: boot, laneAddresses: [],
      operatorAddress: options.operatorAddress, publicURLs: [], zone: options.zone,
      weight: options.weight, protocolVersion: ProtocolVersion.newest)
    let cluster = try await NodeRegistration(provisional, in: coordinator, logger: logger)
      .during { try await view.clusterRecord() }
    let version = try await VersionActivation.read(coordinator)
    try store.bindCluster(cluster.clusterID)
    try bind(store, to: coordinator)
    try store.prepare(for: version)

    let committer = try Committer(store: store, dropsOrphans: true)
    var configuration = ShardConfiguration(
      clusterID: cluster.clusterID, node: options.name, store: store.id, boot: boot,
      partitionCount: cluster.partitionCount, minInSync: Int(cluster.minInSync))
    configuration.wasMadeAnew = store.record.wasMadeAnew
    configuration.activeVersion = version.number
    if let entries = options.logEntriesMax { configuration.logEntriesMax = entries }
    if let bytes = options.logBytesMax { configuration.logBytesMax = bytes }
    let hello = LinkHello(
      clusterID: cluster.clusterID, node: options.name, role: .shard, store: store.id, boot: boot,
      requestCredits: configuration.requestCreditsPerLink)
    let shardStore = opened.shardStore
    var core = ShardCore(
      configuration: configuration, storage: shardStore, seed: SecureRandom.uint64())
    var actions: [ShardAction] = []
    for replica in opened.recovered {
      core.recover(replica, now: Clock.now(), into: &actions)
    }
    let dialer = ShardDialer(
      on: eventLoop, tls: tls?.client, hello: hello, logger: logger, seed: SecureRandom.uint64())
    let lane = ShardLane(
      core: core, actions: actions, store: shardStore, committer: committer,
      coordinator: coordinator,
      dialer: dialer, on: eventLoop, logger: logger)
    let refusals = RefusedLinks(logger)
    let listener: LinkListener
    do {
      listener = try await LinkListener.bind(
        options.linkAddress, tls: tls?.server, hello: hello, on: eventLoop,
        onOpen: { lane.opened($0) },
        onRefused: { refusals.note($0, $1) }
      ).get()
    } catch {
      throw StartError("--link-address", options.linkAddress, cannotListen: error)
    }
    try await eventLoop.submit { lane.start() }.get()

    var record = provisional
    record.laneAddresses = [listener.address]
    let role = ControllerRole(of: store.id, cluster.scheme, in: coordinator, logger: logger)
    let backups = BackupRole(
      name: options.name, boot: boot, directory: options.backupDirectory, store: store,
      lane: lane, coordinator: coordinator, logger: logger)
    let background = Task { [record] in
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask {
          try await view.follow { changes in
            lane.deliver(changes)
            role.deliver(changes)
            backups.deliver(changes)
          }
        }
        group.addTask {
          try await VersionActivation.follow(coordinator) { version in
            // The store says so before anything of it is written.
            try store.prepare(for: version)
            lane.activate(version)
          }
        }
        group.addTask { await role.run() }
        group.addTask { await backups.run() }
        group.addTask {
          try await NodeRegistration(record, in: coordinator, logger: logger).run()
        }
        // A store that cannot write is of no use: its peers notice an ended process at once.
        group.addTask { for await failure in lane.failures { throw failure } }
        try await group.waitForFailure()
      }
    }
    logger.info(
      "the shard serves",
      metadata: ["store": "\(store.id)", "boot": "\(boot)", "links": "\(listener.address)"])
    let node = ShardNode(
      name: options.name, linkAddress: listener.address, lane: lane, store: store,
      committer: committer, operatorServer: operatorServer, listener: listener, group: group,
      background: background, logger: logger)
    operatorServer?.serve(node.operatorSource(coordinator))
    return node
  }

  /// A store and what it holds.
  private struct Opened {
    let store: Store
    let shardStore: ShardStore
    let recovered: [RecoveredPartition]

    init(_ store: Store) throws(StorageError) {
      self.store = store
      shardStore = try ShardStore(store)
      recovered = try shardStore.recovered()
    }

    var damage: String? { recovered.lazy.compactMap(\.damage).first }
  }

  /// Opens the data directory. One in which something cannot be read is set aside and rebuilt from
  /// the peers; the only copy is left as it is, for a person to mend.
  private static func open(
    _ options: ShardOptions, view: ClusterView, logger: Logger
  ) async throws -> Opened {
    let expectation = StoreExpectation(clusterID: nil, nodeName: options.name)
    var what: String
    do {
      let opened = try Opened(
        try Store.open(
          directory: options.dataDirectory, expecting: expectation,
          newStoreID: StoreID(SecureRandom.uint64() | 1)))
      guard let damage = opened.damage else { return opened }
      what = damage
      // Of a single copy, what can be read is served.
      if try await view.clusterRecord().minInSync < 2 { return opened }
    } catch StorageError.damaged(let damage) {
      what = "\(damage)"
      guard try await view.clusterRecord().minInSync >= 2 else {
        throw StorageError.damaged(damage)
      }
    }
    let store = try Store.remake(directory: options.dataDirectory, expecting: expectation)
    logger.critical(
      "the store is damaged; it is set aside and rebuilt from its peers",
      metadata: ["what": .string(what), "directory": .string(options.dataDirectory)])
    return try Opened(store)
  }

  /// A coordinator that was restored from an old backup would undo what was decided since.
  private static func bind(_ store: Store, to coordinator: any Coordinator) throws {
    guard let found = coordinator.position else { return }
    guard try store.bindCoordinator(found.serviceID, revision: found.revision.rawValue) else {
      let known = store.record
      throw CoordinationError.wentBackInTime(
        known: CoordinationPosition(
          serviceID: known.coordinatorID, revision: Revision(known.highestRevision)),
        found: found)
    }
  }

  /// One line per partition, for operators.
  package func partitions() async throws -> [ShardCore.PartitionStatus] {
    try await lane.eventLoop.submit { [lane] in lane.partitions }.get()
  }

  /// About how much each replica here takes. **Units**: bytes.
  package func sizes() async throws -> [PartitionID: UInt64] {
    let extents = try await lane.eventLoop.submit { [lane] in lane.extents }.get()
    return extents.mapValues { extent in
      max((try? store.approximateBytes(extent.place)) ?? 0, extent.appended)
    }
  }

  /// Ends with `stop`. **Throws**: why the node cannot go on: a store that does not write any more,
  /// a coordinator that has gone back in time or refuses.
  package func watch() async throws { try await background.value }

  /// Hands to others what is led here, so that clients notice nothing of what follows.
  private func leave() async {
    let deadline = Clock.now() + Self.leaveTimeout
    try? await lane.eventLoop.submit { [lane] in lane.leave() }.get()
    while committer.poison == nil, Clock.now() < deadline {
      let hasLeft = try? await lane.eventLoop.submit { [lane] in lane.hasLeft }.get()
      if hasLeft ?? true { return }
      await Mirror.sleep(10)
    }
  }

  /// Finishes what was taken and leaves the cluster.
  package func stop() async {
    operatorServer?.drain()
    await leave()
    try? await lane.eventLoop.submit { [lane] in lane.drain() }.get()
    let deadline = Clock.now() + Self.drainTimeout
    // A store that does not write finishes nothing: its peers had better notice at once.
    while committer.poison == nil, Clock.now() < deadline {
      let isIdle = try? await lane.eventLoop.submit { [lane] in lane.isIdle }.get()
      if isIdle ?? true { break }
      await Mirror.sleep(20)
    }
    background.cancel()
    _ = await background.result
    try? await listener.close().get()
    try? await lane.eventLoop.submit { [lane] in lane.stop() }.get()
    committer.stop()
    try? await group.shutdownGracefully()
    await operatorServer?.stop()
    logger.info("the shard has stopped")
  }
}
