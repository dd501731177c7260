import Primitives
import Testing

@testable import HTTP2Engine

@Suite struct HTTP2ConnectionTests {
  @Test(arguments: [1, 2, 3, 7, 9, 10, 64, 1_000, Int.max])
  func `a call with data and trailers arrives whatever the cut of the bytes`(
    pieceBytes: Int
  ) throws {
    let link = try Loopback(connects: false)
    let body = pattern(40_000)
    let answer = pattern(30_001)
    let stream = try link.client.submitRequest(requestFields, endStream: false)
    #expect(link.client.send(stream, body) == .queued)
    try link.client.submitTrailers(stream, [HTTP2HeaderField("x-end", "1")])
    try link.pump(pieceBytes: pieceBytes)
    #expect(link.serverEvents.contains(.headers(stream, requestFields, endStream: false)))
    #expect(link.serverEvents.data(of: stream) == body)
    #expect(link.serverEvents.contains(.trailers(stream, [HTTP2HeaderField("x-end", "1")])))

    try link.server.submitResponse(stream, okFields, endStream: false)
    #expect(link.server.send(stream, answer, endStream: true) == .queued)
    try link.pump(pieceBytes: pieceBytes)
    #expect(link.clientEvents.contains(.headers(stream, okFields, endStream: false)))
    #expect(link.clientEvents.data(of: stream) == answer)
    #expect(link.clientEvents.hasEnd(of: stream))
    #expect(link.clientEvents.closeCode(of: stream) == HTTP2ErrorCode.none)
    #expect(link.serverEvents.closeCode(of: stream) == HTTP2ErrorCode.none)
    #expect(link.client.openStreamCount == 0 && link.server.openStreamCount == 0)
  }

  @Test func `a side learns the peer's settings and that its own were taken`() throws {
    var server = HTTP2Configuration.publicServer
    server.limits.concurrentStreamsMax = 17
    let link = try Loopback(server: server, connects: false)
    try link.pump()
    let settings = HTTP2PeerSettings(
      concurrentStreamsMax: 17, streamWindowBytes: 256 << 10, frameBytesMax: 16_384,
      headerListBytesMax: 16_384, offersExtendedConnect: true)
    #expect(link.clientEvents.contains(.peerSettings(settings)))
    #expect(link.clientEvents.contains(.settingsAcknowledged))
    #expect(link.serverEvents.contains(.settingsAcknowledged))
  }

  @Test func `consecutive data of one stream in one read is one event`() throws {
    let link = try Loopback(client: .nodeLink, server: .publicServer)
    let stream = try link.request()
    for _ in 0..<3 {
      link.client.send(stream, pattern(20_000))
    }
    let bytes = link.client.takeOutput()
    #expect(RawFrame.parse(bytes).count == 4)
    try link.server.receive(bytes, now: .zero)
    #expect(
      link.server.takeEvents()
        == [.data(stream, pattern(20_000) + pattern(20_000) + pattern(20_000), endStream: false)])
  }

  @Test func `data of two streams keeps its order and its stream`() throws {
    let link = try Loopback()
    let first = try link.request()
    let second = try link.request()
    link.serverEvents = []
    var bytes: [UInt8] = []
    for (stream, text) in [(first, "a"), (second, "b"), (first, "c")] {
      link.client.send(stream, Array(text.utf8))
      bytes += link.client.takeOutput()
    }
    try link.server.receive(bytes, now: .zero)
    #expect(
      link.server.takeEvents() == [
        .data(first, [0x61], endStream: false), .data(second, [0x62], endStream: false),
        .data(first, [0x63], endStream: false),
      ])
  }

  @Test func `an end without data is an empty event`() throws {
    let link = try Loopback()
    let stream = try link.request()
    link.client.send(stream, [], endStream: true)
    try link.pump()
    #expect(link.serverEvents.last == .data(stream, [], endStream: true))
  }

  @Test func `small pieces share frames`() throws {
    let link = try Loopback(server: .publicServer)
    let stream = try link.request()
    for index in 0..<1_000 { link.client.send(stream, [UInt8(index & 0xff)]) }
    let frames = RawFrame.parse(link.client.takeOutput())
    #expect(frames.count == 1)
    #expect(frames.first?.payload == (0..<1_000).map { UInt8($0 & 0xff) })
  }

  @Test func `frames are as large as both sides allow`() throws {
    let link = try Loopback()
    let stream = try link.request()
    link.client.send(stream, pattern(100_000))
    let sizes = RawFrame.parse(link.client.takeOutput()).map(\.payload.count)
    #expect(sizes == [65_536, 34_464])
  }

  @Test func `writing stops at the asked number of bytes and goes on later`() throws {
    let link = try Loopback(server: .publicServer)
    let stream = try link.request()
    link.client.send(stream, pattern(100_000))
    let first = link.client.takeOutput(bytesMax: 20_000)
    #expect(first.count == 2 * (16_384 + 9))
    #expect(link.client.wantsWrite)
    #expect(link.client.queuedBytes(stream) == 100_000 - 2 * 16_384)
    try link.deliver(first, to: link.server, pieceBytes: .max)
    try link.pump()
    #expect(link.serverEvents.data(of: stream) == pattern(100_000))
  }

  @Test func `informational responses precede the final one`() throws {
    let link = try Loopback()
    let stream = try link.request()
    let early = [HTTP2HeaderField(":status", "103"), HTTP2HeaderField("link", "</a>")]
    try link.server.submitInformational(stream, early)
    try link.server.submitResponse(stream, okFields, endStream: true)
    try link.pump()
    #expect(link.clientEvents.first == .informational(stream, early))
    #expect(link.clientEvents.dropFirst().first == .headers(stream, okFields, endStream: true))
  }

  @Test func `trailers follow everything that is queued`() throws {
    let link = try Loopback()
    let stream = try link.request(endStream: true)
    try link.server.submitResponse(stream, GRPCHeaders.response, endStream: false)
    link.server.send(stream, pattern(200_000))
    try link.server.submitTrailers(stream, GRPCStatus(.aborted, "try again").trailers)
    try link.pump()
    #expect(link.clientEvents.data(of: stream) == pattern(200_000))
    let last = link.clientEvents.suffix(2)
    #expect(last.first == .trailers(stream, GRPCStatus(.aborted, "try again").trailers))
    #expect(last.last == .streamClosed(stream, .none))
  }

  @Test func `trailers without data follow the headers`() throws {
    let link = try Loopback()
    let stream = try link.request(endStream: true)
    try link.server.submitResponse(stream, okFields, endStream: false)
    try link.pump()
    try link.server.submitTrailers(stream, [HTTP2HeaderField("grpc-status", "0")])
    try link.pump()
    #expect(link.clientEvents.contains(.trailers(stream, [HTTP2HeaderField("grpc-status", "0")])))
  }

  @Test func `a ping comes back with its value`() throws {
    let link = try Loopback()
    link.client.ping(0x0123_4567_89ab_cdef)
    link.server.ping(7)
    try link.pump()
    #expect(link.clientEvents == [.pingAcknowledged(0x0123_4567_89ab_cdef)])
    #expect(link.serverEvents == [.pingAcknowledged(7)])
  }

  @Test func `a reset in the middle of a transfer drops what waits on both sides`() throws {
    let link = try Loopback(client: .nodeLink, server: .publicServer)
    let stream = try link.request(endStream: true)
    try link.server.submitResponse(stream, okFields, endStream: false)
    link.server.send(stream, pattern(200_000))
    try link.deliver(link.server.takeOutput(bytesMax: 30_000), to: link.client, pieceBytes: .max)
    #expect(link.server.queuedBytes > 0)
    link.client.resetStream(stream, .cancel)
    try link.deliver(link.client.takeOutput(), to: link.server, pieceBytes: .max)
    link.collect()
    #expect(link.server.queuedBytes == 0)
    #expect(link.serverEvents.closeCode(of: stream) == .cancel)
    #expect(link.clientEvents.closeCode(of: stream) == .cancel)
    #expect(link.server.send(stream, [1]) == .closed)
    #expect(throws: HTTP2Error.streamClosed(stream)) {
      try link.server.submitTrailers(stream, [])
    }
    link.server.resetStream(stream, .cancel)
    try link.pump()
    let next = try link.request()
    #expect(link.serverEvents.requests.last == next)
  }

  @Test func `a request beyond the peer's concurrency waits and can be cancelled`() throws {
    var server = HTTP2Configuration.publicServer
    server.limits.concurrentStreamsMax = 1
    let link = try Loopback(server: server)
    let first = try link.request(endStream: true)
    let second = try link.request(endStream: true)
    let third = try link.request(endStream: true)
    #expect(link.serverEvents.requests == [first])
    link.client.resetStream(second, .cancel)
    try link.pump()
    try link.server.submitResponse(first, okFields, endStream: true)
    try link.pump()
    #expect(link.serverEvents.requests == [first, third])
    #expect(link.clientEvents.closeCode(of: second) == .cancel)
    try link.server.submitResponse(third, okFields, endStream: true)
    try link.pump()
    #expect(link.client.openStreamCount == 0)
  }

  @Test func `extended connect carries bytes both ways`() throws {
    let link = try Loopback(server: .publicServer)
    let fields =
      [HTTP2HeaderField(":method", "CONNECT"), HTTP2HeaderField(":protocol", "websocket")]
      + requestFields.dropFirst()
    let stream = try link.request(fields)
    #expect(link.serverEvents == [.headers(stream, fields, endStream: false)])
    try link.server.submitResponse(stream, okFields, endStream: false)
    link.server.send(stream, [1, 2])
    link.client.send(stream, [3])
    try link.pump()
    #expect(link.clientEvents.data(of: stream) == [1, 2])
    #expect(link.serverEvents.data(of: stream) == [3])
  }

  @Test func `extended connect needs the server's offer`() throws {
    let link = try Loopback()
    #expect(throws: HTTP2Error.extendedConnectNotOffered) {
      try link.client.submitRequest(
        [HTTP2HeaderField(":protocol", "websocket")] + requestFields, endStream: false)
    }
  }

  @Test(arguments: [
    HTTP2HeaderField("x-bad", "a\r\nx-injected: 1"), HTTP2HeaderField("X-Upper", "a"),
    HTTP2HeaderField("", "a"), HTTP2HeaderField("x-nul", "\0"), HTTP2HeaderField("x y", "a"),
  ])
  func `a field of ours that could not be told from another is not sent`(
    field: HTTP2HeaderField
  ) throws {
    let link = try Loopback()
    let stream = try link.request(endStream: true)
    let error = HTTP2Error.invalidHeaderField(name: field.name)
    #expect(throws: error) {
      try link.server.submitResponse(stream, okFields + [field], endStream: true)
    }
    #expect(throws: error) {
      try link.client.submitRequest(requestFields + [field], endStream: true)
    }
    try link.server.submitResponse(stream, okFields, endStream: true)
    try link.pump()
    #expect(link.clientEvents.closeCode(of: stream) == HTTP2ErrorCode.none)
  }

  @Test func `a response too large for the wire resets its stream`() throws {
    let link = try Loopback()
    let stream = try link.request(endStream: true)
    let large = HTTP2HeaderField("x-large", String(repeating: "\u{7e}", count: 100_000))
    try link.server.submitResponse(stream, okFields + [large], endStream: true)
    try link.pump()
    #expect(link.clientEvents.closeCode(of: stream) == .internalError)
  }

  @Test func `ten thousand streams leave nothing behind`() throws {
    let link = try Loopback(server: .publicServer)
    for _ in 0..<10_000 {
      let stream = try link.client.submitRequest(requestFields, endStream: true)
      try link.deliver(link.client.takeOutput(), to: link.server, pieceBytes: .max)
      try link.server.submitResponse(stream, okFields, endStream: false)
      link.server.send(stream, [1, 2, 3], endStream: true)
      try link.deliver(link.server.takeOutput(), to: link.client, pieceBytes: .max)
      #expect(link.client.takeEvents().last == .streamClosed(stream, .none))
      #expect(link.server.takeEvents().last == .streamClosed(stream, .none))
    }
    #expect(link.client.openStreamCount == 0 && link.server.openStreamCount == 0)
    #expect(link.client.queuedBytes == 0 && link.server.queuedBytes == 0)
  }

  @Test func `a connection is freed with its streams open`() throws {
    weak var connection: HTTP2Connection?
    do {
      let link = try Loopback()
      let stream = try link.request()
      link.client.send(stream, pattern(100_000))
      connection = link.client
      #expect(connection != nil)
    }
    #expect(connection == nil)
  }

  @Test func `the end of the transport ends every stream`() throws {
    let link = try Loopback()
    let first = try link.request()
    let second = try link.request()
    link.client.send(second, pattern(10))
    link.client.transportClosed()
    #expect(
      link.client.takeEvents() == [.streamClosed(first, .cancel), .streamClosed(second, .cancel)])
    #expect(link.client.isFinished)
    #expect(link.client.queuedBytes == 0)
    #expect(link.client.send(first, [1]) == .closed)
    #expect(link.client.takeOutput().isEmpty)
    #expect(throws: HTTP2Error.notAccepting) {
      try link.client.submitRequest(requestFields, endStream: true)
    }
  }
}

@Suite struct HTTP2LibraryTests {
  @Test func `the library tells its version`() {
    #expect(HTTP2Library.versionNumber >= 0x013400)
    #expect(HTTP2Library.version.hasPrefix("1."))
  }
}
