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
    /// Of the bytes as they are.
    var tag: String
    var bytes: ByteBuffer
    /// Compressed, where that is shorter.
    var gzip: ByteBuffer?
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

  /// The console; compressed when somebody first asks, not when a node starts.
  static let console = WebFiles(
    folder: "Console", page: "/console", prefix: "/console/", connects: [])

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
        bytes: ByteBuffer(bytes: bytes), gzip: Self.gzip(bytes), isPage: isPage)
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

  private static func gzip(_ bytes: UnsafeRawBufferPointer) -> ByteBuffer? {
    guard let input = bytes.bindMemory(to: UInt8.self).baseAddress else { return nil }
    let output = [UInt8](unsafeUninitializedCapacity: bytes.count) { buffer, count in
      count =
        buffer.baseAddress.map {
          martlet_web_gzip(input, bytes.count, $0, bytes.count)
        } ?? 0
    }
    return output.isEmpty ? nil : ByteBuffer(bytes: output)
  }

  /// - Parameter ifNoneMatch: the tags that the browser has.
  /// - Parameter acceptEncoding: the encodings that it reads.
  ///
  /// **Returns**: `nil` when there is no such file.
  func answer(_ path: String, ifNoneMatch: String?, acceptEncoding: String?) -> WebAnswer? {
    guard let file = files[path] else { return nil }
    let gzip = Self.takesGzip(acceptEncoding) ? file.gzip : nil
    let tag = gzip == nil ? file.tag : file.tag.dropLast() + "-gzip\""
    var headers: HTTPFields.List = [
      ("etag", tag), ("vary", "accept-encoding"), ("cache-control", "no-cache"),
      ("x-content-type-options", "nosniff"),
    ]
    if file.isPage { headers += pageHeaders }
    if let ifNoneMatch, ifNoneMatch == "*" || ifNoneMatch.contains(tag) {
      return WebAnswer(status: 304, headers: headers)
    }
    headers.insert(("content-type", file.contentType), at: 0)
    if gzip != nil { headers.append(("content-encoding", "gzip")) }
    return WebAnswer(status: 200, headers: headers, body: gzip ?? file.bytes)
  }

  /// **Source**: RFC 9110, section 12.5.3.
  static func takesGzip(_ acceptEncoding: String?) -> Bool {
    (acceptEncoding ?? "").lowercased().split(separator: ",").contains { element in
      let parts = element.split(separator: ";").map { $0.filter { $0 != " " } }
      guard parts.first == "gzip" else { return false }
      let quality = parts.dropFirst().first { $0.hasPrefix("q=") }?.dropFirst(2)
      return quality.map { (Double($0) ?? 0) > 0 } ?? true
    }
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
