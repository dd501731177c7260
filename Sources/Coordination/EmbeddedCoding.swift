import Primitives

/// How the embedded service's state lies in its storage.
///
/// **Shape**:
/// ```
/// key                       value (protobuf)
/// 'm'                       1: version  2: service id (fixed64)  3: revision  4: next lease
/// 'k' key in ASCII          1: value    2: modRevision           3: lease
/// 'l' lease, 8 bytes BE     1: seconds
/// ```
enum EmbeddedCoding {
  struct Meta: Hashable, Sendable {
    let serviceID: UInt64
    let revision: Revision
    let nextLease: Int64
  }

  enum Kind: Hashable, Sendable {
    case meta
    case item(String)
    case lease(LeaseID)
  }

  private static let version: UInt64 = 1

  static let metaKey = [UInt8(ascii: "m")]

  static func itemKey(_ key: String) -> [UInt8] { [UInt8(ascii: "k")] + Array(key.utf8) }

  static func leaseKey(_ id: LeaseID) -> [UInt8] {
    withUnsafeBytes(of: id.rawValue.bigEndian) { [UInt8(ascii: "l")] + Array($0) }
  }

  static func kind(of key: [UInt8]) throws(ProtobufError) -> Kind {
    let rest = key.dropFirst()
    switch key.first {
    case UInt8(ascii: "m") where rest.isEmpty:
      return .meta
    case UInt8(ascii: "k") where KeyRule.isValid(rest):
      return .item(String(decoding: rest, as: UTF8.self))
    case UInt8(ascii: "l") where rest.count == 8:
      return .lease(LeaseID(rest.reduce(0) { $0 << 8 | Int64($1) }))
    default:
      throw .unknownVariant
    }
  }

  // MARK: Values

  static func encode(_ meta: Meta) -> [UInt8] {
    var writer = ProtobufWriter(reservingBytes: 32)
    writer.uint(1, version)
    writer.fixed64(2, meta.serviceID)
    writer.int(3, meta.revision.rawValue)
    writer.int(4, meta.nextLease)
    return writer.bytes
  }

  static func decodeMeta(_ bytes: [UInt8]) throws(ProtobufError) -> Meta {
    var reader = ProtobufReader(bytes)
    var found: UInt64 = 0
    var serviceID: UInt64 = 0
    var revision: Int64 = 0
    var nextLease: Int64 = 0
    while let field = try reader.next() {
      switch field.number {
      case 1: found = try field.uint64()
      case 2: serviceID = try field.fixed64()
      case 3: revision = try field.int64()
      case 4: nextLease = try field.int64()
      default: break
      }
    }
    guard found == version else { throw .outOfRange(field: 1) }
    guard serviceID != 0 else { throw .missingField(2) }
    guard revision > 0, revision < .max else { throw .outOfRange(field: 3) }
    guard nextLease > 0, nextLease < .max else { throw .outOfRange(field: 4) }
    return Meta(serviceID: serviceID, revision: Revision(revision), nextLease: nextLease)
  }

  static func encode(_ item: EmbeddedState.Item) -> [UInt8] {
    var writer = ProtobufWriter(reservingBytes: item.value.count + 24)
    writer.data(1, item.value)
    writer.int(2, item.modRevision.rawValue)
    writer.int(3, item.lease?.rawValue ?? 0)
    return writer.bytes
  }

  static func decodeItem(_ bytes: [UInt8]) throws(ProtobufError) -> EmbeddedState.Item {
    var reader = ProtobufReader(bytes)
    var value: [UInt8] = []
    var revision: Int64 = 0
    var lease: Int64 = 0
    while let field = try reader.next() {
      switch field.number {
      case 1: value = Array(try field.bytes())
      case 2: revision = try field.int64()
      case 3: lease = try field.int64()
      default: break
      }
    }
    guard revision > 0 else { throw .outOfRange(field: 2) }
    return EmbeddedState.Item(
      value: value, modRevision: Revision(revision), lease: lease == 0 ? nil : LeaseID(lease))
  }

  static func encode(ttl seconds: Int64) -> [UInt8] {
    var writer = ProtobufWriter(reservingBytes: 4)
    writer.int(1, seconds)
    return writer.bytes
  }

  static func decodeTTL(_ bytes: [UInt8]) throws(ProtobufError) -> Int64 {
    var reader = ProtobufReader(bytes)
    var seconds: Int64 = 0
    while let field = try reader.next() {
      if field.number == 1 { seconds = try field.int64() }
    }
    guard CoordinationLimits.leaseSecondsRange.contains(seconds) else {
      throw .outOfRange(field: 1)
    }
    return seconds
  }
}
