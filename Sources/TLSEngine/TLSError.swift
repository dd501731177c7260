import COpenSSL

/// Why a context could not be made or a connection failed. The texts are OpenSSL's reasons, for
/// logs.
package enum TLSError: Error, Hashable, Sendable {
  /// A file cannot be used or a setting makes no sense.
  case configuration(String)
  /// The other end's certificate, or that it has none, was refused here.
  case certificateRefused(String)
  /// The other end sent a fatal alert.
  case refusedByPeer(String)
  /// The other end's bytes are not the protocol, or the two ends have nothing in common.
  case protocolViolation(String)
  /// The other end closed before the handshake was done.
  case closedInHandshake
  /// More than `TLSLimits.pendingInputBytesMax` were received without being read.
  case inputOverflow
}

extension TLSError: CustomStringConvertible {
  package var description: String {
    switch self {
    case .configuration(let text): text
    case .certificateRefused(let text): "the other end's certificate is refused: \(text)"
    case .refusedByPeer(let text): "the other end refuses: \(text)"
    case .protocolViolation(let text): "no TLS that both ends speak: \(text)"
    case .closedInHandshake: "closed in the handshake"
    case .inputOverflow: "too much was received without being read"
    }
  }
}

extension TLSError {
  /// Takes the first entry of this thread's error queue (the root cause) and empties the queue.
  static func configurationFailure(_ what: String) -> TLSError {
    let code = ERR_get_error()
    ERR_clear_error()
    return .configuration("\(what): \(reasonText(code))")
  }

  /// As `configurationFailure`, for a call on a connection.
  static func connectionFailure(_ connection: OpaquePointer) -> TLSError {
    let code = ERR_get_error()
    ERR_clear_error()
    guard code != 0, ERR_GET_LIB(code) == ERR_LIB_SSL else {
      return .protocolViolation(reasonText(code))
    }
    switch ERR_GET_REASON(code) {
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
      let result = SSL_get_verify_result(connection)
      guard let text = X509_verify_cert_error_string(result) else { break }
      return .certificateRefused(String(cString: text))
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
      return .certificateRefused(reasonText(code))
    case SSL_AD_REASON_OFFSET...(SSL_AD_REASON_OFFSET + 255):
      return .refusedByPeer(reasonText(code))
    default:
      break
    }
    return .protocolViolation(reasonText(code))
  }

  private static func reasonText(_ code: UInt) -> String {
    guard code != 0 else { return "no reason given" }
    if let text = ERR_reason_error_string(code) { return String(cString: text) }
    return withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { buffer in
      guard let base = buffer.baseAddress else { return "no reason given" }
      ERR_error_string_n(code, base, buffer.count)
      return String(cString: base)
    }
  }
}
