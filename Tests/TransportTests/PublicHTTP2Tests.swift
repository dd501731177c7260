import HTTP2Engine
import NIOCore
import NIOPosix
import Primitives
import RawSockets
import Testing
import TLSEngine
import WebSocketEngine

@testable import Transport

@Suite struct PublicHTTP2Tests {
  @Test(arguments: [false, true])
  func requestsAreHandedOverWholeAndAnswered(isSecure: Bool) async throws {
    let files = NodeCertificates.shared
    let fixture = try await PublicFixture.open(tls: isSecure ? files.publicServer() : nil)
    let client = try await HTTP2Client.open(
      fixture.port, tls: isSecure ? files.nodeClient(nil) : nil)
    let body = [UInt8](repeating: 5, count: 900_000)
    let echo = try await client.request(
      "POST", "/echo?q", [HTTP2HeaderField("x-a", "1")], body: body)
    let missing = try await client.request("GET", "/nothing")
    let answer = try await client.stream(echo)
    #expect(answer.status == "200")
    #expect(answer.headers.value(of: "content-length") == "900000")
    #expect(answer.body == body)
    #expect(try await client.stream(missing).status == "404")
    let request = try #require(try await fixture.on { $0.requests.first { $0.path == "/echo" } })
    #expect(request.method == "POST")
    #expect(request.query == "q")
    #expect(request.headers["x-a"] == "1")
    #expect(request.headers["host"] == "chat.test")
    #expect(request.isSecure == isSecure)
    try await fixture.close()
  }

  @Test func anAnswerLargerThanEveryBufferArrivesAndHeadHasNone() async throws {
    let fixture = try await PublicFixture.open()
    let client = try await HTTP2Client.open(fixture.port)
    let get = try await client.request("GET", "/big")
    #expect(try await client.stream(get).body.count == PublicFixture.bigBytes)
    let head = try await client.stream(client.request("HEAD", "/big"))
    #expect(head.body.isEmpty)
    #expect(head.headers.value(of: "content-length") == "\(PublicFixture.bigBytes)")
    let injected = try await client.stream(client.request("GET", "/inject"))
    #expect(injected.status == "500")
    try await fixture.close()
  }

  @Test func aStreamIsSentPieceByPieceAndTheClientsEndIsNoticed() async throws {
    let fixture = try await PublicFixture.open()
    let client = try await HTTP2Client.open(fixture.port)
    let id = try await client.request("GET", "/events")
    _ = try await client.stream(id) { $0.body == Array("data: 1\n\n".utf8) }
    try await fixture.on { $0.streams[0].write(ByteBuffer(string: "x")) }
    _ = try await client.stream(id) { $0.body == Array("data: 1\n\nx".utf8) }
    try await fixture.on { $0.streams[0].finish() }
    #expect(try await client.stream(id).isEnded)
    let second = try await client.request("GET", "/events")
    try await fixture.wait { $0.streams.count == 2 }
    try await client.reset(second)
    try await fixture.wait { $0.clientsLeft == 1 }
    try await fixture.close()
  }

  @Test func aStreamIsFullUntilTheClientReads() async throws {
    let fixture = try await PublicFixture.open()
    let client = try await HTTP2Client.open(fixture.port)
    let id = try await client.request("GET", "/events")
    try await fixture.wait { $0.streams.count == 1 }
    let room = testLoops.next().makePromise(of: Void.self)
    let written = try await fixture.on { fixture in
      let stream = fixture.streams[0]
      var isDone = false
      stream.onWritable {
        if !isDone { room.succeed() }
        isDone = true
      }
      var bytes = 0
      while stream.write(ByteBuffer(repeating: 1, count: 10_000)) { bytes += 10_000 }
      return bytes
    }
    #expect(written <= PublicLimits().streamQueueBytesMax)
    try await room.futureResult.get()
    try await fixture.on { $0.streams[0].finish() }
    #expect(try await client.stream(id).body.count == written + 9)
    try await fixture.close()
  }

  // MARK: WebSocket

  @Test(arguments: [false, true])
  func aWebSocketOpensByExtendedConnect(isSecure: Bool) async throws {
    let files = NodeCertificates.shared
    let fixture = try await PublicFixture.open(tls: isSecure ? files.publicServer() : nil)
    let client = try await HTTP2Client.open(
      fixture.port, tls: isSecure ? files.nodeClient(nil) : nil)
    let id = try await client.webSocket()
    let opened = try await client.stream(id) { !$0.headers.isEmpty }
    #expect(opened.status == "200")
    #expect(opened.headers.value(of: "sec-websocket-protocol") == "martlet.v1.proto")
    try await client.send(
      id, FrameEncoder.encodeMasked(.text, Array("hello".utf8), maskingKey: 99))
    let echo = FrameEncoder.encode(.text, Array("hello".utf8))
    #expect(try await client.stream(id) { $0.body.count >= echo.count }.body == echo)
    // Another request passes beside it.
    #expect(try await client.stream(client.request("GET", "/nothing")).status == "404")
    let close = FrameEncoder.encodeMasked(
      .close, FrameEncoder.closePayload(.normal), maskingKey: 1)
    try await client.send(id, close, endStream: true)
    #expect(try await client.stream(id).isEnded)
    try await fixture.wait { $0.ends == [.closed(code: .normal, reason: "")] }
    try await fixture.close()
  }

  @Test func aForeignOriginIsRefusedAndALostStreamIsNoticed() async throws {
    let fixture = try await PublicFixture.open()
    let client = try await HTTP2Client.open(fixture.port)
    let refused = try await client.stream(client.webSocket(origin: "https://evil.test"))
    #expect(refused.status == "403")
    let id = try await client.webSocket()
    _ = try await client.stream(id) { !$0.headers.isEmpty }
    try await client.reset(id)
    try await fixture.wait { $0.ends == [.lost] }
    try await fixture.close()
  }

  @Test func aSessionThatIsNotReadIsCongestedUntilItIs() async throws {
    let fixture = try await PublicFixture.open()
    let client = try await HTTP2Client.open(fixture.port)
    let id = try await client.webSocket()
    _ = try await client.stream(id) { !$0.headers.isEmpty }
    try await client.send(id, FrameEncoder.encodeMasked(.text, Array("flood".utf8), maskingKey: 1))
    try await fixture.wait { $0.floodBytesLeft <= 0 && $0.congestion.last == false }
    try await fixture.close()
  }

  // MARK: Attacks

  @Test func bodiesAreBounded() async throws {
    let fixture = try await PublicFixture.open { $0.bodyBytesMax = 1_000 }
    let client = try await HTTP2Client.open(fixture.port)
    let declared = try await client.request(
      "POST", "/echo", [HTTP2HeaderField("content-length", "1001")], body: nil)
    #expect(try await client.stream(declared).status == "413")
    let undeclared = try await client.request(
      "POST", "/echo", body: [UInt8](repeating: 0, count: 1_001))
    #expect(try await client.stream(undeclared).status == "413")
    #expect(try await fixture.on { $0.requests.isEmpty })
    try await fixture.close()
  }

  @Test func manyBodiesTogetherAreBounded() async throws {
    let fixture = try await PublicFixture.open { $0.connectionBodyBytesMax = 2_000 }
    let client = try await HTTP2Client.open(fixture.port)
    var ids: [StreamID] = []
    for _ in 0..<3 { ids.append(try await client.request("POST", "/echo", body: nil)) }
    for id in ids { try await client.send(id, [UInt8](repeating: 0, count: 900)) }
    #expect(try await client.stream(ids[2]).status == "503")
    try await client.send(ids[0], [], endStream: true)
    #expect(try await client.stream(ids[0]).body.count == 900)
    try await fixture.close()
  }

  @Test func slowBodiesAreEnded() async throws {
    let fixture = try await PublicFixture.open { $0.bodyGrace = 30 }
    let client = try await HTTP2Client.open(fixture.port)
    let slow = try await client.request("POST", "/echo", body: nil)
    let ended = try await client.stream(slow)
    #expect(ended.status == "408" || ended.closed != nil)
    #expect(try await fixture.limitCount(.bodyRate) == 1)
    // The connection is still good.
    #expect(try await client.stream(client.request("GET", "/nothing")).status == "404")
    try await fixture.close()
  }

  @Test func idleConnectionsAreEnded() async throws {
    let fixture = try await PublicFixture.open {
      $0.idleTimeout = 50
      $0.lingerTimeout = 50
    }
    let client = try await HTTP2Client.open(fixture.port)
    try await client.wait { $0.isClosed }
    #expect(try await fixture.limitCount(.idleTime) == 1)
    try await fixture.close()
  }

  @Test func streamsThatAreOpenedAndResetTooOftenEndTheConnection() async throws {
    let fixture = try await PublicFixture.open { $0.lingerTimeout = 50 }
    let client = try await HTTP2Client.open(fixture.port)
    var count = 0
    while count < 300, !(try await client.eventLoop.submit({ client.isClosed }).get()) {
      count += 1
      guard let id = try? await client.request("GET", "/held") else { break }
      try await client.reset(id)
    }
    try await client.wait { $0.isClosed }
    #expect(try await client.eventLoop.submit({ client.goAway }).get() == .enhanceYourCalm)
    #expect(try await fixture.limitCount(.http2) == 1)
    // Their work is cancelled with them.
    let seen = try await fixture.on { ($0.held.count, $0.clientsLeft) }
    #expect(seen.0 == seen.1)
    try await fixture.close()
  }

  @Test func aBadPrefaceEndsTheConnection() async throws {
    let fixture = try await PublicFixture.open()
    let client = try await RawConnection.open(fixture.port)
    try await client.send("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n" + String(repeating: "x", count: 100))
    _ = try await client.textUntilClosed()
    #expect(try await fixture.limitCount(.http2) == 1)
    try await fixture.close()
  }

  @Test func drainingLetsWhatRunsFinish() async throws {
    let fixture = try await PublicFixture.open()
    let client = try await HTTP2Client.open(fixture.port)
    let id = try await client.request("GET", "/held")
    try await fixture.wait { $0.held.count == 1 }
    let drained = try #require(fixture.listener).drain(grace: 1_000)
    try await client.wait { $0.goAway != nil }
    try await fixture.on { $0.held[0].respond(200, body: ByteBuffer(string: "late")) }
    #expect(try await client.stream(id).body == Array("late".utf8))
    try await drained.get()
  }
}

@Suite struct PublicTLSTests {
  @Test func theFirstVersionIsSpokenWhereNoOtherIsAgreedOn() async throws {
    let files = NodeCertificates.shared
    let fixture = try await PublicFixture.open(tls: files.publicServer())
    for protocols in [["http/1.1"], []] {
      let client = try await RawConnection.open(
        fixture.port, tls: files.publicClient(protocols))
      try await client.send(
        "POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
      #expect(try await client.textUntilClosed().hasSuffix("ok"))
    }
    #expect(try await fixture.on { $0.requests.allSatisfy(\.isSecure) })
    try await fixture.close()
  }

  @Test func aWebSocketWorksOverTLS() async throws {
    let files = NodeCertificates.shared
    let fixture = try await PublicFixture.open(tls: files.publicServer())
    let client = try await RawConnection.webSocket(
      fixture.port, tls: files.publicClient(["http/1.1"]))
    // Many small frames in one turn, and one larger than a record.
    try await fixture.on { fixture in
      for number in 0..<1_000 {
        fixture.sessions[0].send(WebSocketSession.frame(text: Array("\(number)".utf8)))
      }
    }
    try await client.sendFrame(.text, Array("big".utf8))
    let small = (0..<1_000).flatMap { FrameEncoder.encode(.text, Array("\($0)".utf8)) }
    let total = small.count + PublicFixture.bigBytes + 10
    let bytes = try await client.read { $0.count >= total }
    #expect(bytes.count == total)
    #expect(bytes.starts(with: small))
    try await client.sendFrame(.close, FrameEncoder.closePayload(.normal))
    _ = try await client.textUntilClosed()
    try await fixture.wait { $0.ends.count == 1 }
    try await fixture.close()
  }

  @Test func aHandshakeThatDoesNotEndIsGivenUp() async throws {
    let files = NodeCertificates.shared
    let fixture = try await PublicFixture.open(tls: files.publicServer()) {
      $0.prefaceTimeout = 30
    }
    let silent = try await RawConnection.open(fixture.port)
    #expect(try await silent.textUntilClosed() == "")
    #expect(try await fixture.limitCount(.prefaceTime) == 1)
    try await fixture.close()
  }

  @Test func whatIsNotTLSEndsTheConnection() async throws {
    let fixture = try await PublicFixture.open(tls: NodeCertificates.shared.publicServer())
    let client = try await RawConnection.open(fixture.port)
    try await client.send("GET / HTTP/1.1\r\n\r\n")
    #expect(try await client.textUntilClosed().contains("HTTP") == false)
    try await fixture.close()
  }

  @Test func otherCertificatesAreUsedForNewConnections() async throws {
    let files = NodeCertificates.shared
    let fixture = try await PublicFixture.open(tls: files.publicServer())
    fixture.listener?.use(try files.nodeServer("node2"))
    // The new context asks for a certificate, which this client does not have.
    let client = try await HTTP2Client.open(fixture.port, tls: files.nodeClient(nil))
    try await client.wait { $0.isClosed }
    let known = try await HTTP2Client.open(fixture.port, tls: files.nodeClient("node1"))
    #expect(try await known.stream(known.request("GET", "/nothing")).status == "404")
    try await fixture.close()
  }
}
