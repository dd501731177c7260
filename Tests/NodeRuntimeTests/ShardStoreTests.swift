import Dispatch
import Foundation
import LogStorage
import NodeProtocol
import Primitives
import ReplicaCore
import ShardCore
import Testing

@testable import NodeRuntime

/// What a shard's store names is there when the process starts again.
@Suite(.timeLimit(.minutes(1))) struct ShardStoreTests {
  private final class Done: CompletionSink {
    let semaphore = DispatchSemaphore(value: 0)

    func storageCompleted(_ tickets: [StorageTicket], failure: StorageError?) {
      semaphore.signal()
    }
  }

  private let partition = PartitionID(3)
  private let directory =
    FileManager.default.temporaryDirectory.path + "/martlet-store-\(UUID().uuidString)"

  private func open() throws -> Store {
    try Store.open(
      directory: directory, expecting: StoreExpectation(clusterID: nil, nodeName: "shard1"),
      newStoreID: StoreID(1))
  }

  private func replica(_ number: UInt32) -> ReplicaID {
    ReplicaID(store: StoreID(1), number: number)
  }

  private func entries(_ count: UInt64) -> [Entry] {
    (1...count).map { Entry(id: EntryID(epoch: Epoch(1), index: LogIndex($0)), payload: [1]) }
  }

  /// Opens the store, has one batch written and closes it again.
  private func write(_ body: (ShardStore, inout StorageBatch) throws -> Void) throws {
    let store = try open()
    let committer = try Committer(store: store)
    var batch = StorageBatch(needsSync: true)
    try body(try ShardStore(store), &batch)
    let done = Done()
    _ = committer.submit(batch, ticket: StorageTicket(1), sink: done)
    done.semaphore.wait()
    committer.stop()
  }

  @Test func `a replica that is deleted before the next one wrote is not named any more`() throws {
    defer { try? FileManager.default.removeItem(atPath: directory) }
    try write { store, batch in
      _ = try store.createReplica(replica(2), of: partition, generation: 0, settingAside: false)
      store.add(
        ReplicaWrite(ticket: 1, promise: Epoch(1), truncatingFrom: nil, entries: entries(9)),
        of: partition, replica(2), to: &batch)
    }
    try write { store, batch in
      #expect(try store.recovered().map(\.replica.last.index) == [LogIndex(9)])
      _ = try store.createReplica(replica(9), of: partition, generation: 0, settingAside: false)
      store.forget(replica(2), of: partition, in: &batch)
    }
    let found = try ShardStore(try open()).recovered()
    #expect(found.map(\.replica.id) == [replica(9)])
    #expect(found.map(\.replica.last) == [.zero])
    #expect(found.allSatisfy { $0.damage == nil && $0.former.isEmpty })
  }
}
