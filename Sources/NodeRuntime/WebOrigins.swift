import Transport
import WebSocketEngine

/// Which web pages may use a gateway from a browser: those that it serves itself, and those of
/// listed origins, which may send its cookie along.
///
/// A page's origin dies with its gateway. So gateways of one cluster list each other's origins, and
/// an open page goes on at another one.
///
/// **Source**: WHATWG Fetch, section "CORS protocol".
struct WebOrigins: Sendable {
  /// How long a browser remembers the answer to a preflight. **Units**: seconds.
  private static let preflightSeconds = 600

  let policy: OriginPolicy
  let cookie: RefreshCookie

  init(_ options: GatewayOptions) {
    policy = options.allowedOrigins == ["*"] ? .any : .only(options.allowedOrigins)
    cookie = RefreshCookie(domain: options.cookieDomain)
  }

  /// Those that may send the cookie along and that a page may connect to.
  var listed: [String] {
    if case .only(let origins) = policy { origins } else { [] }
  }

  /// What lets a page from elsewhere read the answer. With `*` pages read what they could read
  /// without a browser: nothing goes along that the page did not put there.
  func answerHeaders(_ request: HTTPRequest) -> HTTPFields.List {
    guard let origin = request.headers["origin"] else { return [] }
    switch policy {
    case .any: return [("access-control-allow-origin", "*")]
    case .only(let allowed):
      guard allowed.contains(origin) else { return [("vary", "origin")] }
      return [
        ("access-control-allow-origin", origin), ("access-control-allow-credentials", "true"),
        ("vary", "origin"),
      ]
    }
  }

  /// **Returns**: `nil` when the request is no preflight.
  func preflight(_ request: HTTPRequest) -> WebAnswer? {
    guard request.method == "OPTIONS", let origin = request.headers["origin"],
      request.headers["access-control-request-method"] != nil
    else { return nil }
    guard policy.allows(origin, host: request.headers["host"]) else {
      return WebAnswer(status: 403)
    }
    return WebAnswer(
      status: 204,
      headers: [
        ("access-control-allow-methods", "GET, HEAD, POST, DELETE"),
        ("access-control-allow-headers", "authorization, content-type, last-event-id"),
        ("access-control-max-age", "\(Self.preflightSeconds)"),
      ])
  }

  /// Whether the request comes from a page that may use the cookie. Browsers send `Origin` with
  /// every request that changes something.
  func mayUseCookie(_ request: HTTPRequest) -> Bool {
    guard let origin = request.headers["origin"] else { return false }
    return listed.contains(origin)
      || OriginPolicy.isOwn(origin, host: request.headers["host"])
  }

  /// Whether the browser speaks TLS, be it with something in front of the gateway.
  static func isSecure(_ request: HTTPRequest) -> Bool {
    request.isSecure || request.headers["origin"]?.hasPrefix("https://") == true
  }
}

/// The cookie with a page's refresh token. No script can read it, and no page of another site sends
/// it.
///
/// Browsers keep cookies by host, whatever the port. Gateways with names of their own share it when
/// `domain` is a suffix of them all.
///
/// **Source**: RFC 6265bis.
struct RefreshCookie: Sendable {
  static let name = "martlet-refresh"
  /// It is sent nowhere else.
  private static let path = "/v1/sessions"

  /// `nil`: the host alone that sets it.
  let domain: String?

  /// What a request carries, if it is not empty.
  static func token(in headers: HTTPFields) -> String? {
    for line in headers.values(of: "cookie") {
      for pair in line.split(separator: ";") {
        let parts = pair.drop { $0 == " " }.split(
          separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, parts[0] == name, !parts[1].isEmpty else { continue }
        return String(parts[1])
      }
    }
    return nil
  }

  /// - Parameter seconds: how long it is kept.
  func setting(_ token: String, isSecure: Bool, seconds: UInt32) -> (name: String, value: String) {
    var value = "\(Self.name)=\(token); Path=\(Self.path); Max-Age=\(seconds)"
    value += "; HttpOnly; SameSite=Strict"
    if let domain { value += "; Domain=\(domain)" }
    if isSecure { value += "; Secure" }
    return ("set-cookie", value)
  }

  func clearing(isSecure: Bool) -> (name: String, value: String) {
    setting("", isSecure: isSecure, seconds: 0)
  }
}
