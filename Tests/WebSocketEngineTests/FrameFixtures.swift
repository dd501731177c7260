import Primitives

@testable import WebSocketEngine

/// What a decoder made of some bytes: all events, and the error if there was one.
struct Decoded: Equatable {
  var events: [FrameEvent] = []
  var error: WebSocketError?
}

enum FrameFixture {
  static let openLimits = WebSocketLimits(
    frameBytesMax: 1 << 24, messageBytesMax: 1 << 24, fragmentsMax: 1 << 20, pingInterval: 0)

  /// Feeds `bytes` in pieces of at most `pieceBytes`.
  static func decode(
    _ bytes: [UInt8], role: WebSocketRole = .server, limits: WebSocketLimits = openLimits,
    pieceBytes: Int = .max
  ) -> Decoded {
    var decoder = FrameDecoder(role: role, limits: limits)
    var decoded = Decoded()
    var rest = bytes[...]
    while !rest.isEmpty {
      do {
        try decoder.feed(rest.prefix(pieceBytes), now: .zero, into: &decoded.events)
      } catch {
        decoded.error = error
        return decoded
      }
      rest = rest.dropFirst(pieceBytes)
    }
    return decoded
  }

  /// A client's frame with a fixed key.
  static func masked(
    _ opcode: WebSocketOpcode, _ payload: [UInt8], isFinal: Bool = true
  ) -> [UInt8] {
    FrameEncoder.encodeMasked(opcode, payload, isFinal: isFinal, maskingKey: 0x3d21_fa37)
  }

  static func masked(_ text: String, isFinal: Bool = true) -> [UInt8] {
    masked(.text, Array(text.utf8), isFinal: isFinal)
  }
}
