package import Primitives

/// A person's account. Random, made by a gateway, never reused.
///
/// **Shape** (text): `u` and 26 characters of Crockford's base 32.
package struct UserID: Hashable, Comparable, Sendable, CustomStringConvertible {
  package let rawValue: UInt128

  @inlinable
  package static func == (left: Self, right: Self) -> Bool {
    left.rawValue == right.rawValue
  }
  @inlinable package func hash(into hasher: inout Hasher) { hasher.combine(rawValue) }

  @inlinable package init(_ rawValue: UInt128) { self.rawValue = rawValue }

  package init?(_ text: some StringProtocol) {
    guard text.first == "u", let value = Base32.decode128(text.dropFirst()), value != 0
    else { return nil }
    rawValue = value
  }

  @inlinable
  package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
  package var description: String { "u" + Base32.encode(rawValue) }
}

/// A conversation of any kind.
///
/// **Shape** (text): `c` and 26 characters of Crockford's base 32.
package struct ConversationID: Hashable, Comparable, Sendable, CustomStringConvertible {
  package let rawValue: UInt128

  @inlinable
  package static func == (left: Self, right: Self) -> Bool {
    left.rawValue == right.rawValue
  }
  @inlinable package func hash(into hasher: inout Hasher) { hasher.combine(rawValue) }

  @inlinable package init(_ rawValue: UInt128) { self.rawValue = rawValue }

  /// The direct conversation of two people: derived from both, so that either side reaches the same
  /// one without asking.
  package init(directBetween first: UserID, and second: UserID) {
    var bytes: [UInt8] = Array("direct".utf8)
    for user in [min(first, second), max(first, second)] {
      withUnsafeBytes(of: user.rawValue.bigEndian) { bytes.append(contentsOf: $0) }
    }
    rawValue = StableHash.hash128(bytes)
  }

  package init?(_ text: some StringProtocol) {
    guard text.first == "c", let value = Base32.decode128(text.dropFirst()), value != 0
    else { return nil }
    rawValue = value
  }

  @inlinable
  package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
  package var description: String { "c" + Base32.encode(rawValue) }
}

/// One device of a user, which is one login: it has a refresh token and an idempotency window.
///
/// **Shape** (text): `d` and 13 characters of Crockford's base 32.
package struct DeviceID: Hashable, Comparable, Sendable, CustomStringConvertible {
  package let rawValue: UInt64

  @inlinable
  package static func == (left: Self, right: Self) -> Bool {
    left.rawValue == right.rawValue
  }
  @inlinable package func hash(into hasher: inout Hasher) { hasher.combine(rawValue) }

  @inlinable package init(_ rawValue: UInt64) { self.rawValue = rawValue }

  package init?(_ text: some StringProtocol) {
    guard text.first == "d", let value = Base32.decode64(text.dropFirst()), value != 0
    else { return nil }
    rawValue = value
  }

  @inlinable
  package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
  package var description: String { "d" + Base32.encode(rawValue) }
}

/// The id that a client gives a message, by which a repeated send is recognised.
///
/// **Shape**: 1 to 64 bytes of printable ASCII without spaces.
package struct ClientMessageID: Hashable, Sendable, CustomStringConvertible {
  /// **Units**: bytes of its text.
  package static let bytesMax = 64
  package let text: String

  package init?(_ text: String) {
    guard Self.isValid(text.utf8) else { return nil }
    self.text = text
  }

  /// The same from bytes that nothing is known of.
  package init?(ascii bytes: UnsafeRawBufferPointer) {
    guard Self.isValid(bytes) else { return nil }
    text = String(decoding: bytes, as: UTF8.self)
  }

  private static func isValid(_ bytes: some Collection<UInt8>) -> Bool {
    (1...bytesMax).contains(bytes.count) && bytes.allSatisfy { (33...126).contains($0) }
  }

  package var description: String { text }

  /// What the idempotency window keeps instead of the text.
  package var digest: UInt128 { StableHash.hash128(text.utf8) }
}

/// A place in a conversation: dense, from 1, given when a message is applied.
package struct Sequence: Hashable, Comparable, Sendable, CustomStringConvertible {
  package let rawValue: UInt64

  @inlinable
  package static func == (left: Self, right: Self) -> Bool {
    left.rawValue == right.rawValue
  }
  @inlinable package func hash(into hasher: inout Hasher) { hasher.combine(rawValue) }

  @inlinable package init(_ rawValue: UInt64) { self.rawValue = rawValue }

  /// Before the first message.
  @inlinable package static var zero: Sequence { Sequence(0) }
  @inlinable
  package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
  @inlinable
  package static func > (left: Self, right: Self) -> Bool { left.rawValue > right.rawValue }
  @inlinable
  package static func <= (left: Self, right: Self) -> Bool { left.rawValue <= right.rawValue }
  @inlinable
  package static func >= (left: Self, right: Self) -> Bool { left.rawValue >= right.rawValue }
  @inlinable package var successor: Sequence { Sequence(rawValue + 1) }
  package var description: String { String(rawValue) }
}

/// A unique name of an account, in its normal form.
///
/// The table is pinned: ASCII letters are lowered; letters, digits, `_`, `-` and `.` are kept;
/// anything else, a leading or trailing punctuation mark, or two in a row are refused.
package struct Handle: Hashable, Comparable, Sendable, CustomStringConvertible {
  /// **Units**: characters.
  package static let lengthRange = 3...32
  package let text: String

  package init?(_ raw: some StringProtocol) {
    guard Self.lengthRange.contains(raw.utf8.count) else { return nil }
    var bytes: [UInt8] = []
    var previousWasMark = true
    for byte in raw.utf8 {
      switch byte {
      case UInt8(ascii: "A")...UInt8(ascii: "Z"):
        bytes.append(byte | 0x20)
        previousWasMark = false
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"):
        bytes.append(byte)
        previousWasMark = false
      case UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: "."):
        guard !previousWasMark else { return nil }
        bytes.append(byte)
        previousWasMark = true
      default:
        return nil
      }
    }
    guard !previousWasMark else { return nil }
    text = String(decoding: bytes, as: UTF8.self)
  }

  package static func < (left: Self, right: Self) -> Bool { left.text < right.text }
  package var description: String { text }
}

/// What a partition keeps state of, and what a request is routed by.
package enum EntityID: Hashable, Sendable {
  case conversation(ConversationID)
  case user(UserID)
  case handle(Handle)

  /// The entity's place on the ring.
  package var token: Token {
    switch self {
    case .conversation(let id): return Token(StableHash.hash64(id.rawValue))
    case .user(let id): return Token(StableHash.hash64(id.rawValue))
    case .handle(let handle): return Token(StableHash.hash64(handle.text.utf8))
    }
  }
}
