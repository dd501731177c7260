import HTTP2Engine
import Primitives
import Testing

/// The ways in which a connection ends.
@Suite struct HTTP2ShutdownTests {
  @Test func `a draining server finishes its streams and takes no more`() throws {
    let link = try Loopback()
    let stream = try link.request(endStream: true)
    link.server.shutdown()
    try link.pump()
    let goAways = link.clientEvents.filter { if case .goAway = $0 { true } else { false } }
    #expect(
      goAways == [
        .goAway(lastStream: StreamID(.max), .none, debug: []),
        .goAway(lastStream: stream, .none, debug: []),
      ])
    #expect(!link.client.acceptsRequests)
    #expect(throws: HTTP2Error.notAccepting) {
      try link.client.submitRequest(requestFields, endStream: true)
    }
    #expect(!link.server.isFinished && !link.client.isFinished)

    try link.server.submitResponse(stream, okFields, endStream: false)
    link.server.send(stream, pattern(300_000), endStream: true)
    try link.pump()
    #expect(link.clientEvents.data(of: stream) == pattern(300_000))
    #expect(link.clientEvents.closeCode(of: stream) == HTTP2ErrorCode.none)
    #expect(link.server.isFinished && link.client.isFinished)
    #expect(link.server.failure == nil && link.client.failure == nil)
    #expect(!link.serverEvents.contains { if case .pingAcknowledged = $0 { true } else { false } })
  }

  @Test func `a request that was on its way when the drain began is served`() throws {
    let link = try Loopback()
    let stream = try link.client.submitRequest(requestFields, endStream: true)
    let onItsWay = link.client.takeOutput()
    link.server.shutdown()
    try link.deliver(link.server.takeOutput(), to: link.client, pieceBytes: .max)
    try link.deliver(onItsWay, to: link.server, pieceBytes: .max)
    try link.pump()
    #expect(link.serverEvents.requests == [stream])
    try link.server.submitResponse(stream, okFields, endStream: true)
    try link.pump()
    #expect(link.clientEvents.closeCode(of: stream) == HTTP2ErrorCode.none)
    #expect(link.client.isFinished && link.server.isFinished)
  }

  @Test func `a second call does not wait for the client`() throws {
    let link = try Loopback()
    link.server.shutdown()
    link.server.shutdown()
    _ = link.server.takeOutput()
    #expect(link.server.isFinished)
    link.server.shutdown()
    #expect(link.server.takeOutput().isEmpty)
  }

  @Test func `requests that the server will not take end as refused`() throws {
    let link = try Loopback()
    link.server.shutdown()
    link.server.shutdown()
    let late = try link.client.submitRequest(requestFields, endStream: true)
    let lateBytes = link.client.takeOutput()
    try link.deliver(link.server.takeOutput(), to: link.client, pieceBytes: .max)
    try link.deliver(lateBytes, to: link.server, pieceBytes: .max)
    link.collect()
    #expect(link.serverEvents.requests.isEmpty)
    #expect(link.clientEvents.closeCode(of: late) == .refusedStream)
  }

  @Test func `a draining client waits for its answers`() throws {
    let link = try Loopback()
    let stream = try link.request(endStream: true)
    link.client.shutdown()
    try link.pump()
    #expect(!link.client.acceptsRequests)
    #expect(!link.client.isFinished)
    try link.server.submitResponse(stream, okFields, endStream: true)
    try link.pump()
    #expect(link.clientEvents.closeCode(of: stream) == HTTP2ErrorCode.none)
    #expect(link.client.isFinished && link.server.isFinished)
  }

  @Test func `termination says why and sends nothing else`() throws {
    let link = try Loopback()
    let stream = try link.request()
    link.client.send(stream, pattern(1_000))
    link.client.terminate(.inadequateSecurity)
    let frames = RawFrame.parse(link.client.takeOutput())
    #expect(frames.map(\.type) == [RawFrame.Kind.goAway.rawValue])
    #expect(frames.first?.payload.dropFirst(4).first(where: { $0 != 0 }) == 12)
    #expect(link.client.failure == .terminated(.inadequateSecurity))
    #expect(link.client.isFinished)
    try link.client.receive(pattern(100), now: .zero)
    #expect(link.client.takeEvents().isEmpty)
  }

  @Test func `a go-away's reason is told`() throws {
    let link = try Loopback()
    link.server.terminate(.enhanceYourCalm)
    try link.pump()
    guard case .goAway(_, .enhanceYourCalm, _)? = link.clientEvents.first else {
      Issue.record("\(link.clientEvents)")
      return
    }
    #expect(link.client.isFinished)
  }
}
