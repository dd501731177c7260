package import Primitives

/// `martlet.v1.PartitionSplit`
extension PartitionSplit {
  package func encode(into writer: inout ProtobufWriter) {
    writer.uint(1, level)
    writer.uint(2, replicaLimit)
  }

  package init(decoding bytes: ArraySlice<UInt8>) throws(ProtobufError) {
    self = try ProtobufScanner.read(bytes) { reader throws(ProtobufError) in
      try PartitionSplit(decoding: reader)
    }
  }

  init(decoding body: ProtobufScanner) throws(ProtobufError) {
    var body = body
    self.init(level: 0, replicaLimit: 0)
    while let field = try body.next() {
      switch field.number {
      case 1: level = try field.uint32()
      case 2: replicaLimit = try field.uint32()
      default: break
      }
    }
    guard level > 0 else { throw .missingField(1) }
  }
}
