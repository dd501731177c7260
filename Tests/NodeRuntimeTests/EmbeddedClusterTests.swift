import ClusterModel
import Glibc
import Logging
import LogStorage
import NodeRuntime
import Primitives
import Testing

/// A directory of a test's own, deleted at its end.
private final class TemporaryDirectory {
  let path: String

  init() throws {
    var template = Array("/tmp/martlet-test-XXXXXX".utf8CString)
    let made = mkdtemp(&template)
    path = String(cString: try #require(made))
  }

  deinit { Self.remove(path) }

  private static func remove(_ path: String) {
    guard let directory = opendir(path) else {
      unlink(path)
      return
    }
    while let entry = readdir(directory) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name != ".", name != ".." { remove("\(path)/\(name)") }
    }
    closedir(directory)
    rmdir(path)
  }
}

private let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

@Suite struct EmbeddedStoreTests {
  private func write(_ store: EmbeddedStore, _ changes: [(String, String?)]) throws {
    try store.write(changes.map { (Array($0.utf8), $1.map { Array($0.utf8) }) })
  }

  private func load(_ store: EmbeddedStore) throws -> [String: String] {
    Dictionary(
      uniqueKeysWithValues: try store.load().map {
        (String(decoding: $0.key, as: UTF8.self), String(decoding: $0.value, as: UTF8.self))
      })
  }

  @Test func `What was written is there after a reopening, and what was removed is not`() throws {
    let directory = try TemporaryDirectory()
    do {
      let store = try EmbeddedStore(directory: directory.path, newStoreID: 1)
      #expect(try load(store).isEmpty)
      try write(store, [("b", "2"), ("a", "1"), ("long key of more than twelve bytes", "3")])
      try write(store, [("a", nil), ("b", "4")])
      store.stop()
    }
    let store = try EmbeddedStore(directory: directory.path, newStoreID: 2)
    #expect(try load(store) == ["b": "4", "long key of more than twelve bytes": "3"])
    store.stop()
  }

  @Test func `A shard's directory is refused`() throws {
    let directory = try TemporaryDirectory()
    _ = try Store.open(
      directory: directory.path, expecting: StoreExpectation(clusterID: nil, nodeName: "shard1"),
      newStoreID: StoreID(3))
    #expect(throws: StorageError.self) {
      try EmbeddedStore(directory: directory.path, newStoreID: 1)
    }
  }
}

@Suite(.serialized) struct EmbeddedClusterTests {
  private func options(
    _ directory: TemporaryDirectory, shards: Int, partitions: UInt32 = 4
  ) -> EmbeddedOptions {
    EmbeddedOptions(
      dataDirectory: directory.path, shardCount: shards, partitionCount: partitions,
      replicaCount: UInt32(shards),
      gateways: [
        GatewayOptions(
          name: "gateway1", plainAddress: NodeAddress(host: "127.0.0.1", port: 0))
      ])
  }

  private func waitUntilWhole(_ cluster: EmbeddedCluster) async throws -> RingStatus {
    let deadline = ContinuousClock.now + .seconds(60)
    while true {
      if let ring = try await cluster.ring(), ring.isWhole { return ring }
      try #require(ContinuousClock.now < deadline, "the ring does not become whole")
      try await Task.sleep(for: .milliseconds(20))
    }
  }

  /// **Returns**: the ring when it was whole. The directories are free afterwards.
  private func runOnce(_ options: EmbeddedOptions) async throws -> RingStatus {
    let cluster = try await EmbeddedCluster.start(options, logger: logger)
    let ring = try await waitUntilWhole(cluster)
    await cluster.stop()
    return ring
  }

  @Test func `It makes its ring once and finds it again after a restart`() async throws {
    let directory = try TemporaryDirectory()
    let ring = try await runOnce(options(directory, shards: 3))
    let shards = ring.nodes.filter { $0.role == .shard }
    #expect(shards.map(\.name) == ["shard1", "shard2", "shard3"])
    #expect(ring.partitions.count == 4)

    let again = try await runOnce(options(directory, shards: 3))
    #expect(again.cluster == ring.cluster)
    // Nobody resumes an epoch: every partition has a new leader's one.
    for (old, new) in zip(ring.partitions, again.partitions) {
      #expect(new.record.epoch > old.record.epoch)
    }
  }

  @Test func `Another number of shards than the directory holds is refused in one line`()
    async throws
  {
    let directory = try TemporaryDirectory()
    _ = try await runOnce(options(directory, shards: 2))
    for count in [1, 3] {
      let error = await #expect(throws: StartError.self) {
        try await EmbeddedCluster.start(options(directory, shards: count), logger: logger)
      }
      #expect(error?.description.hasPrefix("--shards '\(count)'") == true)
    }
  }

  @Test func `A directory in use is refused, and whoever uses it goes on`() async throws {
    let directory = try TemporaryDirectory()
    let cluster = try await EmbeddedCluster.start(options(directory, shards: 1), logger: logger)
    await #expect(throws: StorageError.self) {
      try await EmbeddedCluster.start(options(directory, shards: 1), logger: logger)
    }
    _ = try await waitUntilWhole(cluster)
    await cluster.stop()
  }

  @Test func `A directory with something else in it is refused, and what is there is named`()
    async throws
  {
    let foreign = try TemporaryDirectory()
    try #require(mkdir("\(foreign.path)/photos", 0o700) == 0)
    let error = await #expect(throws: StartError.self) {
      try await EmbeddedCluster.start(options(foreign, shards: 1), logger: logger)
    }
    #expect(error?.description.contains("it is not empty ('photos')") == true)
  }
}
