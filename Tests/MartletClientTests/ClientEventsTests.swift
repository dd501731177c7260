import ChatModel
import ClientProtocol
import Primitives
import Testing

@testable import MartletClient

/// What a machine delivers to the consumer.
@Suite struct ClientEventsTests {
  private static let conversation = MachineRig.conversation

  private func page(_ numbers: ClosedRange<UInt64>, head: UInt64) -> ServerBody {
    .history(
      conversation: Self.conversation,
      HistoryPage(events: numbers.map { MachineRig.event($0) }, head: Sequence(head)))
  }

  /// The ref of the one page that was asked for, and where it begins.
  private func fill(_ actions: [ClientAction]) -> (ref: String, after: UInt64)? {
    for case .write(let frames) in actions {
      for frame in frames {
        if case .history(_, .after(let sequence), _) = frame.operation {
          return (frame.ref, sequence.rawValue)
        }
      }
    }
    return nil
  }

  @Test func repeatedEventsAreDroppedAcrossConnections() {
    var rig = MachineRig()
    rig.open()
    for number in [4, 5, 5, 4, 6] as [UInt64] { rig.push(.event(MachineRig.event(number))) }
    rig.loseSocket()
    rig.open()
    for number in [5, 6, 7] as [UInt64] { rig.push(.event(MachineRig.event(number))) }
    #expect(rig.take().sequences == [4, 5, 6, 7])
  }

  @Test func theHelloCarriesTheLastCursor() {
    var rig = MachineRig(cursor: MachineRig.cursor(3))
    rig.open()
    #expect(rig.take().hello?.cursor == MachineRig.cursor(3))
    rig.push(.cursor(MachineRig.cursor(9)))
    rig.loseSocket()
    rig.open()
    #expect(rig.take().hello?.cursor == MachineRig.cursor(9))
  }

  @Test func aClientWithoutACursorIsReadyWithItsFirstOne() {
    var rig = MachineRig()
    rig.open()
    #expect(!rig.take().contains(.ready))
    rig.push(.cursor(MachineRig.cursor(1)))
    #expect(rig.take().contains(.ready))

    var resuming = MachineRig(cursor: MachineRig.cursor(1))
    resuming.open()
    #expect(resuming.take().contains(.ready))

    var sender = MachineRig { $0.wantsEvents = false }
    sender.open()
    let actions = sender.take()
    #expect(actions.contains(.ready))
    #expect(actions.hello?.events == false)
  }

  @Test func aGapIsFilledFromHistoryBeforeAnythingLaterIsDelivered() {
    var rig = MachineRig()
    rig.open()
    rig.push(.event(MachineRig.event(1)))
    _ = rig.take()
    rig.push(.event(MachineRig.event(5)))
    rig.push(.event(MachineRig.event(1, in: MachineRig.other)))
    rig.push(.cursor(MachineRig.cursor(77)))
    rig.push(.event(MachineRig.event(6)))
    let asked = rig.take()
    #expect(asked.delivered.isEmpty)
    let wanted = fill(asked)
    #expect(wanted?.after == 1)
    rig.receive(ServerFrame(ref: wanted?.ref ?? "", body: page(2...6, head: 6)))
    let delivered = rig.take().delivered
    #expect(
      delivered == [
        .event(MachineRig.event(2)), .event(MachineRig.event(3)), .event(MachineRig.event(4)),
        .event(MachineRig.event(5)), .event(MachineRig.event(1, in: MachineRig.other)),
        .cursor(MachineRig.cursor(77)), .event(MachineRig.event(6)),
      ])
  }

  @Test func aLongGapIsFilledPageByPage() {
    var rig = MachineRig(places: [Self.conversation: .zero])
    rig.open()
    rig.push(.event(MachineRig.event(7)))
    let first = fill(rig.take())
    #expect(first?.after == 0)
    rig.receive(ServerFrame(ref: first?.ref ?? "", body: page(1...3, head: 7)))
    let second = fill(rig.take())
    #expect(second?.after == 3)
    rig.receive(ServerFrame(ref: second?.ref ?? "", body: page(4...6, head: 7)))
    #expect(rig.take().sequences == [4, 5, 6, 7])
    #expect(rig.machine.fill == nil)
  }

  @Test func aGapThatCannotBeFilledIsTold() {
    var rig = MachineRig(places: [Self.conversation: Sequence(1)])
    rig.open()
    rig.push(.event(MachineRig.event(5)))
    let wanted = fill(rig.take())
    rig.receive(
      ServerFrame(
        ref: wanted?.ref ?? "", body: .error(ServiceError(.permissionDenied, "no member"))))
    #expect(
      rig.take().delivered
        == [.cut(Self.conversation, after: Sequence(1)), .event(MachineRig.event(5))])
  }

  @Test func whatRetentionErasedIsToldBeforeWhatIsLeft() {
    var rig = MachineRig(places: [Self.conversation: Sequence(1)])
    rig.open()
    rig.push(.event(MachineRig.event(5)))
    let wanted = fill(rig.take())
    rig.receive(ServerFrame(ref: wanted?.ref ?? "", body: page(4...5, head: 5)))
    #expect(
      rig.take().delivered == [
        .cut(Self.conversation, after: Sequence(1)), .event(MachineRig.event(4)),
        .event(MachineRig.event(5)),
      ])
  }

  @Test func theGatewaysGapLetsNumbersJump() {
    var rig = MachineRig(places: [Self.conversation: Sequence(3)])
    rig.open()
    rig.push(.gap(Self.conversation))
    rig.push(.event(MachineRig.event(9)))
    rig.push(.event(MachineRig.event(9)))
    rig.push(.event(MachineRig.event(10)))
    let actions = rig.take()
    #expect(fill(actions) == nil)
    #expect(
      actions.delivered == [
        .cut(Self.conversation, after: Sequence(3)), .event(MachineRig.event(9)),
        .event(MachineRig.event(10)),
      ])
  }

  @Test func aLossDuringAFillBeginsAgainFromTheCursor() {
    var rig = MachineRig(places: [Self.conversation: .zero], cursor: MachineRig.cursor(1))
    rig.open()
    rig.push(.event(MachineRig.event(2)))
    rig.push(.cursor(MachineRig.cursor(5)))
    rig.loseSocket()
    _ = rig.take()
    rig.open()
    let again = rig.take()
    #expect(again.hello?.cursor == MachineRig.cursor(1), "the held cursor was not passed")
    #expect(fill(again) == nil)
    rig.push(.event(MachineRig.event(1)))
    rig.push(.event(MachineRig.event(2)))
    #expect(rig.take().sequences == [1, 2])
  }

  @Test func aRefusedFillIsTriedAgain() {
    var rig = MachineRig(places: [Self.conversation: .zero])
    rig.open()
    rig.push(.event(MachineRig.event(2)))
    let wanted = fill(rig.take())
    rig.receive(ServerFrame(ref: wanted?.ref ?? "", body: .error(.unavailable("no leader"))))
    #expect(rig.runUntil { $0.actions.written.count == 1 })
    let again = fill(rig.take())
    rig.receive(ServerFrame(ref: again?.ref ?? "", body: page(1...2, head: 2)))
    #expect(rig.take().sequences == [1, 2])
  }

  @Test func tooMuchBehindAGapIsPulledAgainInstead() {
    var rig = MachineRig(places: [Self.conversation: .zero]) { $0.heldMax = 10 }
    rig.open()
    for number in 2...20 as ClosedRange<UInt64> { rig.push(.event(MachineRig.event(number))) }
    let actions = rig.take()
    #expect(actions.contains(.hangUp(attempt: rig.machine.attempt)))
    #expect(rig.machine.held.isEmpty)
  }

  // MARK: Slow consumers

  @Test func readingStopsWhileTheConsumerIsBehind() {
    var rig = MachineRig { $0.bufferedEventsMax = 10 }
    rig.open()
    for number in 1...10 as ClosedRange<UInt64> { rig.push(.event(MachineRig.event(number))) }
    #expect(rig.take().contains(.setReading(false)))
    rig.pass(60_000)
    #expect(rig.machine.isConnected, "what is not read is no silence")
    rig.machine.consumed(1, now: rig.now, into: &rig.actions)
    #expect(rig.take().contains(.setReading(true)))
    rig.pass(1)
    #expect(rig.machine.isConnected)
  }

  @Test func readingGoesOnWhileAnAnswerIsAwaited() {
    var rig = MachineRig { $0.bufferedEventsMax = 10 }
    rig.open()
    for number in 1...10 as ClosedRange<UInt64> { rig.push(.event(MachineRig.event(number))) }
    _ = rig.take()
    let id = rig.send()
    #expect(rig.take().contains(.setReading(true)), "the answer lies behind the events")
    rig.acknowledge(id)
    #expect(rig.take().contains(.setReading(false)))
  }

  @Test func eventsBeyondTheBoundAreGivenUpAndPulledAgain() {
    var rig = MachineRig(cursor: MachineRig.cursor(1)) { $0.bufferedEventsMax = 4 }
    rig.open()
    let id = rig.send()
    let limit = UInt64(rig.machine.configuration.shedEventsMax)
    for number in 1...(limit + 5) { rig.push(.event(MachineRig.event(number))) }
    rig.push(.cursor(MachineRig.cursor(99)))
    rig.acknowledge(id)
    let actions = rig.take()
    #expect(actions.sequences == Array(1...limit))
    #expect(actions.result(id) != nil, "answers are heard all the same")
    rig.machine.consumed(Int(limit), now: rig.now, into: &rig.actions)
    #expect(rig.take().dialed.count == 1)
    rig.open()
    #expect(rig.take().hello?.cursor == MachineRig.cursor(1))
    for number in 1...(limit + 5) { rig.push(.event(MachineRig.event(number))) }
    #expect(rig.take().sequences == Array((limit + 1)...(limit + 5)))
  }
}
