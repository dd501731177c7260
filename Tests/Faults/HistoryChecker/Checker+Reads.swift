extension Checker {
  /// Pages of history, and the real-time order of what is stored.
  mutating func checkReads(
    _ reads: [ReadPage], _ sends: [SendAttempt], _ stored: [Entry], _ conversation: Int
  ) {
    var texts: [UInt64: String?] = [:]
    for entry in stored { texts[entry.sequence] = entry.text }
    for read in reads {
      checkShape(read)
      for entry in read.entries { compare(entry, texts, conversation, seenBy: "a read") }
    }
    let knowledge = Knowledge(
      acknowledgements: sends.compactMap { attempt in
        guard case .acknowledged(let sequence, let moment) = attempt.outcome else { return nil }
        return (moment, sequence)
      }, reads: reads)
    for read in reads {
      let known = knowledge.highest(before: read.invoked)
      if read.head < known {
        note(.stale, conversation, "a read saw \(read.head) when \(known) was known before")
      }
    }
    checkOrder(stored, reads, conversation)
  }

  /// A page shows every number from where it was asked for; its last ones reach the head.
  private mutating func checkShape(_ read: ReadPage) {
    var expected = read.after.map { $0 + 1 } ?? read.entries.first?.sequence ?? 1
    for entry in read.entries {
      guard entry.sequence == expected else {
        return note(
          .holed, read.conversation, "a page shows \(entry.sequence) where \(expected) belongs")
      }
      expected += 1
    }
    let reached = expected - 1
    if read.after == nil, reached != read.head {
      note(.holed, read.conversation, "the last page ends at \(reached), the head is \(read.head)")
    } else if read.entries.isEmpty, let after = read.after, after < read.head {
      note(.holed, read.conversation, "nothing behind \(after), but the head is \(read.head)")
    }
  }

  /// What somebody saw is what is stored at the end.
  mutating func compare(
    _ entry: Entry, _ stored: [UInt64: String?], _ conversation: Int, seenBy reader: String
  ) {
    guard let text = stored[entry.sequence] else {
      return note(.vanished, conversation, "\(reader) showed \(entry.words), which is not stored")
    }
    if text != entry.text {
      let instead = Entry(entry.sequence, text).words
      note(.changed, conversation, "\(reader) showed \(entry.words), stored is \(instead)")
    }
  }

  /// A message that was sent first when another was known already stands behind that one.
  private mutating func checkOrder(
    _ stored: [Entry], _ reads: [ReadPage], _ conversation: Int
  ) {
    var knownAt: [UInt64: Moment] = [:]
    for read in reads { knownAt[read.head] = min(knownAt[read.head] ?? .max, read.completed) }
    var later: (known: Moment, sequence: UInt64) = (.max, 0)
    for entry in stored.reversed() {
      let facts = entry.text.flatMap { message($0, in: conversation) }
      if let facts, later.known < facts.firstInvoked {
        note(
          .reordered, conversation,
          "\(entry.words) was sent when \(later.sequence) was known already")
      }
      let known = min(knownAt[entry.sequence] ?? .max, facts?.knownAt ?? .max)
      if known < later.known { later = (known, entry.sequence) }
    }
  }
}

extension Entry {
  var words: String { text.map { "\(sequence) '\($0)'" } ?? "\(sequence)" }
}

/// The highest number of one conversation that was known at a moment, from answers to senders and
/// from reads.
struct Knowledge {
  /// Ascending in both.
  private var steps: [(at: Moment, highest: UInt64)] = []

  init(acknowledgements: [(Moment, UInt64)], reads: [ReadPage]) {
    let all = acknowledgements + reads.map { ($0.completed, $0.head) }
    for (moment, sequence) in all.sorted(by: { $0.0 < $1.0 })
    where sequence > steps.last?.highest ?? 0 {
      steps.append((moment, sequence))
    }
  }

  func highest(before moment: Moment) -> UInt64 {
    var low = 0
    var high = steps.count
    while low < high {
      let middle = (low + high) / 2
      if steps[middle].at < moment { low = middle + 1 } else { high = middle }
    }
    return low == 0 ? 0 : steps[low - 1].highest
  }
}
