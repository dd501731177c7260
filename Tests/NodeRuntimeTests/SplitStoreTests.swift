import ChatCore
import ChatModel
import ClusterModel
import Dispatch
import Foundation
import LogStorage
import NodeProtocol
import Primitives
import ReplicaCore
import Testing

@testable import NodeRuntime
@testable import ShardCore

/// What a cut leaves on the disk, and what of it is deleted again.
@Suite(.timeLimit(.minutes(1))) struct SplitStoreTests {
  private static let scheme = PartitionScheme(rootCount: 1)
  private static let whole = PartitionID(0)
  private static let half = PartitionID(1)

  private final class Done: CompletionSink {
    let semaphore = DispatchSemaphore(value: 0)

    func storageCompleted(_ tickets: [StorageTicket], failure: StorageError?) {
      semaphore.signal()
    }
  }

  private let directory =
    FileManager.default.temporaryDirectory.path + "/martlet-split-\(UUID().uuidString)"
  private let replica = ReplicaID(store: StoreID(1), number: 3)

  private func open() throws -> Store {
    try Store.open(
      directory: directory, expecting: StoreExpectation(clusterID: nil, nodeName: "shard1"),
      newStoreID: StoreID(1))
  }

  /// Opens the store, has one batch written and closes it again. What a start sweeps is swept.
  private func write(_ body: (ShardStore, inout StorageBatch) throws -> Void) throws {
    let store = try open()
    let committer = try Committer(store: store, dropsOrphans: true)
    var batch = StorageBatch(needsSync: true)
    try body(try ShardStore(store), &batch)
    let done = Done()
    _ = committer.submit(batch, ticket: StorageTicket(1), sink: done)
    done.semaphore.wait()
    committer.stop()
  }

  private func room(_ number: Int) -> ConversationID { ConversationID(UInt128(number) << 64 | 7) }
  private func user(_ number: Int) -> UserID { UserID(UInt128(number) << 64 | 9) }

  private func partition(_ number: Int, level: UInt32 = 1) -> PartitionID {
    Self.scheme.partition(of: EntityID.conversation(room(number)).token, level: level)
  }

  private func apply(
    _ commands: [Command], _ chat: inout ChatPartition, _ reader: any StateReader
  ) throws {
    var output = ApplyOutput()
    let payload = EntryPayload(
      time: WallTime(milliseconds: 5), commands: commands.map { $0.encoded()[...] })
    try chat.apply(
      index: chat.appliedIndex.successor, payload: payload.encoded(), state: reader,
      into: &output)
  }

  /// A replica with a conversation per entry, and the cut that follows.
  private func cut(
    _ store: ShardStore, _ partition: PartitionID, level: UInt32, rooms: ClosedRange<Int>,
    makesHalf: Bool = true
  ) throws -> ShardCut {
    let reader = store.stateReader(of: partition)
    var chat = try ChatPartition(partition: partition, state: reader)
    for number in rooms {
      try apply(
        [
          .createConversation(
            CreateConversation(
              conversation: room(number), kind: .group, title: "", creator: user(1),
              members: [Member(user: user(1), handle: Handle("ada")!, role: .admin)]))
        ], &chat, reader)
    }
    try apply(
      [.partitionSplit(PartitionSplit(level: level, replicaLimit: 9))], &chat, reader)
    let half = Self.scheme.half(of: partition, level: level)
    let upper = Self.scheme.range(of: half, level: level)
    let halves = chat.beginSplit(upper: upper)
    return ShardCut(
      partition: partition, replica: replica,
      through: EntryID(epoch: Epoch(2), index: chat.appliedIndex), generation: 4,
      lower: halves.lower, lowerTokens: Self.scheme.range(of: partition, level: level),
      halfPartition: half, half: makesHalf ? replica : nil, upper: halves.upper,
      upperTokens: upper)
  }

  private func create(_ store: ShardStore, _ batch: inout StorageBatch, entries: UInt64) throws {
    _ = try store.createReplica(replica, of: Self.whole, generation: 4, settingAside: false)
    store.add(
      ReplicaWrite(
        ticket: 1, promise: Epoch(7), truncatingFrom: nil,
        entries: (1...entries).map {
          Entry(id: EntryID(epoch: Epoch(2), index: LogIndex($0)), payload: [1])
        }), of: Self.whole, replica, to: &batch)
  }

  /// Which conversations a partition's state knows.
  private func known(_ store: ShardStore, _ partition: PartitionID, _ rooms: Int) throws -> [Int] {
    let reader = store.stateReader(of: partition)
    var chat = try ChatPartition(partition: partition, state: reader)
    return try (1...rooms).filter { number in
      let query = Query.summaries(reader: user(1), conversations: [room(number)])
      guard case .summaries(let found) = try chat.answer(query, state: reader) else { return false }
      return !found.isEmpty
    }
  }

  @Test func `both halves are found by the next process, each with its own`() throws {
    defer { try? FileManager.default.removeItem(atPath: directory) }
    try write { store, batch in
      try create(store, &batch, entries: 21)
      try store.cut(try cut(store, Self.whole, level: 1, rooms: 1...20), in: &batch)
    }
    let store = try ShardStore(try open())
    let found = try store.recovered()
    #expect(found.map(\.partition) == [Self.whole, Self.half])
    #expect(found.allSatisfy { $0.damage == nil && $0.replica.id == replica })
    #expect(found.allSatisfy { $0.generation == 4 && $0.replica.appliedIndex == LogIndex(21) })
    #expect(found[0].replica.promise == Epoch(7) && found[0].replica.base == .zero)
    let half = found[1].replica
    #expect(half.promise == Epoch(2), "it has promised nothing but what the entry is of")
    #expect(half.base == EntryID(epoch: Epoch(2), index: LogIndex(21)) && half.last == half.base)
    for partition in [Self.whole, Self.half] {
      #expect(
        try known(store, partition, 20) == (1...20).filter { self.partition($0) == partition })
      let frozen = try store.freezeState(of: partition)
      let page = try frozen.records(after: [], bytesMax: 1 << 20)
      #expect(frozen.appliedIndex == LogIndex(21) && page.isComplete)
    }
  }

  @Test func `a half is cut again where it lies`() throws {
    defer { try? FileManager.default.removeItem(atPath: directory) }
    try write { store, batch in
      try create(store, &batch, entries: 21)
      try store.cut(try cut(store, Self.whole, level: 1, rooms: 1...20), in: &batch)
    }
    try write { store, batch in
      // Its log goes on with one entry, the one that cuts it.
      store.add(
        ReplicaWrite(
          ticket: 1, promise: Epoch(8), truncatingFrom: nil,
          entries: [Entry(id: EntryID(epoch: Epoch(8), index: LogIndex(22)), payload: [1])]),
        of: Self.half, replica, to: &batch)
      let reader = store.stateReader(of: Self.half)
      var chat = try ChatPartition(partition: Self.half, state: reader)
      try apply(
        [.partitionSplit(PartitionSplit(level: 2, replicaLimit: 9))], &chat, reader)
      let quarter = Self.scheme.half(of: Self.half, level: 2)
      let upper = Self.scheme.range(of: quarter, level: 2)
      let halves = chat.beginSplit(upper: upper)
      try store.cut(
        ShardCut(
          partition: Self.half, replica: replica,
          through: EntryID(epoch: Epoch(8), index: LogIndex(22)), generation: 4,
          lower: halves.lower, lowerTokens: Self.scheme.range(of: Self.half, level: 2),
          halfPartition: quarter, half: replica, upper: halves.upper, upperTokens: upper),
        in: &batch)
    }
    let store = try ShardStore(try open())
    let quarter = Self.scheme.half(of: Self.half, level: 2)
    #expect(try store.recovered().map(\.partition) == [Self.whole, Self.half, quarter])
    for partition in [Self.half, quarter] {
      #expect(
        try known(store, partition, 20)
          == (1...20).filter { self.partition($0, level: 2) == partition })
    }
  }

  @Test func `one that goes takes nothing of the other along`() throws {
    for gone in [Self.whole, Self.half] {
      defer { try? FileManager.default.removeItem(atPath: directory) }
      try write { store, batch in
        try create(store, &batch, entries: 21)
        try store.cut(try cut(store, Self.whole, level: 1, rooms: 1...20), in: &batch)
      }
      try write { store, batch in store.forget(replica, of: gone, in: &batch) }
      let left = gone == Self.whole ? Self.half : Self.whole
      // The next start sweeps what that one did not.
      for _ in 0..<2 { try write { _, batch in batch.raiseRevision(to: 1) } }
      let store = try ShardStore(try open())
      #expect(try store.recovered().map(\.partition) == [left])
      #expect(try known(store, left, 20) == (1...20).filter { self.partition($0) == left })
      #expect(try store.recovered().allSatisfy { $0.damage == nil })
    }
  }

  @Test func `a store that makes no half deletes what would have been one`() throws {
    defer { try? FileManager.default.removeItem(atPath: directory) }
    try write { store, batch in
      try create(store, &batch, entries: 21)
      try store.cut(
        try cut(store, Self.whole, level: 1, rooms: 1...20, makesHalf: false), in: &batch)
    }
    let store = try ShardStore(try open())
    #expect(try store.recovered().map(\.partition) == [Self.whole])
    #expect(
      try known(store, Self.whole, 20) == (1...20).filter { partition($0) == Self.whole })
    // A half that comes later begins with nothing.
    _ = try store.createReplica(replica, of: Self.half, generation: 4, settingAside: false)
    #expect(try known(store, Self.half, 20).isEmpty)
  }

  @Test func `an older program opens no store that halves share`() throws {
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let store = try open()
    try store.prepare(for: ActiveVersion(ProtocolVersion.splits - 1))
    #expect(store.record.storageVersion == 2)
    try store.prepare(for: ActiveVersion(ProtocolVersion.splits))
    #expect(store.record.storageVersion == 3)
  }
}
