/// What a workload's people have done and seen, and what must hold of it.
///
/// A value, so that `TranscriptTests` can show what it notices.
struct Transcript: Sendable {
  /// One event of a conversation. `text` is `nil` for what is no message.
  struct Entry: Hashable, Sendable, CustomStringConvertible {
    let conversation: String
    let sequence: UInt64
    let text: String?

    var description: String { "\(sequence) \(text.map { "'\($0)'" } ?? "(no message)")" }
  }

  /// A send that was answered.
  struct Acknowledgement: Sendable {
    let entry: Entry
    let time: ContinuousClock.Instant
  }

  /// Of one kind, so that the first ones can be read.
  private static let problemsMax = 5

  /// Every text that was given to `send`, and for which conversation. Texts are unique.
  private(set) var attempts: [String: String] = [:]
  private(set) var acknowledgements: [Acknowledgement] = []
  /// Sends that were not answered.
  private(set) var failures: [String] = []
  /// What each listener was given, in its order.
  private(set) var seen: [String: [Entry]] = [:]
  /// Why a listener was given no more.
  private(set) var ends: [String] = []

  mutating func attempted(_ text: String, in conversation: String) {
    attempts[text] = conversation
  }

  mutating func acknowledged(_ entry: Entry, at time: ContinuousClock.Instant) {
    acknowledgements.append(Acknowledgement(entry: entry, time: time))
  }

  mutating func failed(_ text: String, _ why: String) { failures.append("'\(text)': \(why)") }
  mutating func saw(_ entry: Entry, _ listener: String) {
    seen[listener, default: []].append(entry)
  }

  mutating func ended(_ listener: String, _ why: String) { ends.append("\(listener): \(why)") }

  /// The longest time between two acknowledgements that follow each other in a conversation, of
  /// those that came after `start`; the first of them is measured from `start`.
  func longestPause(
    in conversation: String, since start: ContinuousClock.Instant
  ) -> Duration {
    var longest = Duration.zero
    var last = start
    for acknowledgement in acknowledgements
    where acknowledgement.entry.conversation == conversation && acknowledgement.time > start {
      longest = max(longest, acknowledgement.time - last)
      last = acknowledgement.time
    }
    return longest
  }

  // MARK: What must hold

  /// - Parameter histories: by reader and conversation; everybody has read everything.
  /// - Parameter listeners: who must have seen everything.
  ///
  /// **Returns**: one line for each thing that is wrong.
  func problems(
    histories: [String: [String: [Entry]]], listeners: [String]
  ) -> [String] {
    var found = Self.few(failures.map { "a send was not answered: \($0)" })
    found += ends.map { "events have ended for \($0)" }
    for (reader, conversations) in histories.sorted(by: { $0.key < $1.key }) {
      for (conversation, history) in conversations.sorted(by: { $0.key < $1.key }) {
        let place = "\(conversation) as \(reader) reads it"
        found += Self.few(gaps(history).map { "\(place): \($0)" })
        found += Self.few(strangers(history, conversation).map { "\(place): \($0)" })
        found += Self.few(losses(history, conversation).map { "\(place): \($0)" })
        for listener in listeners {
          if let difference = difference(listener, conversation, history) {
            found.append("\(place): \(difference)")
          }
        }
      }
    }
    return found
  }

  private static func few(_ lines: [String]) -> [String] {
    lines.count <= problemsMax
      ? lines : lines.prefix(problemsMax) + ["… and \(lines.count - problemsMax) more of these"]
  }

  /// P2: one gapless sequence from 1.
  private func gaps(_ history: [Entry]) -> [String] {
    zip(1..., history).compactMap { expected, entry in
      entry.sequence == UInt64(expected) ? nil : "\(entry) stands in place \(expected)"
    }
  }

  /// Nothing that nobody sent, and nothing twice.
  private func strangers(_ history: [Entry], _ conversation: String) -> [String] {
    var places: [String: UInt64] = [:]
    return history.compactMap { entry in
      guard let text = entry.text else { return nil }
      if let earlier = places.updateValue(entry.sequence, forKey: text) {
        return "\(entry) stands at \(earlier) too"
      }
      return attempts[text] == conversation ? nil : "\(entry) was not sent there"
    }
  }

  /// P1: what was acknowledged is there, at the acknowledged number.
  private func losses(_ history: [Entry], _ conversation: String) -> [String] {
    var texts: [UInt64: String] = [:]
    for entry in history { texts[entry.sequence] = entry.text }
    return acknowledgements.compactMap { acknowledgement in
      let entry = acknowledgement.entry
      guard entry.conversation == conversation, texts[entry.sequence] != entry.text else {
        return nil
      }
      let instead = texts[entry.sequence].map { "'\($0)' stands there" } ?? "nothing stands there"
      return "\(entry) was acknowledged, but \(instead)"
    }
  }

  /// Each event once and in order: what a listener saw is the history.
  private func difference(
    _ listener: String, _ conversation: String, _ history: [Entry]
  ) -> String? {
    let seen = (seen[listener] ?? []).filter { $0.conversation == conversation }
    for (place, (own, stored)) in zip(seen, history).enumerated() where own != stored {
      let before = place > 0 ? " after \(seen[place - 1])" : ""
      return "\(listener) saw \(own)\(before) where \(stored) is stored"
    }
    if seen.count < history.count {
      return "\(listener) saw \(seen.count) of \(history.count) events, not \(history[seen.count])"
    }
    return seen.count > history.count
      ? "\(listener) saw \(seen[history.count]) beyond the end" : nil
  }
}
