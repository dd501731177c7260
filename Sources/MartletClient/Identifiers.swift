import ChatModel
import Primitives

/// 128 bits without the alignment of `UInt128`.
///
/// Swift 6.3 passes a captured value of that alignment wrongly to the body of a task that captures
/// some more: `Task { try await client.send(…, to: conversation) }` would crash in the program of
/// somebody who did nothing wrong.
private struct Halves: Hashable, Sendable {
  let high: UInt64
  let low: UInt64

  init(_ whole: UInt128) {
    high = UInt64(truncatingIfNeeded: whole >> 64)
    low = UInt64(truncatingIfNeeded: whole)
  }

  var whole: UInt128 { UInt128(high) << 64 | UInt128(low) }
}

/// A person's account. Opaque: keep it, compare it, show it as text.
///
/// **Shape** (text): `u` and 26 characters.
public struct UserID: Hashable, Comparable, Sendable, LosslessStringConvertible {
  private let halves: Halves

  init(_ wire: ChatModel.UserID) { halves = Halves(wire.rawValue) }

  var wire: ChatModel.UserID { ChatModel.UserID(halves.whole) }

  /// **Returns**: `nil` for a text that is no user's id.
  public init?(_ description: String) {
    guard let wire = ChatModel.UserID(description) else { return nil }
    self.init(wire)
  }

  public var description: String { wire.description }
  public static func < (left: Self, right: Self) -> Bool { left.wire < right.wire }
}

/// A conversation of any kind. Opaque: keep it, compare it, show it as text.
///
/// **Shape** (text): `c` and 26 characters.
public struct ConversationID: Hashable, Comparable, Sendable, LosslessStringConvertible {
  private let halves: Halves

  init(_ wire: ChatModel.ConversationID) { halves = Halves(wire.rawValue) }

  var wire: ChatModel.ConversationID { ChatModel.ConversationID(halves.whole) }

  /// **Returns**: `nil` for a text that is no conversation's id.
  public init?(_ description: String) {
    guard let wire = ChatModel.ConversationID(description) else { return nil }
    self.init(wire)
  }

  public var description: String { wire.description }
  public static func < (left: Self, right: Self) -> Bool { left.wire < right.wire }
}

extension UserID: Codable {
  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    guard let value = Self(try container.decode(String.self)) else {
      throw DecodingError.dataCorruptedError(in: container, debugDescription: "no user's id")
    }
    self = value
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }
}

extension ConversationID: Codable {
  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    guard let value = Self(try container.decode(String.self)) else {
      throw DecodingError.dataCorruptedError(
        in: container, debugDescription: "no conversation's id")
    }
    self = value
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }
}

/// The id by which a repeated send is recognised, for 1,024 messages of a device and conversation.
///
/// **Shape**: 1 to 64 bytes of printable ASCII without spaces.
public struct MessageID: Hashable, Sendable, CustomStringConvertible {
  let wire: ClientMessageID

  /// **Returns**: `nil` for a text that is no such id.
  public init?(_ text: String) {
    guard let wire = ClientMessageID(text) else { return nil }
    self.wire = wire
  }

  /// A new one that nobody else has.
  public static func random() -> MessageID {
    var generator = SystemRandomNumberGenerator()
    let text = Base32.encode(UInt128(generator.next()) << 64 | UInt128(generator.next()))
    guard let id = MessageID(text) else { preconditionFailure("base 32 is printable: \(text)") }
    return id
  }

  public var description: String { wire.text }
}
