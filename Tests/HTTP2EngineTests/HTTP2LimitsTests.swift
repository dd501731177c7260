import Primitives
import Testing

@testable import HTTP2Engine

/// Attacks, frame by frame, on a server with the public port's limits.
@Suite struct HTTP2LimitsTests {
  /// Sends what `frames` makes for 0, 1, 2 … until the server ends the connection.
  ///
  /// **Returns**: the number of the send that was refused, and why.
  private func flood(
    _ client: RawClient, max: Int = 2_000, _ frames: (Int32) -> [RawFrame]
  ) -> (Int, HTTP2Error)? {
    for round in 0..<max {
      do {
        try client.send(frames(Int32(round)))
        if let failure = client.server.failure { return (round, failure) }
      } catch {
        return (round, client.server.failure ?? .transportClosed)
      }
    }
    return nil
  }

  private func expectEnd(
    _ client: RawClient, _ end: (Int, HTTP2Error)?, round: Int, _ limit: HTTP2Limit
  ) {
    #expect(end?.0 == round)
    #expect(end?.1 == .limitExceeded(limit))
    client.drain()
    #expect(client.goAwayCode == .enhanceYourCalm)
    #expect(client.server.isFinished)
  }

  @Test func `rapid resets end the connection after the burst`() throws {
    let client = try RawClient()
    let end = flood(client) { [.request(1 + 2 * $0), .reset(1 + 2 * $0)] }
    expectEnd(client, end, round: 100, .peerResets)
    #expect(client.server.openStreamCount <= 1)
  }

  @Test func `ten resets a second are no attack`() throws {
    let client = try RawClient()
    let end = flood(client, max: 1_000) {
      client.now = client.now + 100
      return [.request(1 + 2 * $0), .reset(1 + 2 * $0)]
    }
    #expect(end == nil)
    #expect(client.events.requests.count == 1_000)
  }

  @Test func `resets that the peer's errors ask for are counted`() throws {
    let client = try RawClient()
    let end = flood(client) {
      client.now = client.now + 1_000
      // A window beyond 2^31 - 1 is an error of the stream, and the reset is ours.
      return [.request(1 + 2 * $0, end: false), .windowUpdate(1 + 2 * $0, 0x7fff_ffff)]
    }
    expectEnd(client, end, round: 100, .ownResets)
  }

  @Test func `resets of the application's own are not counted, but blamed ones are`() throws {
    let client = try RawClient()
    let free = flood(client, max: 300) {
      let id = 1 + 2 * $0
      if $0 > 0 { client.server.resetStream(StreamID(id - 2), .cancel) }
      return [.request(id)]
    }
    #expect(free == nil)
    let blamed = flood(client, max: 300) {
      let id = 601 + 2 * $0
      if $0 > 0 { client.server.resetStream(StreamID(id - 2), .enhanceYourCalm, blamesPeer: true) }
      return [.request(id)]
    }
    #expect(blamed?.1 == .limitExceeded(.ownResets))
  }

  @Test func `a header list of more fields than allowed resets its stream unseen`() throws {
    let client = try RawClient()
    let crumbs = (0..<97).map { ("cookie", "c=\($0)") }
    try client.send(.request(1, more: Array(crumbs.prefix(96))), .request(3, more: crumbs))
    #expect(client.events.requests == [StreamID(1)])
    #expect(client.resetCode(of: 3) == .enhanceYourCalm)
    #expect(client.events.closeCode(of: StreamID(3)) == nil)
    #expect(client.server.openStreamCount == 1)
  }

  @Test func `a header list of more bytes than allowed resets its stream unseen`() throws {
    let client = try RawClient()
    let value = String(repeating: "v", count: 8_100)
    try client.send(
      .request(1, more: [("a", value)]), .request(3, more: [("a", value), ("b", value)]),
      .request(5))
    #expect(client.events.requests == [StreamID(1), StreamID(5)])
    #expect(client.resetCode(of: 3) == .enhanceYourCalm)
  }

  @Test func `indexed fields that unpack to more than allowed reset their stream unseen`() throws {
    let client = try RawClient()
    // A literal with indexing (0x40) puts 3,000 bytes into the table; 0xbe repeats them for one.
    let literal = RawFrame.block([("x", String(repeating: "v", count: 3_000))]).dropFirst()
    let bomb = RawFrame.requestBlock + [0x40] + literal + [UInt8](repeating: 0xbe, count: 5_000)
    try client.send(
      RawFrame(
        .headers, flags: RawFrame.endHeaders | RawFrame.endStream, stream: 1, bomb), .request(3))
    #expect(client.resetCode(of: 1) == .enhanceYourCalm)
    #expect(client.events.requests == [StreamID(3)])
  }

  @Test func `the header lists of all open streams together are bounded`() throws {
    let client = try RawClient()
    let value = String(repeating: "v", count: 14_000)
    for index in 0..<90 { try client.send(.request(1 + 2 * Int32(index), more: [("a", value)])) }
    let taken = client.events.requests.count
    #expect(taken == (1 << 20) / (14_000 + 33 + 4 * 32 + 63))
    #expect(client.resetCode(of: 179) == .enhanceYourCalm)
    // What ends makes room.
    for stream in client.events.requests {
      try client.server.submitResponse(stream, okFields, endStream: true)
    }
    client.drain()
    #expect(client.server.openStreamCount == 0)
    try client.send(.request(201, more: [("a", value)]))
    #expect(client.events.requests.last == StreamID(201))
  }

  @Test func `continuations without end close the connection`() throws {
    let client = try RawClient()
    let piece = RawFrame.block([("x-piece", "value")])
    try client.send(RawFrame(.headers, stream: 1, RawFrame.requestBlock))
    #expect(client.server.isReceivingHeaders)
    let end = flood(client, max: 20) { _ in [RawFrame(.continuation, stream: 1, piece)] }
    #expect(end != nil)
    client.drain()
    #expect(client.server.isFinished)
    #expect(client.events.requests.isEmpty)
  }

  @Test func `a header block that ends is no longer being received`() throws {
    let client = try RawClient()
    try client.send(
      RawFrame(.headers, flags: RawFrame.endStream, stream: 1, RawFrame.requestBlock),
      RawFrame(.continuation, stream: 1))
    #expect(client.server.isReceivingHeaders)
    try client.send(RawFrame(.continuation, flags: RawFrame.endHeaders, stream: 1))
    #expect(!client.server.isReceivingHeaders)
    #expect(client.events.requests == [StreamID(1)])
  }

  static let floods: [(RawFrame, HTTP2Limit, spent: Int)] = [
    // Opening the connection has spent two: SETTINGS and their acknowledgement.
    (RawFrame(.settings), .settingsFrames, 2),
    (RawFrame(.ping, [UInt8](repeating: 7, count: 8)), .pingFrames, 0),
    (RawFrame(.ping, flags: RawFrame.ack, [UInt8](repeating: 7, count: 8)), .pingFrames, 0),
    (RawFrame(.priority, stream: 9, [0, 0, 0, 3, 16]), .priorityFrames, 0),
    (RawFrame(.data, stream: 1), .emptyDataFrames, 0),
    (
      RawFrame(.data, flags: RawFrame.padded, stream: 1, [3, 0, 0, 0]), .emptyDataFrames, 0
    ),
  ]

  @Test(arguments: floods.indices)
  func `frames that cost their sender nothing are bounded`(index: Int) throws {
    let (frame, limit, spent) = Self.floods[index]
    let client = try RawClient()
    try client.send(.request(1, end: false))
    let end = flood(client) { _ in [frame] }
    expectEnd(client, end, round: 50 - spent, limit)

    let patient = try RawClient()
    try patient.send(.request(1, end: false))
    let none = flood(patient, max: 400) { _ in
      patient.now = patient.now + 200
      return [frame]
    }
    #expect(none == nil)
  }

  @Test func `window updates are bounded by time and by what was sent`() throws {
    let client = try RawClient()
    try client.send(.request(1))
    let end = flood(client) { _ in [.windowUpdate(0, 1)] }
    expectEnd(client, end, round: 200, .windowUpdateFrames)

    let reader = try RawClient()
    try reader.send(.request(1))
    try reader.server.submitResponse(StreamID(1), okFields, endStream: false)
    let none = flood(reader) { _ in
      reader.server.send(StreamID(1), pattern(4_096))
      return [.windowUpdate(0, 4_096), .windowUpdate(1, 4_096)]
    }
    #expect(none == nil)
  }

  @Test func `a peer that does not read its answers is cut off`() throws {
    var configuration = HTTP2Configuration.publicServer
    configuration.limits.controlFrames = RateBudget(burst: 1_000_000, perSecond: 0)
    configuration.limits.peerResets = RateBudget(burst: 1_000_000, perSecond: 0)
    let client = try RawClient(configuration)
    let pings = [RawFrame](repeating: RawFrame(.ping, pattern(8)), count: 100).flatMap(\.bytes)
    var rounds = 0
    #expect(throws: HTTP2Error.limitExceeded(.outboundFrames)) {
      for _ in 0..<50 {
        try client.server.receive(pings, now: .zero)
        rounds += 1
      }
    }
    #expect((9...10).contains(rounds))
  }

  @Test func `streams beyond the allowed number are refused`() throws {
    var configuration = HTTP2Configuration.publicServer
    configuration.limits.concurrentStreamsMax = 3
    let client = try RawClient(configuration)
    for index in 0..<3 { try client.send(.request(1 + 2 * Int32(index))) }
    #expect(client.events.requests.count == 3)
    try client.send(.request(7))
    #expect(client.events.requests.count == 3)
    #expect(client.resetCode(of: 7) == .refusedStream || client.goAwayCode == .protocolError)
  }

  @Test func `small windows hold no more than the bound of queued bytes`() throws {
    let client = try RawClient()
    // SETTINGS_INITIAL_WINDOW_SIZE = 0
    try client.send(RawFrame(.settings, [0, 4, 0, 0, 0, 0]))
    var taken = 0
    for index in 0..<20 {
      let stream = StreamID(1 + 2 * Int32(index))
      try client.send(.request(stream.rawValue))
      try client.server.submitResponse(stream, okFields, endStream: false)
      while client.server.send(stream, pattern(16 << 10)) == .queued { taken += 16 << 10 }
      #expect(client.server.queuedBytes(stream) <= 256 << 10)
      client.drain()
    }
    #expect(taken == 1 << 20)
    #expect(client.count(.data) == 0)
    #expect(client.server.queuedBytes == 1 << 20)
  }

  static let badFields: [(String, String)] = [
    ("connection", "close"), ("keep-alive", "1"), ("proxy-connection", "x"),
    ("transfer-encoding", "chunked"), ("upgrade", "h2c"), ("te", "gzip"), ("X-Upper", "1"),
    ("x-crlf", "a\r\nb: c"), ("x-nul", "\0"), ("x y", "1"), ("host", "evil.example"),
    (":path", "/again"), (":unknown", "x"), ("content-length", "-1"), ("", "x"),
  ]

  @Test(arguments: badFields.indices)
  func `a request that another hop could read differently is refused`(index: Int) throws {
    let client = try RawClient()
    try client.send(.request(1, more: [Self.badFields[index]]), .request(3))
    #expect(client.events.requests == [StreamID(3)])
    #expect(client.resetCode(of: 1) == .protocolError)
  }

  @Test func `a host that repeats the authority is allowed in any case of letters`() throws {
    let client = try RawClient()
    try client.send(.request(1, more: [("host", "Example.ORG")]))
    #expect(client.events.requests == [StreamID(1)])
  }

  @Test func `a body of another length than announced resets its stream`() throws {
    let client = try RawClient()
    try client.send(
      .request(1, more: [("content-length", "3")], end: false),
      RawFrame(.data, flags: RawFrame.endStream, stream: 1, [1, 2, 3, 4]))
    #expect(client.resetCode(of: 1) == .protocolError)
    #expect(!client.events.hasEnd(of: StreamID(1)))
    #expect(client.events.closeCode(of: StreamID(1)) == .protocolError)
  }

  @Test func `a connection error is told after its go-away is written`() throws {
    let client = try RawClient()
    // DATA on a stream that was never opened.
    try client.send(RawFrame(.data, stream: 5, [1]))
    #expect(client.goAwayCode == .protocolError)
    #expect(client.server.failure == .protocolViolation(.protocolError))
    #expect(client.server.isFinished)
  }

  @Test func `a client that speaks something else is refused`() {
    let server = HTTP2Connection(role: .server, configuration: .publicServer)
    #expect(throws: HTTP2Error.badPreface) {
      try server.receive(Array("GET / HTTP/1.1\r\nhost: a\r\n\r\n".utf8), now: .zero)
    }
    #expect(server.isFinished)
    #expect(server.failure == .badPreface)
  }
}
