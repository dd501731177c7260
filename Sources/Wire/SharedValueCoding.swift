import ChatModel
import ClusterModel
import Primitives

// Values of the lower modules inside of frames. Those modules write them as they are stored; here
// the same bytes are written as part of a frame, by its faster writer. The tests hold both to the
// schema.

extension ReplicaID {
  func encode(into writer: inout FrameWriter) {
    writer.fixed64(1, store.rawValue)
    writer.uint(2, number)
  }

  init(decoding reader: ProtobufScanner) throws(ProtobufError) {
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
    guard store != 0 else { throw .missingField(1) }
    self.init(store: StoreID(store), number: number)
  }
}

extension Member {
  func encode(into writer: inout FrameWriter) {
    writer.identifier(1, user.rawValue)
    writer.string(2, handle.text)
    writer.uint(3, role.rawValue)
  }
}

extension Event {
  func encode(into writer: inout FrameWriter) {
    encodeEnvelope(into: &writer)
    switch content {
    case .message(let text):
      writer.header(6, bytes: FieldBytes.string(text))
      writer.string(1, text)
    case .created(let kind, let title, let members):
      writer.message(7) {
        $0.uint(1, kind.rawValue)
        $0.string(2, title)
        for member in members { $0.message(3) { member.encode(into: &$0) } }
      }
    case .membersChanged(let added, let removed):
      writer.message(8) {
        for member in added { $0.message(1) { member.encode(into: &$0) } }
        for user in removed { $0.element(2, user.bytes) }
      }
    case .titleChanged(let title): writer.message(9) { $0.string(1, title) }
    }
  }

  /// Everything but the content.
  func encodeEnvelope(into writer: inout FrameWriter) {
    writer.identifier(1, conversation.rawValue)
    writer.uint(2, sequence.rawValue)
    writer.uint(3, time.milliseconds)
    writer.identifier(4, author.rawValue)
    writer.uint(5, index.rawValue)
  }

  /// **Units**: bytes that `encodeEnvelope` writes.
  var envelopeBytes: Int {
    FieldBytes.identifier(conversation.rawValue) + FieldBytes.uint(sequence.rawValue)
      + FieldBytes.uint(time.milliseconds) + FieldBytes.identifier(author.rawValue)
      + FieldBytes.uint(index.rawValue)
  }
}
