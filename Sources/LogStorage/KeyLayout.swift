import Primitives

/// The bytes of every key, and of a log entry's value. Numbers are big-endian, so that the order
/// of the bytes is the order of the numbers.
///
/// ```
/// family log
///   key    0        4                 12
///          | prefix | index           |
///   value  0         1        9         13
///          | version | epoch  | crc32c  | payload …
///          version = 1; crc32c covers epoch, index (of the key) and payload, in this order
///
/// family state
///   key    0        4
///          | prefix | key of the state machine, drawn by the module that makes it …
///   value  bytes of the state machine
///
/// family meta
///   key    0     1
///          | 00  |                        the store record
///          0     1           5
///          | 01  | partition |            a partition's meta
///   value  0         1        5
///          | version | crc32c | protobuf …
///          version = 1; crc32c covers the key and the protobuf bytes
/// ```
///
/// `prefix` is a store-local number, given once to every installed replica and never again, so
/// that the remains of a deleted replica can never be read as another's.
package enum KeyLayout {
  static let prefixBytes = 4
  static let logKeyBytes = 12
  static let logHeaderBytes = 13
  static let logValueVersion: UInt8 = 1
  static let recordHeaderBytes = 5
  static let recordVersion: UInt8 = 1

  static let storeRecordKey: [UInt8] = [0x00]
  private static let partitionTag: UInt8 = 0x01

  static func logKey(_ prefix: UInt32, _ index: LogIndex) -> [UInt8] {
    var key = prefixKey(prefix)
    key.reserveCapacity(logKeyBytes)
    withUnsafeBytes(of: index.rawValue.bigEndian) { key.append(contentsOf: $0) }
    return key
  }

  /// The first key, if it existed, of everything that lies under `prefix`.
  static func prefixKey(_ prefix: UInt32) -> [UInt8] {
    withUnsafeBytes(of: prefix.bigEndian) { Array($0) }
  }

  /// The least key after everything under `prefix`; `nil` when there is none.
  static func prefixEnd(_ prefix: UInt32) -> [UInt8]? {
    prefix == .max ? nil : prefixKey(prefix + 1)
  }

  /// The least byte string after everything that starts with `bytes`; `nil` when there is none.
  static func successor(ofPrefix bytes: [UInt8]) -> [UInt8]? {
    var end = bytes
    while let last = end.last {
      if last < 0xff {
        end[end.count - 1] = last + 1
        return end
      }
      end.removeLast()
    }
    return nil
  }

  static func stateKey(_ prefix: UInt32, _ key: [UInt8]) -> [UInt8] { prefixKey(prefix) + key }

  static func metaKey(_ partition: PartitionID) -> [UInt8] {
    [partitionTag] + withUnsafeBytes(of: partition.rawValue.bigEndian) { Array($0) }
  }

  static let metaKeysLower: [UInt8] = [partitionTag]
  static let metaKeysUpper: [UInt8] = [partitionTag + 1]

  static func partition(ofMetaKey key: UnsafeRawBufferPointer) -> PartitionID? {
    guard key.count == 5, key[0] == partitionTag else { return nil }
    return PartitionID(UInt32(bigEndian: key.loadUnaligned(fromByteOffset: 1, as: UInt32.self)))
  }

  static func prefix(ofKey key: UnsafeRawBufferPointer) -> UInt32? {
    guard key.count >= prefixBytes else { return nil }
    return UInt32(bigEndian: key.loadUnaligned(as: UInt32.self))
  }

  static func index(ofLogKey key: UnsafeRawBufferPointer) -> LogIndex? {
    guard key.count == logKeyBytes else { return nil }
    return LogIndex(UInt64(bigEndian: key.loadUnaligned(fromByteOffset: 4, as: UInt64.self)))
  }

  // MARK: Log values

  /// Writes the header of an entry's value to `target`, which has room for `logHeaderBytes`.
  static func writeLogHeader(
    to target: UnsafeMutableRawPointer, index: LogIndex, epoch: Epoch,
    payload: UnsafeRawBufferPointer
  ) {
    target.storeBytes(of: logValueVersion, as: UInt8.self)
    target.storeBytes(of: epoch.rawValue.bigEndian, toByteOffset: 1, as: UInt64.self)
    let checksum = logChecksum(index: index, epoch: epoch, payload: payload)
    target.storeBytes(of: checksum.bigEndian, toByteOffset: 9, as: UInt32.self)
  }

  static func logChecksum(
    index: LogIndex, epoch: Epoch, payload: UnsafeRawBufferPointer
  ) -> UInt32 {
    let place = (epoch.rawValue.bigEndian, index.rawValue.bigEndian)
    let seed = withUnsafeBytes(of: place) { CRC32C.checksum($0) }
    return CRC32C.checksum(payload, continuing: seed)
  }

  /// An entry's epoch and where its payload lies.
  ///
  /// **Throws**: `damaged` when the bytes are not those that were written for this key.
  static func readLogValue(
    _ value: UnsafeRawBufferPointer, prefix: UInt32, index: LogIndex
  ) throws(StorageError) -> (epoch: Epoch, payload: UnsafeRawBufferPointer) {
    guard value.count >= logHeaderBytes else {
      throw .damaged(Damage(.log(prefix: prefix, index: index), "\(value.count) bytes"))
    }
    guard value[0] == logValueVersion else {
      throw .damaged(Damage(.log(prefix: prefix, index: index), "unknown version \(value[0])"))
    }
    let epoch = Epoch(UInt64(bigEndian: value.loadUnaligned(fromByteOffset: 1, as: UInt64.self)))
    let stored = UInt32(bigEndian: value.loadUnaligned(fromByteOffset: 9, as: UInt32.self))
    let payload = UnsafeRawBufferPointer(rebasing: value[logHeaderBytes...])
    guard stored == logChecksum(index: index, epoch: epoch, payload: payload) else {
      throw .damaged(Damage(.log(prefix: prefix, index: index), "checksum does not match"))
    }
    return (epoch, payload)
  }

  // MARK: Meta values

  static func sealRecord(_ body: [UInt8], key: [UInt8]) -> [UInt8] {
    var value: [UInt8] = [recordVersion]
    value.reserveCapacity(recordHeaderBytes + body.count)
    let checksum = recordChecksum(key, body[...])
    withUnsafeBytes(of: checksum.bigEndian) { value.append(contentsOf: $0) }
    value.append(contentsOf: body)
    return value
  }

  /// **Throws**: `damaged` at `place` when version or checksum are wrong.
  static func openRecord(
    _ value: [UInt8], key: [UInt8], place: Damage.Place
  ) throws(StorageError) -> ArraySlice<UInt8> {
    guard value.count >= recordHeaderBytes else {
      throw .damaged(Damage(place, "\(value.count) bytes"))
    }
    guard value[0] == recordVersion else {
      throw .damaged(Damage(place, "unknown version \(value[0])"))
    }
    let stored = value[1..<5].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
    let body = value[recordHeaderBytes...]
    guard stored == recordChecksum(key, body) else {
      throw .damaged(Damage(place, "checksum does not match"))
    }
    return body
  }

  private static func recordChecksum(_ key: [UInt8], _ body: ArraySlice<UInt8>) -> UInt32 {
    let seed = CRC32C.checksum(key)
    return body.withUnsafeBytes { CRC32C.checksum($0, continuing: seed) }
  }
}
