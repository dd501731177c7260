import Foundation
import RawSockets
import Testing

/// An answer of HTTP/1.1.
struct Answer: Sendable, CustomStringConvertible {
  let status: Int
  /// Names in lower case.
  let headers: [String: String]
  let body: [UInt8]

  func json() throws -> JSON { try JSON(parsing: body) }

  var description: String { "\(status) \(String(decoding: body, as: UTF8.self))" }

  init(parsing bytes: [UInt8]) throws {
    let blankLine = Array("\r\n\r\n".utf8)
    let end = try #require(
      bytes.indices.first { bytes[$0...].starts(with: blankLine) },
      "no header: \(String(decoding: bytes, as: UTF8.self))")
    let lines = String(decoding: bytes[..<end], as: UTF8.self).split(separator: "\r\n")
    status = try #require(Int(lines[0].split(separator: " ")[1]))
    var headers: [String: String] = [:]
    for line in lines.dropFirst() {
      let parts = line.split(separator: ":", maxSplits: 1)
      headers[parts[0].lowercased()] = parts[1].trimmingCharacters(in: .whitespaces)
    }
    self.headers = headers
    body = Array(bytes[(end + blankLine.count)...])
  }
}

/// HTTP to one gateway. Every answer is held against the gateway's own OpenAPI document.
struct API: Sendable {
  let port: Int
  var token: String?

  /// - Parameter lines: further header lines.
  /// - Parameter from: where the failure is shown.
  func call(
    _ method: String, _ target: String, body: String? = nil, _ lines: [String] = [],
    from location: SourceLocation = #_sourceLocation
  ) async throws -> Answer {
    let connection = try await RawConnection.open(port)
    try await connection.send(Self.request(method, target, token: token, body: body, lines))
    let bytes = try await connection.bytesUntilClosed()
    let answer = try Answer(parsing: bytes)
    let length = answer.headers["content-length"] ?? String(answer.body.count)
    #expect(method == "HEAD" || length == String(answer.body.count), sourceLocation: location)
    let problems = try #require(Serving.current).contract.problems(method, target, answer)
    #expect(problems.isEmpty, "\(answer)", sourceLocation: location)
    return answer
  }

  static func request(
    _ method: String, _ target: String, token: String?, body: String? = nil,
    _ lines: [String] = [], closes: Bool = true
  ) -> String {
    var head = ["\(method) \(target) HTTP/1.1", "Host: chat.test"]
    if closes { head.append("Connection: close") }
    if let token { head.append("Authorization: Bearer \(token)") }
    if let body { head.append("Content-Length: \(body.utf8.count)") }
    return (head + lines).map { $0 + "\r\n" }.joined() + "\r\n" + (body ?? "")
  }

  func get(
    _ target: String, _ lines: [String] = [], from location: SourceLocation = #_sourceLocation
  ) async throws -> Answer {
    try await call("GET", target, lines, from: location)
  }

  func post(
    _ target: String, _ body: JSON, from location: SourceLocation = #_sourceLocation
  ) async throws -> Answer {
    try await call("POST", target, body: body.text, from: location)
  }

  /// **Returns**: the body of an answer that must have this status.
  func get(
    _ status: Int, _ target: String, from location: SourceLocation = #_sourceLocation
  ) async throws -> JSON {
    let answer = try await get(target, from: location)
    try #require(answer.status == status, "\(answer)", sourceLocation: location)
    return try answer.json()
  }

  func post(
    _ status: Int, _ target: String, _ body: JSON,
    from location: SourceLocation = #_sourceLocation
  ) async throws -> JSON {
    let answer = try await post(target, body, from: location)
    try #require(answer.status == status, "\(answer)", sourceLocation: location)
    return try answer.json()
  }
}

/// Holds an error to what it must say; the schema was looked at before.
func expectError(
  _ answer: Answer, _ status: Int, _ code: String, retryAfter: Int? = nil, saying part: String = "",
  from location: SourceLocation = #_sourceLocation
) throws {
  #expect(answer.status == status, "\(answer)", sourceLocation: location)
  #expect(answer.headers["content-type"] == "application/json", sourceLocation: location)
  let envelope = try answer.json()
  #expect(Array(envelope.members.keys) == ["error"], "\(answer)", sourceLocation: location)
  expectError(envelope["error"], code, retryAfter: retryAfter, saying: part, from: location)
}

func expectError(
  _ error: JSON, _ code: String, retryAfter: Int? = nil, saying part: String = "",
  from location: SourceLocation = #_sourceLocation
) {
  let message = error["message"].string ?? ""
  #expect(
    part.isEmpty ? !message.isEmpty : message.contains(part), "\(error.text)",
    sourceLocation: location)
  #expect(
    error.members.filter { $0.key != "message" } == [
      "code": .string(code), "retryable": .bool(retryAfter != nil),
      "retryAfterMilliseconds": .number(Double(retryAfter ?? 0)),
    ], "\(error.text)", sourceLocation: location)
}
