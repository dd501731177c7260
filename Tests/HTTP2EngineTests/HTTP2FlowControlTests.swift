import Primitives
import Testing

@testable import HTTP2Engine

/// Windows, backpressure and the bounds of what waits.
@Suite struct HTTP2FlowControlTests {
  private func smallWindows(_ streamBytes: Int) -> HTTP2Configuration {
    var configuration = HTTP2Configuration.publicServer
    configuration.streamWindowBytes = streamBytes
    configuration.connectionWindowBytes = 65_535
    return configuration
  }

  @Test func `a sender stops at the window and goes on when bytes are consumed`() throws {
    let link = try Loopback(server: smallWindows(1_000))
    let stream = try link.request()
    link.client.send(stream, pattern(5_000), endStream: true)
    try link.pump()
    #expect(link.serverEvents.data(of: stream).count == 1_000)
    #expect(link.client.queuedBytes(stream) == 4_000)
    var received = 0
    for _ in 0..<20 where !link.serverEvents.hasEnd(of: stream) {
      let arrived = link.serverEvents.data(of: stream).count
      link.server.consume(stream, byteCount: arrived - received)
      received = arrived
      try link.pump()
    }
    #expect(link.serverEvents.data(of: stream) == pattern(5_000))
    #expect(link.serverEvents.hasEnd(of: stream))
  }

  @Test func `a stream that is not read does not stop the others`() throws {
    let link = try Loopback(server: smallWindows(10_000))
    let stalled = try link.request()
    let lively = try link.request()
    link.client.send(stalled, pattern(50_000))
    link.client.send(lively, pattern(9_000))
    try link.pump()
    #expect(link.serverEvents.data(of: stalled).count == 10_000)
    #expect(link.serverEvents.data(of: lively) == pattern(9_000))
  }

  @Test func `what a stream left unread is given back to the connection at its end`() throws {
    let link = try Loopback(server: smallWindows(60_000))
    for _ in 0..<20 {
      let stream = try link.request()
      link.client.send(stream, pattern(50_000))
      try link.pump()
      #expect(link.serverEvents.data(of: stream).count == 50_000)
      link.client.resetStream(stream, .cancel)
      try link.pump()
    }
  }

  @Test(arguments: [true, false])
  func `bytes that arrive for a stream we have reset cost no window`(
    resetIsWritten: Bool
  ) throws {
    let link = try Loopback(server: smallWindows(60_000))
    for _ in 0..<20 {
      let stream = try link.request()
      link.client.send(stream, pattern(50_000))
      let onItsWay = link.client.takeOutput()
      // A window is opened again by halves; one that leaked would be shut in the second round.
      #expect(onItsWay.count > 30_000)
      link.server.resetStream(stream, .cancel)
      let reset = resetIsWritten ? link.server.takeOutput() : []
      try link.deliver(onItsWay, to: link.server, pieceBytes: .max)
      try link.deliver(reset, to: link.client, pieceBytes: .max)
      try link.pump()
      #expect(link.serverEvents.data(of: stream).isEmpty)
      #expect(link.serverEvents.closeCode(of: stream) == .cancel)
    }
  }

  /// A server that ignores priorities, and a client of an ordinary server.
  @Test(arguments: [HTTP2Connection.Role.server, .client])
  func `streams share the connection in turns`(sender: HTTP2Connection.Role) throws {
    let link = try Loopback(
      client: .etcdClient, server: sender == .server ? .publicServer : .nodeLink)
    let streams = [try link.request(), try link.request()]
    let connection = sender == .server ? link.server : link.client
    for stream in streams {
      if sender == .server {
        try link.server.submitResponse(stream, okFields, endStream: false)
      }
      connection.send(stream, pattern(200_000))
    }
    let frames = RawFrame.parse(connection.takeOutput()).filter { $0.type == 0 }
    let early = frames.prefix(frames.count / 2).map(\.stream)
    for stream in streams {
      #expect(early.count { $0 == stream.rawValue } >= early.count / 3)
    }
  }

  @Test func `consuming more than arrived opens no window`() throws {
    let link = try Loopback(server: smallWindows(1_000))
    let stream = try link.request()
    link.client.send(stream, pattern(10_000))
    try link.pump()
    link.server.consume(stream, byteCount: 1_000_000)
    link.server.consume(stream, byteCount: 1_000_000)
    link.server.consume(stream, byteCount: -5)
    link.server.consume(StreamID(99), byteCount: 5)
    try link.pump()
    #expect(link.serverEvents.data(of: stream).count == 2_000)
  }

  @Test(arguments: [HTTP2Configuration.Consumption.automatic, .byApplication])
  func `ten mebibytes arrive whole`(consumption: HTTP2Configuration.Consumption) throws {
    var configuration = HTTP2Configuration.nodeLink
    configuration.consumption = consumption
    configuration.streamWindowBytes = 100_000
    configuration.connectionWindowBytes = 150_000
    let link = try Loopback(server: configuration)
    let stream = try link.request()
    let sent = pattern(10 << 20)
    link.client.send(stream, sent, endStream: true)
    var received: [UInt8] = []
    for _ in 0..<10_000 where received.count < sent.count {
      try link.pump()
      let arrived = link.serverEvents.data(of: stream)
      link.serverEvents = []
      link.server.consume(stream, byteCount: arrived.count)
      received += arrived
    }
    #expect(received == sent)
  }

  @Test func `a full stream says so and tells when it has room`() throws {
    let link = try Loopback(client: smallWindows(1 << 20), server: smallWindows(65_535))
    let stream = try link.request()
    link.clientEvents = []
    let piece = pattern(64 << 10)
    for _ in 0..<4 { #expect(link.client.send(stream, piece) == .queued) }
    #expect(link.client.send(stream, [1]) == .full)
    #expect(link.client.send(stream, [1]) == .full)
    #expect(link.client.queuedBytes(stream) == 256 << 10)
    try link.pump()
    #expect(link.clientEvents.isEmpty)
    for _ in 0..<10 {
      link.server.consume(stream, byteCount: 65_535)
      try link.pump()
    }
    #expect(link.clientEvents == [.writable(stream)])
    #expect(link.client.send(stream, [1]) == .queued)
  }

  @Test func `the connection bounds what waits on all its streams`() throws {
    let link = try Loopback(client: smallWindows(1 << 20), server: smallWindows(1_000))
    var outcomes: [HTTP2SendOutcome] = []
    var streams: [StreamID] = []
    for _ in 0..<10 {
      let stream = try link.request()
      streams.append(stream)
      outcomes.append(link.client.send(stream, pattern(128 << 10)))
    }
    #expect(outcomes.prefix(8).allSatisfy { $0 == .queued })
    #expect(outcomes.suffix(2).allSatisfy { $0 == .full })
    #expect(link.client.queuedBytes <= 1 << 20)
    link.clientEvents = []
    for stream in streams.prefix(5) { link.client.resetStream(stream, .cancel) }
    try link.pump()
    #expect(link.clientEvents.contains(.writable(streams[8])))
    #expect(link.clientEvents.contains(.writable(streams[9])))
  }

  @Test func `a stream that ends while it is owed room hears only of its end`() throws {
    let link = try Loopback(client: smallWindows(1 << 20), server: smallWindows(1_000))
    let stream = try link.request()
    link.client.send(stream, pattern(256 << 10))
    #expect(link.client.send(stream, [1]) == .full)
    link.clientEvents = []
    link.client.resetStream(stream, .cancel)
    try link.pump()
    #expect(link.clientEvents == [.streamClosed(stream, .cancel)])
  }

  @Test func `a piece larger than the limit is taken when nothing waits`() throws {
    let link = try Loopback(client: smallWindows(1 << 20), server: smallWindows(1_000))
    let stream = try link.request()
    #expect(link.client.send(stream, pattern(2 << 20)) == .queued)
    #expect(link.client.send(stream, [1]) == .full)
  }
}
