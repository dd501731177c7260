/// CRC-32C (Castagnoli), table-driven, eight bytes a step: the checksum of every log entry.
///
/// **Source**: RFC 3720, appendix B.4 (polynomial 0x1EDC6F41, reflected 0x82F63B78).
package enum CRC32C {
  private static let tables: [[UInt32]] = {
    var tables = [[UInt32]](repeating: [UInt32](repeating: 0, count: 256), count: 8)
    for byte in 0..<256 {
      var value = UInt32(byte)
      for _ in 0..<8 { value = value & 1 == 1 ? value >> 1 ^ 0x82f6_3b78 : value >> 1 }
      tables[0][byte] = value
    }
    for byte in 0..<256 {
      for slice in 1..<8 {
        let previous = tables[slice - 1][byte]
        tables[slice][byte] = tables[0][Int(previous & 0xff)] ^ previous >> 8
      }
    }
    return tables
  }()

  /// **Units**: bytes.
  package static let size = 4

  private static let flat: [UInt32] = tables.flatMap { $0 }

  /// Of all the bytes.
  package static func checksum(_ bytes: [UInt8]) -> UInt32 {
    bytes.withUnsafeBytes { checksum($0) }
  }

  /// Of the bytes, as if they followed those of which `seed` is the checksum.
  package static func checksum(_ bytes: UnsafeRawBufferPointer, continuing seed: UInt32 = 0)
    -> UInt32
  {
    var value = ~seed
    flat.withUnsafeBufferPointer { table in
      var offset = 0
      while offset + 8 <= bytes.count {
        let word =
          UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
          ^ UInt64(value)
        value =
          table[7 * 256 + Int(word & 0xff)] ^ table[6 * 256 + Int(word >> 8 & 0xff)]
          ^ table[5 * 256 + Int(word >> 16 & 0xff)] ^ table[4 * 256 + Int(word >> 24 & 0xff)]
          ^ table[3 * 256 + Int(word >> 32 & 0xff)] ^ table[2 * 256 + Int(word >> 40 & 0xff)]
          ^ table[1 * 256 + Int(word >> 48 & 0xff)] ^ table[Int(word >> 56)]
        offset += 8
      }
      while offset < bytes.count {
        value = table[Int((value ^ UInt32(bytes[offset])) & 0xff)] ^ value >> 8
        offset += 1
      }
    }
    return ~value
  }

  /// The bytes with their checksum at the end, big-endian: for files that are written whole.
  package static func sealing(_ bytes: [UInt8]) -> [UInt8] {
    bytes + withUnsafeBytes(of: checksum(bytes).bigEndian) { Array($0) }
  }

  /// What `sealing` was given; `nil` when it was nothing, or was changed since.
  package static func opening(_ bytes: [UInt8]) -> [UInt8]? {
    guard bytes.count > size else { return nil }
    let body = Array(bytes.dropLast(size))
    let sum = bytes.suffix(size).reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
    return checksum(body) == sum ? body : nil
  }
}
