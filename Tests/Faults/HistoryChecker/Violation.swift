/// Something that was promised and is not so.
package struct Violation: Hashable, Sendable, CustomStringConvertible {
  package enum Kind: String, Sendable, CaseIterable {
    /// Acknowledged and stored nowhere.
    case lost
    /// Acknowledged with one number and stored at another.
    case moved
    /// Read or heard, and not stored at the end.
    case vanished
    /// Sequence numbers are not 1, 2, 3 …
    case gap
    /// A listener was given an event without the one before it.
    case skipped
    /// A listener was never given the end of a conversation.
    case unheard
    /// Stored twice.
    case repeated
    /// Two answers to one message name different numbers.
    case renumbered
    /// A listener was given an event again, without a break in between that explains it.
    case heardTwice
    /// Stored before a message that was known when it was sent first.
    case reordered
    /// A read does not show what was known before it began.
    case stale
    /// Not the same for every reader.
    case changed
    /// Nobody has sent it there.
    case invented
    /// A page of history leaves something out.
    case holed
  }

  /// How the table at the end counts them.
  package enum Category: String, Sendable, CaseIterable {
    case lost, repeated, reordered, stale, wrong
  }

  package let kind: Kind
  package let conversation: Int
  package let detail: String

  package init(_ kind: Kind, in conversation: Int, _ detail: String) {
    self.kind = kind
    self.conversation = conversation
    self.detail = detail
  }

  package var description: String { "\(kind.rawValue) in conversation \(conversation): \(detail)" }
}

extension Violation.Kind {
  package var category: Violation.Category {
    switch self {
    case .lost, .moved, .vanished, .gap, .skipped, .unheard: .lost
    case .repeated, .renumbered, .heardTwice: .repeated
    case .reordered: .reordered
    case .stale: .stale
    case .changed, .invented, .holed: .wrong
    }
  }
}
