import Primitives

/// `martlet.v1.PartitionSplit`
extension PartitionSplit {
  func encode(into writer: inout ProtobufWriter) {
    writer.uint(1, level)
    for replica in replicas {
      writer.message(2) {
        $0.fixed64(1, replica.store.rawValue)
        $0.uint(2, replica.number)
      }
    }
  }

  init(decoding body: ProtobufReader) throws(ProtobufError) {
    var body = body
    self.init(level: 0, replicas: [])
    while let field = try body.next() {
      switch field.number {
      case 1: level = try field.uint32()
      case 2: replicas.append(try Self.replica(try field.reader()))
      default: break
      }
    }
    guard level > 0 else { throw .missingField(1) }
  }

  private static func replica(_ reader: ProtobufReader) throws(ProtobufError) -> ReplicaID {
    var reader = reader
    var store: UInt64 = 0
    var number: UInt32 = 0
    while let field = try reader.next() {
      switch field.number {
      case 1: store = try field.fixed64()
      case 2: number = try field.uint32()
      default: break
      }
    }
    return ReplicaID(store: StoreID(store), number: number)
  }
}
