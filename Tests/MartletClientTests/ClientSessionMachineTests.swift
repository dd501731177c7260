import ChatModel
import ClientProtocol
import Primitives
import Testing

@testable import MartletClient

@Suite struct ClientSessionMachineTests {
  // MARK: Sends

  @Test func sendsWaitForTheWelcomeAndGoOutInTheirOrder() {
    var rig = MachineRig()
    let first = rig.send("one")
    let second = rig.send("two")
    #expect(rig.take().written.isEmpty)
    rig.open()
    #expect(rig.take().written == ["hello", String(first), String(second)])
    rig.acknowledge(first, 5)
    guard case .success(.sent(_, let sequence, _, _))? = rig.take().result(first) else {
      Issue.record("no acknowledgement")
      return
    }
    #expect(sequence == Sequence(5))
  }

  @Test func aLostConnectionRepeatsUnacknowledgedSendsBeforeNewOnes() {
    var rig = MachineRig()
    rig.open()
    let ids = (0..<5).map { _ in rig.send() }
    rig.acknowledge(ids[1])
    _ = rig.take()
    rig.loseSocket()
    let newer = rig.send()
    rig.open()
    let expected = [ids[0], ids[2], ids[3], ids[4], newer].map(String.init)
    #expect(rig.take().written == ["hello"] + expected)
  }

  @Test func repeatedSendsKeepTheirClientIDs() {
    var rig = MachineRig()
    rig.open()
    rig.send("text")
    func messages(_ actions: [ClientAction]) -> [ClientOperation] {
      actions.flatMap { action -> [ClientOperation] in
        guard case .write(let frames) = action else { return [] }
        return frames.filter { $0.ref != "hello" }.map(\.operation)
      }
    }
    let before = messages(rig.take())
    rig.loseSocket()
    rig.open()
    #expect(before.count == 1)
    #expect(messages(rig.take()) == before)
  }

  @Test func atMost256SendsOfAConversationAreUnacknowledged() {
    var rig = MachineRig()
    rig.open()
    let ids = (0..<300).map { _ in rig.send() }
    #expect(rig.take().written.count - 1 == 256)
    rig.acknowledge(ids[0])
    #expect(rig.take().written == [String(ids[256])])
    let other = rig.send("text", to: MachineRig.other)
    #expect(rig.take().written == [String(other)])
    rig.loseSocket()
    rig.open()
    let again = rig.take().written.dropFirst().filter { $0 != String(other) }
    #expect(Array(again) == ids[1...256].map(String.init))
  }

  @Test func aConnectionIsNotGivenMoreThanAGatewayTakes() {
    var rig = MachineRig { $0.inFlightMax = 10 }
    rig.open()
    for conversation in 0..<8 {
      for _ in 0..<4 { rig.send(to: WireConversation(UInt128(conversation) + 1)) }
    }
    #expect(rig.machine.inFlightCount == 10)
    #expect(rig.take().written.count == 11)
  }

  @Test func aRefusedSendIsRepeatedBeforeNewerOnes() {
    var rig = MachineRig()
    rig.open()
    let ids = (0..<3).map { _ in rig.send() }
    _ = rig.take()
    rig.refuse(ids[0], .overloaded("full"))
    let newer = rig.send()
    rig.pass(10_000)
    #expect(rig.take().written.isEmpty, "two are under way still")
    rig.acknowledge(ids[1])
    rig.refuse(ids[2], .overloaded("full"))
    #expect(rig.take().written.isEmpty)
    #expect(rig.runUntil { $0.machine.inFlightCount == 3 })
    #expect(rig.take().written == [ids[0], ids[2], newer].map(String.init))
  }

  @Test func aRefusalHoldsUpItsOwnConversationOnly() {
    var rig = MachineRig()
    rig.open()
    let first = rig.send()
    rig.refuse(first, .unavailable("no leader"))
    _ = rig.take()
    rig.send()
    let other = rig.send("text", to: MachineRig.other)
    #expect(rig.take().written == [String(other)])
  }

  @Test func theGatewaysPauseIsKept() {
    var rig = MachineRig()
    rig.open()
    let id = rig.send()
    _ = rig.take()
    rig.refuse(id, .unavailable("no leader", retryAfterMilliseconds: 700))
    rig.pass(699)
    #expect(rig.take().written.isEmpty)
    rig.pass(1)
    #expect(rig.take().written == [String(id)])
  }

  @Test func pausesAfterRefusalsGrowUntilSomethingIsAcknowledged() {
    var rig = MachineRig()
    rig.open()
    let ids = (0..<2).map { _ in rig.send() }
    func pause(_ rig: inout MachineRig) -> UInt64 {
      for id in ids where rig.machine.operations[id] != nil {
        rig.refuse(id, ServiceError(.resourceExhausted, "full", retryable: true))
      }
      let before = rig.now
      _ = rig.runUntil { $0.machine.inFlightCount > 0 }
      return rig.now.milliseconds(since: before).rawValue
    }
    let pauses = (0..<12).map { _ in pause(&rig) }
    #expect(pauses[0] <= 50)
    #expect(pauses.allSatisfy { $0 <= 5_000 })
    #expect(pauses.max() ?? 0 > 1_000)
    rig.acknowledge(ids[0])
    #expect(pause(&rig) <= 50)
  }

  @Test func aFinalRefusalFailsTheSendAndFreesItsPlace() {
    var rig = MachineRig { $0.sendsInFlightMax = 1 }
    rig.open()
    let first = rig.send()
    let second = rig.send()
    _ = rig.take()
    rig.refuse(first, ServiceError(.permissionDenied, "not a member"))
    let actions = rig.take()
    #expect(
      actions.failure(first) == .refused(code: "PERMISSION_DENIED", message: "not a member"))
    #expect(actions.written == [String(second)])
  }

  @Test func deadlinesTellWhetherTheMessageMayHaveBeenStored() {
    var rig = MachineRig { $0.sendsInFlightMax = 1 }
    rig.open()
    let written = rig.send(timeout: 500)
    let waiting = rig.send(timeout: 500)
    let later = rig.send(timeout: 60_000)
    _ = rig.take()
    rig.pass(600)
    let actions = rig.take()
    #expect(actions.failure(written) == .outcomeUnknown("no answer in time"))
    #expect(actions.failure(waiting) == .deadlineExceeded("no gateway took it in time"))
    #expect(actions.written == [String(later)])
    #expect(rig.machine.inFlightCount == 1)
  }

  @Test func whatWasNeverWrittenFailsSoonWhenNoGatewayIsReached() {
    var rig = MachineRig {
      $0.unreachableTimeout = 2_000
      $0.backoffMax = 200
    }
    let first = rig.send()
    let began = rig.now
    var actions: [ClientAction] = []
    while actions.failure(first) == nil, rig.now < began + 10_000 {
      if rig.isDialing { rig.loseSocket() }
      rig.pass(10)
      actions += rig.take()
    }
    #expect(actions.failure(first) == .unreachable("test"))
    #expect((2_000...2_200).contains(rig.now.milliseconds(since: began).rawValue))
    // A gateway that comes is used all the same.
    rig.open()
    let second = rig.send()
    #expect(rig.take().written.contains(String(second)))
  }

  @Test func whatWasWrittenIsAwaitedHoweverLongNoGatewayIsReached() {
    var rig = MachineRig { $0.unreachableTimeout = 500 }
    rig.open()
    let written = rig.send()
    rig.loseSocket()
    for _ in 0..<100 {
      if rig.isDialing { rig.loseSocket() }
      rig.pass(50)
    }
    #expect(rig.take().failure(written) == nil)
    rig.open()
    #expect(rig.take().written.contains(String(written)))
  }

  @Test func anAbandonedSendIsNotRepeated() {
    var rig = MachineRig()
    rig.open()
    let first = rig.send()
    let second = rig.send()
    rig.machine.abandoned(first, now: rig.now, into: &rig.actions)
    rig.loseSocket()
    _ = rig.take()
    rig.open()
    #expect(rig.take().written == ["hello", String(second)])
  }

  @Test func tooManyOperationsAreRefusedAtOnce() {
    var rig = MachineRig { $0.operationsMax = 2 }
    rig.send()
    rig.send()
    let third = rig.send()
    #expect(rig.take().failure(third) == .tooManyOperations)
  }

  @Test func nothingIsKeptOfOperationsThatEnded() {
    var rig = MachineRig()
    rig.open()
    for round in 0..<50 {
      let send = rig.send()
      let call = rig.call(.ping)
      if round % 3 == 0 { rig.refuse(send, .overloaded("full")) }
      if round % 5 == 0 { rig.refuse(call, .overloaded("full")) }
      if round % 7 == 0 { rig.loseSocket() }
    }
    rig.pass(40_000)
    rig.open()
    #expect(rig.machine.operations.isEmpty)
    #expect(rig.machine.outboxes.isEmpty)
    #expect(rig.machine.waitingCalls.isEmpty)
    #expect(rig.machine.delayedCalls.isEmpty)
    #expect(rig.machine.recovering.isEmpty)
    #expect(rig.machine.inFlightCount == 0)
  }

  // MARK: Calls

  @Test func aCallIsRepeatedAfterALossUnlessThatCouldDoItTwice() {
    var rig = MachineRig()
    rig.open()
    let list = rig.call(.listConversations(after: nil, limit: 10))
    let request = CreateConversationRequest(kind: .group, members: [], title: "t")
    let create = rig.call(.createConversation(request), isRepeatable: false)
    rig.loseSocket()
    let lost = rig.take()
    #expect(lost.result(list) == nil)
    #expect(
      lost.failure(create)
        == .outcomeUnknown("the connection was lost before the answer came"))
    rig.open()
    #expect(rig.take().written == ["hello", String(list)])
  }

  @Test func aCallThatWasNotWrittenSurvivesALoss() {
    var rig = MachineRig()
    let request = CreateConversationRequest(kind: .group, members: [], title: "t")
    let create = rig.call(.createConversation(request), isRepeatable: false)
    #expect(rig.runUntil { $0.isDialing })
    rig.loseSocket()
    rig.open()
    #expect(rig.take().written == ["hello", String(create)])
  }

  @Test func anAnswerOfAnotherKindFailsTheCall() {
    var rig = MachineRig()
    rig.open()
    let id = rig.call(.listConversations(after: nil, limit: 10))
    rig.receive(ServerFrame(ref: String(id), body: .pong))
    #expect(
      rig.take().failure(id) == .outcomeUnknown("the gateway gave an answer of another kind"))
  }

  // MARK: The end

  @Test func closingFailsWhatIsUnderWay() {
    var rig = MachineRig { $0.sendsInFlightMax = 1 }
    rig.open()
    let written = rig.send()
    let waiting = rig.send()
    _ = rig.take()
    rig.machine.closeRequested(now: rig.now, into: &rig.actions)
    let actions = rig.take()
    #expect(actions.failure(written) == .outcomeUnknown("the client was closed"))
    #expect(actions.failure(waiting) == .closed)
    #expect(actions.endError == .closed)
    #expect(rig.machine.nextDeadline == .distantFuture)
    #expect(rig.send() == 3)
    #expect(rig.take().failure(3) == .closed)
  }
}
