import Foundation
import Primitives
import Testing

@testable import LogStorage

/// What is installed after damage was found has nothing to do with what is damaged.
@Suite struct DamagedNeighbourTests {
  private let directory = TestDirectory()
  private let everything = StateRange()

  /// A store whose only table file of states has a bad bit in every block.
  private func damaged() throws -> (store: Store, prefix: UInt32) {
    let prefix: UInt32
    do {
      let store = try directory.open()
      prefix = try store.reservePrefix()
      let committer = try Committer(store: store)
      var batch = StorageBatch(needsSync: true)
      for number in 0..<200 {
        let value = (0..<1_000).map { _ in UInt8.random(in: 0...255) }
        batch.setState(prefix, [UInt8(number)], value)
      }
      #expect(committer.commit(batch) == nil)
      committer.stop()
      try store.database.flush(store.database.state(of: prefix))
    }
    let table = try #require(try directory.files(withSuffix: ".sst").last)
    let file = try #require(FileHandle(forUpdatingAtPath: table))
    // As far as the blocks of records reach.
    for offset in stride(from: UInt64(700), to: 202_000, by: 4_096) {
      try file.seek(toOffset: offset)
      let byte = try #require(try file.read(upToCount: 1)?.first)
      try file.seek(toOffset: offset)
      try file.write(contentsOf: Data([byte ^ 0x10]))
    }
    try file.close()
    return (try directory.open(), prefix)
  }

  private func last(_ store: Store, _ prefix: UInt32) throws(StorageError) -> [StateRecord] {
    try store.scan(prefix, everything, reversed: true, countMax: 1, bytesMax: 1 << 20).records
  }

  @Test func `a prefix beside a damaged one is read back to front through the damage`() throws {
    let (store, prefix) = try damaged()
    #expect(throws: StorageError.self) { try last(store, prefix) }
    let neighbour = try store.reservePrefix()
    #expect(throws: StorageError.self, "else nothing below says anything") {
      try last(store, neighbour)
    }
  }

  @Test func `once it is known, what is installed lies apart`() throws {
    let (store, prefix) = try damaged()
    #expect(throws: StorageError.self) { try last(store, prefix) }
    store.markDamaged()
    store.markDamaged()
    let later = try store.reservePrefix()
    #expect(try last(store, later).isEmpty)
    let committer = try Committer(store: store)
    var batch = appends(later, 1...20)
    batch.setMeta(of: PartitionID(4), makeMeta(prefix: later, promise: 1))
    batch.setState(later, [7], [1])
    #expect(committer.commit(batch) == nil)
    for family in store.database.logs + store.database.states {
      try store.database.flush(family)
    }
    #expect(try last(store, later).map(\.value) == [[1]])
    #expect(try store.allEntries(later).count == 20)
    #expect(try store.approximateBytes(later) > 0)
    #expect(throws: StorageError.self, "the damage is where it was") { try last(store, prefix) }

    // A snapshot is taken in there, too, and dropped again.
    let imported = StateImport(store: store)
    try imported.begin()
    let other = imported.prefix
    try imported.write([(key: [1], value: [2])])
    try imported.finish()
    #expect(try last(store, other).map(\.value) == [[2]])
    var drop = StorageBatch(needsSync: true)
    drop.dropPrefix(other)
    #expect(committer.commit(drop) == nil)
    committer.stop()
  }

  @Test func `it is not backed up`() throws {
    let (store, _) = try damaged()
    let copies = TestDirectory()
    store.markDamaged()
    let error = #expect(throws: StorageError.self) {
      try BackupDirectory(copies.path).add(store)
    }
    #expect(error.map { "\($0)" }?.contains("when it is restarted") == true)
  }

  @Test func `the next start does not open it`() throws {
    do {
      let (store, _) = try damaged()
      store.markDamaged()
    }
    let error = #expect(throws: StorageError.self) { try directory.open() }
    guard case .damaged? = error else {
      Issue.record("\(String(describing: error))")
      return
    }
  }
}
