import TLSEngine

/// Two ends in memory. What one writes reaches the other in fragments of `fragmentBytes`.
struct TLSLink: ~Copyable {
  var client: TLSConnection
  var server: TLSConnection
  var fragmentBytes = Int.max
  private(set) var clientReceived: [UInt8] = []
  private(set) var serverReceived: [UInt8] = []

  init(
    _ client: TLSConfiguration, _ server: TLSConfiguration,
    expecting name: TLSPeerName = .name(TestCertificates.serverName)
  ) throws {
    self.init(
      client: try TLSConnection(client: try TLSContext(configuration: client), expecting: name),
      server: try TLSConnection(server: try TLSContext(configuration: server)))
  }

  init(client: consuming TLSConnection, server: consuming TLSConnection) {
    self.client = client
    self.server = server
  }

  /// Moves bytes until neither end has anything to say.
  mutating func settle() {
    client.advance()
    while true {
      let up = client.takeAll()
      server.feed(up, fragmentBytes, into: &serverReceived)
      let down = server.takeAll()
      client.feed(down, fragmentBytes, into: &clientReceived)
      if up.isEmpty, down.isEmpty { return }
    }
  }
}

extension TLSConnection {
  mutating func takeAll() -> [UInt8] {
    let count = pendingOutputBytes
    return [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
      filled = takeOutput(into: UnsafeMutableRawBufferPointer(buffer))
    }
  }

  mutating func readAll(into received: inout [UInt8]) {
    var buffer = [UInt8](repeating: 0, count: 10_000)
    while true {
      let count = buffer.withUnsafeMutableBytes { read(into: $0) }
      received += buffer.prefix(count)
      if count < buffer.count { return }
    }
  }

  mutating func feed(_ bytes: [UInt8], _ fragmentBytes: Int, into received: inout [UInt8]) {
    var rest = bytes[...]
    while !rest.isEmpty {
      let fragment = rest.prefix(fragmentBytes)
      rest = rest.dropFirst(fragment.count)
      var read: [UInt8] = []
      fragment.withUnsafeBytes { bytes in receive(bytes) { $0.readAll(into: &read) } }
      received += read
    }
  }

  mutating func writeAll(_ bytes: [UInt8]) -> Int { bytes.withUnsafeBytes { write($0) } }

  /// Writes through lent memory. **Returns**: the ciphertext.
  mutating func seal(_ plaintext: [UInt8], lending lentBytes: Int) -> [UInt8] {
    var ciphertext: [UInt8] = []
    var rest = plaintext[...]
    var lent = [UInt8](repeating: 0, count: lentBytes)
    while !rest.isEmpty || pendingOutputBytes > 0 {
      let result = rest.withUnsafeBytes { bytes in
        lent.withUnsafeMutableBytes { write(bytes, into: $0) }
      }
      rest = rest.dropFirst(result.plaintextBytes)
      ciphertext += lent.prefix(result.ciphertextBytes)
      if result == (0, 0) { break }
    }
    return ciphertext
  }

  var peer: TLSPeer? {
    guard case .established(let peer) = state else { return nil }
    return peer
  }

  var failure: TLSError? {
    guard case .failed(let error) = state else { return nil }
    return error
  }
}
