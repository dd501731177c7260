/// The few frames of `martlet.v1` that a send run speaks, in protobuf's wire format.
///
/// **Source**: `Sources/Wire/Proto/martlet/v1/client.proto`.
enum MartletFrames {
  /// An answer to a send.
  enum Answer {
    case sent(ref: UInt64)
    case error(ref: UInt64, code: String, message: String)
    case other
  }

  /// **Shape**: `ClientFrame { ref = 1, send = 3 { conversation = 1, id = 2, text = 3 } }` as an
  /// element of `ClientBatch.frames`.
  static func appendSend(
    ref: UInt64, conversation: String, id: String, text: String, to bytes: inout [UInt8]
  ) {
    var send: [UInt8] = []
    append(1, conversation, to: &send)
    append(2, id, to: &send)
    append(3, text, to: &send)
    var frame: [UInt8] = []
    append(1, String(ref), to: &frame)
    append(3, send, to: &frame)
    append(1, frame, to: &bytes)
  }

  /// **Shape**: `ClientFrame { hello = 2 { token = 1, events = 3 } }` in a `ClientBatch`.
  static func hello(token: String, events: Bool) -> [UInt8] {
    var hello: [UInt8] = []
    append(1, token, to: &hello)
    hello += [3 << 3, events ? 1 : 0]
    var frame: [UInt8] = []
    append(1, "0", to: &frame)
    append(2, hello, to: &frame)
    var batch: [UInt8] = []
    append(1, frame, to: &batch)
    return batch
  }

  /// Reads a `ServerBatch`.
  static func read(_ bytes: ArraySlice<UInt8>, _ each: (Answer) -> Void) {
    forEachField(bytes) { number, frame in
      guard number == 1 else { return }
      each(answer(frame))
    }
  }

  private static func answer(_ frame: ArraySlice<UInt8>) -> Answer {
    var ref: UInt64 = 0
    var found = Answer.other
    forEachField(frame) { number, value in
      switch number {
      case 1: ref = UInt64(String(decoding: value, as: UTF8.self)) ?? 0
      case 3: found = .sent(ref: ref)
      case 9:
        var code = ""
        var message = ""
        forEachField(value) { number, text in
          if number == 1 { code = String(decoding: text, as: UTF8.self) }
          if number == 2 { message = String(decoding: text, as: UTF8.self) }
        }
        found = .error(ref: ref, code: code, message: message)
      default: break
      }
    }
    return found
  }

  private static func forEachField(
    _ bytes: ArraySlice<UInt8>, _ body: (Int, ArraySlice<UInt8>) -> Void
  ) {
    var rest = bytes
    while !rest.isEmpty {
      guard let key = varint(&rest) else { return }
      switch key & 7 {
      case 0: guard varint(&rest) != nil else { return }
      case 1: rest = rest.dropFirst(8)
      case 5: rest = rest.dropFirst(4)
      case 2:
        guard let length = varint(&rest), length <= UInt64(rest.count) else { return }
        body(Int(key >> 3), rest.prefix(Int(length)))
        rest = rest.dropFirst(Int(length))
      default: return
      }
    }
  }

  private static func varint(_ bytes: inout ArraySlice<UInt8>) -> UInt64? {
    var value: UInt64 = 0
    var shift: UInt64 = 0
    while let byte = bytes.popFirst(), shift < 64 {
      value |= UInt64(byte & 0x7f) << shift
      if byte < 0x80 { return value }
      shift += 7
    }
    return nil
  }

  private static func append(_ field: UInt8, _ text: String, to bytes: inout [UInt8]) {
    bytes.append(field << 3 | 2)
    append(length: text.utf8.count, to: &bytes)
    bytes.append(contentsOf: text.utf8)
  }

  private static func append(_ field: UInt8, _ value: [UInt8], to bytes: inout [UInt8]) {
    bytes.append(field << 3 | 2)
    append(length: value.count, to: &bytes)
    bytes.append(contentsOf: value)
  }

  private static func append(length: Int, to bytes: inout [UInt8]) {
    var rest = length
    while rest >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(rest))
  }
}
