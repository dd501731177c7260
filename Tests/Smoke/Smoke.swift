import ClusterModel
import Coordination
import Foundation
import Logging
import NIOPosix
import NodeRuntime
import ShardCore
import Synchronization

final class MemoryStorage: DurableKeyValue {
  private let items = Mutex<[[UInt8]: [UInt8]]>([:])
  func load() throws -> [(key: [UInt8], value: [UInt8])] { items.withLock { $0.map { ($0.key, $0.value) } } }
  func write(_ changes: [(key: [UInt8], value: [UInt8]?)]) throws {
    items.withLock { items in for change in changes { items[change.key] = change.value } }
  }
}

func shard(_ number: Int, _ root: String, _ coordinator: any Coordinator, _ quiet: Logger) async throws -> ShardNode {
  try await ShardNode.start(
    ShardOptions(
      name: "shard-\(number)", dataDirectory: "\(root)/shard-\(number)",
      linkAddress: NodeAddress(host: "127.0.0.1", port: UInt16(7100 + number))),
    coordinator: coordinator, logger: quiet)
}

@main struct Smoke {
  static func main() async throws {
LoggingSystem.bootstrap { StreamLogHandler.standardError(label: $0) }
var logger = Logger(label: "smoke")
logger.logLevel = .info
let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
let service = try EmbeddedService(storage: MemoryStorage(), newServiceID: 7, eventLoop: group.next())
let coordinator = EmbeddedCoordinator(service: service)
let root = CommandLine.arguments.count > 1 ? CommandLine.arguments[1] : "/tmp/smoke"
let partitions = CommandLine.arguments.count > 2 ? UInt32(CommandLine.arguments[2])! : 8
async let initialised = RingInitialiser.initialise(
  shardCount: 3, partitionCount: partitions, replicaCount: 3, in: coordinator)
let quiet = logger
async let a = shard(1, root, coordinator, quiet)
async let b = shard(2, root, coordinator, quiet)
async let c = shard(3, root, coordinator, quiet)
_ = try await initialised
let shards = [try await a, try await b, try await c]
var gateways: [GatewayNode] = []
for number in 1...2 {
  gateways.append(
    try await GatewayNode.start(
      GatewayOptions(
        name: "gateway-\(number)", plainAddress: NodeAddress(host: "127.0.0.1", port: UInt16(8079 + number))),
      coordinator: coordinator, logger: logger))
}
while true {
  try await Task.sleep(nanoseconds: 5_000_000_000)
  let leading = try await shards[0].partitions().count { $0.isLeader }
  print("health", await gateways[0].health(), "leads", leading)
}
  }
}
