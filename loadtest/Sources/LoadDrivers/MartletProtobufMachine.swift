import LoadModel
import NIOCore

/// What a gateway takes in one message of a WebSocket: a longer one closes the connection, more
/// operations are refused.
enum MartletBatch {
  static let countMax = 256
  /// **Units**: bytes.
  static let bytesMax = 1 << 20
}

/// `martlet.v1.proto` on a WebSocket.
///
/// **Source**: the gateway's `client.proto`, as `GET /v1/openapi.json` tells it.
struct MartletProtobufMachine: ClientMachine {
  private let credential: String
  private let host: String
  private let listens: Bool
  private let names: PlaceNames
  private var socket = WebSocketClient()
  private var cursor = ""
  private var batch: [UInt8] = []
  private var batchCount = 0
  /// Whole batches that wait for `flush`.
  private var ready: [[UInt8]] = []
  private var lastPlace = KnownPlace()

  init(_ seat: Seat, _ names: PlaceNames, host: String) {
    credential = seat.credential
    self.host = host
    listens = seat.listens
    self.names = names
  }

  mutating func opened(cursor: String?, into output: inout ByteBuffer) {
    self.cursor = cursor ?? ""
    WebSocketClient.request(host: host, subprotocol: "martlet.v1.proto", into: &output)
  }

  mutating func received(
    _ input: inout ByteBuffer, events: inout [SessionEvent], into output: inout ByteBuffer
  ) {
    while let incoming = socket.next(&input, pongs: &output) {
      switch incoming {
      case .opened: WebSocketClient.write(hello(), .binary, into: &output)
      case .closed(let why): return events.append(.failed(why))
      case .message(let payload):
        payload.withUnsafeReadableBytes { bytes in
          var fields = ProtobufFields(bytes)
          while let (number, value) = fields.next() {
            if number == 1, case .bytes(let frame) = value { take(frame, events: &events) }
          }
          if fields.isBroken { events.append(.failed("a batch that cannot be read")) }
        }
      }
    }
  }

  /// **Shape**: `ClientFrame { ref = 1, hello = 2 { token = 1, cursor = 2, events = 3 } }`
  private func hello() -> [UInt8] {
    var hello: [UInt8] = []
    ProtobufFields.append(1, credential, to: &hello)
    if !cursor.isEmpty { ProtobufFields.append(2, cursor, to: &hello) }
    ProtobufFields.append(3, listens ? 1 : 0, to: &hello)
    var frame: [UInt8] = []
    ProtobufFields.append(1, "0", to: &frame)
    ProtobufFields.append(2, hello, to: &frame)
    var batch: [UInt8] = []
    ProtobufFields.append(1, frame, to: &batch)
    return batch
  }

  // MARK: Asking

  /// **Shape**: `ClientFrame { ref = 1, send = 3 { conversation = 1, id = 2, text = 3 } }`
  mutating func send(ref: UInt64, place: UInt32, id: String, text: [UInt8]) {
    var send: [UInt8] = []
    send.reserveCapacity(text.count + 80)
    ProtobufFields.append(1, names.names[Int(place)], to: &send)
    ProtobufFields.append(2, id, to: &send)
    ProtobufFields.append(3, text, to: &send)
    append(ref, field: 3, send)
  }

  /// **Shape**: `ClientFrame { ref = 1, history = 7 { conversation = 1, before = 3, limit = 4 } }`
  mutating func read(_ page: PageRequest) {
    var history: [UInt8] = []
    ProtobufFields.append(1, names.names[Int(page.place)], to: &history)
    if let before = page.before { ProtobufFields.append(3, before, to: &history) }
    ProtobufFields.append(4, UInt64(page.limit), to: &history)
    append(page.ref, field: 7, history)
  }

  private mutating func append(_ ref: UInt64, field: UInt8, _ operation: [UInt8]) {
    var frame: [UInt8] = []
    frame.reserveCapacity(operation.count + 32)
    ProtobufFields.append(1, String(ref), to: &frame)
    ProtobufFields.append(field, operation, to: &frame)
    if batchCount == MartletBatch.countMax || batch.count + frame.count + 8 > MartletBatch.bytesMax
    {
      ready.append(batch)
      batch = []
      batchCount = 0
    }
    ProtobufFields.append(1, frame, to: &batch)
    batchCount += 1
  }

  mutating func flush(into output: inout ByteBuffer) {
    for batch in ready { WebSocketClient.write(batch, .binary, into: &output) }
    ready.removeAll()
    if batchCount > 0 { WebSocketClient.write(batch, .binary, into: &output) }
    batch.removeAll(keepingCapacity: true)
    batchCount = 0
  }

  // MARK: Answers

  private mutating func take(_ frame: UnsafeRawBufferPointer, events: inout [SessionEvent]) {
    var ref: UInt64 = 0
    var fields = ProtobufFields(frame)
    while let (number, value) = fields.next() {
      guard case .bytes(let bytes) = value else { continue }
      switch number {
      case 1: ref = Self.number(bytes)
      case 2: events.append(.ready)
      case 3: events.append(.acknowledged(ref: ref, sequence: Self.sequence(bytes)))
      case 7: events.append(page(ref, bytes))
      case 9: events.append(Self.refusal(ref, bytes))
      case 10: if let event = event(bytes) { events.append(event) }
      case 11: events.append(.cursor(bytes.text))
      case 12: break
      case 13: events.append(.failed("a gap in what was heard"))
      case 14: events.append(.leaving)
      default: break
      }
    }
    if fields.isBroken { events.append(.failed("a frame that cannot be read")) }
  }

  /// Of a decimal text; 0 for anything else.
  private static func number(_ text: UnsafeRawBufferPointer) -> UInt64 {
    var value: UInt64 = 0
    for byte in text {
      guard 0x30...0x39 ~= byte else { return 0 }
      value = value &* 10 &+ UInt64(byte - 0x30)
    }
    return value
  }

  /// **Shape**: `Sent { seq = 2 }`
  private static func sequence(_ sent: UnsafeRawBufferPointer) -> UInt64 {
    var fields = ProtobufFields(sent)
    while let (number, value) = fields.next() {
      if number == 2, case .number(let sequence) = value { return sequence }
    }
    return 0
  }

  /// **Shape**: `ServiceError { code = 1, message = 2, retryable = 3 }`
  private static func refusal(_ ref: UInt64, _ error: UnsafeRawBufferPointer) -> SessionEvent {
    var code = ""
    var mayPass = false
    var message = ""
    var fields = ProtobufFields(error)
    while let (number, value) = fields.next() {
      switch (number, value) {
      case (1, .bytes(let bytes)): code = bytes.text
      case (2, .bytes(let bytes)): message = bytes.text
      case (3, .number(let flag)): mayPass = flag != 0
      default: break
      }
    }
    guard ref > 0 else { return .failed("refused: \(code) \(message)") }
    return .refused(ref: ref, code: code, mayPass: mayPass)
  }

  /// **Shape**: `ClientEvent { conversation = 1, seq = 2, message = 6 { text = 1 } }`
  private mutating func event(_ bytes: UnsafeRawBufferPointer) -> SessionEvent? {
    var place: UInt32?
    var sequence: UInt64 = 0
    var stamp: MessageStamp?
    var fields = ProtobufFields(bytes)
    while let (number, value) = fields.next() {
      switch (number, value) {
      case (1, .bytes(let name)): place = lastPlace.find(name, in: names)
      case (2, .number(let number)): sequence = number
      case (6, .bytes(let message)): stamp = Self.stamp(message)
      default: break
      }
    }
    return place.map { .delivered(place: $0, sequence: sequence, stamp: stamp) }
  }

  private static func stamp(_ message: UnsafeRawBufferPointer) -> MessageStamp? {
    var fields = ProtobufFields(message)
    while let (number, value) = fields.next() {
      if number == 1, case .bytes(let text) = value { return MessageStamp(text) }
    }
    return nil
  }

  /// **Shape**: `History { conversation = 1, events = 2 }`
  private mutating func page(_ ref: UInt64, _ history: UnsafeRawBufferPointer) -> SessionEvent {
    var first: UInt64 = 0
    var stamps: [MessageStamp?] = []
    var isDense = true
    var fields = ProtobufFields(history)
    while let (number, value) = fields.next() {
      guard number == 2, case .bytes(let bytes) = value,
        case .delivered(_, let sequence, let stamp)? = event(bytes)
      else { continue }
      if stamps.isEmpty { first = sequence }
      isDense = isDense && sequence == first + UInt64(stamps.count)
      stamps.append(stamp)
    }
    return .page(ref: ref, first: first, stamps: stamps, isDense: isDense && !fields.isBroken)
  }
}

/// The conversation that was named last: most often the next one is the same.
struct KnownPlace {
  private var name: [UInt8] = []
  private var place: UInt32?

  mutating func find(_ name: UnsafeRawBufferPointer, in names: PlaceNames) -> UInt32? {
    if !self.name.isEmpty, self.name.elementsEqual(name) { return place }
    self.name = Array(name)
    place = names.place(of: name.text)
    return place
  }
}
