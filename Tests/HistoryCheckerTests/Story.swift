import HistoryChecker

/// A history in a few words: everything takes one moment, and one follows the other.
struct Story {
  private(set) var history = History()
  private var now: Moment = 0

  private mutating func tick() -> Moment {
    now += 10
    return now
  }

  /// A message is sent and answered. `text` names it; its sender is that of its first letter.
  mutating func send(
    _ text: String, as sequence: UInt64?, id: UInt64? = nil, in conversation: Int = 0,
    invoked: Moment? = nil, answered: Moment? = nil
  ) {
    let start = invoked ?? tick()
    let end = answered ?? tick()
    history.sends.append(
      SendAttempt(
        sender: Int(text.utf8.first ?? 0), conversation: conversation,
        id: id ?? UInt64(text.utf8.reduce(7) { $0 * 31 + Int($1) }), text: text, invoked: start,
        outcome: sequence.map { .acknowledged($0, at: end) } ?? .unknown))
  }

  mutating func read(
    _ texts: [String?], from first: UInt64 = 1, after: UInt64? = 0, head: UInt64? = nil,
    in conversation: Int = 0, invoked: Moment? = nil
  ) {
    let entries = zip(first..., texts).map { Entry($0, $1) }
    let start = invoked ?? tick()
    history.reads.append(
      ReadPage(
        conversation: conversation, invoked: start, completed: tick(), after: after,
        entries: entries, head: head ?? entries.last?.sequence ?? 0))
  }

  mutating func end(_ texts: [String?], in conversation: Int = 0) {
    history.finals[conversation] = zip(1..., texts).map { Entry($0, $1) }
  }

  mutating func end(_ entries: [Entry]) { history.finals[0] = entries }

  mutating func listen(_ steps: Listening.Step..., to conversations: Set<Int> = [0]) {
    history.listeners.append(
      Listening(name: "listener", conversations: conversations, steps: steps))
  }

  var kinds: Set<Violation.Kind> { Set(Checker.violations(of: history).map(\.kind)) }
}

extension Listening.Step {
  static func heard(_ sequence: UInt64, _ text: String?, in conversation: Int = 0) -> Self {
    .event(conversation: conversation, Entry(sequence, text))
  }
}
