package import Primitives

/// A part of a partition's state, in the order of its keys.
package struct SnapshotChunk: Equatable, Sendable {
  /// Of the snapshot, within the leadership that made it.
  package let number: UInt64
  /// The key that the chunk follows: what was asked for.
  package let after: [UInt8]
  /// The last key in it; what to go on after.
  package let through: [UInt8]
  /// Encoded `StateRecords`. At least one, unless it is the only chunk.
  package let records: [UInt8]
  /// CRC-32C of `records`, made where they were read.
  package let checksum: UInt32
  /// Nothing follows.
  package let isLast: Bool

  package init(
    number: UInt64, after: [UInt8], through: [UInt8], records: [UInt8], checksum: UInt32,
    isLast: Bool
  ) {
    self.number = number
    self.after = after
    self.through = through
    self.records = records
    self.checksum = checksum
    self.isLast = isLast
  }

  /// Whether the records are those that were read.
  package var isIntact: Bool { CRC32C.checksum(records) == checksum }
}

/// Records of a partition's state as they travel and are put aside.
///
/// **Shape**: `martlet.v1.StateRecords`: repeated field 1, each with `key` 1 and `value` 2.
package struct StateRecords: Sendable {
  package private(set) var bytes: [UInt8] = []
  /// Of the last record that was added.
  package private(set) var lastKey: [UInt8] = []
  package private(set) var count = 0
  private var writer = ProtobufWriter()

  package init() {}

  package mutating func add(key: [UInt8], value: [UInt8]) {
    writer.removeAll()
    writer.element(1, key)
    writer.element(2, value)
    var record = ProtobufWriter(reservingBytes: writer.bytes.count + 8)
    record.element(1, writer.bytes)
    bytes += record.bytes
    lastKey = key
    count += 1
  }

  /// What `bytes` holds. **Throws**: `ProtobufError` when they are no records.
  package static func decode(
    _ bytes: [UInt8]
  ) throws(ProtobufError) -> [(key: [UInt8], value: [UInt8])] {
    var records: [(key: [UInt8], value: [UInt8])] = []
    var reader = ProtobufReader(bytes)
    while let field = try reader.next() {
      guard field.number == 1 else { continue }
      var record: (key: [UInt8], value: [UInt8]) = ([], [])
      var fields = try field.reader()
      while let part = try fields.next() {
        switch part.number {
        case 1: record.key = Array(try part.bytes())
        case 2: record.value = Array(try part.bytes())
        default: break
        }
      }
      records.append(record)
    }
    return records
  }
}
