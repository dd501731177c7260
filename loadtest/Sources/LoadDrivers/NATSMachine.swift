import Foundation
import LoadModel
import NIOCore

/// NATS' client protocol, with JetStream: a message is acknowledged when its stream has it, on as
/// many servers as the stream has replicas.
///
/// The name of a conversation is `STREAM SUBJECT`, with the stream `-` when there is none: then a
/// message is acknowledged when its sender hears it. A stream's numbers are not those of its
/// conversations, so messages have no places.
///
/// **Source**: docs.nats.io, "Client Protocol" and "JetStream wire API Reference".
struct NATSMachine: ClientMachine {
  /// **Units**: bytes of one line of control.
  private static let lineBytesMax = 65_536

  private let seat: Seat
  private let names: PlaceNames
  private let subjects: [String]
  private let isPersistent: Bool
  private var batch = ByteBuffer()
  /// Without a stream: what was sent and not heard, by place and number.
  private var unheard: [UInt64: UInt64] = [:]
  private var isReady = false
  private var line = ""
  /// The head of a message whose payload has not arrived.
  private var pending: (subject: String, count: Int)?

  init(_ seat: Seat, _ names: PlaceNames) {
    self.seat = seat
    self.names = names
    subjects = names.names.map { String($0.split(separator: " ").last ?? "") }
    isPersistent = !(names.names.first?.hasPrefix("- ") ?? true)
  }

  private var inbox: String { "_INBOX.s\(seat.session)" }

  /// Where a push consumer delivers what a session hears of.
  static func deliverySubject(session: Int) -> String { "deliver.s\(session)" }

  mutating func opened(cursor: String?, into output: inout ByteBuffer) {
    output.writeString(
      #"CONNECT {"verbose":false,"pedantic":false,"lang":"swift","version":"1","name":"loadtest"}"#
        + "\r\n")
    if isPersistent {
      output.writeString("SUB \(inbox).* 1\r\n")
      if seat.listens {
        output.writeString("SUB \(Self.deliverySubject(session: seat.session)) 2\r\n")
      }
    } else {
      for place in seat.places { output.writeString("SUB \(subjects[place]) \(place + 10)\r\n") }
    }
    output.writeString("PING\r\n")
  }

  mutating func received(
    _ input: inout ByteBuffer, events: inout [SessionEvent], into output: inout ByteBuffer
  ) {
    while true {
      if let message = pending {
        guard input.readableBytes >= message.count + 2 else { return }
        pending = nil
        guard let payload = input.readSlice(length: message.count) else { return }
        input.moveReaderIndex(forwardBy: 2)
        take(message.subject, payload, events: &events)
        continue
      }
      guard let line = Self.line(&input) else {
        if input.readableBytes > Self.lineBytesMax { events.append(.failed("an endless line")) }
        return
      }
      guard takeLine(line, events: &events, into: &output) else { return }
    }
  }

  private static func line(_ input: inout ByteBuffer) -> String? {
    guard let end = input.readableBytesView.firstIndex(of: 10) else { return nil }
    let count = end - input.readerIndex
    let line = input.readString(length: max(0, count - 1))
    input.moveReaderIndex(to: end + 1)
    return line
  }

  /// **Returns**: whether to go on.
  private mutating func takeLine(
    _ line: String, events: inout [SessionEvent], into output: inout ByteBuffer
  ) -> Bool {
    let words = line.split(separator: " ")
    switch words.first {
    case "MSG":
      guard words.count == 4 || words.count == 5, let count = Int(words[words.count - 1]) else {
        events.append(.failed("'\(line)'"))
        return false
      }
      pending = (String(words[1]), count)
    case "PING": output.writeString("PONG\r\n")
    case "PONG":
      if !isReady { events.append(.ready) }
      isReady = true
    case "INFO", "+OK", nil: break
    default:
      events.append(.failed(line))
      return false
    }
    return true
  }

  private mutating func take(
    _ subject: String, _ payload: ByteBuffer, events: inout [SessionEvent]
  ) {
    if subject.hasPrefix("_INBOX.") {
      let ref = UInt64(subject.split(separator: ".").last ?? "") ?? 0
      let answer = try? JSONDecoder().decode(
        PublishAnswer.self, from: Data(payload.readableBytesView))
      if answer?.seq != nil, answer?.error == nil {
        events.append(.acknowledged(ref: ref, sequence: 0))
      } else {
        let why = answer?.error?.description ?? String(buffer: payload)
        events.append(.refused(ref: ref, code: why, mayPass: false))
      }
      return
    }
    guard let stamp = payload.withUnsafeReadableBytes({ MessageStamp($0) }) else { return }
    if !isPersistent, stamp.sender == UInt32(seat.session),
      let ref = unheard.removeValue(forKey: Self.key(stamp))
    {
      events.append(.acknowledged(ref: ref, sequence: 0))
    }
    if seat.listens {
      events.append(.delivered(place: stamp.place, sequence: 0, stamp: stamp))
    }
  }

  private static func key(_ stamp: MessageStamp) -> UInt64 {
    UInt64(stamp.place) << 40 | stamp.number
  }

  private struct PublishAnswer: Decodable {
    struct Failure: Decodable {
      let description: String
    }

    let seq: UInt64?
    let error: Failure?
  }

  mutating func send(ref: UInt64, place: UInt32, id: String, text: [UInt8]) {
    let subject = subjects[Int(place)]
    if !isPersistent, let stamp = text.withUnsafeBytes({ MessageStamp($0) }) {
      unheard[Self.key(stamp)] = ref
    }
    batch.writeString(
      isPersistent
        ? "PUB \(subject) \(inbox).\(ref) \(text.count)\r\n" : "PUB \(subject) \(text.count)\r\n")
    batch.writeBytes(text)
    batch.writeString("\r\n")
  }

  mutating func read(_ page: PageRequest) {}

  mutating func flush(into output: inout ByteBuffer) {
    output.writeBuffer(&batch)
    batch.clear()
  }
}
