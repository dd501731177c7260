package import ClientProtocol
import Primitives

/// Cursors as clients keep them: text without a meaning to them.
///
/// **Shape**: base64url (RFC 4648, section 5) without padding, of `martlet.v1.Cursor`. Five to
/// eight bytes a partition as long as its log is shorter than 2^35 entries: a cursor of 1,500
/// partitions fits.
package enum CursorCodec {
  /// A longer text is refused: a cursor travels in a header, too.
  package static let textBytesMax = 16_384
  private static let version: UInt32 = 1

  /// **Invariant**: `positions` ascend by partition; anything else is a bug of the caller.
  package static func encode(_ cursor: Cursor) -> String {
    var steps = ProtobufWriter(reservingBytes: cursor.positions.count * 2)
    var generations = ProtobufWriter(reservingBytes: cursor.positions.count)
    var indexes = ProtobufWriter(reservingBytes: cursor.positions.count * 5)
    var next: UInt64 = 0
    for position in cursor.positions {
      let place = UInt64(position.partition.rawValue) + 1
      precondition(place > next, "cursor positions out of order at \(position.partition)")
      steps.varint(place - next)
      generations.varint(UInt64(position.generation))
      indexes.varint(position.index.rawValue)
      next = place
    }
    var writer = ProtobufWriter(
      reservingBytes: 48 + steps.bytes.count + generations.bytes.count + indexes.bytes.count)
    writer.uint(1, version)
    writer.message(2) {
      $0.uint(1, cursor.user.partition.rawValue)
      $0.uint(2, cursor.user.generation)
      $0.uint(3, cursor.user.index.rawValue)
    }
    writer.data(3, steps.bytes)
    writer.data(4, generations.bytes)
    writer.data(5, indexes.bytes)
    return Base64URL.encode(writer.bytes)
  }

  /// **Returns**: `nil` for a text that `encode` does not make: another alphabet, padding, another
  /// version, columns of different lengths, more than `textBytesMax`.
  package static func decode(_ text: String) -> Cursor? { decode(Array(text.utf8)[...]) }

  /// **Returns**: `nil` for anything that `encode` would not have made.
  package static func decode(_ text: ArraySlice<UInt8>) -> Cursor? {
    guard text.count <= textBytesMax, let bytes = Base64URL.decode(text) else { return nil }
    return try? Cursor(decoding: bytes)
  }
}

extension Cursor {
  fileprivate init(decoding bytes: [UInt8]) throws(ProtobufError) {
    var reader = ProtobufReader(bytes)
    var version: UInt32 = 0
    var user: Position?
    var steps: [UInt64] = []
    var generations: [UInt64] = []
    var indexes: [UInt64] = []
    while let field = try reader.next() {
      switch field.number {
      case 1: version = try field.uint32()
      case 2: user = try Position(decoding: try field.reader())
      case 3: try steps.appendPacked(field)
      case 4: try generations.appendPacked(field)
      case 5: try indexes.appendPacked(field)
      default: throw .unknownVariant
      }
    }
    guard version == 1 else { throw .outOfRange(field: 1) }
    guard let user else { throw .missingField(2) }
    guard steps.count == generations.count, steps.count == indexes.count else {
      throw .wrongLength(field: 3)
    }
    var positions: [Position] = []
    positions.reserveCapacity(steps.count)
    var place: UInt64 = 0
    for row in steps.indices {
      let (sum, overflow) = place.addingReportingOverflow(steps[row])
      guard !overflow, steps[row] > 0, let partition = UInt32(exactly: sum - 1) else {
        throw .outOfRange(field: 3)
      }
      guard let generation = UInt32(exactly: generations[row]) else { throw .outOfRange(field: 4) }
      positions.append(
        Position(
          partition: PartitionID(partition), generation: generation, index: LogIndex(indexes[row])))
      place = sum
    }
    self.init(user: user, positions: positions)
  }
}

extension Cursor.Position {
  fileprivate init(decoding reader: ProtobufReader) throws(ProtobufError) {
    var reader = reader
    self.init(partition: PartitionID(0), generation: 0, index: .zero)
    while let field = try reader.next() {
      switch field.number {
      case 1: partition = PartitionID(try field.uint32())
      case 2: generation = try field.uint32()
      case 3: index = LogIndex(try field.uint64())
      default: throw .unknownVariant
      }
    }
  }
}

extension [UInt64] {
  /// Appends the varints of a packed field.
  fileprivate mutating func appendPacked(_ field: ProtobufReader.Field) throws(ProtobufError) {
    var value: UInt64 = 0
    var shift: UInt64 = 0
    for byte in try field.bytes() {
      guard shift < 63 || (shift == 63 && byte <= 1) else { throw .varintTooLong }
      value |= UInt64(byte & 0x7f) << shift
      if byte < 0x80 {
        append(value)
        (value, shift) = (0, 0)
      } else {
        shift += 7
      }
    }
    guard shift == 0 else { throw .truncated }
  }
}

/// **Source**: RFC 4648, section 5, without padding.
enum Base64URL {
  private static let alphabet = Array(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)

  static func encode(_ bytes: [UInt8]) -> String {
    let characterCount = (bytes.count * 4 + 2) / 3
    let alphabet = Self.alphabet
    return String(unsafeUninitializedCapacity: characterCount) { output in
      var bits: UInt32 = 0
      var bitCount = 0
      var position = 0
      for byte in bytes {
        bits = bits << 8 | UInt32(byte)
        bitCount += 8
        while bitCount >= 6 {
          bitCount -= 6
          output[position] = alphabet[Int(bits >> UInt32(bitCount) & 63)]
          position += 1
        }
      }
      if bitCount > 0 {
        output[position] = alphabet[Int(bits << UInt32(6 - bitCount) & 63)]
        position += 1
      }
      return position
    }
  }

  /// **Returns**: `nil` for another character, an impossible length, or bits set after the last
  /// byte.
  static func decode(_ text: ArraySlice<UInt8>) -> [UInt8]? {
    guard text.count % 4 != 1 else { return nil }
    var output: [UInt8] = []
    output.reserveCapacity(text.count * 3 / 4)
    var bits: UInt32 = 0
    var bitCount = 0
    for character in text {
      guard let value = value(of: character) else { return nil }
      bits = bits << 6 | value
      bitCount += 6
      if bitCount >= 8 {
        bitCount -= 8
        output.append(UInt8(truncatingIfNeeded: bits >> UInt32(bitCount)))
      }
    }
    guard bits & (1 << UInt32(bitCount) - 1) == 0 else { return nil }
    return output
  }

  private static func value(of character: UInt8) -> UInt32? {
    switch character {
    case UInt8(ascii: "A")...UInt8(ascii: "Z"): UInt32(character - UInt8(ascii: "A"))
    case UInt8(ascii: "a")...UInt8(ascii: "z"): UInt32(character - UInt8(ascii: "a")) + 26
    case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(character - UInt8(ascii: "0")) + 52
    case UInt8(ascii: "-"): 62
    case UInt8(ascii: "_"): 63
    default: nil
    }
  }
}
