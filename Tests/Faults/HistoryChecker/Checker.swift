/// Holds a run's history against what Martlet promises. It shares no code with the product.
///
/// | promise | what is looked for |
/// |---|---|
/// | P1 an acknowledged message stays | lost, moved, vanished, changed |
/// | P2 one gapless sequence, the same for all | gap, changed, holed, skipped, heardTwice, unheard
/// |
/// | P3 a repeated send is stored once | repeated, renumbered |
/// | P4 a read sees what was acknowledged before | stale, reordered |
/// | P5 whatever fails | all of these, while it fails |
///
/// **Shape** of what a listener may be given: per conversation 1, 2, 3 …; a stream that was opened
/// again goes on behind the last position that was told, so exactly what came after that position
/// may come once more.
///
/// A conversation that could not be read at the end is not judged.
package struct Checker {
  let history: History
  let messages: [MessageKey: MessageFacts]
  /// Places of messages by conversation and text.
  private let keys: [Int: [String: MessageKey]]
  private(set) var found: [Violation] = []

  private init(_ history: History) {
    self.history = history
    var messages: [MessageKey: MessageFacts] = [:]
    var keys: [Int: [String: MessageKey]] = [:]
    for attempt in history.sends {
      let key = MessageKey(attempt)
      messages[key, default: MessageFacts(attempt)].add(attempt)
      keys[attempt.conversation, default: [:]][attempt.text] = key
    }
    self.messages = messages
    self.keys = keys
  }

  /// **Returns**: everything that is wrong, ordered by conversation.
  package static func violations(of history: History) -> [Violation] {
    var checker = Checker(history)
    let conversations = history.finals.keys.sorted()
    let sends = Dictionary(grouping: history.sends, by: \.conversation)
    let reads = Dictionary(grouping: history.reads, by: \.conversation)
    for conversation in conversations {
      let stored = history.finals[conversation] ?? []
      checker.checkStored(stored, conversation)
      checker.checkReads(
        reads[conversation] ?? [], sends[conversation] ?? [], stored, conversation)
    }
    checker.checkMessages()
    for listener in history.listeners { checker.checkListener(listener) }
    return checker.found.sorted { ($0.conversation, $0.detail) < ($1.conversation, $1.detail) }
  }

  mutating func note(_ kind: Violation.Kind, _ conversation: Int, _ detail: String) {
    found.append(Violation(kind, in: conversation, detail))
  }

  func message(_ text: String, in conversation: Int) -> MessageFacts? {
    keys[conversation]?[text].flatMap { messages[$0] }
  }

  // MARK: What is stored

  private mutating func checkStored(_ stored: [Entry], _ conversation: Int) {
    var places: [String: UInt64] = [:]
    for (expected, entry) in zip(1..., stored) {
      if entry.sequence != UInt64(expected) {
        note(.gap, conversation, "\(entry.sequence) stands in place \(expected)")
        break
      }
    }
    for entry in stored {
      guard let text = entry.text else { continue }
      if let earlier = places.updateValue(entry.sequence, forKey: text) {
        note(.repeated, conversation, "'\(text)' stands at \(earlier) and at \(entry.sequence)")
      }
      if message(text, in: conversation) == nil {
        note(.invented, conversation, "'\(text)' at \(entry.sequence) was never sent there")
      }
    }
  }

  /// Whether each message that was acknowledged is where the acknowledgement says.
  private mutating func checkMessages() {
    var places: [Int: [String: Set<UInt64>]] = [:]
    for (conversation, entries) in history.finals {
      for entry in entries {
        guard let text = entry.text else { continue }
        places[conversation, default: [:]][text, default: []].insert(entry.sequence)
      }
    }
    for (key, facts) in messages {
      guard history.finals[key.conversation] != nil,
        let acknowledged = facts.acknowledged.min()
      else { continue }
      if facts.acknowledged.count > 1 {
        let numbers = facts.acknowledged.sorted().map(String.init).joined(separator: ", ")
        note(.renumbered, key.conversation, "'\(facts.text)' was answered with \(numbers)")
      }
      let stored = places[key.conversation]?[facts.text] ?? []
      if stored.isEmpty {
        note(.lost, key.conversation, "'\(facts.text)' was acknowledged as \(acknowledged)")
      } else if stored.isDisjoint(with: facts.acknowledged) {
        note(
          .moved, key.conversation,
          "'\(facts.text)' was acknowledged as \(acknowledged) and stands at \(stored.sorted())")
      }
    }
  }
}

/// Which message a try belongs to.
struct MessageKey: Hashable {
  let sender: Int
  let conversation: Int
  let id: UInt64

  init(_ attempt: SendAttempt) {
    sender = attempt.sender
    conversation = attempt.conversation
    id = attempt.id
  }
}

/// What all tries of one message say.
struct MessageFacts {
  let text: String
  private(set) var firstInvoked: Moment
  /// The earliest answer.
  private(set) var knownAt: Moment?
  /// All numbers that were answered.
  private(set) var acknowledged: Set<UInt64> = []

  init(_ attempt: SendAttempt) {
    text = attempt.text
    firstInvoked = attempt.invoked
  }

  mutating func add(_ attempt: SendAttempt) {
    firstInvoked = min(firstInvoked, attempt.invoked)
    guard case .acknowledged(let sequence, let moment) = attempt.outcome else { return }
    acknowledged.insert(sequence)
    knownAt = min(knownAt ?? moment, moment)
  }
}
