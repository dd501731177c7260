package import NIOCore

/// The server's side of `martlet.v1.proto`, as little of it as a generator needs to be measured: a
/// hello is welcome and every message stored at once, at the next place of the connection.
package struct NullServerMachine {
  private var isOpen = false
  private var sequence: UInt64 = 0

  package init() {}

  /// **Returns**: whether the connection may go on.
  package mutating func received(
    _ input: inout ByteBuffer, into output: inout ByteBuffer
  ) -> Bool {
    if !isOpen {
      let view = input.readableBytesView
      guard let end = view.firstRange(of: [13, 10, 13, 10]) else {
        return view.count <= WebSocketClient.headBytesMax
      }
      input.moveReaderIndex(forwardBy: end.upperBound - view.startIndex)
      isOpen = true
      output.writeString(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
    }
    var answers: [UInt8] = []
    while let payload = Self.payload(&input) {
      payload.withUnsafeReadableBytes { bytes in
        var fields = ProtobufFields(bytes)
        while let (number, value) = fields.next() {
          if number == 1, case .bytes(let frame) = value { answer(frame, into: &answers) }
        }
      }
    }
    if !answers.isEmpty {
      output.writeInteger(UInt8(0x82))
      if answers.count < 126 {
        output.writeInteger(UInt8(answers.count))
      } else {
        output.writeInteger(UInt8(127))
        output.writeInteger(UInt64(answers.count))
      }
      output.writeBytes(answers)
    }
    return true
  }

  private mutating func answer(_ frame: UnsafeRawBufferPointer, into answers: inout [UInt8]) {
    var ref = ""
    var field: UInt8 = 0
    var fields = ProtobufFields(frame)
    while let (number, value) = fields.next() {
      guard case .bytes(let bytes) = value else { continue }
      if number == 1 { ref = bytes.text }
      if number == 2 || number == 3 { field = UInt8(number) }
    }
    guard field > 0 else { return }
    var body: [UInt8] = []
    if field == 3 {
      sequence += 1
      ProtobufFields.append(2, sequence, to: &body)
    }
    var answer: [UInt8] = []
    ProtobufFields.append(1, ref, to: &answer)
    ProtobufFields.append(field, body, to: &answer)
    ProtobufFields.append(1, answer, to: &answers)
  }

  /// **Returns**: the payload of the next whole frame, which a client masks with zero here.
  private static func payload(_ input: inout ByteBuffer) -> ByteBuffer? {
    let start = input.readerIndex
    guard let (_, second) = input.readMultipleIntegers(as: (UInt8, UInt8).self) else {
      return nil
    }
    var length = Int(second & 0x7f)
    if length == 126 { length = input.readInteger(as: UInt16.self).map { Int($0) } ?? .max }
    if length == 127 { length = Int(input.readInteger(as: UInt64.self) ?? UInt64(Int.max)) }
    guard length < WebSocketClient.messageBytesMax,
      input.readInteger(as: UInt32.self) != nil, let payload = input.readSlice(length: length)
    else {
      input.moveReaderIndex(to: start)
      return nil
    }
    return payload
  }
}
