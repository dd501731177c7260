import ChatCore
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

  /// A replica with nine entries, in the place of what is there.
  private func writeReplica(
    _ number: UInt32, generation: UInt32 = 0, settingAside: Bool = false
  ) throws {
    try write { store, batch in
      _ = try store.createReplica(
        replica(number), of: partition, generation: generation, settingAside: settingAside)
      store.add(
        ReplicaWrite(ticket: 1, promise: Epoch(1), truncatingFrom: nil, entries: entries(9)),
        of: partition, replica(number), to: &batch)
    }
  }

  /// Seven of its entries are applied.
  private func writeCheckpoint() throws {
    try write { store, batch in
      var meta = try #require(try store.store.meta(of: partition))
      meta.appliedIndex = LogIndex(7)
      batch.setMeta(of: partition, meta)
    }
  }

  @Test func `a replica that is deleted before the next one wrote is not named any more`() throws {
    defer { try? FileManager.default.removeItem(atPath: directory) }
    try writeReplica(2)
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

  // MARK: Snapshots

  private func installation(_ id: UInt64, last: UInt64) -> ReplicaInstallation {
    ReplicaInstallation(
      ticket: 1, id: InstallationID(id), promise: Epoch(3),
      last: EntryID(epoch: Epoch(2), index: LogIndex(last)))
  }

  private func records(_ count: Int, valueBytes: Int) -> [(key: [UInt8], value: [UInt8])] {
    (0..<count).map { number in
      let key = (0..<12).map { UInt8(truncatingIfNeeded: number >> (8 * (11 - $0))) }
      return (key, (0..<valueBytes).map { UInt8(truncatingIfNeeded: $0 &* number) })
    }
  }

  @Test func `what was prepared is the replica's after the switch, and the old is deleted`() throws
  {
    defer { try? FileManager.default.removeItem(atPath: directory) }
    try writeReplica(2, generation: 4)
    try write { store, batch in
      store.beginImport(InstallationID(1), of: partition)
      let state = try #require(store.preparing(InstallationID(1), of: partition))
      #expect(store.preparing(InstallationID(2), of: partition) == nil)
      try state.begin()
      try state.write(records(5, valueBytes: 3))
      try state.finish()
      let reader = store.preparedState(of: partition, InstallationID(1))
      #expect(try reader.value(records(5, valueBytes: 3)[4].key) != nil)
      store.add(installation(1, last: 70), of: partition, replica(2), to: &batch)
      store.add(
        ReplicaWrite(
          ticket: 2, promise: Epoch(3), truncatingFrom: nil,
          entries: [
            Entry(id: EntryID(epoch: Epoch(3), index: LogIndex(71)), payload: [1])
          ]), of: partition, replica(2), to: &batch)
    }
    let store = try open()
    let found = try #require(try ShardStore(store).recovered().first)
    #expect(found.damage == nil && found.generation == 4)
    #expect(found.replica.base == EntryID(epoch: Epoch(2), index: LogIndex(70)))
    #expect(found.replica.last == EntryID(epoch: Epoch(3), index: LogIndex(71)))
    #expect(found.replica.appliedIndex == LogIndex(70) && found.replica.promise == Epoch(3))
    #expect(found.replica.tail.map(\.index) == [LogIndex(71)])
    let frozen = try ShardStore(store).freezeState(of: partition)
    #expect(frozen.appliedIndex == LogIndex(70))
    let page = try frozen.records(after: [], bytesMax: 1 << 20)
    #expect(page.records.count == 5 && page.isComplete)
  }

  @Test func `a replica that is forgotten beside one that is set aside leaves nothing to be read`()
    throws
  {
    defer { try? FileManager.default.removeItem(atPath: directory) }
    try writeReplica(2)
    try writeReplica(9, settingAside: true)
    try writeCheckpoint()
    // A log that was shortened holds no entry 1.
    try write { store, batch in
      store.truncate(
        replica(9), of: partition, base: EntryID(epoch: Epoch(1), index: LogIndex(6)), in: &batch)
    }
    try write { store, batch in store.forget(replica(9), of: partition, in: &batch) }
    let found = try #require(try ShardStore(try open()).recovered().first)
    #expect(found.damage == nil && found.replica.last == .zero)
    #expect(found.former.isEmpty)
  }

  @Test func `a log that was shortened begins where it says`() throws {
    defer { try? FileManager.default.removeItem(atPath: directory) }
    try writeReplica(2)
    try writeCheckpoint()
    try write { store, batch in
      store.truncate(
        replica(2), of: partition, base: EntryID(epoch: Epoch(1), index: LogIndex(6)), in: &batch)
    }
    let found = try #require(try ShardStore(try open()).recovered().first)
    #expect(found.damage == nil)
    #expect(found.replica.base.index == LogIndex(6) && found.replica.last.index == LogIndex(9))
    #expect(found.replica.epochStarts.map(\.index) == [LogIndex(7)])
  }

  @Test func `who sends a large state holds little of it`() throws {
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let store = try open()
    let shardStore = try ShardStore(store)
    _ = try shardStore.createReplica(
      replica(2), of: partition, generation: 0, settingAside: false)
    shardStore.beginImport(InstallationID(1), of: partition)
    let state = try #require(shardStore.preparing(InstallationID(1), of: partition))
    try state.begin()
    for part in 0..<128 {
      let records = (0..<16).map { number in
        let key = withUnsafeBytes(of: UInt64(part * 16 + number).bigEndian) { Array($0) }
        var dice = SeededRandom(seed: UInt64(part * 16 + number))
        let words = (0..<8_192).map { _ in dice.next() }
        return (key: key, value: words.withUnsafeBytes { Array($0) })
      }
      try state.write(records)
    }
    try state.finish()
    let committer = try Committer(store: store)
    var batch = StorageBatch(needsSync: true)
    shardStore.add(installation(1, last: 70), of: partition, replica(2), to: &batch)
    let done = Done()
    _ = committer.submit(batch, ticket: StorageTicket(1), sink: done)
    done.semaphore.wait()

    let frozen = try shardStore.freezeState(of: partition)
    let before = Self.residentBytes
    var highest = before
    var bytes = 0
    var key: [UInt8] = []
    while true {
      let (records, isComplete) = try frozen.records(after: key, bytesMax: 256 << 10)
      bytes += records.bytes.count
      key = records.lastKey
      highest = max(highest, Self.residentBytes)
      if isComplete { break }
    }
    committer.stop()
    print("\(bytes >> 20) MiB were read with \((highest - before) >> 10) KiB more in memory")
    #expect(bytes > 128 << 20)
    #expect(highest - before < 64 << 20)
  }

  private static var residentBytes: Int {
    let text = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8)) ?? ""
    let pages = text.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
    return pages * 4_096
  }
}
