import HistoryChecker
import Testing

/// Histories in which nothing is wrong, however odd they look.
@Suite struct GoodHistoryTests {
  @Test func nothingAtAll() { #expect(Story().kinds.isEmpty) }

  @Test func everythingThatWasSentIsThere() {
    var story = Story()
    story.send("a1", as: 2)
    story.send("b1", as: 3)
    story.read([nil, "a1", "b1"])
    story.end([nil, "a1", "b1"])
    story.listen(
      .opened, .position, .heard(1, nil), .heard(2, "a1"), .position, .heard(3, "b1"), .position)
    #expect(story.kinds.isEmpty)
  }

  @Test func aSendWithoutAnAnswerMayBeStoredOrNot() {
    var story = Story()
    story.send("a1", as: nil)
    story.send("a2", as: nil)
    story.end(["a2"])
    #expect(story.kinds.isEmpty)
  }

  @Test func aRepeatedSendHasTheSameNumber() {
    var story = Story()
    story.send("a1", as: nil)
    story.send("a1", as: 1)
    story.send("a1", as: 1)
    story.end(["a1"])
    #expect(story.kinds.isEmpty)
  }

  /// The first try was taken although nobody said so, before the other one.
  @Test func anAnswerMayComeLate() {
    var story = Story()
    story.send("a1", as: nil, invoked: 10)
    story.send("b1", as: 2, invoked: 20, answered: 30)
    story.send("a1", as: 1, invoked: 40, answered: 50)
    story.end(["a1", "b1"])
    #expect(story.kinds.isEmpty)
  }

  @Test func sendsAtTheSameTimeMayStandInAnyOrder() {
    var story = Story()
    story.send("a1", as: 2, invoked: 10, answered: 40)
    story.send("b1", as: 1, invoked: 20, answered: 50)
    story.end(["b1", "a1"])
    #expect(story.kinds.isEmpty)
  }

  @Test func aReadThatOverlapsASendMayMissIt() {
    var story = Story()
    story.send("a1", as: 1, invoked: 10, answered: 40)
    story.read([], invoked: 20)
    story.end(["a1"])
    #expect(story.kinds.isEmpty)
  }

  @Test func aBrokenStreamRepeatsWhatCameBehindItsLastPosition() {
    var story = Story()
    for (index, text) in ["a1", "a2", "a3"].enumerated() { story.send(text, as: UInt64(index + 1)) }
    story.end(["a1", "a2", "a3"])
    story.listen(
      .opened, .heard(1, "a1"), .position, .heard(2, "a2"), .heard(3, "a3"), .opened,
      .heard(2, "a2"), .opened, .heard(2, "a2"), .heard(3, "a3"), .position)
    #expect(story.kinds.isEmpty)
  }

  @Test func conversationsHaveNoOrderAmongEachOther() {
    var story = Story()
    story.send("a1", as: 1, in: 0)
    story.send("a2", as: 1, in: 1)
    story.end(["a1"], in: 0)
    story.end(["a2"], in: 1)
    story.listen(.opened, .heard(1, "a2", in: 1), .heard(1, "a1"), to: [0, 1])
    #expect(story.kinds.isEmpty)
  }

  @Test func aPageMayEndBeforeTheHead() {
    var story = Story()
    story.send("a1", as: 1)
    story.send("a2", as: 2)
    story.read(["a1"], head: 2)
    story.read(["a2"], from: 2, after: nil)
    story.read([], after: 2, head: 2)
    story.end(["a1", "a2"])
    #expect(story.kinds.isEmpty)
  }

  @Test func aConversationThatCouldNotBeReadIsNotJudged() {
    var story = Story()
    story.send("a1", as: 1)
    story.listen(.opened, .heard(1, "a1"))
    #expect(story.kinds.isEmpty)
  }
}
