import Primitives
import Testing

@testable import LogStorage

@Suite struct StoreReadingTests {
  private let directory = TestDirectory()

  /// Writes entries without a committer; `epochs[n]` is the epoch of index `first + n`.
  private func fill(
    _ store: Store, _ prefix: UInt32, first: UInt64 = 1, epochs: [UInt64]
  ) throws {
    let batch = WriteBatch()
    for (offset, value) in epochs.enumerated() {
      batch.putEntry(
        store.database.log(of: 1), prefix: prefix, index: LogIndex(first + UInt64(offset)),
        epoch: Epoch(value), payload: bytes("payload \(offset)"))
    }
    try store.database.write(batch, sync: false)
  }

  @Test func entriesAreBoundedByCountAndBytesAndStayWithinTheirPrefix() throws {
    let store = try directory.open()
    try fill(store, 1, epochs: [1, 1, 1])
    try fill(store, 2, epochs: [5, 5])
    #expect(try store.allEntries(1).map(\.index.rawValue) == [1, 2, 3])
    #expect(try store.entries(1, from: index(2), countMax: 1, bytesMax: .max).count == 1)
    #expect(try store.entries(1, from: index(1), countMax: 9, bytesMax: 18).count == 2)
    #expect(try store.entries(1, from: index(1), countMax: 9, bytesMax: 0).count == 1)
    #expect(try store.entries(1, from: index(4), countMax: 9, bytesMax: .max).isEmpty)
    let last = try store.lastEntry(2, firstIndex: index(1))
    #expect(last?.id == EntryID(epoch: epoch(5), index: index(2)))
    #expect(try store.lastEntry(3, firstIndex: index(1)) == nil)
  }

  @Test func aGapIsNeverSkipped() throws {
    let store = try directory.open()
    try fill(store, 1, epochs: [1, 1])
    try fill(store, 1, first: 4, epochs: [1])
    #expect(try store.allEntries(1).map(\.index.rawValue) == [1, 2])
    #expect(throws: StorageError.entryMissing(prefix: 1, index: index(3), found: index(4))) {
      try store.allEntries(1, from: 3)
    }
  }

  @Test func aFlippedBitInAValueIsDetectedAtReading() throws {
    let store = try directory.open()
    try fill(store, 1, epochs: [1, 1, 1])
    let key = KeyLayout.logKey(1, index(2))
    var value = try #require(try store.database.get(store.database.log(of: 1), key))
    value[value.count - 1] ^= 0x10
    let batch = WriteBatch()
    batch.put(store.database.log(of: 1), key, value)
    try store.database.write(batch, sync: false)

    let damage = Damage(.log(prefix: 1, index: index(2)), "checksum does not match")
    #expect(throws: StorageError.damaged(damage)) { try store.allEntries(1) }
    #expect(try store.allEntries(1, from: 3).count == 1)
    #expect(throws: StorageError.damaged(damage)) {
      try fill(store, 1, first: 3, epochs: [2])
      _ = try store.logExtent(1, firstIndex: index(1))
    }
  }

  @Test func epochStartsFoundByProbingEqualThoseOfAWalk() throws {
    let store = try directory.open()
    let seed = UInt64.random(in: 0 ... .max)
    print("seed \(seed)")
    var random = SeededRandom(seed: seed)
    for prefix in UInt32(1)...60 {
      let first = UInt64.random(in: 1...1000, using: &random)
      var value: UInt64 = 1
      var epochs: [UInt64] = []
      for _ in 0..<Int.random(in: 0...200, using: &random) {
        if Int.random(in: 0..<20, using: &random) == 0 {
          value += UInt64.random(in: 1...3, using: &random)
        }
        epochs.append(value)
      }
      try fill(store, prefix, first: first, epochs: epochs)
      var expected: [EntryID] = []
      for (offset, value) in epochs.enumerated() where expected.last?.epoch != Epoch(value) {
        expected.append(EntryID(epoch: Epoch(value), index: LogIndex(first + UInt64(offset))))
      }
      let extent = try store.logExtent(prefix, firstIndex: LogIndex(first))
      #expect(extent.epochStarts == expected)
      let last = epochs.isEmpty ? nil : LogIndex(first) + (epochs.count - 1)
      #expect(extent.last?.index == last)
    }
  }

  @Test func anEpochThatGoesDownIsDamage() throws {
    let store = try directory.open()
    try fill(store, 1, epochs: [4, 4, 3])
    #expect(throws: StorageError.self) { try store.logExtent(1, firstIndex: index(1)) }
  }

  @Test func aMissingFirstEntryIsDamage() throws {
    let store = try directory.open()
    try fill(store, 1, first: 5, epochs: [1, 1])
    let damage = Damage(.log(prefix: 1, index: index(4)), "the entry is missing")
    #expect(throws: StorageError.damaged(damage)) {
      try store.logExtent(1, firstIndex: index(4))
    }
  }

  @Test func aDamagedMetaIsReportedWithItsPartition() throws {
    let store = try directory.open()
    let key = KeyLayout.metaKey(PartitionID(6))
    var value = KeyLayout.sealRecord(makeMeta(prefix: 1).encoded(), key: key)
    value[6] ^= 1
    let batch = WriteBatch()
    batch.put(store.database.meta, key, value)
    try store.database.write(batch, sync: false)
    let damage = Damage(.meta(PartitionID(6)), "checksum does not match")
    #expect(throws: StorageError.damaged(damage)) { try store.partitions() }
    #expect(throws: StorageError.damaged(damage)) { try store.meta(of: PartitionID(6)) }
  }

  @Test func scansEqualThoseOfASortedArray() throws {
    let store = try directory.open()
    let seed = UInt64.random(in: 0 ... .max)
    print("seed \(seed)")
    var random = SeededRandom(seed: seed)
    var twin: [UInt32: [[UInt8]: [UInt8]]] = [:]
    for round in 0..<6 {
      let batch = WriteBatch()
      for _ in 0..<200 {
        let prefix = UInt32.random(in: 1...2, using: &random)
        let key = Self.randomKey(&random)
        let value = Bool.random(using: &random) ? [UInt8(round)] : nil
        batch.writeState(store.database.state(of: 1), prefix: prefix, key: key, value: value)
        twin[prefix, default: [:]][key] = value
      }
      try store.database.write(batch, sync: false)
      if round % 2 == 0 { try store.database.flush(store.database.state(of: 1)) }
    }
    for _ in 0..<600 {
      let prefix = UInt32.random(in: 1...2, using: &random)
      let range =
        Bool.random(using: &random)
        ? StateRange.startingWith(Self.randomKey(&random))
        : StateRange(from: Self.randomKey(&random), upTo: Self.randomKey(&random))
      let reversed = Bool.random(using: &random)
      let countMax = Int.random(in: 1...30, using: &random)
      let page = try store.scan(
        prefix, range, reversed: reversed, countMax: countMax, bytesMax: .max)
      var expected = (twin[prefix] ?? [:]).map { StateRecord(key: $0.key, value: $0.value) }
        .filter { record in
          !record.key.lexicographicallyPrecedes(range.lower)
            && range.upper.map { record.key.lexicographicallyPrecedes($0) } ?? true
        }
        .sorted { $0.key.lexicographicallyPrecedes($1.key) }
      if reversed { expected.reverse() }
      #expect(page.records == Array(expected.prefix(countMax)))
      #expect(page.isComplete == (expected.count <= countMax))
      let key = Self.randomKey(&random)
      #expect(try store.get(prefix, key) == twin[prefix]?[key])
    }
  }

  /// Short keys, and keys whose first eight bytes (an entity) are shared, with the awkward bytes.
  private static func randomKey(_ random: inout SeededRandom) -> [UInt8] {
    let bytes: [UInt8] = [0, 1, 0xff]
    let shared: [UInt8] = [7, 7, 7, 7, 7, 7, 7]
    let head = Int.random(in: 0..<4, using: &random) == 0 ? [] : shared
    let count = Int.random(in: 0...4, using: &random)
    return head + (0..<count).map { _ in bytes[Int.random(in: 0..<3, using: &random)] }
  }

  @Test func aPageEndsAtItsBytes() throws {
    let store = try directory.open()
    let batch = WriteBatch()
    for key in UInt8(1)...5 {
      batch.writeState(
        store.database.state(of: 1), prefix: 1, key: [key], value: [UInt8](repeating: 0, count: 95))
    }
    try store.database.write(batch, sync: false)
    let page = try store.scan(1, StateRange(), countMax: .max, bytesMax: 250)
    #expect(page.records.map(\.key) == [[1], [2]])
    #expect(!page.isComplete)
    let rest = try store.scan(1, StateRange(from: [2, 0]), countMax: .max, bytesMax: 1000)
    #expect(rest.records.map(\.key) == [[3], [4], [5]])
    #expect(rest.isComplete)
  }

  @Test func aSnapshotDoesNotSeeLaterWrites() throws {
    let store = try directory.open()
    let first = WriteBatch()
    first.writeState(store.database.state(of: 1), prefix: 1, key: [1], value: [1])
    try store.database.write(first, sync: false)
    let snapshot = store.snapshot()
    let second = WriteBatch()
    second.writeState(store.database.state(of: 1), prefix: 1, key: [1], value: [2])
    second.writeState(store.database.state(of: 1), prefix: 1, key: [2], value: [2])
    try store.database.write(second, sync: false)
    #expect(try store.get(1, [1], at: snapshot) == [1])
    #expect(
      try store.scan(1, StateRange(), countMax: 9, bytesMax: 999, at: snapshot).records.count == 1)
    #expect(try store.get(1, [1]) == [2])
  }

  @Test func orphansArePrefixesWithoutAMeta() throws {
    let store = try directory.open()
    try fill(store, 1, epochs: [1])
    try fill(store, 8, epochs: [1, 1])
    let key = KeyLayout.metaKey(PartitionID(0))
    let batch = WriteBatch()
    batch.put(
      store.database.meta, key, KeyLayout.sealRecord(makeMeta(prefix: 1).encoded(), key: key))
    batch.writeState(store.database.state(of: 1), prefix: .max, key: [1], value: [])
    try store.database.write(batch, sync: false)
    #expect(try store.orphanPrefixes() == [8, .max])
  }
}
