/// Why a connection was closed.
///
/// **Source**: RFC 6455, section 7.4, and IANA's "WebSocket Close Code Number Registry".
package struct WebSocketCloseCode: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
  package let rawValue: UInt16

  package init(rawValue: UInt16) { self.rawValue = rawValue }

  package static let normal = Self(rawValue: 1000)
  package static let goingAway = Self(rawValue: 1001)
  package static let protocolError = Self(rawValue: 1002)
  package static let unsupportedData = Self(rawValue: 1003)
  package static let invalidPayload = Self(rawValue: 1007)
  package static let policyViolation = Self(rawValue: 1008)
  package static let messageTooBig = Self(rawValue: 1009)
  package static let extensionMissing = Self(rawValue: 1010)
  package static let internalError = Self(rawValue: 1011)
  package static let serviceRestart = Self(rawValue: 1012)
  package static let tryAgainLater = Self(rawValue: 1013)
  package static let badGateway = Self(rawValue: 1014)

  /// Whether the code may appear in a close frame. 1004 is reserved; 1005, 1006 and 1015 only name
  /// what has no frame; 3000…3999 are for libraries, 4000…4999 for applications.
  package var maySend: Bool {
    switch rawValue {
    case 1000...1003, 1007...1014, 3000...4999: true
    default: false
    }
  }

  package var description: String { "\(rawValue)" }
}

/// What a peer did that ends the connection.
package enum WebSocketError: Error, Hashable, Sendable {
  case reservedBitsSet
  case unknownOpcode(UInt8)
  case unmaskedClientFrame
  case maskedServerFrame
  case lengthNotMinimal
  case controlFrameFragmented
  case controlFrameTooLong
  case continuationWithoutStart
  case messageInterrupted
  case closePayloadTooShort
  case closeCodeNotAllowed(UInt16)
  case invalidUTF8
  case frameTooLong(bytes: UInt64)
  case messageTooLong
  case tooManyFragments
  case pingsTooFrequent

  /// What the peer is told.
  package var closeCode: WebSocketCloseCode {
    switch self {
    case .invalidUTF8: .invalidPayload
    case .frameTooLong, .messageTooLong, .tooManyFragments: .messageTooBig
    case .pingsTooFrequent: .policyViolation
    case .reservedBitsSet, .unknownOpcode, .unmaskedClientFrame, .maskedServerFrame,
      .lengthNotMinimal, .controlFrameFragmented, .controlFrameTooLong, .continuationWithoutStart,
      .messageInterrupted, .closePayloadTooShort, .closeCodeNotAllowed:
      .protocolError
    }
  }
}
