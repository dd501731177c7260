import Primitives
import TLSEngine
import Testing

@Suite struct TLSGarbageTests {
  @Test("Plain HTTP on a TLS port fails the connection")
  func plainHTTP() throws {
    var server = try TLSConnection(server: try TLSContext(configuration: .server()))
    var received: [UInt8] = []
    server.feed(Array("GET / HTTP/1.1\r\nHost: x\r\n\r\n".utf8), .max, into: &received)
    guard case .protocolViolation(let reason) = server.failure else {
      Issue.record("\(server.state)")
      return
    }
    #expect(reason == "http request")
    #expect(received.isEmpty)
  }

  @Test("Random bytes never establish a connection and never trap")
  func randomBytes() throws {
    let seed = UInt64.random(in: 0...UInt64.max)
    var random = SeededRandom(seed: seed)
    let server = try TLSContext(configuration: .server())
    let client = try TLSContext(configuration: .client())
    for round in 0..<300 {
      var connection =
        round % 2 == 0
        ? try TLSConnection(server: server)
        : try TLSConnection(client: client, expecting: .name("x.test"))
      connection.advance()
      var bytes = (0..<Int.random(in: 1...400, using: &random)).map { _ in
        UInt8.random(in: 0...255, using: &random)
      }
      // Half of them look like a handshake record, to get past the first check.
      if round % 4 < 2 { bytes = [22, 3, 1, 0, UInt8(min(bytes.count, 255))] + bytes }
      var received: [UInt8] = []
      connection.feed(bytes, Int.random(in: 1...50, using: &random), into: &received)
      connection.receiveEnd()
      #expect(connection.failure != nil, "seed \(seed) round \(round): \(connection.state)")
      #expect(received.isEmpty)
    }
  }

  @Test("One flipped bit anywhere in the data fails the connection")
  func flippedBits() throws {
    for index in 0..<40 {
      var link = try TLSLink(.client(), .server())
      link.settle()
      let count = link.client.writeAll([UInt8](repeating: 1, count: 100))
      #expect(count == 100)
      var bytes = link.client.takeAll()
      bytes[index * bytes.count / 40] ^= 1 << (index % 8)
      var received: [UInt8] = []
      link.server.feed(bytes, .max, into: &received)
      link.server.receiveEnd()
      link.server.readAll(into: &received)
      // A longer length waits for bytes that never come: an end that is not clean.
      let isRefused = link.server.failure != nil || link.server.state == .closed(clean: false)
      #expect(isRefused, "byte \(index * bytes.count / 40)")
      #expect(received.isEmpty)
    }
  }

  @Test("A flipped bit in the server's first flight never makes a connection")
  func flippedHandshake() throws {
    let seed = UInt64.random(in: 0...UInt64.max)
    var random = SeededRandom(seed: seed)
    for round in 0..<60 {
      var link = try TLSLink(.client(), .server())
      link.client.advance()
      var received: [UInt8] = []
      link.server.feed(link.client.takeAll(), .max, into: &received)
      var flight = link.server.takeAll()
      let index = Int.random(in: 0..<flight.count, using: &random)
      flight[index] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      link.client.feed(flight, .max, into: &received)
      link.client.receiveEnd()
      // The record version (RFC 8446, section 5.1: to be ignored) may be the byte that changed.
      if link.client.failure == nil, link.client.state != .closed(clean: false) {
        Issue.record("seed \(seed) round \(round) byte \(index): \(link.client.state)")
      }
    }
  }
}
