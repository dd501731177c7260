/// gRPC's canonical codes, which are also those of Martlet's own errors.
///
/// **Source**: grpc.io, "Status codes and their use in gRPC".
package enum GRPCCode: Int, Hashable, Sendable, CaseIterable {
  case ok = 0
  case cancelled = 1
  case unknown = 2
  case invalidArgument = 3
  case deadlineExceeded = 4
  case notFound = 5
  case alreadyExists = 6
  case permissionDenied = 7
  case resourceExhausted = 8
  case failedPrecondition = 9
  case aborted = 10
  case outOfRange = 11
  case unimplemented = 12
  case `internal` = 13
  case unavailable = 14
  case dataLoss = 15
  case unauthenticated = 16
}

/// How a call ended.
package struct GRPCStatus: Error, Hashable, Sendable, CustomStringConvertible {
  package let code: GRPCCode
  package let message: String

  package init(_ code: GRPCCode, _ message: String = "") {
    self.code = code
    self.message = message
  }

  package var description: String { message.isEmpty ? "\(code)" : "\(code): \(message)" }

  /// Reads `grpc-status` and `grpc-message` of trailers, or of headers that end the stream.
  ///
  /// **Returns**: `nil` when there is no `grpc-status`; `unknown` for a value that is no code.
  package init?(fields: [HTTP2HeaderField]) {
    guard let value = fields.value(of: "grpc-status") else { return nil }
    code = Int(value).flatMap(GRPCCode.init(rawValue:)) ?? .unknown
    message = Self.percentDecoded(fields.value(of: "grpc-message") ?? "")
  }

  /// What a response means that is not gRPC's, from a proxy or another server.
  ///
  /// **Source**: "gRPC over HTTP2", HTTP to gRPC status code mapping.
  package init(httpStatus: String) {
    let code: GRPCCode =
      switch httpStatus {
      case "400": .internal
      case "401": .unauthenticated
      case "403": .permissionDenied
      case "404": .unimplemented
      case "429", "502", "503", "504": .unavailable
      default: .unknown
      }
    self.init(code, "HTTP status \(httpStatus)")
  }

  /// What the end of a stream means that came before trailers.
  ///
  /// **Source**: "gRPC over HTTP2", HTTP2 transport mapping, Errors.
  package init(streamError: HTTP2ErrorCode) {
    let code: GRPCCode =
      switch streamError {
      case .refusedStream: .unavailable
      case .cancel: .cancelled
      case .enhanceYourCalm: .resourceExhausted
      case .inadequateSecurity: .permissionDenied
      default: .internal
      }
    self.init(code, "stream ended with \(streamError)")
  }

  /// The fields with which a server ends the stream.
  package var trailers: [HTTP2HeaderField] {
    var fields = [HTTP2HeaderField("grpc-status", String(code.rawValue))]
    if !message.isEmpty {
      fields.append(HTTP2HeaderField("grpc-message", Self.percentEncoded(message)))
    }
    return fields
  }

  // MARK: Percent coding

  private static let hexDigits: [UInt8] = Array("0123456789ABCDEF".utf8)

  static func percentEncoded(_ text: String) -> String {
    var bytes: [UInt8] = []
    for byte in text.utf8 {
      if (0x20...0x7e).contains(byte), byte != UInt8(ascii: "%") {
        bytes.append(byte)
      } else {
        bytes.append(UInt8(ascii: "%"))
        bytes.append(hexDigits[Int(byte >> 4)])
        bytes.append(hexDigits[Int(byte & 15)])
      }
    }
    // A field's value must not begin or end with a space.
    if bytes.first == 0x20 { bytes.replaceSubrange(0..<1, with: Array("%20".utf8)) }
    if bytes.last == 0x20 { bytes.replaceSubrange((bytes.count - 1)..., with: Array("%20".utf8)) }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// What is no valid escape stays as it is; bytes that are not UTF-8 read as U+FFFD.
  static func percentDecoded(_ text: String) -> String {
    var bytes: [UInt8] = []
    var rest = Array(text.utf8)[...]
    while let byte = rest.popFirst() {
      if byte == UInt8(ascii: "%"), rest.count >= 2,
        let high = hexValue(rest[rest.startIndex]), let low = hexValue(rest[rest.startIndex + 1])
      {
        bytes.append(high << 4 | low)
        rest = rest.dropFirst(2)
      } else {
        bytes.append(byte)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  private static func hexValue(_ byte: UInt8) -> UInt8? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
    default: nil
    }
  }
}

/// The header lists with which a call begins.
///
/// **Source**: "gRPC over HTTP2", sections Requests and Responses.
package enum GRPCHeaders {
  /// `path` is `/package.Service/Method`; `timeout` becomes `grpc-timeout`.
  package static func request(
    path: String, authority: String, isSecure: Bool, timeoutMilliseconds: UInt64? = nil,
    metadata: [HTTP2HeaderField] = []
  ) -> [HTTP2HeaderField] {
    var fields = [
      HTTP2HeaderField(":method", "POST"),
      HTTP2HeaderField(":scheme", isSecure ? "https" : "http"),
      HTTP2HeaderField(":path", path),
      HTTP2HeaderField(":authority", authority),
      HTTP2HeaderField("te", "trailers"),
      HTTP2HeaderField("content-type", "application/grpc"),
    ]
    if let timeoutMilliseconds {
      fields.append(HTTP2HeaderField("grpc-timeout", timeout(milliseconds: timeoutMilliseconds)))
    }
    return fields + metadata
  }

  package static let response = [
    HTTP2HeaderField(":status", "200"),
    HTTP2HeaderField("content-type", "application/grpc"),
  ]

  /// The header list of a call that ends without a message.
  package static func trailersOnly(_ status: GRPCStatus) -> [HTTP2HeaderField] {
    response + status.trailers
  }

  /// At most eight digits are allowed; longer timeouts are given in seconds.
  private static func timeout(milliseconds: UInt64) -> String {
    milliseconds < 100_000_000
      ? "\(milliseconds)m" : "\(min(99_999_999, milliseconds / 1_000))S"
  }
}
