import LoadDrivers
import LoadModel
import NIOCore
import Testing

/// The clients' sides of the protocols, against what servers say, whole and cut at every byte.
@Suite struct MachineTests {
  private let names = PlaceNames(["c0", "c1"])

  private func seat(_ speaks: WireProtocol, listens: Bool = true) -> Seat {
    Seat(
      session: 5, endpoints: [Endpoint(host: "h", port: 1)], speaks: speaks, credential: "token",
      places: [0, 1], sends: true, listens: listens)
  }

  private func text(_ number: UInt64, place: UInt32) -> [UInt8] {
    var text: [UInt8] = []
    MessageStamp(run: 7, sender: 5, place: place, number: number, due: 3)
      .append(to: &text, length: 60)
    return text
  }

  private func stamp(_ number: UInt64, place: UInt32) -> MessageStamp {
    MessageStamp(run: 7, sender: 5, place: place, number: number, due: 3)
  }

  /// What a machine tells of an input that comes in two parts.
  private func events(
    _ machine: any ClientMachine, _ input: [UInt8], cutAt cut: Int
  ) -> [SessionEvent] {
    var machine = machine
    var output = ByteBuffer()
    var events: [SessionEvent] = []
    var arrived = ByteBuffer(bytes: input[..<cut])
    machine.received(&arrived, events: &events, into: &output)
    arrived.writeBytes(input[cut...])
    machine.received(&arrived, events: &events, into: &output)
    return events
  }

  private func expect(
    _ expected: [SessionEvent], _ machine: any ClientMachine, _ input: [UInt8]
  ) {
    for cut in 0...input.count { #expect(events(machine, input, cutAt: cut) == expected) }
  }

  private func webSocket(_ payload: [UInt8], opcode: UInt8) -> [UInt8] {
    payload.count < 126
      ? [0x80 | opcode, UInt8(payload.count)] + payload
      : [0x80 | opcode, 126, UInt8(payload.count >> 8), UInt8(payload.count & 0xff)] + payload
  }

  private let upgraded = Array("HTTP/1.1 101 Switching Protocols\r\n\r\n".utf8)

  @Test func `the null server welcomes and acknowledges what the protobuf client sends`() {
    var client = makeMachine(seat(.martlet), names, host: "h")
    var server = NullServerMachine()
    var (up, down) = (ByteBuffer(), ByteBuffer())
    var events: [SessionEvent] = []
    client.opened(cursor: nil, into: &up)
    for _ in 0..<3 {
      #expect(server.received(&up, into: &down))
      client.received(&down, events: &events, into: &up)
    }
    #expect(events == [.ready])
    for number in 1...600 as ClosedRange<UInt64> {
      client.send(ref: number, place: 0, id: "id\(number)", text: text(number, place: 0))
    }
    client.flush(into: &up)
    #expect(server.received(&up, into: &down))
    events = []
    client.received(&down, events: &events, into: &up)
    #expect(events == (1...600).map { .acknowledged(ref: $0, sequence: $0) })
  }

  @Test func `JSON answers are read, alone and in arrays`() {
    let message = String(decoding: text(9, place: 1), as: UTF8.self)
    let frames = [
      #"{"ref":"0","welcome":{"user":{},"device":"d"}}"#,
      #"[{"ref":"3","sent":{"conversation":"c1","seq":"12","time":"1"}},"#
        + #"{"ref":"4","error":{"code":"UNAVAILABLE","message":"x","retryable":true}}]"#,
      #"{"event":{"conversation":"c1","seq":"13","author":"u","message":{"text":"\#(message)"}}}"#,
      #"{"event":{"conversation":"other","seq":"1","message":{"text":"x"}}}"#,
      #"{"cursor":"abc"}"#, #"{"draining":{}}"#,
    ]
    expect(
      [
        .ready, .acknowledged(ref: 3, sequence: 12),
        .refused(ref: 4, code: "UNAVAILABLE", mayPass: true),
        .delivered(place: 1, sequence: 13, stamp: stamp(9, place: 1)), .cursor("abc"), .leaving,
      ],
      makeMachine(seat(.martletJSON), names, host: "h"),
      upgraded + frames.flatMap { webSocket(Array($0.utf8), opcode: 1) })
  }

  @Test func `a page is dense or said to be not`() {
    func page(_ second: String) -> [UInt8] {
      let text =
        #"{"ref":"8","history":{"conversation":"c0","head":"9","events":["#
        + #"{"conversation":"c0","seq":"6"},{"conversation":"c0","seq":"\#(second)"}]}}"#
      return upgraded + webSocket(Array(text.utf8), opcode: 1)
    }
    let machine = makeMachine(seat(.martletJSON), names, host: "h")
    expect([.page(ref: 8, first: 6, stamps: [nil, nil], isDense: true)], machine, page("7"))
    expect([.page(ref: 8, first: 6, stamps: [nil, nil], isDense: false)], machine, page("8"))
  }

  @Test func `a WebSocket that is refused, closed or broken ends the session`() {
    let machine = makeMachine(seat(.martlet), names, host: "h")
    expect(
      [.failed("the WebSocket was refused: HTTP/1.1 401 Unauthorized")], machine,
      Array("HTTP/1.1 401 Unauthorized\r\n\r\n".utf8))
    expect(
      [.failed("closed with 1001 bye")], machine,
      upgraded + webSocket([3, 233] + Array("bye".utf8), opcode: 8))
    expect(
      [.failed("a batch that cannot be read")], machine,
      upgraded + webSocket([0x0a, 0x7f], opcode: 2))
  }

  @Test func `NATS acknowledges when the stream has it, and refuses what it says`() {
    let names = PlaceNames(["S r.x0.c0", "S r.x0.c1"])
    let heard = String(decoding: text(2, place: 1), as: UTF8.self)
    let ack = #"{"stream":"S","seq":4}"#
    let error = #"{"error":{"code":503,"description":"no quorum"}}"#
    let input =
      "INFO {}\r\nPONG\r\nPING\r\n"
      + "MSG _INBOX.s5.17 1 \(ack.utf8.count)\r\n\(ack)\r\n"
      + "MSG _INBOX.s5.18 1 \(error.utf8.count)\r\n\(error)\r\n"
      + "MSG r.x0.c1 2 $JS.ACK.S.c.1.4.1.0.0 \(heard.utf8.count)\r\n\(heard)\r\n"
    expect(
      [
        .ready, .acknowledged(ref: 17, sequence: 0),
        .refused(ref: 18, code: "no quorum", mayPass: false),
        .delivered(place: 1, sequence: 0, stamp: stamp(2, place: 1)),
      ], makeMachine(seat(.nats), names, host: "h"), Array(input.utf8))
    expect(
      [.failed("-ERR 'Authorization Violation'")], makeMachine(seat(.nats), names, host: "h"),
      Array("-ERR 'Authorization Violation'\r\n".utf8))
  }

  @Test func `NATS without a stream acknowledges what its sender hears`() {
    var machine = makeMachine(seat(.nats, listens: false), PlaceNames(["- c0", "- c1"]), host: "h")
    var output = ByteBuffer()
    machine.opened(cursor: nil, into: &output)
    machine.send(ref: 31, place: 0, id: "x", text: text(1, place: 0))
    machine.flush(into: &output)
    #expect(String(buffer: output).contains("PUB c0 60\r\n"))
    let heard = String(decoding: text(1, place: 0), as: UTF8.self)
    expect(
      [.acknowledged(ref: 31, sequence: 0)], machine, Array("MSG c0 10 60\r\n\(heard)\r\n".utf8))
  }

  @Test func `MQTT is ready when it is subscribed, and acknowledges by packet`() {
    var machine = makeMachine(seat(.mqtt), PlaceNames(["r/c0", "r/c1"]), host: "h")
    var output = ByteBuffer()
    machine.opened(cursor: nil, into: &output)
    machine.send(ref: 77, place: 1, id: "x", text: text(1, place: 1))
    machine.flush(into: &output)
    let topic = Array("r/c1".utf8)
    let body = [0, UInt8(topic.count)] + topic + text(4, place: 1)
    let input: [UInt8] =
      [0x20, 2, 0, 0, 0x90, 3, 0, 1, 0, 0x90, 3, 0, 2, 0, 0x40, 2, 0, 1]
      + [0x30, UInt8(body.count)] + body
    expect(
      [
        .ready, .acknowledged(ref: 77, sequence: 0),
        .delivered(place: 1, sequence: 0, stamp: stamp(4, place: 1)),
      ], machine, input)
    expect(
      [.failed("the broker refused the session")],
      makeMachine(seat(.mqtt), PlaceNames(["r/c0", "r/c1"]), host: "h"), [0x20, 2, 0, 5])
  }
}
