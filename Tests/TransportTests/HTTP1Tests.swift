import NIOCore
import Primitives
import RawSockets
import Testing

@testable import Transport

@Suite struct HTTP1Tests {
  private func get(_ path: String, _ more: String = "") -> String {
    "GET \(path) HTTP/1.1\r\nHost: chat.test\r\n\(more)\r\n"
  }

  private func post(_ path: String, _ body: String, _ more: String = "") -> String {
    "POST \(path) HTTP/1.1\r\nHost: chat.test\r\nContent-Length: \(body.utf8.count)\r\n\(more)\r\n"
      + body
  }

  @Test func aRequestIsHandedOverWholeAndAnswered() async throws {
    let fixture = try await PublicFixture.open()
    let client = try await RawConnection.open(fixture.port)
    try await client.send(post("/echo?a=1?b", "hello", "X-Two: 1\r\nx-two: 2\r\n"))
    let answer = try await client.text(until: "hello")
    #expect(answer.hasPrefix("HTTP/1.1 200 OK\r\ndate: "))
    #expect(answer.hasSuffix("content-type: text/plain\r\ncontent-length: 5\r\n\r\nhello"))
    let request = try #require(try await fixture.on { $0.requests.first })
    #expect(request.method == "POST")
    #expect(request.path == "/echo")
    #expect(request.query == "a=1?b")
    #expect(request.headers["HOST"] == "chat.test")
    #expect(request.headers.values(of: "x-two") == ["1", "2"])
    #expect(request.remoteAddress == "127.0.0.1")
    #expect(!request.isSecure)
    try await fixture.close()
  }

  @Test func requestsThatComeByteByByteAreTheSame() async throws {
    let fixture = try await PublicFixture.open()
    let client = try await RawConnection.open(fixture.port)
    for byte in post("/echo", "hello").utf8 { try await client.send([byte]) }
    #expect(try await client.text(until: "hello").hasPrefix("HTTP/1.1 200"))
    try await fixture.close()
  }

  @Test func pipelinedRequestsAreAnsweredInOrder() async throws {
    let fixture = try await PublicFixture.open()
    let client = try await RawConnection.open(fixture.port)
    let echoes = (1...50).map { post("/echo", "<\($0)>") }.joined()
    try await client.send(get("/held") + echoes)
    try await fixture.wait { $0.held.count == 1 }
    #expect(try await fixture.on { $0.requests.count } == 1)
    try await fixture.on { $0.held[0].respond(200, body: ByteBuffer(string: "<0>")) }
    let answers = try await client.text(until: "<50>")
    let bodies = answers.split(separator: "\r\n\r\n").dropFirst().map { $0.prefix { $0 != "H" } }
    #expect(bodies.map(String.init) == (0...50).map { "<\($0)>" })
    try await fixture.close()
  }

  @Test func headIsAnsweredWithoutABody() async throws {
    let fixture = try await PublicFixture.open()
    let client = try await RawConnection.open(fixture.port)
    try await client.send(
      "HEAD /big HTTP/1.1\r\nHost: a\r\n\r\n" + post("/echo", "next", "Connection: close\r\n"))
    let answers = try await client.textUntilClosed()
    #expect(answers.contains("content-length: \(PublicFixture.bigBytes)\r\n\r\nHTTP/1.1 200"))
    #expect(answers.hasSuffix("next"))
    try await fixture.close()
  }

  @Test func aClientThatWaitsIsToldToContinue() async throws {
    let fixture = try await PublicFixture.open()
    let client = try await RawConnection.open(fixture.port)
    try await client.send(
      "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    #expect(try await client.text(until: "\r\n\r\n") == "HTTP/1.1 100 Continue\r\n\r\n")
    try await client.send("ok")
    #expect(try await client.text(until: "ok").contains("HTTP/1.1 200 OK"))
    try await fixture.close()
  }

  @Test func bodiesInChunksArePutTogether() async throws {
    let fixture = try await PublicFixture.open()
    let client = try await RawConnection.open(fixture.port)
    try await client.send(
      "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        + "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    #expect(try await client.text(until: "abcde").contains("content-length: 5"))
    try await fixture.close()
  }

  @Test func anAnswerLargerThanEveryBufferArrives() async throws {
    let fixture = try await PublicFixture.open()
    let client = try await RawConnection.open(fixture.port)
    try await client.send(get("/big", "Connection: close\r\n"))
    let answer = try await client.textUntilClosed()
    #expect(answer.utf8.count > PublicFixture.bigBytes)
    #expect(answer.utf8.suffix(PublicFixture.bigBytes).allSatisfy { $0 == 0x78 })
    try await fixture.close()
  }

  @Test func aStreamIsSentPieceByPieceAndTheClientsEndIsNoticed() async throws {
    let fixture = try await PublicFixture.open()
    let client = try await RawConnection.open(fixture.port)
    try await client.send(get("/events"))
    let start = try await client.text(until: "data: 1\n\n\r\n")
    #expect(start.contains("transfer-encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n"))
    try await fixture.on { $0.streams[0].write(ByteBuffer(string: "data: 2\n\n")) }
    _ = try await client.text(until: "data: 2\n\n\r\n")
    try await fixture.on { $0.streams[0].finish() }
    #expect(try await client.text(until: "0\r\n\r\n").hasSuffix("\r\n0\r\n\r\n"))
    try await client.send(get("/events"))
    try await fixture.wait { $0.streams.count == 2 }
    try await client.close()
    try await fixture.wait { $0.clientsLeft == 1 }
    #expect(try await fixture.on { !$0.streams[1].isOpen })
    try await fixture.close()
  }

  @Test func aStreamThatTheClientDoesNotReadTakesNoMoreAndIsEnded() async throws {
    let fixture = try await PublicFixture.open { $0.progressTimeout = 100 }
    let client = try await RawConnection.open(fixture.port, reads: false)
    try await client.send(get("/events"))
    try await fixture.wait { $0.streams.count == 1 }
    let written = try await fixture.on { fixture in
      var count = 0
      let piece = ByteBuffer(repeating: 0x78, count: 60_000)
      while fixture.streams[0].write(piece) { count += 1 }
      return count
    }
    #expect(written > 0)
    try await fixture.wait { $0.clientsLeft == 1 }
    #expect(try await fixture.limitCount(.progressTime) == 1)
    try await fixture.close()
  }

  @Test func aFieldThatWouldBecomeTwoIsNotSent() async throws {
    let fixture = try await PublicFixture.open()
    let client = try await RawConnection.open(fixture.port)
    try await client.send(get("/inject", "Connection: close\r\n"))
    let answer = try await client.textUntilClosed()
    #expect(answer.hasPrefix("HTTP/1.1 500"))
    #expect(!answer.contains("set-cookie"))
    try await fixture.close()
  }

  @Test func theOlderVersionIsAnsweredAndClosed() async throws {
    let fixture = try await PublicFixture.open()
    let client = try await RawConnection.open(fixture.port)
    try await client.send("GET /echo HTTP/1.0\r\n\r\n")
    #expect(try await client.textUntilClosed().contains("connection: close"))
    let streaming = try await RawConnection.open(fixture.port)
    try await streaming.send("GET /events HTTP/1.0\r\n\r\n")
    try await fixture.wait { $0.streams.count == 1 }
    try await fixture.on { $0.streams[0].finish() }
    #expect(try await streaming.textUntilClosed().hasSuffix("\r\n\r\ndata: 1\n\n"))
    try await fixture.close()
  }

  // MARK: Attacks

  @Test(arguments: [
    // One body, two lengths.
    "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 4\r\n\r\nabcd",
    "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc",
    "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
    "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
    "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n",
    // Lines.
    "GET /echo HTTP/1.1\r\nHost: a\r\nX: b\u{0}c\r\n\r\n",
    "GET /echo HTTP/1.1\r\nHost: a\r\nX: b\rc\r\n\r\n",
    "GET /echo HTTP/1.1\r\nHost: a\r\n continued: x\r\n\r\n",
    "GET /echo HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n",
    "GET /ec ho HTTP/1.1\r\nHost: a\r\n\r\n",
    // Hosts.
    "GET /echo HTTP/1.1\r\n\r\n",
    "GET /echo HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "GET http://b/echo HTTP/1.1\r\nHost: a\r\n\r\n",
    // Not HTTP/1.1.
    "GET /echo HTTP/2.0\r\nHost: a\r\n\r\n",
    "GET /echo HTTP/9.9\r\nHost: a\r\n\r\n",
    "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\r\n\r\n",
  ])
  func whatTwoHopsCouldReadDifferentlyIsRefusedAndEndsTheConnection(request: String) async throws {
    let fixture = try await PublicFixture.open()
    let client = try await RawConnection.open(fixture.port)
    try await client.send(request)
    let answer = try await client.textUntilClosed()
    #expect(answer.hasPrefix("HTTP/1.1 400"), "\(answer)")
    #expect(try await fixture.on { $0.requests.isEmpty })
    #expect(try await fixture.limitCount(.malformed) == 1)
    try await fixture.close()
  }

  @Test func garbageBehindAHeldRequestEndsTheConnectionAfterItsAnswer() async throws {
    let fixture = try await PublicFixture.open()
    let client = try await RawConnection.open(fixture.port)
    try await client.send(get("/held") + "\u{1}\u{2}\r\n\r\n")
    try await fixture.wait { $0.held.count == 1 }
    try await fixture.on { $0.held[0].respond(200, body: ByteBuffer(string: "held")) }
    #expect(try await client.textUntilClosed().contains("held"))
    try await fixture.close()
  }

  @Test func aProxysFormIsReadWhenItsHostIsTheSame() async throws {
    let fixture = try await PublicFixture.open()
    let client = try await RawConnection.open(fixture.port)
    try await client.send(
      "GET http://a/nothing?x HTTP/1.1\r\nHost: A\r\nConnection: close\r\n\r\n")
    #expect(try await client.textUntilClosed().hasPrefix("HTTP/1.1 404"))
    #expect(try await fixture.on { $0.requests.first?.query } == "x")
    try await fixture.close()
  }

  @Test func headersAreBoundedInBytesAndNumber() async throws {
    let fixture = try await PublicFixture.open()
    let long = String(repeating: "x", count: 9_000)
    let many = (0...100).map { "x-\($0): 1\r\n" }.joined()
    let wide = (0..<4).map { "x-\($0): \(String(repeating: "y", count: 5_000))\r\n" }.joined()
    for request in [
      get("/" + long), get("/echo", "x: \(long)\r\n"), get("/echo", many), get("/echo", wide),
    ] {
      let client = try await RawConnection.open(fixture.port)
      try await client.send(request)
      let answer = try await client.textUntilClosed()
      #expect(answer.hasPrefix("HTTP/1.1 431"), "\(answer)")
    }
    #expect(try await fixture.limitCount(.headerBytes) == 4)
    try await fixture.close()
  }

  @Test func bodiesAreBoundedWhetherDeclaredOrNot() async throws {
    let fixture = try await PublicFixture.open { $0.bodyBytesMax = 1_000 }
    let declared = try await RawConnection.open(fixture.port)
    try await declared.send(
      "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n")
    #expect(try await declared.textUntilClosed().hasPrefix("HTTP/1.1 413"))
    let chunked = try await RawConnection.open(fixture.port)
    try await chunked.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in 0..<11 { try await chunked.send("64\r\n\(String(repeating: "x", count: 100))\r\n") }
    #expect(try await chunked.textUntilClosed().hasPrefix("HTTP/1.1 413"))
    #expect(try await fixture.limitCount(.bodyBytes) == 2)
    try await fixture.close()
  }

  @Test func slowHeadersSlowBodiesAndIdleConnectionsAreEnded() async throws {
    let fixture = try await PublicFixture.open {
      $0.headerTimeout = 50
      $0.bodyGrace = 50
      $0.idleTimeout = 50
    }
    let headers = try await RawConnection.open(fixture.port)
    try await headers.send("GET /echo HTTP/1.1\r\nHost: a\r\n")
    #expect(try await headers.textUntilClosed().hasPrefix("HTTP/1.1 408"))
    #expect(try await fixture.limitCount(.headerTime) == 1)

    let body = try await RawConnection.open(fixture.port)
    try await body.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
    #expect(try await body.textUntilClosed().hasPrefix("HTTP/1.1 408"))
    #expect(try await fixture.limitCount(.bodyRate) == 1)

    let idle = try await RawConnection.open(fixture.port)
    try await idle.send(post("/echo", "x"))
    #expect(try await idle.textUntilClosed().hasSuffix("x"))
    #expect(try await fixture.limitCount(.idleTime) == 1)

    let second = try await RawConnection.open(fixture.port)
    try await second.send(post("/echo", "x"))
    _ = try await second.text(until: "\r\n\r\nx")
    try await second.send("GET /ec")
    #expect(try await second.textUntilClosed().contains("HTTP/1.1 408"))
    try await fixture.close()
  }

  @Test func aConnectionThatSaysNothingIsEnded() async throws {
    let fixture = try await PublicFixture.open { $0.prefaceTimeout = 30 }
    let client = try await RawConnection.open(fixture.port)
    #expect(try await client.textUntilClosed() == "")
    #expect(try await fixture.limitCount(.prefaceTime) == 1)
    try await fixture.close()
  }

  @Test func connectionsAreCountedPerAddressAndInAll() async throws {
    for (limit, change) in [
      (PublicLimit.connections, { (limits: inout PublicLimits) in limits.connectionsMax = 2 }),
      (.connectionsPerAddress, { limits in limits.connectionsPerAddressMax = 2 }),
    ] {
      let fixture = try await PublicFixture.open(change)
      let first = try await RawConnection.open(fixture.port)
      let second = try await RawConnection.open(fixture.port)
      for client in [first, second] {
        try await client.send(post("/echo", "x"))
        _ = try await client.text(until: "\r\n\r\nx")
      }
      let third = try await RawConnection.open(fixture.port)
      #expect(try await third.textUntilClosed() == "")
      #expect(try await fixture.limitCount(limit) == 1)
      // The place of one that has gone is free again.
      try await first.send(post("/echo", "y", "Connection: close\r\n"))
      _ = try await first.textUntilClosed()
      var isAdmitted = false
      while !isAdmitted {
        let next = try await RawConnection.open(fixture.port)
        try await next.send(post("/echo", "z"))
        isAdmitted = try await next.text(until: "\r\n\r\nz").hasSuffix("z")
      }
      try await fixture.close()
    }
  }

  @Test func drainingAnswersWhatRunsAndClosesWhatIsIdle() async throws {
    let fixture = try await PublicFixture.open()
    let idle = try await RawConnection.open(fixture.port)
    try await idle.send(post("/echo", "x"))
    _ = try await idle.text(until: "\r\n\r\nx")
    let busy = try await RawConnection.open(fixture.port)
    try await busy.send(get("/held"))
    try await fixture.wait { $0.held.count == 1 }
    let drained = try #require(fixture.listener).drain(grace: 1_000)
    _ = try await idle.textUntilClosed()
    try await fixture.on { $0.held[0].respond(200, body: ByteBuffer(string: "late")) }
    let answer = try await busy.textUntilClosed()
    #expect(answer.contains("connection: close"))
    #expect(answer.hasSuffix("late"))
    try await drained.get()
  }
}
