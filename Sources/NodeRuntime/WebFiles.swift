import Credentials
import NIOCore
import Transport
import WebPages

/// An answer to a browser that asks for a page.
struct WebAnswer: Sendable {
  var status: Int
  var headers: HTTPFields.List = []
  var body = ByteBuffer()

  func send(to responder: HTTPResponder) {
    responder.respond(status, headers: headers, body: body)
  }
}

/// A page and what it loads, as they are in the program.
///
/// Each file has an `ETag`, and browsers ask each time whether it is still that: after an upgrade
/// no page runs with files of before.
struct WebFiles: Sendable {
  private struct File {
    var contentType: String
    var tag: String
    var bytes: ByteBuffer
    var isPage: Bool
  }

  private let files: [String: File]
  private let pageHeaders: HTTPFields.List

  /// The chat.
  ///
  /// - Parameter gateways: origins that the page may connect to besides its own.
  static func chat(gateways: [String]) -> WebFiles {
    let sockets = gateways.filter { $0.hasPrefix("http") }.map { "ws" + $0.dropFirst(4) }
    return WebFiles(
      folder: "Chat", page: "/", prefix: "/web/", connects: gateways + sockets)
  }

  /// The console.
  static func console() -> WebFiles {
    WebFiles(folder: "Console", page: "/console", prefix: "/console/", connects: [])
  }

  private init(folder: String, page: String, prefix: String, connects: [String]) {
    var files: [String: File] = [:]
    for index in 0..<Int(martlet_web_file_count) {
      let entry = martlet_web_file_at(index)
      guard String(cString: entry.folder) == folder else { continue }
      let name = String(cString: entry.name)
      let bytes = UnsafeRawBufferPointer(start: entry.bytes, count: entry.count)
      let digest = Digest.sha256(Array(bytes)).prefix(12)
      let hexadecimal = digest.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
      let isPage = name == "index.html"
      files[isPage ? page : prefix + name] = File(
        contentType: Self.contentType(of: name), tag: "\"\(hexadecimal)\"",
        bytes: ByteBuffer(bytes: bytes), isPage: isPage)
    }
    self.files = files
    pageHeaders = [
      (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src "
          + (["'self'"] + connects).joined(separator: " ")
          + "; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
          + "; require-trusted-types-for 'script'; trusted-types 'none'"
      ),
      ("x-frame-options", "DENY"), ("referrer-policy", "no-referrer"),
      ("cross-origin-opener-policy", "same-origin"),
      ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
    ]
  }

  /// - Parameter ifNoneMatch: the tags that the browser has.
  ///
  /// **Returns**: `nil` when there is no such file.
  func answer(_ path: String, ifNoneMatch: String?) -> WebAnswer? {
    guard let file = files[path] else { return nil }
    var headers: HTTPFields.List = [
      ("etag", file.tag), ("cache-control", "no-cache"), ("x-content-type-options", "nosniff"),
    ]
    if file.isPage { headers += pageHeaders }
    if let ifNoneMatch, ifNoneMatch == "*" || ifNoneMatch.contains(file.tag) {
      return WebAnswer(status: 304, headers: headers)
    }
    headers.insert(("content-type", file.contentType), at: 0)
    return WebAnswer(status: 200, headers: headers, body: file.bytes)
  }

  private static func contentType(of name: String) -> String {
    switch name.split(separator: ".").last {
    case "html": "text/html; charset=utf-8"
    case "css": "text/css; charset=utf-8"
    case "js": "text/javascript; charset=utf-8"
    case "svg": "image/svg+xml"
    default: "application/octet-stream"
    }
  }
}
