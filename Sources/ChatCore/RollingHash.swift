import ChatModel
import Primitives

/// A number that two replicas share exactly when they applied the same writes in the same order.
///
/// It covers, in the order of applying: the index of every entry; of every event its conversation,
/// sequence number, time, author and content, and with a message the digest of its client id and
/// its device; the members that changed (in the event's content and, for the creation, all);
/// accounts and what became of them; sessions with the hashes of their tokens; the owners of
/// handles; listings; outbox entries with their commands, and their confirmations. It does not
/// cover refusals, which write nothing, nor where checkpoints were taken.
///
/// Each step is a bijection of the former value, so a difference never vanishes by a later equal
/// write. It finds mistakes and damage; it is no protection against somebody who chooses the
/// input.
struct RollingHash: Equatable, Sendable {
  enum Write: UInt64 {
    case entry = 1
    case event, message, account, sessions, handle, listing, outboxEntry, outboxConfirmed
    case generation, split
  }

  private(set) var value: UInt64

  init(_ value: UInt64 = 0) { self.value = value }

  mutating func fold(_ word: UInt64) {
    var mixed = (value ^ word) &* 0x9e37_79b9_7f4a_7c15
    mixed ^= mixed >> 29
    value = mixed &* 0xbf58_476d_1ce4_e5b9 ^ 0x94d0_49bb_1331_11eb
    value ^= value >> 32
  }

  mutating func fold(_ write: Write) { fold(write.rawValue) }

  mutating func fold(_ word: UInt128) {
    fold(UInt64(truncatingIfNeeded: word >> 64))
    fold(UInt64(truncatingIfNeeded: word))
  }

  mutating func fold(_ text: String) {
    var text = text
    text.withUTF8 { fold(UnsafeRawBufferPointer($0)) }
  }

  mutating func fold(_ bytes: [UInt8]) { bytes.withUnsafeBytes { fold($0) } }

  /// The count first, so that neighbouring fields cannot be confused; then eight bytes a step.
  private mutating func fold(_ bytes: UnsafeRawBufferPointer) {
    fold(UInt64(bytes.count))
    var offset = 0
    while offset + 8 <= bytes.count {
      fold(UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)))
      offset += 8
    }
    guard offset < bytes.count else { return }
    var word: UInt64 = 0
    while offset < bytes.count {
      word = word << 8 | UInt64(bytes[offset])
      offset += 1
    }
    fold(word)
  }
}
