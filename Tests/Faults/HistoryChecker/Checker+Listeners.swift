extension Checker {
  /// A listener is given each conversation from 1 to its end without gaps. After a break it goes on
  /// from the last position that it was told, and what came behind that may come once more.
  mutating func checkListener(_ listener: Listening) {
    var texts: [Int: [UInt64: String?]] = [:]
    for conversation in listener.conversations {
      for entry in history.finals[conversation] ?? [] {
        texts[conversation, default: [:]][entry.sequence] = entry.text
      }
    }
    /// The last number of each conversation in this stream, and when the last position was told.
    var last: [Int: UInt64] = [:]
    var covered: [Int: UInt64] = [:]
    var highest: [Int: UInt64] = [:]
    for step in listener.steps {
      switch step {
      case .opened: last = covered
      case .position: covered = last
      case .event(let conversation, let entry):
        let expected = (last[conversation] ?? 0) + 1
        if entry.sequence > expected {
          note(
            .skipped, conversation,
            "\(listener.name) was given \(entry.words) where \(expected) belongs")
        } else if entry.sequence < expected {
          note(
            .heardTwice, conversation,
            "\(listener.name) was given \(entry.words) where \(expected) belongs")
        }
        last[conversation] = max(entry.sequence, last[conversation] ?? 0)
        highest[conversation] = max(entry.sequence, highest[conversation] ?? 0)
        guard history.finals[conversation] != nil else { continue }
        compare(entry, texts[conversation] ?? [:], conversation, seenBy: listener.name)
      }
    }
    for conversation in listener.conversations.sorted() {
      let end = history.finals[conversation]?.last?.sequence ?? 0
      let reached = highest[conversation] ?? 0
      if reached < end {
        note(.unheard, conversation, "\(listener.name) was given \(reached) of \(end)")
      }
    }
  }
}
