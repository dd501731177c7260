import CRocksDB
import Primitives

/// What is written at once, in the order of the calls.
///
/// **Isolation**: one thread.
final class WriteBatch {
  /// A larger batch's memory is given back instead of kept for the next one.
  private static let keptBytesMax = 8 << 20

  private(set) var pointer: OpaquePointer
  private var scratch: UnsafeMutableRawBufferPointer

  init() {
    pointer = rocksdb_writebatch_create()
    scratch = .allocate(byteCount: 4096, alignment: 16)
  }

  deinit {
    rocksdb_writebatch_destroy(pointer)
    scratch.deallocate()
  }

  /// How many keys it puts or deletes.
  var count: Int { Int(rocksdb_writebatch_count(pointer)) }

  /// **Units**: bytes of the batch as it will stand in the WAL.
  var bytes: Int {
    var size = 0
    _ = rocksdb_writebatch_data(pointer, &size)
    return size
  }

  func removeAll() {
    if bytes > Self.keptBytesMax {
      rocksdb_writebatch_destroy(pointer)
      pointer = rocksdb_writebatch_create()
      scratch.deallocate()
      scratch = .allocate(byteCount: 4096, alignment: 16)
    } else {
      rocksdb_writebatch_clear(pointer)
    }
  }

  private func reserve(_ byteCount: Int) {
    guard scratch.count < byteCount else { return }
    scratch.deallocate()
    scratch = .allocate(byteCount: max(byteCount, 2 * scratch.count), alignment: 16)
  }

  func put(_ family: ColumnFamily, _ key: [UInt8], _ value: [UInt8]) {
    key.withUnsafeBytes { key in value.withUnsafeBytes { value in put(family, key, value) } }
  }

  func delete(_ family: ColumnFamily, _ key: [UInt8]) {
    key.withUnsafeBytes { delete(family, $0) }
  }

  func put(
    _ family: ColumnFamily, _ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer
  ) {
    rocksdb_writebatch_put_cf(
      pointer, family.pointer, key.characters, key.count, value.characters, value.count)
  }

  func delete(_ family: ColumnFamily, _ key: UnsafeRawBufferPointer) {
    rocksdb_writebatch_delete_cf(pointer, family.pointer, key.characters, key.count)
  }

  /// Key and value are put together in one reused buffer: `putv` allocates two arrays for each
  /// call.
  func putEntry(
    _ family: ColumnFamily, prefix: UInt32, index: LogIndex, epoch: Epoch, payload: [UInt8]
  ) {
    let headerEnd = KeyLayout.logKeyBytes + KeyLayout.logHeaderBytes
    let end = headerEnd + payload.count
    reserve(end)
    writeLogKey(prefix, index)
    payload.withUnsafeBytes { payload in
      if payload.count > 0 {
        UnsafeMutableRawBufferPointer(rebasing: scratch[headerEnd..<end]).copyMemory(from: payload)
      }
      if let base = scratch.baseAddress {
        KeyLayout.writeLogHeader(
          to: base + KeyLayout.logKeyBytes, index: index, epoch: epoch, payload: payload)
      }
    }
    let bytes = UnsafeRawBufferPointer(scratch)
    put(
      family, UnsafeRawBufferPointer(rebasing: bytes[..<KeyLayout.logKeyBytes]),
      UnsafeRawBufferPointer(rebasing: bytes[KeyLayout.logKeyBytes..<end]))
  }

  func deleteEntry(_ family: ColumnFamily, prefix: UInt32, index: LogIndex) {
    writeLogKey(prefix, index)
    delete(
      family,
      UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(scratch)[..<KeyLayout.logKeyBytes]))
  }

  private func writeLogKey(_ prefix: UInt32, _ index: LogIndex) {
    scratch.storeBytes(of: prefix.bigEndian, as: UInt32.self)
    scratch.storeBytes(of: index.rawValue.bigEndian, toByteOffset: 4, as: UInt64.self)
  }

  /// Puts a value under `prefix` and `key`, or deletes it when `value` is `nil`.
  func writeState(
    _ family: ColumnFamily, prefix: UInt32, key: [UInt8], value: [UInt8]?
  ) {
    let end = KeyLayout.prefixBytes + key.count
    reserve(end)
    scratch.storeBytes(of: prefix.bigEndian, as: UInt32.self)
    key.withUnsafeBytes {
      guard $0.count > 0 else { return }
      UnsafeMutableRawBufferPointer(rebasing: scratch[KeyLayout.prefixBytes..<end])
        .copyMemory(from: $0)
    }
    let full = UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(scratch)[..<end])
    if let value {
      value.withUnsafeBytes { put(family, full, $0) }
    } else {
      delete(family, full)
    }
  }
}
