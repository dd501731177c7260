import Foundation
import LoadModel
import NIOCore

/// `martlet.v1.json` on a WebSocket.
struct MartletJSONMachine: ClientMachine {
  private let credential: String
  private let host: String
  private let listens: Bool
  private let names: PlaceNames
  private var socket = WebSocketClient()
  private var cursor = ""
  /// Frames of a batch, and batches before it.
  private var frames: [String] = []
  private var frameBytes = 0
  private var ready: [String] = []
  private let decoder = JSONDecoder()

  init(_ seat: Seat, _ names: PlaceNames, host: String) {
    credential = seat.credential
    self.host = host
    listens = seat.listens
    self.names = names
  }

  mutating func opened(cursor: String?, into output: inout ByteBuffer) {
    self.cursor = cursor ?? ""
    WebSocketClient.request(host: host, subprotocol: "martlet.v1.json", into: &output)
  }

  mutating func received(
    _ input: inout ByteBuffer, events: inout [SessionEvent], into output: inout ByteBuffer
  ) {
    while let incoming = socket.next(&input, pongs: &output) {
      switch incoming {
      case .opened: WebSocketClient.write(Array(hello.utf8), .text, into: &output)
      case .closed(let why): return events.append(.failed(why))
      case .message(let payload):
        guard let frames = frames(of: payload) else {
          return events.append(.failed("a frame that cannot be read"))
        }
        for frame in frames { take(frame, events: &events) }
      }
    }
  }

  private func frames(of payload: ByteBuffer) -> [JSONFrame]? {
    let data = Data(payload.readableBytesView)
    if data.first == UInt8(ascii: "[") { return try? decoder.decode([JSONFrame].self, from: data) }
    return (try? decoder.decode(JSONFrame.self, from: data)).map { [$0] }
  }

  /// Tokens and cursors have no character that JSON escapes.
  private var hello: String {
    let place = cursor.isEmpty ? "" : #","cursor":"\#(cursor)""#
    return #"{"ref":"0","hello":{"token":"\#(credential)","events":\#(listens)\#(place)}}"#
  }

  mutating func send(ref: UInt64, place: UInt32, id: String, text: [UInt8]) {
    append(
      #"{"ref":"\#(ref)","send":{"conversation":"\#(names.names[Int(place)])","id":"\#(id)","#
        + #""text":"\#(String(decoding: text, as: UTF8.self))"}}"#)
  }

  mutating func read(_ page: PageRequest) {
    let before = page.before.map { #","before":"\#($0)""# } ?? ""
    append(
      #"{"ref":"\#(page.ref)","history":{"conversation":"\#(names.names[Int(page.place)])","#
        + #""limit":\#(page.limit)\#(before)}}"#)
  }

  private mutating func append(_ frame: String) {
    let count = frame.utf8.count + 1
    if frames.count == MartletBatch.countMax || frameBytes + count + 2 > MartletBatch.bytesMax {
      close()
    }
    frames.append(frame)
    frameBytes += count
  }

  private mutating func close() {
    guard let first = frames.first else { return }
    ready.append(frames.count == 1 ? first : "[" + frames.joined(separator: ",") + "]")
    frames.removeAll(keepingCapacity: true)
    frameBytes = 0
  }

  mutating func flush(into output: inout ByteBuffer) {
    close()
    for text in ready { WebSocketClient.write(Array(text.utf8), .text, into: &output) }
    ready.removeAll(keepingCapacity: true)
  }

  private func take(_ frame: JSONFrame, events: inout [SessionEvent]) {
    let ref = UInt64(frame.ref ?? "") ?? 0
    if frame.welcome != nil { events.append(.ready) }
    if let sent = frame.sent {
      events.append(.acknowledged(ref: ref, sequence: sent.sequence))
    }
    if let error = frame.error {
      events.append(
        ref > 0
          ? .refused(ref: ref, code: error.code, mayPass: error.retryable ?? false)
          : .failed("refused: \(error.code) \(error.message ?? "")"))
    }
    if let event = frame.event, let delivered = event.delivered(names) { events.append(delivered) }
    if let history = frame.history { events.append(history.page(ref, names)) }
    if let cursor = frame.cursor { events.append(.cursor(cursor)) }
    if frame.gap != nil { events.append(.failed("a gap in what was heard")) }
    if frame.draining != nil { events.append(.leaving) }
  }
}

/// What of a gateway's JSON a run looks at. Numbers of 64 bits are texts.
struct JSONFrame: Decodable {
  struct Nothing: Decodable {}

  struct Sent: Decodable {
    let seq: String

    var sequence: UInt64 { UInt64(seq) ?? 0 }
  }

  struct Failure: Decodable {
    let code: String
    let message: String?
    let retryable: Bool?
  }

  struct Event: Decodable {
    struct Message: Decodable {
      let text: String
    }

    let conversation: String
    let seq: String
    let message: Message?

    var sequence: UInt64 { UInt64(seq) ?? 0 }

    var stamp: MessageStamp? {
      guard let message else { return nil }
      return Array(message.text.utf8).withUnsafeBytes { MessageStamp($0) }
    }

    func delivered(_ names: PlaceNames) -> SessionEvent? {
      names.place(of: conversation)
        .map { .delivered(place: $0, sequence: sequence, stamp: stamp) }
    }
  }

  struct History: Decodable {
    let events: [Event]

    func page(_ ref: UInt64, _ names: PlaceNames) -> SessionEvent {
      let first = events.first?.sequence ?? 0
      let isDense = events.enumerated().allSatisfy {
        $0.element.sequence == first + UInt64($0.offset)
      }
      return .page(ref: ref, first: first, stamps: events.map(\.stamp), isDense: isDense)
    }
  }

  let ref: String?
  let welcome: Nothing?
  let sent: Sent?
  let error: Failure?
  let event: Event?
  let history: History?
  let cursor: String?
  let gap: Nothing?
  let draining: Nothing?
}
