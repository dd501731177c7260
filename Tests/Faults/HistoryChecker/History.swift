/// A moment of one monotonic clock that all clients of a run share. **Units**: nanoseconds.
package typealias Moment = UInt64

/// One event of a conversation as somebody saw it. `text` is `nil` for what is no message.
package struct Entry: Hashable, Sendable, Codable {
  package let sequence: UInt64
  package let text: String?

  package init(_ sequence: UInt64, _ text: String?) {
    self.sequence = sequence
    self.text = text
  }
}

/// One try to send a message. Tries of the same message have the same sender, conversation and id.
package struct SendAttempt: Hashable, Sendable, Codable {
  package enum Outcome: Hashable, Sendable, Codable {
    case acknowledged(UInt64, at: Moment)
    /// No answer, or one that leaves open whether it was done: it may still be stored.
    case unknown
  }

  package let sender: Int
  /// The conversation's place in the run's list.
  package let conversation: Int
  package let id: UInt64
  /// Of the whole run, only tries of this message carry this text.
  package let text: String
  package let invoked: Moment
  package let outcome: Outcome

  package init(
    sender: Int, conversation: Int, id: UInt64, text: String, invoked: Moment, outcome: Outcome
  ) {
    self.sender = sender
    self.conversation = conversation
    self.id = id
    self.text = text
    self.invoked = invoked
    self.outcome = outcome
  }
}

/// One page of history that was answered.
package struct ReadPage: Hashable, Sendable, Codable {
  package let conversation: Int
  package let invoked: Moment
  package let completed: Moment
  /// What was asked for are events behind this one; `nil`: the last ones.
  package let after: UInt64?
  package let entries: [Entry]
  /// The conversation's last sequence number, as this answer says.
  package let head: UInt64

  package init(
    conversation: Int, invoked: Moment, completed: Moment, after: UInt64?, entries: [Entry],
    head: UInt64
  ) {
    self.conversation = conversation
    self.invoked = invoked
    self.completed = completed
    self.after = after
    self.entries = entries
    self.head = head
  }
}

/// What somebody who follows live events was given, in its order.
package struct Listening: Sendable {
  package enum Step: Hashable, Sendable, Codable {
    /// A stream begins. It has told the last position that it was given, if there was one.
    case opened
    case event(conversation: Int, Entry)
    /// Everything that came before is covered: a later stream goes on from here.
    case position
  }

  package let name: String
  /// Those that it is a member of from their beginning. It listens before they are made.
  package var conversations: Set<Int>
  package var steps: [Step]

  package init(name: String, conversations: Set<Int>, steps: [Step] = []) {
    self.name = name
    self.conversations = conversations
    self.steps = steps
  }
}

/// One run as its clients saw it.
///
/// **Shape**: lists in the order in which operations were completed; the checker depends on the
/// moments alone.
package struct History: Sendable {
  package var sends: [SendAttempt] = []
  package var reads: [ReadPage] = []
  package var listeners: [Listening] = []
  /// Every conversation, read from its beginning to its end when everything was over.
  package var finals: [Int: [Entry]] = [:]

  package init() {}
}
