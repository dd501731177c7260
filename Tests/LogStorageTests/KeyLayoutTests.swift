import Primitives
import Testing

@testable import LogStorage

@Suite struct KeyLayoutTests {
  private func logValue(_ payload: [UInt8], index: UInt64, epoch: UInt64) -> [UInt8] {
    var value = [UInt8](repeating: 0, count: KeyLayout.logHeaderBytes)
    value.withUnsafeMutableBytes { value in
      payload.withUnsafeBytes { payload in
        guard let base = value.baseAddress else { return }
        KeyLayout.writeLogHeader(
          to: base, index: LogIndex(index), epoch: Epoch(epoch), payload: payload)
      }
    }
    return value + payload
  }

  private func read(_ value: [UInt8], index: UInt64) throws(StorageError) -> ([UInt8], Epoch) {
    let result = value.withUnsafeBytes { value -> Result<([UInt8], Epoch), StorageError> in
      do throws(StorageError) {
        let (epoch, payload) = try KeyLayout.readLogValue(value, prefix: 9, index: LogIndex(index))
        return .success((Array(payload), epoch))
      } catch { return .failure(error) }
    }
    return try result.get()
  }

  @Test func keysAreBigEndian() {
    #expect(
      KeyLayout.logKey(0x0102_0304, LogIndex(0x05)) == [1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 5])
    #expect(KeyLayout.metaKey(PartitionID(258)) == [1, 0, 0, 1, 2])
    #expect(KeyLayout.stateKey(1, [0xaa]) == [0, 0, 0, 1, 0xaa])
    #expect(KeyLayout.prefixEnd(255) == [0, 0, 1, 0])
    #expect(KeyLayout.prefixEnd(.max) == nil)
    #expect(KeyLayout.successor(ofPrefix: [1, 0xff, 0xff]) == [2])
    #expect(KeyLayout.successor(ofPrefix: [0xff]) == nil)
  }

  @Test func anEntryValueHasTheDrawnBytes() {
    let value = logValue([0xca, 0xfe], index: 7, epoch: 3)
    let covered: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 7, 0xca, 0xfe]
    let checksum = withUnsafeBytes(of: CRC32C.checksum(covered).bigEndian) { Array($0) }
    #expect(value == [1, 0, 0, 0, 0, 0, 0, 0, 3] + checksum + [0xca, 0xfe])
  }

  @Test func everyFlippedBitAndEveryMissingByteOfAnEntryIsDetected() throws {
    let value = logValue(bytes("hello"), index: 7, epoch: 3)
    #expect(try read(value, index: 7).0 == bytes("hello"))
    #expect(try read(value, index: 7).1 == epoch(3))
    for bit in 0..<(8 * value.count) {
      var flipped = value
      flipped[bit / 8] ^= 1 << UInt8(bit % 8)
      #expect(throws: StorageError.self) { try read(flipped, index: 7) }
    }
    for count in 0..<value.count {
      #expect(throws: StorageError.self) { try read(Array(value.prefix(count)), index: 7) }
    }
    #expect(throws: StorageError.self) { try read(value, index: 8) }
  }

  @Test func everyFlippedBitAndEveryMissingByteOfARecordIsDetected() throws {
    let meta = makeMeta(prefix: 12, promise: 300, firstIndex: 5, appliedIndex: 9)
    let key = KeyLayout.metaKey(PartitionID(4))
    let place = Damage.Place.meta(PartitionID(4))
    let value = KeyLayout.sealRecord(meta.encoded(), key: key)
    let body = try KeyLayout.openRecord(value, key: key, place: place)
    #expect(try PartitionMeta(decoding: body) == meta)
    for bit in 0..<(8 * value.count) {
      var flipped = value
      flipped[bit / 8] ^= 1 << UInt8(bit % 8)
      #expect(throws: StorageError.self) {
        try KeyLayout.openRecord(flipped, key: key, place: place)
      }
    }
    for count in 0..<value.count {
      #expect(throws: StorageError.self) {
        try KeyLayout.openRecord(Array(value.prefix(count)), key: key, place: place)
      }
    }
    #expect(throws: StorageError.self) {
      try KeyLayout.openRecord(value, key: KeyLayout.metaKey(PartitionID(5)), place: place)
    }
  }

  @Test func recordsSurviveEncoding() throws {
    let meta = PartitionMeta(
      replica: ReplicaID(store: StoreID(.max), number: .max), prefix: .max, promise: epoch(.max),
      firstIndex: index(2), snapshotIndex: index(1), snapshotEpoch: epoch(8),
      appliedIndex: index(.max), commitIndex: index(77), rollingHash: 0xdead_beef, generation: 5)
    #expect(try PartitionMeta(decoding: meta.encoded()[...]) == meta)
    let record = StoreRecord(
      store: StoreID(9), clusterID: UInt128(1) << 100, nodeName: "shard-ä", highestRevision: -1,
      nextPrefix: 513)
    #expect(try StoreRecord(decoding: record.encoded()[...]) == record)
  }
}
