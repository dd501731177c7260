import NIOCore
import Primitives
import RawSockets
import Testing
import WebSocketEngine

@testable import Transport

@Suite struct WebSocketSessionTests {
  private func text(_ text: String) -> [UInt8] { FrameEncoder.encode(.text, Array(text.utf8)) }

  @Test func theUpgradeAgreesOnASubprotocolAndMessagesComeBack() async throws {
    let fixture = try await PublicFixture.open()
    let client = try await RawConnection.open(fixture.port)
    try await client.send(RawConnection.upgrade)
    let answer = try await client.text(until: "\r\n\r\n")
    #expect(answer.hasPrefix("HTTP/1.1 101 "))
    #expect(answer.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"))
    #expect(answer.contains("Sec-WebSocket-Protocol: martlet.v1.json\r\n"))
    try await client.forget()
    try await client.sendFrame(.text, Array("hello".utf8))
    #expect(try await client.read { $0.count >= 7 } == text("hello"))
    #expect(try await fixture.on { $0.sessions[0].subprotocol } == "martlet.v1.json")
    try await fixture.close()
  }

  @Test func framesRightBehindTheUpgradeAreNotLost() async throws {
    let fixture = try await PublicFixture.open()
    let client = try await RawConnection.open(fixture.port)
    let frame = FrameEncoder.encodeMasked(.text, Array("early".utf8), maskingKey: 1)
    try await client.send(Array(RawConnection.upgrade.utf8) + frame)
    _ = try await client.text(until: "early")
    try await fixture.close()
  }

  @Test(arguments: [
    ("Origin: https://chat.test", "Origin: https://evil.test", "403"),
    ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8", "426"),
    ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Key: short", "400"),
    ("Connection: Upgrade", "Connection: keep-alive", "400"),
    ("Upgrade: websocket", "Upgrade: h2c", "400"),
    ("GET /v1/ws", "GET /other", "404"),
    ("Origin:", "Authorization: Bearer bad\r\nOrigin:", "401"),
  ])
  func otherRequestsAreRefused(part: String, replacement: String, status: String) async throws {
    let fixture = try await PublicFixture.open()
    let client = try await RawConnection.open(fixture.port)
    let request = RawConnection.upgrade.split(separator: part, maxSplits: 1)
    try await client.send(request.joined(separator: replacement))
    if !RawConnection.upgrade.hasPrefix(part) {
      let answer = try await client.text(until: "\r\n\r\n")
      #expect(answer.hasPrefix("HTTP/1.1 \(status)"))
      #expect(answer.contains("upgrade: websocket\r\n") == (status == "426"))
    }
    #expect(try await fixture.on { $0.sessions.isEmpty })
    try await fixture.close()
  }

  @Test func oneBufferServesManySessions() async throws {
    let fixture = try await PublicFixture.open()
    var clients: [RawConnection] = []
    for _ in 0..<50 { clients.append(try await .webSocket(fixture.port)) }
    try await fixture.on { fixture in
      for number in 0..<20 {
        let frame = WebSocketSession.frame(text: Array("message \(number)".utf8))
        for session in fixture.sessions { session.send(frame) }
      }
    }
    let expected = (0..<20).flatMap { text("message \($0)") }
    for client in clients {
      #expect(try await client.read { $0.count >= expected.count } == expected)
    }
    try await fixture.close()
  }

  /// **Returns**: a client whose session stays congested until the client reads.
  private func congestedClient(of fixture: PublicFixture) async throws -> RawConnection {
    let client = try await RawConnection.webSocket(fixture.port, reads: false)
    try await client.sendFrame(.text, Array("flood".utf8))
    try await fixture.wait { $0.congestion.last == true }
    return client
  }

  @Test func aClientThatDoesNotReadIsCongestedUntilItReads() async throws {
    let fixture = try await PublicFixture.open()
    let client = try await congestedClient(of: fixture)
    try await client.reads(true)
    try await fixture.wait { $0.floodBytesLeft <= 0 && $0.congestion.last == false }
    #expect(try await fixture.on { !$0.sessions[0].isCongested })
    try await client.sendFrame(.text, Array("still here".utf8))
    _ = try await client.text(until: "still here")
    try await fixture.close()
  }

  @Test func whoDoesNotReadIsNotReadAndLosesNothing() async throws {
    let fixture = try await PublicFixture.open { $0.sessionQueueBytesMax = 256 << 10 }
    let client = try await congestedClient(of: fixture)
    // Five times as many answers as end a session that is sent them.
    let messages = (0..<10_000).map { "message \($0)" }
    let frames = messages.map { RawFrame(WebSocketOpcode.text.rawValue, Array($0.utf8)) }
    try await client.send(frames.flatMap(\.masked))
    // For the kernel to be full, and for a session that were read to be ended.
    try await Task.sleep(for: .milliseconds(300))
    #expect(try await fixture.on { $0.sessions[0].isOpen && $0.sessions[0].isCongested })
    try await client.reads(true)
    let last = text("message 9999")
    let bytes = try await client.read { $0.suffix(last.count).elementsEqual(last) }
    #expect(Self.texts(in: bytes) == messages)
    #expect(try await fixture.limitCount(.outputQueue) == 0)
    try await fixture.close()
  }

  /// The text messages among a server's frames of fewer than 16 KiB.
  private static func texts(in bytes: [UInt8]) -> [String] {
    var texts: [String] = []
    var start = 0
    while start < bytes.count {
      guard let (frame, count) = RawFrame.first(in: Array(bytes[start...].prefix(16 << 10))) else {
        break
      }
      if frame.opcode == RawFrame.text {
        texts.append(String(decoding: frame.payload, as: UTF8.self))
      }
      start += count
    }
    return texts
  }

  @Test func aCongestedSessionThatIsSentMoreIsEnded() async throws {
    let fixture = try await PublicFixture.open()
    let client = try await congestedClient(of: fixture)
    try await fixture.on { fixture in
      let frame = WebSocketSession.frame(binary: [UInt8](repeating: 7, count: 10_000))
      while fixture.sessions[0].isOpen { fixture.sessions[0].send(frame) }
    }
    try await fixture.wait { $0.ends == [.lost] }
    #expect(try await fixture.limitCount(.outputQueue) == 1)
    try await client.close()
    try await fixture.close()
  }

  @Test func aMessageLargerThanEveryBufferArrives() async throws {
    let fixture = try await PublicFixture.open()
    let client = try await RawConnection.webSocket(fixture.port)
    try await client.sendFrame(.text, Array("big".utf8))
    let bytes = try await client.read { $0.count >= PublicFixture.bigBytes + 10 }
    #expect(bytes.count == PublicFixture.bigBytes + 10)
    try await fixture.close()
  }

  // MARK: Ends

  @Test func theClientsCloseIsAnsweredAndTheConnectionEnds() async throws {
    let fixture = try await PublicFixture.open()
    let client = try await RawConnection.webSocket(fixture.port)
    try await client.sendFrame(.close, FrameEncoder.closePayload(.normal, reason: "bye"))
    let end = try await client.textUntilClosed()
    #expect(Array(end.utf8.prefix(2)) == [0x88, 2] || end.utf8.count >= 4)
    try await fixture.wait { $0.ends == [.closed(code: .normal, reason: "bye")] }
    try await fixture.close()
  }

  @Test func theServersCloseWaitsForTheClients() async throws {
    let fixture = try await PublicFixture.open()
    let client = try await RawConnection.webSocket(fixture.port)
    try await fixture.on { $0.sessions[0].close(.goingAway, reason: "later") }
    let expected = FrameEncoder.encode(
      .close, FrameEncoder.closePayload(.goingAway, reason: "later"))
    #expect(try await client.read { $0.count >= expected.count } == expected)
    #expect(try await fixture.on { $0.ends.isEmpty })
    try await client.sendFrame(.close, FrameEncoder.closePayload(.goingAway))
    _ = try await client.textUntilClosed()
    try await fixture.wait { $0.ends == [.closed(code: .goingAway, reason: "")] }
    try await fixture.close()
  }

  @Test func aClientThatDoesNotAnswerTheCloseIsCutOff() async throws {
    let fixture = try await PublicFixture.open {
      $0.webSocket.closeTimeout = 30
      $0.lingerTimeout = 30
    }
    let client = try await RawConnection.webSocket(fixture.port)
    try await fixture.on { $0.sessions[0].close(.goingAway) }
    try await fixture.wait { $0.ends == [.lost] }
    _ = try await client.textUntilClosed()
    try await fixture.close()
  }

  @Test func aClientThatLeavesIsNoticed() async throws {
    let fixture = try await PublicFixture.open()
    let client = try await RawConnection.webSocket(fixture.port)
    try await client.close()
    try await fixture.wait { $0.ends == [.lost] }
    let counters = try await fixture.listener?.counters().get()
    #expect(counters?.webSocketsOpen == 0)
    try await fixture.close()
  }

  @Test func drainingClosesEverySessionWithItsCode() async throws {
    let fixture = try await PublicFixture.open()
    var clients: [RawConnection] = []
    for _ in 0..<5 { clients.append(try await .webSocket(fixture.port)) }
    let drained = try #require(fixture.listener).drain(grace: 50)
    let expected = FrameEncoder.encode(.close, FrameEncoder.closePayload(.serviceRestart))
    for client in clients {
      #expect(try await client.read { $0.count >= expected.count } == expected)
      try await client.sendFrame(.close, FrameEncoder.closePayload(.serviceRestart))
    }
    try await drained.get()
    #expect(try await fixture.on { $0.ends.count } == 5)
  }

  // MARK: Attacks

  @Test(
    arguments: [
      ([0x81, 0x05], WebSocketCloseCode.protocolError),
      ([0xf1, 0x80, 0, 0, 0, 0], .protocolError),
      ([0x81, 0xff, 0, 0, 0, 0, 0, 0x20, 0, 0, 1, 2, 3, 4], .messageTooBig),
      ([0x81, 0x81, 0, 0, 0, 0, 0xff], .invalidPayload),
    ] as [([UInt8], WebSocketCloseCode)])
  func whatIsNotTheProtocolIsToldAndEnded(bytes: [UInt8], code: WebSocketCloseCode) async throws {
    let fixture = try await PublicFixture.open()
    let client = try await RawConnection.webSocket(fixture.port)
    try await client.send(bytes)
    let expected = FrameEncoder.encode(.close, FrameEncoder.closePayload(code))
    #expect(try await client.read { $0.count >= expected.count } == expected)
    _ = try await client.textUntilClosed()
    #expect(try await fixture.limitCount(.webSocket) == 1)
    try await fixture.close()
  }

  @Test func pingsAreAnsweredAndTooManyEndTheSession() async throws {
    let fixture = try await PublicFixture.open { $0.webSocket.pingBurstMax = 3 }
    let client = try await RawConnection.webSocket(fixture.port)
    for number in 1...3 as ClosedRange<UInt8> { try await client.sendFrame(.ping, [number]) }
    let pongs = (1...3).flatMap { FrameEncoder.encode(.pong, [$0]) }
    #expect(try await client.read { $0.count >= pongs.count } == pongs)
    try await client.sendFrame(.ping, [4])
    _ = try await client.textUntilClosed()
    try await fixture.wait { $0.ends == [.failed(.pingsTooFrequent)] }
    try await fixture.close()
  }

  @Test func aSilentClientIsPingedOnceAndAgainAfterItsAnswer() async throws {
    let fixture = try await PublicFixture.open { $0.pingAfter = 20 }
    let client = try await RawConnection.webSocket(fixture.port)
    let ping = FrameEncoder.encode(.ping, [])
    #expect(try await client.read { $0.count >= ping.count } == ping)
    try await client.sendFrame(.pong, [])
    #expect(try await client.read { $0.count >= 2 * ping.count } == ping + ping)
    try await fixture.close()
  }

  @Test func aClientThatIsSilentForTooLongIsGivenUp() async throws {
    let fixture = try await PublicFixture.open { $0.silenceMax = 50 }
    let client = try await RawConnection.webSocket(fixture.port)
    _ = try await client.textUntilClosed()
    try await fixture.wait { $0.ends == [.lost] }
    #expect(try await fixture.limitCount(.silence) == 1)
    try await fixture.close()
  }
}
