package import ClusterModel
package import Coordination
import Glibc

/// What values of settings look like. Each throws with the setting's name and what is allowed.
extension Setting {
  /// A whole number.
  package func number(in range: ClosedRange<Int>) throws(SettingError) -> Int {
    guard let number = Int(value), range.contains(number) else {
      throw refused(allowed: "a whole number from \(range.lowerBound) to \(range.upperBound)")
    }
    return number
  }

  /// `HOST:PORT`.
  package func address() throws(SettingError) -> NodeAddress {
    guard let address = NodeAddress(value) else {
      throw refused(
        allowed: "HOST:PORT (an IPv6 address in brackets) with a port from 1 to 65535")
    }
    return address
  }

  /// A label of a DNS name, since the node's certificate carries it among its names.
  package func nodeName() throws(SettingError) -> String {
    let isValid =
      (1...63).contains(value.utf8.count) && value.first != "-" && value.last != "-"
      && value.utf8.allSatisfy {
        switch $0 {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
          UInt8(ascii: "-"):
          true
        default: false
        }
      }
    guard isValid else {
      throw refused(allowed: "1 to 63 of a-z, 0-9 and '-', the first and last no '-'")
    }
    return value
  }

  /// A name for what fails together; may be empty.
  package func zone() throws(SettingError) -> String {
    let isValid =
      value.utf8.count <= 63 && value.utf8.allSatisfy { (0x21...0x7e).contains($0) }
    guard isValid else { throw refused(allowed: "up to 63 printable ASCII characters") }
    return value
  }

  /// The path of a file that can be read; `what` says what should be in it.
  package func readableFile(_ what: String) throws(SettingError) -> String {
    var status = stat()
    guard stat(value, &status) == 0, access(value, R_OK) == 0 else {
      throw refused(String(cString: strerror(errno)), allowed: "a readable PEM file with \(what)")
    }
    guard status.st_mode & S_IFMT == S_IFREG else {
      throw refused("it is no file", allowed: "a readable PEM file with \(what)")
    }
    return value
  }

  /// A directory that exists, or one that can be made in a directory that exists.
  package func dataDirectory() throws(SettingError) -> String {
    let allowed = "a directory of this node alone, or a new name in a directory that exists"
    var path = value
    while path.count > 1, path.last == "/" { path.removeLast() }
    guard !path.isEmpty else { throw refused(allowed: allowed) }
    var status = stat()
    if stat(path, &status) == 0 {
      guard status.st_mode & S_IFMT == S_IFDIR else {
        throw refused("it is no directory", allowed: allowed)
      }
      guard access(path, R_OK | W_OK | X_OK) == 0 else {
        throw refused(String(cString: strerror(errno)), allowed: allowed)
      }
      return path
    }
    guard errno == ENOENT else {
      throw refused(String(cString: strerror(errno)), allowed: allowed)
    }
    let parent = path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : path[..<$0] } ?? "."
    guard access(String(parent), W_OK | X_OK) == 0 else {
      throw refused("\(parent): \(String(cString: strerror(errno)))", allowed: allowed)
    }
    return path
  }

  /// etcd's members, separated by commas; at least one.
  package func etcdEndpoints() throws(SettingError) -> [EtcdEndpoint] {
    var endpoints: [EtcdEndpoint] = []
    for text in items {
      guard let endpoint = EtcdEndpoint(text) else { throw refused(allowed: Self.etcdAllowed) }
      endpoints.append(endpoint)
    }
    guard !endpoints.isEmpty else { throw refused(allowed: Self.etcdAllowed) }
    return endpoints
  }

  static let etcdAllowed = "http://HOST:PORT or https://HOST:PORT, several separated by commas"

  /// Origins as browsers send them: scheme, host and perhaps a port, without a path.
  package func origins() throws(SettingError) -> [String] {
    if value == "*" { return ["*"] }
    for origin in items {
      let rest =
        origin.hasPrefix("https://")
        ? origin.dropFirst(8) : origin.hasPrefix("http://") ? origin.dropFirst(7) : ""
      guard !rest.isEmpty, rest.utf8.allSatisfy({ Self.isHostByte($0) || ":[]".utf8.contains($0) })
      else {
        throw refused(
          allowed: "https://HOST or http://HOST in lower case, with :PORT where it is not the "
            + "usual one, several separated by commas, or *")
      }
    }
    return items
  }

  /// A domain that several hosts share. Browsers refuse cookies for one without a dot.
  package func cookieDomain() throws(SettingError) -> String {
    let labels = value.split(separator: ".", omittingEmptySubsequences: false)
    guard labels.count >= 2,
      labels.allSatisfy({ !$0.isEmpty && $0.utf8.allSatisfy(Self.isHostByte) })
    else { throw refused(allowed: "a domain in lower case, such as example.org") }
    return value
  }

  private static func isHostByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
      UInt8(ascii: "-"), UInt8(ascii: "."):
      true
    default: false
    }
  }

  /// One of a few words.
  package func choice(_ choices: [String]) throws(SettingError) -> String {
    guard choices.contains(value) else {
      throw refused(allowed: "one of " + choices.joined(separator: ", "))
    }
    return value
  }

  private var items: [String] {
    value.split(separator: ",").map { item in
      String(item.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
    }.filter { !$0.isEmpty }
  }
}

extension NodeAddress {
  /// Whether only processes of this machine can connect to it.
  package var isLoopback: Bool {
    if host == "localhost" || host == "::1" { return true }
    let parts = host.split(separator: ".", omittingEmptySubsequences: false)
    return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
  }

  /// The address with a port that is `count` higher.
  ///
  /// **Returns**: `nil` beyond the last port.
  package func advanced(by count: Int) -> NodeAddress? {
    guard let port = UInt16(exactly: Int(port) + count) else { return nil }
    return NodeAddress(host: host, port: port)
  }
}
