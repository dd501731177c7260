import NIOHTTP1

/// What is wrong with a request's head that the decoder lets pass.
struct HTTP1Fault: Error, Hashable {}

/// Rules about requests of HTTP/1.1 beyond their grammar. A request that another hop could read
/// differently is refused, never repaired.
///
/// **Source**: RFC 9112, sections 3.2, 6.1 and 11.2.
enum HTTP1Checks {
  /// **Returns**: the target in origin form (path and query).
  static func check(
    _ head: HTTPRequestHead, _ headers: HTTPFields
  ) -> Result<String, HTTP1Fault> {
    let hosts = headers.values(of: "host")
    guard head.version.major == 1, hosts.count <= 1, hosts.count == 1 || head.version.minor == 0,
      HTTPFields.areSendable(headers.list), hasOneLength(headers)
    else { return .failure(HTTP1Fault()) }
    guard head.uri.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7f }) else {
      return .failure(HTTP1Fault())
    }
    if head.uri.hasPrefix("/") { return .success(head.uri) }
    if head.uri == "*", head.method == .OPTIONS { return .success(head.uri) }
    guard let target = originForm(head.uri, host: hosts.first) else {
      return .failure(HTTP1Fault())
    }
    return .success(target)
  }

  /// A body's length is said once, and one way.
  private static func hasOneLength(_ headers: HTTPFields) -> Bool {
    let lengths = headers.values(of: "content-length")
    let encodings = headers.values(of: "transfer-encoding")
    switch (lengths.count, encodings.count) {
    case (0, 0): return true
    case (1, 0):
      let digits = lengths[0].utf8
      return !digits.isEmpty && digits.count <= 18
        && digits.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
    case (0, 1): return encodings[0].lowercased() == "chunked"
    default: return false
    }
  }

  /// A proxy's form, whose authority must be that of `Host`.
  private static func originForm(_ uri: String, host: String?) -> String? {
    for scheme in ["http://", "https://"] where uri.lowercased().hasPrefix(scheme) {
      let rest = uri.dropFirst(scheme.count)
      let authority = rest.prefix { $0 != "/" && $0 != "?" }
      guard !authority.isEmpty, authority.lowercased() == host?.lowercased() else { return nil }
      let target = rest.dropFirst(authority.count)
      return target.hasPrefix("/") ? String(target) : "/" + target
    }
    return nil
  }

  /// **Source**: RFC 9110, section 15; for people who read traces.
  static func reason(_ status: Int) -> String {
    switch status {
    case 200: "OK"
    case 201: "Created"
    case 204: "No Content"
    case 301: "Moved Permanently"
    case 302: "Found"
    case 304: "Not Modified"
    case 400: "Bad Request"
    case 401: "Unauthorized"
    case 403: "Forbidden"
    case 404: "Not Found"
    case 405: "Method Not Allowed"
    case 408: "Request Timeout"
    case 409: "Conflict"
    case 413: "Content Too Large"
    case 415: "Unsupported Media Type"
    case 426: "Upgrade Required"
    case 429: "Too Many Requests"
    case 431: "Request Header Fields Too Large"
    case 500: "Internal Server Error"
    case 501: "Not Implemented"
    case 503: "Service Unavailable"
    case 504: "Gateway Timeout"
    default: "Status"
    }
  }
}
