@testable import Coordination
import Foundation
import NIOCore
import NIOEmbedded
import NIOPosix
import Primitives
import Testing

/// The embedded service's storage, restarts and time.
@Suite(.timeLimit(.minutes(1)))
struct EmbeddedServiceTests {
  private func service(
    _ storage: any DurableKeyValue, id: UInt64 = 7, known: CoordinationPosition? = nil
  ) throws -> EmbeddedService {
    try EmbeddedService(
      storage: storage, newServiceID: id, known: known,
      eventLoop: MultiThreadedEventLoopGroup.singleton.next())
  }

  @Test func `A restart keeps keys, revisions and identity`() async throws {
    let path = FileManager.default.temporaryDirectory
      .appendingPathComponent("martlet-embedded-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: path) }
    var revision = Revision.zero
    do {
      let coordinator = EmbeddedCoordinator(service: try service(FileStorage(path: path), id: 5))
      try await coordinator.put("a", [1])
      try await coordinator.put("b", [2])
      revision = try await coordinator.delete("a").revision
      await coordinator.shutDown()
    }
    let again = EmbeddedCoordinator(service: try service(FileStorage(path: path), id: 6))
    let listing = try await again.list("b")
    #expect(listing.position == CoordinationPosition(serviceID: 5, revision: revision))
    let stored = KeyValue(
      key: "b", value: [2], modRevision: Revision(revision.rawValue - 1), lease: nil)
    #expect(listing.items == [stored])
    #expect(try await again.get("a").item == nil)
    #expect(try await again.put("c", []).rawValue == revision.rawValue + 1)
    // History does not outlive the process.
    let past = try await again.watch("b", after: Revision(revision.rawValue - 1))
    #expect(try await past.take { _ in false } == [.compacted(at: revision)])
    let present = try await again.watch("c", after: revision)
    #expect(try await present.changes(1).compactMap(\.changedKey) == ["c"])
  }

  @Test func `Storage older than what was seen is refused`() async throws {
    let storage = MemoryStorage()
    let coordinator = EmbeddedCoordinator(service: try service(storage))
    try await coordinator.put("a", [1])
    let seen = try #require(coordinator.position)
    _ = try service(storage, known: seen)
    let ahead = CoordinationPosition(
      serviceID: seen.serviceID, revision: Revision(seen.revision.rawValue + 1))
    #expect(throws: CoordinationError.wentBackInTime(known: ahead, found: seen)) {
      try service(storage, known: ahead)
    }
    let other = CoordinationPosition(serviceID: 99, revision: seen.revision)
    #expect(throws: CoordinationError.wentBackInTime(known: other, found: seen)) {
      try service(storage, known: other)
    }
  }

  @Test func `After a restart a lease has its full time, and goes when nobody renews it`()
    async throws
  {
    let storage = MemoryStorage()
    let first = EmbeddedCoordinator(service: try service(storage))
    let abandoned = try await first.grantLease(ttlSeconds: 10)
    let resumed = try await first.grantLease(ttlSeconds: 10)
    try await first.put("l/abandoned", [1], lease: abandoned.id)
    try await first.put("l/resumed", [1], lease: resumed.id)
    await first.shutDown()

    let loop = NIOAsyncTestingEventLoop()
    let restarted = try EmbeddedService(storage: storage, newServiceID: 9, eventLoop: loop)
    let coordinator = EmbeddedCoordinator(service: restarted)
    func keys() async throws -> [String] {
      async let listing = coordinator.list("l/")
      await pump(loop)
      return try await listing.items.map(\.key)
    }
    await loop.advanceTime(by: .milliseconds(9_000))
    #expect(try await keys() == ["l/abandoned", "l/resumed"])
    async let taken = coordinator.resumeLease(resumed.id)
    await pump(loop)
    let lease = try await taken
    await loop.advanceTime(by: .milliseconds(999))
    #expect(try await keys() == ["l/abandoned", "l/resumed"])
    await loop.advanceTime(by: .milliseconds(1))
    #expect(try await keys() == ["l/resumed"])
    for _ in 0..<60 { await loop.advanceTime(by: .seconds(1)) }
    #expect(try await keys() == ["l/resumed"])
    #expect(lease.isAlive(at: Instant(nanoseconds: loop.now.uptimeNanoseconds)))
    // The lease is gone from the storage too.
    let items = try storage.load()
    #expect(items.count(where: { $0.key.first == UInt8(ascii: "l") }) == 1)
    await coordinator.shutDownPumping(loop)
  }

  /// Runs the loop's tasks until what this test's task has started has had its turn.
  private func pump(_ loop: NIOAsyncTestingEventLoop) async {
    for _ in 0..<50 {
      await Task.yield()
      await loop.run()
      try? await Task.sleep(for: .microseconds(100))
    }
  }

  @Test func `A renewal period passes many times within a lease's life`() async throws {
    let loop = NIOAsyncTestingEventLoop()
    let service = try EmbeddedService(
      storage: MemoryStorage(), newServiceID: 9, eventLoop: loop)
    let coordinator = EmbeddedCoordinator(service: service)
    async let granted = coordinator.grantLease(ttlSeconds: 3)
    await pump(loop)
    let lease = try await granted
    #expect(lease.state == .alive(until: Instant(nanoseconds: 3_000_000_000)))
    await loop.advanceTime(by: .milliseconds(999))
    #expect(lease.state == .alive(until: Instant(nanoseconds: 3_000_000_000)))
    await loop.advanceTime(by: .milliseconds(1))
    #expect(lease.state == .alive(until: Instant(nanoseconds: 4_000_000_000)))
    await coordinator.shutDownPumping(loop)
    await loop.advanceTime(by: .seconds(10))
    #expect(lease.state == .alive(until: Instant(nanoseconds: 4_000_000_000)))
  }

  @Test func `A write that fails stops the service and shows nothing of itself`() async throws {
    let storage = MemoryStorage()
    let coordinator = EmbeddedCoordinator(service: try service(storage))
    try await coordinator.put("a", [1])
    let stream = try await coordinator.watch("a", after: nil)
    storage.failFromNowOn()
    await expectStorageFailed { try await coordinator.put("a", [2]) }
    await expectStorageFailed { _ = try await coordinator.get("a") }
    await expectStorageFailed { _ = try await coordinator.grantLease(ttlSeconds: 5) }
    await expectStorageFailed { _ = try await stream.changes(1) }
    let again = EmbeddedCoordinator(service: try service(MemoryStorage(try storage.load())))
    #expect(try await again.value("a") == [1])
  }

  private func expectStorageFailed(_ body: () async throws -> Void) async {
    var isStorageFailed = false
    do { try await body() } catch {
      if case .storageFailed? = error as? CoordinationError { isStorageFailed = true }
    }
    #expect(isStorageFailed)
  }

  @Test func `Transactions of one turn share a write`() async throws {
    let storage = MemoryStorage()
    let coordinator = EmbeddedCoordinator(service: try service(storage))
    try await coordinator.put("a", [])
    let before = storage.writeCount
    try await withThrowingTaskGroup(of: Void.self) { group in
      for index in 0..<2_000 {
        group.addTask { try await coordinator.put("k\(index % 10)", [UInt8(index % 256)]) }
      }
      try await group.waitForAll()
    }
    #expect(storage.writeCount - before < 2_000)
    #expect(try await coordinator.get("a").position.revision.rawValue == 2_002)
  }

  @Test func `Damaged storage is an error, at every byte`() async throws {
    let storage = MemoryStorage()
    let coordinator = EmbeddedCoordinator(service: try service(storage))
    let lease = try await coordinator.grantLease(ttlSeconds: 5)
    try await coordinator.put("key", [1, 2, 3], lease: lease.id)
    try await coordinator.put("key2", [])
    await coordinator.shutDown()
    let good = try storage.load()
    var refused = 0
    for index in good.indices {
      for cut in 0..<good[index].value.count {
        var items = good
        items[index].value = Array(good[index].value.prefix(cut))
        do { _ = try service(MemoryStorage(items)) } catch CoordinationError.storageFailed {
          refused += 1
        }
      }
      var renamed = good
      renamed[index].key[0] = UInt8(ascii: "x")
      #expect(throws: CoordinationError.self) { try service(MemoryStorage(renamed)) }
    }
    // Every cut but those between two fields of no consequence.
    #expect(refused > 20)
    #expect(throws: CoordinationError.self) {
      try service(MemoryStorage(good.filter { $0.key != EmbeddedCoding.metaKey }))
    }
  }
}

extension EmbeddedCoordinator {
  /// Shuts down although nothing runs the loop by itself.
  fileprivate func shutDownPumping(_ loop: NIOAsyncTestingEventLoop) async {
    async let done: Void = shutDown()
    for _ in 0..<20 {
      await Task.yield()
      await loop.run()
      try? await Task.sleep(for: .microseconds(100))
    }
    await done
  }
}
