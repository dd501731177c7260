/// Whose pages may connect. Browsers send `Origin`; what sends none is no browser and needs none.
package enum OriginPolicy: Hashable, Sendable {
  case any
  /// The server's own pages and exactly these, as browsers write them: scheme, host and port, lower
  /// case, no path.
  case only([String])

  /// - Parameter origin: the value of the header; `nil` when there is none.
  /// - Parameter host: the value of `Host`, which tells the server's own pages.
  package func allows(_ origin: String?, host: String?) -> Bool {
    switch (self, origin) {
    case (.any, _), (_, nil): true
    case (.only(let allowed), let origin?):
      allowed.contains(origin) || Self.isOwn(origin, host: host)
    }
  }

  /// Whether a page was served under the name by which it asks. Its scheme is not compared, because
  /// something in front of the server may end TLS.
  package static func isOwn(_ origin: String, host: String?) -> Bool {
    guard let host, !host.isEmpty,
      let rest = ["https://", "http://"].first(where: origin.hasPrefix).map({
        origin.dropFirst($0.utf8.count)
      })
    else { return false }
    return rest.lowercased() == host.lowercased()
  }
}

/// What a server asks of a request to upgrade.
package struct WebSocketUpgradePolicy: Hashable, Sendable {
  /// Subprotocols that the server speaks. The first of the *client's* list that is among them
  /// wins.
  package var subprotocols: [String]
  /// Whether a request without a known subprotocol is refused.
  package var requiresSubprotocol: Bool
  package var origins: OriginPolicy

  package init(subprotocols: [String], requiresSubprotocol: Bool = false, origins: OriginPolicy) {
    self.subprotocols = subprotocols
    self.requiresSubprotocol = requiresSubprotocol
    self.origins = origins
  }
}

/// Why a handshake was refused.
package enum WebSocketUpgradeError: Error, Hashable, Sendable {
  case upgradeMissing
  case connectionMissing
  case versionUnsupported
  case keyInvalid
  case originNotAllowed
  case originRepeated
  case subprotocolUnknown
  /// A client's view of a server's answer.
  case acceptMismatch
  case subprotocolNotOffered
  case extensionNotOffered

  /// What a server answers. With 426 goes `Sec-WebSocket-Version: 13`.
  package var httpStatus: Int {
    switch self {
    case .originNotAllowed: 403
    case .versionUnsupported: 426
    default: 400
    }
  }
}

/// An accepted request to upgrade.
///
/// **Source**: RFC 6455, section 4; RFC 8441, section 5 for HTTP/2.
package struct WebSocketUpgrade: Hashable, Sendable {
  /// In the order in which they are sent.
  package typealias Headers = [(name: String, value: String)]

  /// How the request came. HTTP/2 has `:protocol` instead of `Upgrade`, `Connection` and the key.
  package enum Carrier: Sendable {
    case http1
    case http2
  }

  /// The value of `Sec-WebSocket-Accept`; `nil` on HTTP/2.
  package let accept: String?
  /// The one that was agreed on; `nil` for none.
  package let subprotocol: String?

  /// What goes into the answer besides its status.
  package var responseHeaders: Headers {
    var headers: Headers = []
    if let accept {
      headers += [
        ("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept),
      ]
    }
    if let subprotocol { headers.append(("Sec-WebSocket-Protocol", subprotocol)) }
    return headers
  }

  /// Checks a client's request.
  ///
  /// - Parameter headers: all header fields; names in any case, fields may repeat.
  package static func accepting(
    _ headers: Headers, over carrier: Carrier, policy: WebSocketUpgradePolicy
  ) throws(WebSocketUpgradeError) -> WebSocketUpgrade {
    var accept: String?
    if carrier == .http1 {
      guard HeaderList.has("websocket", in: "Upgrade", of: headers) else { throw .upgradeMissing }
      guard HeaderList.has("upgrade", in: "Connection", of: headers) else {
        throw .connectionMissing
      }
    }
    guard HeaderList.values("Sec-WebSocket-Version", of: headers) == ["13"] else {
      throw .versionUnsupported
    }
    if carrier == .http1 {
      let keys = HeaderList.values("Sec-WebSocket-Key", of: headers)
      guard keys.count == 1, Base64.decode(keys[0])?.count == 16 else { throw .keyInvalid }
      accept = acceptValue(forKey: keys[0])
    }
    let origins = HeaderList.values("Origin", of: headers)
    guard origins.count <= 1 else { throw .originRepeated }
    let hosts = HeaderList.values("Host", of: headers)
    guard policy.origins.allows(origins.first, host: hosts.count == 1 ? hosts[0] : nil) else {
      throw .originNotAllowed
    }
    let subprotocol = HeaderList.elements("Sec-WebSocket-Protocol", of: headers)
      .first { policy.subprotocols.contains($0) }
    guard subprotocol != nil || !policy.requiresSubprotocol else { throw .subprotocolUnknown }
    return WebSocketUpgrade(accept: accept, subprotocol: subprotocol)
  }

  /// Checks a server's answer to a client's request over HTTP/1.1 (its status 101 is the
  /// caller's).
  ///
  /// **Returns**: the subprotocol that the server chose.
  package static func confirmed(
    by headers: Headers, key: String, offered: [String]
  ) throws(WebSocketUpgradeError) -> String? {
    guard HeaderList.has("websocket", in: "Upgrade", of: headers) else { throw .upgradeMissing }
    guard HeaderList.has("upgrade", in: "Connection", of: headers) else { throw .connectionMissing }
    guard HeaderList.values("Sec-WebSocket-Accept", of: headers) == [acceptValue(forKey: key)]
    else {
      throw .acceptMismatch
    }
    guard HeaderList.elements("Sec-WebSocket-Extensions", of: headers).isEmpty else {
      throw .extensionNotOffered
    }
    let chosen = HeaderList.values("Sec-WebSocket-Protocol", of: headers)
    guard chosen.count <= 1, chosen.allSatisfy(offered.contains) else {
      throw .subprotocolNotOffered
    }
    return chosen.first
  }

  /// `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key`. **Source**: RFC 6455, section 4.2.2.
  package static func acceptValue(forKey key: String) -> String {
    Base64.encode(SHA1.hash(Array((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").utf8)))
  }

  /// A `Sec-WebSocket-Key` from 16 random bytes of the shell.
  package static func key(_ random: UInt128) -> String {
    withUnsafeBytes(of: random.bigEndian) { Base64.encode(Array($0)) }
  }
}

/// Reading header fields: names without case, values trimmed, lists split at commas.
private enum HeaderList {
  static func values(_ name: String, of headers: WebSocketUpgrade.Headers) -> [String] {
    headers.filter { equals($0.name, name) }.map { trimmed($0.value.utf8) }
  }

  static func elements(_ name: String, of headers: WebSocketUpgrade.Headers) -> [String] {
    headers.filter { equals($0.name, name) }.flatMap { header in
      header.value.utf8.split(separator: UInt8(ascii: ",")).map { trimmed($0) }
    }.filter { !$0.isEmpty }
  }

  static func has(
    _ element: String, in name: String, of headers: WebSocketUpgrade.Headers
  ) -> Bool {
    elements(name, of: headers).contains { equals($0, element) }
  }

  private static func equals(_ left: String, _ right: String) -> Bool {
    left.utf8.elementsEqual(right.utf8) { lowered($0) == lowered($1) }
  }

  private static func lowered(_ byte: UInt8) -> UInt8 {
    (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) ? byte | 0x20 : byte
  }

  private static func trimmed(_ bytes: some BidirectionalCollection<UInt8>) -> String {
    let isBlank = { (byte: UInt8) in byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") }
    let start = bytes.firstIndex { !isBlank($0) } ?? bytes.endIndex
    let end = bytes.lastIndex { !isBlank($0) }.map { bytes.index(after: $0) } ?? start
    return String(decoding: bytes[start..<end], as: UTF8.self)
  }
}
