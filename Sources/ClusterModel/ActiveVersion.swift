package import Primitives

/// The version of the protocol of which everything may be used, because every node knows it.
package struct ActiveVersion: Equatable, Sendable {
  package var number: UInt32

  package init(_ number: UInt32) { self.number = number }

  /// Where nobody has ever raised it.
  package static let first = ActiveVersion(1)

  package func encoded() -> [UInt8] {
    var writer = ProtobufWriter()
    writer.uint(1, number)
    return writer.bytes
  }

  package init(decoding bytes: [UInt8]) throws(ProtobufError) {
    number = 0
    var reader = ProtobufReader(bytes)
    while let field = try reader.next() {
      if field.number == 1 { number = try field.uint32() }
    }
    guard number > 0 else { throw .outOfRange(field: 1) }
  }
}
