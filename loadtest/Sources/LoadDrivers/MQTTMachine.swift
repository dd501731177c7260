import LoadModel
import NIOCore

/// MQTT 3.1.1: messages are sent with QoS 1, so that the broker acknowledges them, and heard with
/// QoS 0. The name of a conversation is its topic.
///
/// **Source**: OASIS MQTT 3.1.1, section 3.
struct MQTTMachine: ClientMachine {
  private enum Kind: UInt8 {
    case connect = 1
    case connected = 2
    case publish = 3
    case published = 4
    case subscribe = 8
    case subscribed = 9
    case pong = 13
  }

  /// **Units**: bytes of one packet.
  private static let packetBytesMax = 1 << 20

  private let seat: Seat
  private let names: PlaceNames
  private var batch = ByteBuffer()
  private var awaited = 0
  private var lastPacket: UInt16 = 0
  private var refs: [UInt16: UInt64] = [:]

  init(_ seat: Seat, _ names: PlaceNames) {
    self.seat = seat
    self.names = names
  }

  mutating func opened(cursor: String?, into output: inout ByteBuffer) {
    var body = ByteBuffer()
    Self.write("MQTT", into: &body)
    // Level 4, a clean session, no keep-alive.
    body.writeBytes([4, 2, 0, 0])
    Self.write("load-\(seat.credential)-\(seat.session)", into: &body)
    Self.write(.connect, flags: 0, &body, into: &output)
  }

  mutating func received(
    _ input: inout ByteBuffer, events: inout [SessionEvent], into output: inout ByteBuffer
  ) {
    while let (head, body) = Self.packet(&input) {
      guard var body else { return events.append(.failed("a packet that is too long")) }
      switch Kind(rawValue: head >> 4) {
      case .connected: connected(&body, events: &events, into: &output)
      case .subscribed:
        awaited -= 1
        if awaited == 0 { events.append(.ready) }
      case .published:
        guard let packet = body.readInteger(as: UInt16.self),
          let ref = refs.removeValue(forKey: packet)
        else { return events.append(.failed("an answer to what was not sent")) }
        events.append(.acknowledged(ref: ref, sequence: 0))
      case .publish:
        guard let count = body.readInteger(as: UInt16.self) else { break }
        body.moveReaderIndex(forwardBy: min(Int(count), body.readableBytes))
        if let stamp = body.withUnsafeReadableBytes({ MessageStamp($0) }) {
          events.append(.delivered(place: stamp.place, sequence: 0, stamp: stamp))
        }
      case .pong: break
      case .connect, .subscribe, nil:
        return events.append(.failed("a packet that no broker sends"))
      }
    }
  }

  private mutating func connected(
    _ body: inout ByteBuffer, events: inout [SessionEvent], into output: inout ByteBuffer
  ) {
    guard let answer = body.readBytes(length: 2), answer[1] == 0 else {
      return events.append(.failed("the broker refused the session"))
    }
    guard seat.listens, !seat.places.isEmpty else { return events.append(.ready) }
    for place in seat.places {
      var body = ByteBuffer()
      body.writeInteger(UInt16(truncatingIfNeeded: place % 65_535 + 1))
      Self.write(names.names[place], into: &body)
      body.writeInteger(UInt8(0))
      Self.write(.subscribe, flags: 2, &body, into: &output)
      awaited += 1
    }
  }

  mutating func send(ref: UInt64, place: UInt32, id: String, text: [UInt8]) {
    lastPacket = lastPacket == .max ? 1 : lastPacket + 1
    refs[lastPacket] = ref
    var body = ByteBuffer()
    Self.write(names.names[Int(place)], into: &body)
    body.writeInteger(lastPacket)
    body.writeBytes(text)
    Self.write(.publish, flags: 2, &body, into: &batch)
  }

  mutating func read(_ page: PageRequest) {}

  mutating func flush(into output: inout ByteBuffer) {
    output.writeBuffer(&batch)
    batch.clear()
  }

  // MARK: Packets

  private static func write(_ text: String, into body: inout ByteBuffer) {
    body.writeInteger(UInt16(text.utf8.count))
    body.writeString(text)
  }

  private static func write(
    _ kind: Kind, flags: UInt8, _ body: inout ByteBuffer, into output: inout ByteBuffer
  ) {
    output.writeInteger(kind.rawValue << 4 | flags)
    var rest = body.readableBytes
    repeat {
      output.writeInteger(UInt8(rest & 0x7f) | (rest > 0x7f ? 0x80 : 0))
      rest >>= 7
    } while rest > 0
    output.writeBuffer(&body)
  }

  /// **Returns**: `nil` when it is not whole; without a body when it is too long.
  private static func packet(_ input: inout ByteBuffer) -> (head: UInt8, body: ByteBuffer?)? {
    let start = input.readerIndex
    guard let head = input.readInteger(as: UInt8.self) else { return nil }
    var length = 0
    var shift = 0
    while let byte = input.readInteger(as: UInt8.self) {
      length |= Int(byte & 0x7f) << shift
      shift += 7
      guard byte & 0x80 != 0, shift < 28 else {
        guard length <= packetBytesMax else { return (head, nil) }
        if let body = input.readSlice(length: length) { return (head, body) }
        break
      }
    }
    input.moveReaderIndex(to: start)
    return nil
  }
}
