import Testing

/// What the checks of a workload notice. Without processes.
@Suite struct TranscriptTests {
  private let start = ContinuousClock.now

  private func entry(_ sequence: UInt64, _ text: String?) -> Transcript.Entry {
    Transcript.Entry(conversation: "c", sequence: sequence, text: text)
  }

  /// Three messages, all of them acknowledged and seen.
  private var history: [Transcript.Entry] {
    [entry(1, nil), entry(2, "a"), entry(3, "b"), entry(4, "c")]
  }

  private func transcript(seen: [Transcript.Entry]? = nil) -> Transcript {
    var transcript = Transcript()
    for entry in history {
      if let text = entry.text {
        transcript.attempted(text, in: "c")
        transcript.acknowledged(entry, at: start + .milliseconds(Int(entry.sequence) * 10))
      }
    }
    for entry in seen ?? history { transcript.saw(entry, "ear") }
    return transcript
  }

  private func problems(
    _ transcript: Transcript, history: [Transcript.Entry]? = nil
  ) -> [String] {
    transcript.problems(
      histories: ["reader": ["c": history ?? self.history]], listeners: ["ear"])
  }

  @Test func whatIsAsItShouldBeIsNoProblem() {
    #expect(problems(transcript()).isEmpty)
  }

  @Test func aLostAcknowledgementIsNoticed() {
    let found = problems(transcript(), history: Array(history.dropLast()))
    #expect(found.contains { $0.contains("4 'c' was acknowledged, but nothing stands there") })
  }

  @Test func anotherPlaceThanTheAcknowledgedOneIsNoticed() {
    let other = [entry(1, nil), entry(2, "b"), entry(3, "a"), entry(4, "c")]
    let found = problems(transcript(seen: other), history: other)
    #expect(found.contains { $0.contains("2 'a' was acknowledged, but 'b' stands there") })
  }

  @Test func aRepeatedMessageIsNoticed() {
    let twice = history + [entry(5, "a")]
    let found = problems(transcript(seen: twice), history: twice)
    #expect(found == ["c as reader reads it: 5 'a' stands at 2 too"])
  }

  @Test func aGapIsNoticed() {
    let gap = history + [entry(6, nil)]
    #expect(
      problems(transcript(seen: gap), history: gap)
        == ["c as reader reads it: 6 (no message) stands in place 5"])
  }

  @Test func aMessageThatNobodySentIsNoticed() {
    let more = history + [entry(5, "x")]
    #expect(
      problems(transcript(seen: more), history: more)
        == ["c as reader reads it: 5 'x' was not sent there"])
  }

  @Test func whatAListenerMissesRepeatsOrSeesTooEarlyIsNoticed() {
    let missed = [history[0], history[1], history[3]]
    let repeated = [history[0], history[1], history[1], history[2], history[3]]
    let swapped = [history[0], history[2], history[1], history[3]]
    for seen in [missed, repeated, swapped, Array(history.dropLast()), []] {
      #expect(problems(transcript(seen: seen)).count == 1, "\(seen)")
    }
  }

  @Test func aSendWithoutAnswerIsNoticed() {
    var transcript = transcript()
    transcript.failed("d", "too late")
    #expect(problems(transcript) == ["a send was not answered: 'd': too late"])
  }

  @Test func theLongestPauseIsMeasuredFromTheFault() {
    let transcript = transcript()
    #expect(transcript.longestPause(in: "c", since: start) == .milliseconds(20))
    #expect(
      transcript.longestPause(in: "c", since: start + .milliseconds(25)) == .milliseconds(10))
    #expect(transcript.longestPause(in: "other", since: start) == .zero)
  }
}
