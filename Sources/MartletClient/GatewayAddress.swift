/// Where a gateway listens, read from a URL.
///
/// **Shape** (text): `http://host:port` or `https://host:port`; `ws` and `wss` mean the same. An
/// IPv6 address stands in brackets. The port may be left out (80, 443); a path may only be `/`.
struct GatewayAddress: Hashable, Sendable {
  let text: String
  let isSecure: Bool
  let host: String
  let port: Int

  init(_ text: String) throws(MartletError) {
    let wrong = MartletError.invalidArgument("a gateway is http(s)://host[:port], not \(text)")
    guard let separator = text.firstRange(of: "://") else { throw wrong }
    switch text[..<separator.lowerBound].lowercased() {
    case "http", "ws": isSecure = false
    case "https", "wss": isSecure = true
    default: throw wrong
    }
    var rest = text[separator.upperBound...]
    if rest.last == "/" { rest.removeLast() }
    guard !rest.isEmpty, rest.utf8.allSatisfy({ (33...126).contains($0) }),
      !rest.contains(where: { "/?#@".contains($0) })
    else { throw wrong }
    let authority: (host: Substring, port: Substring?)
    if rest.first == "[" {
      guard let end = rest.firstIndex(of: "]") else { throw wrong }
      let after = rest[rest.index(after: end)...]
      guard after.isEmpty || after.first == ":" else { throw wrong }
      authority = (rest[..<end].dropFirst(), after.isEmpty ? nil : after.dropFirst())
    } else {
      let parts = rest.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
      authority = (parts[0], parts.count == 2 ? parts[1] : nil)
    }
    guard !authority.host.isEmpty else { throw wrong }
    host = String(authority.host)
    if let given = authority.port {
      guard let number = UInt16(given), number > 0 else { throw wrong }
      port = Int(number)
    } else {
      port = isSecure ? 443 : 80
    }
    self.text = text
  }

  /// The `Host` header.
  var authority: String { (host.contains(":") ? "[\(host)]" : host) + ":\(port)" }

  /// Whether the host is an address rather than a name, for what its certificate must say.
  var isNumeric: Bool {
    host.contains(":") || host.utf8.allSatisfy { $0 == 0x2e || (0x30...0x39).contains($0) }
  }
}
