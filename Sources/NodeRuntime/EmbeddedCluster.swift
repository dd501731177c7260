package import ClusterModel
import Coordination
import Credentials
import Glibc
package import Logging
import LogStorage
import NIOCore
import NIOPosix
import Primitives
import Telemetry

/// What an operator decides about a cluster in one process.
package struct EmbeddedOptions: Sendable {
  /// Holds a directory for each store and one for the coordination service.
  package var dataDirectory: String
  package var shardCount: Int
  /// Of a new ring; an existing one keeps its own.
  package var partitionCount: UInt32
  /// Of each partition of a new ring.
  package var replicaCount: UInt32
  package var gateways: [GatewayOptions]
  package var operatorAddress: NodeAddress?

  package init(
    dataDirectory: String, shardCount: Int, partitionCount: UInt32, replicaCount: UInt32,
    gateways: [GatewayOptions], operatorAddress: NodeAddress? = nil
  ) {
    self.dataDirectory = dataDirectory
    self.shardCount = shardCount
    self.partitionCount = partitionCount
    self.replicaCount = replicaCount
    self.gateways = gateways
    self.operatorAddress = operatorAddress
  }
}

/// A whole cluster in one process, for one machine: the embedded coordination service, stores with
/// directories of their own, gateways. Its parts talk over loopback exactly as separate processes
/// do.
///
/// ```
///   dataDirectory/coordination   who leads and who is in sync
///   dataDirectory/shard1 …       one store each
/// ```
package final class EmbeddedCluster: Sendable {
  /// In the order of their names.
  package let shards: [ShardNode]
  package let gateways: [GatewayNode]
  /// With the port that was bound; `nil` when nobody may ask.
  package let operatorAddress: NodeAddress?
  private let operatorServer: OperatorServer?
  private let base: Base

  /// What everything else stands on, and goes last.
  private struct Base: Sendable {
    let store: EmbeddedStore
    let coordinator: EmbeddedCoordinator
    let group: MultiThreadedEventLoopGroup

    func stop() async {
      await coordinator.shutDown()
      try? await group.shutdownGracefully()
      store.stop()
    }
  }

  private init(
    shards: [ShardNode], gateways: [GatewayNode], operatorServer: OperatorServer?,
    base: Base
  ) {
    self.shards = shards
    self.gateways = gateways
    self.operatorServer = operatorServer
    operatorAddress = operatorServer?.address
    self.base = base
  }

  /// Starts everything and makes the ring when there is none.
  ///
  /// **Throws**: `StartError` with one line for the operator; `StorageError`; `CoordinationError`.
  /// What had started is stopped again.
  package static func start(
    _ options: EmbeddedOptions, logger: Logger
  ) async throws -> EmbeddedCluster {
    try prepare(options)
    let operatorServer = try await OperatorServer.start(options.operatorAddress, logger: logger)
    var base: Base?
    var started = Started()
    do {
      let laid = try lay(options.dataDirectory)
      base = laid
      try await startShards(options, laid.coordinator, logger, into: &started)
      for gateway in options.gateways {
        started.gateways.append(
          try await GatewayNode.start(gateway, coordinator: laid.coordinator, logger: logger))
      }
      let cluster = EmbeddedCluster(
        shards: started.shards, gateways: started.gateways, operatorServer: operatorServer,
        base: laid)
      operatorServer?.serve(cluster.operatorSource)
      return cluster
    } catch {
      await started.stop()
      await base?.stop()
      await operatorServer?.stop()
      throw error
    }
  }

  /// Ends with `stop`. **Throws**: why one of the nodes does not follow the cluster any more.
  package func watch() async throws {
    let (ends, continuation) = AsyncThrowingStream.makeStream(of: Void.self)
    let watches: [@Sendable () async throws -> Void] =
      shards.map { shard in { @Sendable in try await shard.watch() } }
      + gateways.map { gateway in { @Sendable in try await gateway.watch() } }
    for watch in watches {
      Task {
        do { try await watch() } catch { continuation.finish(throwing: error) }
      }
    }
    for try await _ in ends {}
  }

  private struct Started {
    var shards: [ShardNode] = []
    var gateways: [GatewayNode] = []

    func stop() async {
      await withTaskGroup(of: Void.self) { group in
        for gateway in gateways { group.addTask { await gateway.stop() } }
      }
      await withTaskGroup(of: Void.self) { group in
        for shard in shards { group.addTask { await shard.stop() } }
      }
    }
  }

  /// Makes the directory and refuses one that holds more stores than are to be started: their
  /// partitions would miss them.
  private static func prepare(_ options: EmbeddedOptions) throws(StartError) {
    try refuseForeign(options.dataDirectory)
    if mkdir(options.dataDirectory, 0o700) != 0, errno != EEXIST {
      let why = String(cString: strerror(errno))
      throw StartError(
        "--data-dir '\(options.dataDirectory)': \(why); allowed is a directory of this cluster "
          + "alone, or a new name in a directory that exists")
    }
    var stores = 0
    while access("\(options.dataDirectory)/shard\(stores + 1)", F_OK) == 0 { stores += 1 }
    guard stores == 0 || stores == options.shardCount else {
      throw StartError(
        "--shards '\(options.shardCount)': --data-dir '\(options.dataDirectory)' holds \(stores); "
          + "allowed is \(stores), or another directory")
    }
  }

  /// Another node's directory, or anything else that is there, is not touched.
  private static func refuseForeign(_ directory: String) throws(StartError) {
    guard let names = DirectoryContent.names(in: directory),
      !names.contains(coordinationDirectory), let first = names.min()
    else { return }
    throw StartError(
      "--data-dir '\(directory)': it is not empty ('\(first)') and not an embedded cluster's; "
        + "allowed is a directory of this cluster alone, or a new name in a directory that exists")
  }

  private static let coordinationDirectory = "coordination"

  private static func lay(_ directory: String) throws -> Base {
    let store = try EmbeddedStore(
      directory: "\(directory)/\(coordinationDirectory)", newStoreID: SecureRandom.uint64() | 1)
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    do {
      let service = try EmbeddedService(
        storage: store, newServiceID: SecureRandom.uint64() | 1, eventLoop: group.next())
      return Base(
        store: store, coordinator: EmbeddedCoordinator(service: service), group: group)
    } catch {
      store.stop()
      group.shutdownGracefully { _ in }
      throw error
    }
  }

  /// Shards wait for the ring and the ring for registered shards, so all of it goes on at once.
  private static func startShards(
    _ options: EmbeddedOptions, _ coordinator: EmbeddedCoordinator, _ logger: Logger,
    into started: inout Started
  ) async throws {
    var failure: (any Error)?
    let shards = await withTaskGroup(of: Result<ShardNode?, any Error>.self) { group in
      for number in 1...options.shardCount {
        group.addTask {
          await result {
            try await ShardNode.start(
              ShardOptions(
                name: "shard\(number)", dataDirectory: "\(options.dataDirectory)/shard\(number)",
                linkAddress: NodeAddress(host: "127.0.0.1", port: 0)),
              coordinator: coordinator, logger: logger)
          }
        }
      }
      group.addTask {
        await result {
          _ = try await RingInitialiser.initialise(
            shardCount: options.shardCount, partitionCount: options.partitionCount,
            replicaCount: options.replicaCount, in: coordinator)
          return nil
        }
      }
      var shards: [ShardNode] = []
      for await result in group {
        switch result {
        case .success(let shard): shards += [shard].compactMap { $0 }
        case .failure(let error):
          // The first one says why; those that follow were cancelled.
          failure = failure ?? error
          group.cancelAll()
        }
      }
      return shards
    }
    started.shards = shards.sorted { $0.name < $1.name }
    if let failure { throw failure }
    // All nodes are this program.
    _ = try await VersionActivation.activate(
      ActiveVersion(ProtocolVersion.newest), in: coordinator)
  }

  private static func result(
    _ body: () async throws -> ShardNode?
  ) async -> Result<ShardNode?, any Error> {
    do { return .success(try await body()) } catch { return .failure(error) }
  }

  // MARK: Operating

  /// The ring as the coordination service knows it.
  package func ring() async throws -> RingStatus? { try await RingStatus.read(base.coordinator) }

  private var operatorSource: OperatorSource {
    let (shards, gateways, coordinator) = (shards, gateways, base.coordinator)
    return OperatorSource(
      nodes: shards.map(\.name) + gateways.map(\.name),
      isReady: {
        for shard in shards where !(await shard.isReady()) { return false }
        for gateway in gateways where !(await gateway.health().isReady) { return false }
        return (try? await RingStatus.read(coordinator))??.isWhole ?? false
      },
      collect: { page in
        for shard in shards {
          page.commonLabels = [("node", shard.name)]
          await shard.collect(into: &page)
        }
        for gateway in gateways {
          page.commonLabels = [("node", gateway.name)]
          await gateway.collect(into: &page)
        }
        page.commonLabels = []
      },
      ring: { try await RingStatus.read(coordinator) })
  }

  /// Tells clients to leave and finishes what was taken. The directories are free when this object
  /// is gone.
  package func stop() async {
    operatorServer?.drain()
    await Started(shards: shards, gateways: gateways).stop()
    await base.stop()
    await operatorServer?.stop()
  }
}
