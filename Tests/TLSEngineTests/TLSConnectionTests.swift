import TLSEngine
import Testing

@Suite struct TLSConnectionTests {
  @Test(
    "A handshake succeeds however its bytes are cut", arguments: [1, 2, 3, 5, 7, 64, 1_000, .max])
  func fragments(bytes: Int) throws {
    var link = try TLSLink(.client(alpn: ["h2"]), .server(alpn: ["h2"]))
    link.fragmentBytes = bytes
    link.settle()
    let (clientPeer, serverPeer) = (link.client.peer, link.server.peer)
    let atClient = try #require(clientPeer)
    let atServer = try #require(serverPeer)
    #expect(atClient.version == .tls13 && atServer.version == .tls13)
    #expect(atClient.alpn == "h2" && atServer.alpn == "h2")
    #expect(atClient.commonName == "good")
    #expect(atClient.dnsNames == [TestCertificates.serverName, "0h5s7zq2m9c4v"])
    #expect(atServer.commonName == nil && atServer.dnsNames.isEmpty)
    #expect(link.client.writeAll(Array("ping".utf8)) == 4)
    #expect(link.server.writeAll(Array("pong!".utf8)) == 5)
    link.settle()
    #expect(link.serverReceived == Array("ping".utf8))
    #expect(link.clientReceived == Array("pong!".utf8))
  }

  @Test("The server's order of preference decides the protocol")
  func preference() throws {
    var link = try TLSLink(.client(alpn: ["http/1.1", "h2"]), .server(alpn: ["h2", "http/1.1"]))
    link.settle()
    #expect(link.client.peer?.alpn == "h2")
    #expect(link.server.peer?.alpn == "h2")
  }

  @Test("No common protocol is refused at both ends")
  func noOverlap() throws {
    var link = try TLSLink(.client(alpn: ["http/1.1"]), .server(alpn: ["h2"]))
    link.settle()
    guard case .protocolViolation = link.server.failure else {
      Issue.record("server: \(link.server.state)")
      return
    }
    guard case .refusedByPeer(let reason) = link.client.failure else {
      Issue.record("client: \(link.client.state)")
      return
    }
    #expect(reason.contains("no application protocol"))
  }

  @Test("An end without protocols gets none")
  func withoutProtocols() throws {
    for (client, server) in [([], ["h2"]), (["h2"], [])] {
      var link = try TLSLink(.client(alpn: client), .server(alpn: server))
      link.settle()
      #expect(link.client.peer != nil && link.server.peer != nil)
      #expect(link.client.peer?.alpn == nil && link.server.peer?.alpn == nil)
    }
  }

  @Test("A megabyte each way arrives unchanged", arguments: [1_500, 16_384, .max])
  func volume(fragmentBytes: Int) throws {
    var link = try TLSLink(.client(), .server())
    link.fragmentBytes = fragmentBytes
    link.settle()
    let up = (0..<1_048_576).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ $0 >> 8) }
    let down = Array(up.reversed())
    var upIndex = 0
    var downIndex = 0
    while upIndex < up.count || downIndex < down.count {
      upIndex += link.client.writeAll(Array(up[upIndex...]))
      downIndex += link.server.writeAll(Array(down[downIndex...]))
      let limit = TLSLimits.pendingOutputBytesMax + TLSLimits.recordPlaintextBytesMax + 29
      #expect(link.client.pendingOutputBytes <= limit)
      link.settle()
    }
    #expect(link.serverReceived == up)
    #expect(link.clientReceived == down)
  }

  @Test("Ciphertext goes into lent memory of any size", arguments: [1, 29, 1_000, 16_413, 70_000])
  func lending(lentBytes: Int) throws {
    var link = try TLSLink(.client(), .server())
    link.settle()
    let plaintext = (0..<50_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
    let ciphertext = link.client.seal(plaintext, lending: lentBytes)
    #expect(link.client.pendingOutputBytes == 0)
    #expect(ciphertext.count <= TLSConnection.ciphertextBytesMax(plaintextBytes: plaintext.count))
    var received: [UInt8] = []
    link.server.feed(ciphertext, .max, into: &received)
    #expect(received == plaintext)
  }

  @Test("Memory of the stated size takes everything in one call")
  func statedSize() throws {
    var configuration = TLSConfiguration.server()
    for (version, plaintextBytes) in [
      (TLSVersion.tls12, 1), (.tls12, 16_384), (.tls13, 16_384), (.tls13, 16_385),
    ] {
      configuration.maximumVersion = version
      var link = try TLSLink(.client(), configuration)
      link.settle()
      let plaintext = [UInt8](repeating: 7, count: plaintextBytes)
      let lentBytes = TLSConnection.ciphertextBytesMax(plaintextBytes: plaintextBytes)
      var lent = [UInt8](repeating: 0, count: lentBytes)
      let result = plaintext.withUnsafeBytes { bytes in
        lent.withUnsafeMutableBytes { link.server.write(bytes, into: $0) }
      }
      #expect(result.plaintextBytes == plaintextBytes)
      #expect(link.server.pendingOutputBytes == 0)
    }
  }

  @Test("Nothing is accepted before the handshake is done")
  func early() throws {
    var link = try TLSLink(.client(), .server())
    link.client.advance()
    #expect(link.client.state == .handshaking)
    #expect(link.client.writeAll([1, 2, 3]) == 0)
    #expect(link.server.writeAll([1, 2, 3]) == 0)
    link.settle()
    #expect(link.client.writeAll([1, 2, 3]) == 3)
    link.settle()
    #expect(link.serverReceived == [1, 2, 3])
  }

  @Test("Bytes received without being read are bounded")
  func overflow() throws {
    var link = try TLSLink(.client(), .server())
    link.settle()
    let chunk = [UInt8](repeating: 23, count: 262_144)
    for _ in 0..<4 { chunk.withUnsafeBytes { link.server.receive($0) } }
    #expect(link.server.peer != nil)
    #expect(link.server.pendingInputBytes == TLSLimits.pendingInputBytesMax)
    chunk.withUnsafeBytes { link.server.receive($0) }
    #expect(link.server.failure == .inputOverflow)
    #expect(link.server.pendingInputBytes == 0)
  }
}

@Suite struct TLSCloseTests {
  @Test("close_notify after data is a clean end, and is answered")
  func clean() throws {
    var link = try TLSLink(.client(), .server())
    link.settle()
    #expect(link.client.writeAll([9, 9]) == 2)
    link.client.close()
    #expect(link.client.state == .closed(clean: true))
    link.settle()
    #expect(link.serverReceived == [9, 9])
    #expect(link.server.state == .closed(clean: true))
    link.server.receiveEnd()
    #expect(link.server.state == .closed(clean: true))
    #expect(link.server.writeAll([1]) == 0)
  }

  @Test("An end without close_notify is told apart, at every byte of the last record")
  func truncated() throws {
    var whole = 1
    var cut = 0
    while cut < whole {
      var link = try TLSLink(.client(), .server())
      link.settle()
      #expect(link.client.writeAll([1, 2, 3]) == 3)
      link.client.close()
      let bytes = link.client.takeAll()
      whole = bytes.count
      var received: [UInt8] = []
      link.server.feed(Array(bytes.prefix(cut)), .max, into: &received)
      link.server.receiveEnd()
      link.server.readAll(into: &received)
      #expect(link.server.state == .closed(clean: false), "cut at \(cut) of \(whole)")
      #expect(received.isEmpty || received == [1, 2, 3])
      cut += 1
    }
    #expect(whole > 40)
  }

  @Test("What arrived before the end can still be read after it")
  func unreadAtEnd() throws {
    var link = try TLSLink(.client(), .server())
    link.settle()
    #expect(link.client.writeAll([4, 5, 6]) == 3)
    link.client.takeAll().withUnsafeBytes { link.server.receive($0) }
    link.server.receiveEnd()
    #expect(link.server.peer != nil)
    var received: [UInt8] = []
    link.server.readAll(into: &received)
    #expect(received == [4, 5, 6])
    #expect(link.server.state == .closed(clean: false))
  }

  @Test("An end within the handshake fails it, at every byte of the client's first flight")
  func endInHandshake() throws {
    let context = try TLSContext(configuration: .server())
    var link = try TLSLink(.client(), .server())
    link.client.advance()
    let hello = link.client.takeAll()
    #expect(hello.count > 100)
    for cut in 0...hello.count {
      var server = try TLSConnection(server: context)
      var received: [UInt8] = []
      server.feed(Array(hello.prefix(cut)), .max, into: &received)
      server.receiveEnd()
      #expect(server.failure == .closedInHandshake, "cut at \(cut)")
    }
  }

  @Test("Closing within the handshake is not clean")
  func closeInHandshake() throws {
    var link = try TLSLink(.client(), .server())
    link.client.close()
    #expect(link.client.state == .closed(clean: false))
    #expect(link.client.pendingOutputBytes == 0)
  }
}
