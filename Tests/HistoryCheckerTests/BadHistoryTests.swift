import HistoryChecker
import Testing

/// Made-up histories with one thing wrong each: it is found, and nothing else is.
@Suite struct BadHistoryTests {
  private func expect(
    _ kinds: Violation.Kind..., sourceLocation: SourceLocation = #_sourceLocation,
    _ tell: (inout Story) -> Void
  ) {
    var story = Story()
    tell(&story)
    let found = Checker.violations(of: story.history)
    #expect(story.kinds == Set(kinds), "\(found)", sourceLocation: sourceLocation)
  }

  // MARK: P1

  @Test func anAcknowledgedMessageIsNotThere() {
    expect(.lost) {
      $0.send("a1", as: 1)
      $0.send("a2", as: 2)
      $0.end(["a1"])
    }
  }

  @Test func anAcknowledgedMessageIsNotThereAndAnotherHasItsPlace() {
    expect(.lost) {
      $0.send("a1", as: 1, invoked: 10, answered: 20)
      $0.send("b1", as: nil, invoked: 15)
      $0.end(["b1"])
    }
  }

  @Test func nothingIsLeft() {
    expect(.lost) {
      $0.send("a1", as: 1)
      $0.end([String?]())
    }
  }

  @Test func aMessageStandsElsewhereThanAcknowledged() {
    expect(.moved) {
      $0.send("a1", as: 1, invoked: 10, answered: 20)
      $0.send("b1", as: nil, invoked: 15)
      $0.end(["b1", "a1"])
    }
  }

  @Test func aReadShowedWhatIsNotStored() {
    expect(.vanished) {
      $0.send("a1", as: 1)
      $0.send("a2", as: nil)
      $0.read(["a1", "a2"])
      $0.end(["a1"])
    }
  }

  @Test func aListenerWasGivenWhatIsNotStored() {
    expect(.vanished) {
      $0.send("a1", as: 1)
      $0.send("a2", as: nil)
      $0.end(["a1"])
      $0.listen(.opened, .heard(1, "a1"), .heard(2, "a2"))
    }
  }

  // MARK: P2

  @Test func aNumberIsMissing() {
    expect(.gap) {
      $0.send("a1", as: 1)
      $0.send("a2", as: 3)
      $0.end([Entry(1, "a1"), Entry(3, "a2")])
    }
  }

  @Test func numbersBeginAtTwo() {
    expect(.gap) {
      $0.send("a1", as: 2)
      $0.end([Entry(2, "a1")])
    }
  }

  @Test func aReadShowedSomethingElseInTheSamePlace() {
    expect(.changed) {
      $0.send("a1", as: 1)
      $0.send("b1", as: nil, invoked: 5)
      $0.read(["b1"])
      $0.end(["a1"])
    }
  }

  @Test func aListenerWasGivenSomethingElseInTheSamePlace() {
    expect(.changed) {
      $0.send("a1", as: 1)
      $0.send("b1", as: nil)
      $0.end(["a1"])
      $0.listen(.opened, .heard(1, "b1"))
    }
  }

  @Test func aPageHasAHole() {
    expect(.holed) {
      for number in 1...3 { $0.send("a\(number)", as: UInt64(number)) }
      $0.read(["a1"], head: 3)
      $0.read(["a3"], from: 3, after: 1)
      $0.end(["a1", "a2", "a3"])
    }
  }

  @Test func theLastPageDoesNotReachTheHead() {
    expect(.holed) {
      $0.send("a1", as: 1)
      $0.send("a2", as: 2)
      $0.read(["a1"], after: nil, head: 2)
      $0.end(["a1", "a2"])
    }
  }

  @Test func aPageIsEmptyBeforeTheHead() {
    expect(.holed) {
      $0.send("a1", as: 1)
      $0.read([], head: 1)
      $0.end(["a1"])
    }
  }

  @Test func aListenerMissesOne() {
    expect(.skipped) {
      for number in 1...3 { $0.send("a\(number)", as: UInt64(number)) }
      $0.end(["a1", "a2", "a3"])
      $0.listen(.opened, .heard(1, "a1"), .heard(3, "a3"))
    }
  }

  @Test func aListenerMissesWhatAnUnfinishedStreamHadGivenIt() {
    expect(.skipped) {
      for number in 1...3 { $0.send("a\(number)", as: UInt64(number)) }
      $0.end(["a1", "a2", "a3"])
      $0.listen(
        .opened, .heard(1, "a1"), .position, .heard(2, "a2"), .opened, .heard(3, "a3"))
    }
  }

  @Test func aListenerMissesTheBeginning() {
    expect(.skipped) {
      $0.send("a1", as: 1)
      $0.send("a2", as: 2)
      $0.end(["a1", "a2"])
      $0.listen(.opened, .heard(2, "a2"))
    }
  }

  @Test func aListenerIsNotGivenTheEnd() {
    expect(.unheard) {
      $0.send("a1", as: 1)
      $0.send("a2", as: 2)
      $0.end(["a1", "a2"])
      $0.listen(.opened, .heard(1, "a1"), .position)
    }
  }

  @Test func aListenerIsNotGivenOneOfItsConversations() {
    expect(.unheard) {
      $0.send("a1", as: 1, in: 0)
      $0.send("a2", as: 1, in: 1)
      $0.end(["a1"], in: 0)
      $0.end(["a2"], in: 1)
      $0.listen(.opened, .heard(1, "a1"), .position, to: [0, 1])
    }
  }

  @Test func aListenerIsGivenOneTwiceInOneStream() {
    expect(.heardTwice) {
      $0.send("a1", as: 1)
      $0.end(["a1"])
      $0.listen(.opened, .heard(1, "a1"), .heard(1, "a1"))
    }
  }

  @Test func aListenerIsGivenWhatItsPositionCovers() {
    expect(.heardTwice) {
      $0.send("a1", as: 1)
      $0.send("a2", as: 2)
      $0.end(["a1", "a2"])
      $0.listen(
        .opened, .heard(1, "a1"), .heard(2, "a2"), .position, .opened, .heard(2, "a2"))
    }
  }

  @Test func aListenerIsGivenTwoInTheWrongOrder() {
    expect(.skipped, .heardTwice) {
      $0.send("a1", as: 1)
      $0.send("a2", as: 2)
      $0.end(["a1", "a2"])
      $0.listen(.opened, .heard(2, "a2"), .heard(1, "a1"))
    }
  }

  // MARK: P3

  @Test func aMessageIsStoredTwice() {
    expect(.repeated) {
      $0.send("a1", as: nil)
      $0.send("a1", as: 1)
      $0.end(["a1", "a1"])
    }
  }

  @Test func twoAnswersToOneMessageDiffer() {
    expect(.renumbered) {
      $0.send("a1", as: 1)
      $0.send("b1", as: nil)
      $0.send("a1", as: 2)
      $0.end(["a1", "b1"])
    }
  }

  // MARK: P4

  @Test func aReadMissesAnAcknowledgedMessage() {
    expect(.stale) {
      $0.send("a1", as: 1)
      $0.send("a2", as: 2)
      $0.read(["a1"])
      $0.end(["a1", "a2"])
    }
  }

  @Test func aReadShowsLessThanAnEarlierOne() {
    expect(.stale) {
      $0.send("a1", as: nil)
      $0.send("a2", as: nil)
      $0.read(["a1", "a2"])
      $0.read(["a1"])
      $0.end(["a1", "a2"])
    }
  }

  @Test func aReadOfAnEmptyConversationMissesAnAcknowledgedMessage() {
    expect(.stale) {
      $0.send("a1", as: 1)
      $0.read([])
      $0.end(["a1"])
    }
  }

  @Test func aLaterMessageStandsBeforeAnAcknowledgedOne() {
    expect(.reordered) {
      $0.send("a1", as: 2)
      $0.send("a2", as: 1)
      $0.end(["a2", "a1"])
    }
  }

  @Test func anotherSendersLaterMessageStandsBeforeAnAcknowledgedOne() {
    expect(.reordered) {
      $0.send("a1", as: 2)
      $0.send("b1", as: nil)
      $0.end(["b1", "a1"])
    }
  }

  @Test func aMessageStandsBeforeWhatWasReadBeforeItWasSent() {
    expect(.reordered) {
      $0.send("a1", as: nil, invoked: 1)
      $0.send("c1", as: nil, invoked: 2)
      $0.read(["a1", "c1"], from: 2, after: 1)
      $0.send("b1", as: nil)
      $0.end(["b1", "a1", "c1"])
    }
  }

  // MARK: P2 again: what is there was sent

  @Test func somethingIsStoredThatNobodyHasSent() {
    expect(.invented) {
      $0.send("a1", as: 1)
      $0.end(["a1", "zz"])
    }
  }

  @Test func aMessageStandsInAnotherConversation() {
    expect(.invented) {
      $0.send("a1", as: 1, in: 0)
      $0.send("a2", as: nil, in: 0)
      $0.end(["a1"], in: 0)
      $0.end(["a2"], in: 1)
    }
  }
}
