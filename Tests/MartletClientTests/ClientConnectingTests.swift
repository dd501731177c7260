import ChatModel
import ClientProtocol
import Primitives
import Testing

@testable import MartletClient

/// How a machine gets, keeps and leaves connections.
@Suite struct ClientConnectingTests {
  @Test func everyLossLeadsToAnotherGateway() {
    var rig = MachineRig(gateways: 3)
    rig.start()
    var gateways: [Int] = []
    for _ in 0..<6 {
      #expect(rig.runUntil { $0.isDialing })
      gateways += rig.take().dialed
      rig.loseSocket()
    }
    #expect(gateways.count == 6)
    for (one, next) in zip(gateways, gateways.dropFirst()) { #expect(next == (one + 1) % 3) }
  }

  @Test func clientsBeginAtDifferentGateways() {
    let first = Set((0..<40).map { MachineRig(gateways: 3, seed: $0).machine.gateway })
    #expect(first == [0, 1, 2])
  }

  @Test func pausesGrowToALimitAndAreSpread() {
    var longest: [UInt64] = []
    for seed in UInt64(0)..<60 {
      var rig = MachineRig(seed: seed) {
        $0.backoffBase = 100
        $0.backoffMax = 1_000
      }
      rig.start()
      var pauses: [UInt64] = []
      for _ in 0..<8 {
        _ = rig.runUntil { $0.isDialing }
        _ = rig.take()
        rig.loseSocket()
        pauses += rig.take().waits
      }
      #expect(pauses.count == 8)
      if longest.isEmpty { longest = pauses }
      longest = zip(longest, pauses).map(max)
      for (attempt, pause) in pauses.enumerated() {
        #expect(pause <= min(1_000, 100 << UInt64(attempt)))
      }
    }
    #expect(longest[0] > 50)
    #expect(longest[4] > 500, "without growth nothing would be so long")
  }

  @Test func aConnectionThatLastedForgetsEarlierFailures() {
    var rig = MachineRig()
    rig.start()
    for _ in 0..<5 {
      _ = rig.runUntil { $0.isDialing }
      rig.loseSocket()
    }
    #expect(rig.machine.failures == 5)
    rig.open()
    rig.pass(9_000)
    rig.machine.heard(rig.machine.attempt, now: rig.now)
    rig.pass(2_000)
    rig.loseSocket()
    #expect(rig.machine.failures == 1)
  }

  @Test func anAttemptThatTakesTooLongIsGivenUp() {
    var rig = MachineRig()
    rig.start()
    let attempt = rig.machine.attempt
    rig.machine.socketOpened(attempt, now: rig.now, into: &rig.actions)
    rig.pass(5_000)
    let actions = rig.take()
    #expect(actions.contains(.hangUp(attempt: attempt)))
    #expect(actions.waits.count == 1)
    rig.machine.socketOpened(attempt, now: rig.now, into: &rig.actions)
    #expect(rig.take().isEmpty, "what a former socket tells is not heard")
  }

  @Test func aSilentGatewayIsPingedAndThenLeft() {
    var rig = MachineRig()
    rig.open()
    _ = rig.take()
    rig.pass(9_999)
    #expect(!rig.take().contains(.ping))
    rig.pass(1)
    #expect(rig.take().contains(.ping))
    rig.machine.heard(rig.machine.attempt, now: rig.now)
    rig.pass(10_000)
    #expect(rig.take().contains(.ping))
    rig.pass(10_000)
    #expect(rig.take().contains(.hangUp(attempt: rig.machine.attempt)))
  }

  @Test func aDrainingGatewayIsLeftAfterItsAnswersHaveCome() {
    var rig = MachineRig(gateways: 2)
    rig.open()
    let gateway = rig.machine.gateway
    let id = rig.send()
    _ = rig.take()
    rig.push(.draining)
    let later = rig.send()
    #expect(rig.take().written == [String(later)], "it goes on for a while")
    rig.pass(1_000)
    let last = rig.send()
    #expect(rig.take().written.isEmpty, "nothing new begins")
    rig.acknowledge(id)
    #expect(rig.take().dialed.isEmpty)
    rig.acknowledge(later, 2)
    #expect(rig.take().dialed == [1 - gateway], "at once, without a pause")
    rig.open()
    #expect(rig.take().written == ["hello", String(last)])
  }

  @Test func aDrainingGatewayThatDoesNotAnswerIsLeftAllTheSame() {
    var rig = MachineRig()
    rig.open()
    let id = rig.send()
    rig.push(.draining)
    rig.pass(1_000)
    _ = rig.take()
    rig.pass(2_000)
    #expect(rig.take().dialed.count == 1)
    rig.open()
    #expect(rig.take().written.contains(String(id)))
  }

  @Test func clientsLeaveADrainingGatewayAtDifferentTimes() {
    let times = (UInt64(0)..<20).map { seed -> UInt64 in
      var rig = MachineRig(seed: seed)
      rig.open()
      let before = rig.now
      rig.push(.draining)
      _ = rig.take()
      _ = rig.runUntil { $0.isDialing }
      return rig.now.milliseconds(since: before).rawValue
    }
    #expect(Set(times).count > 10)
    #expect(times.allSatisfy { $0 <= 1_001 })
  }

  // MARK: Tokens

  @Test func aTokenIsRefreshedBeforeItExpires() {
    var rig = MachineRig(lifetime: 900_000) {
      $0.pingInterval = 10_000_000
      $0.silenceMax = 10_000_000
    }
    rig.open()
    _ = rig.take()
    let isAsked = rig.runUntil { $0.machine.token.isRefreshing }
    #expect(isAsked)
    #expect(rig.now < Instant(nanoseconds: 1_000_000_000) + 900_000)
    #expect(rig.machine.isConnected, "the connection stays")
    rig.machine.tokenRefreshed("new", lifetime: 900_000, now: rig.now, into: &rig.actions)
    _ = rig.take()
    rig.loseSocket()
    rig.open()
    #expect(rig.take().hello?.token == "new")
  }

  @Test func anExpiredTokenIsRefreshedBeforeDialing() {
    var rig = MachineRig(lifetime: 0)
    rig.start()
    let actions = rig.take()
    #expect(actions.dialed.isEmpty)
    #expect(actions.contains(.refreshToken(gateway: rig.machine.gateway)))
    rig.machine.tokenRefreshed("new", lifetime: 60_000, now: rig.now, into: &rig.actions)
    #expect(rig.take().dialed.count == 1)
  }

  @Test func aRefusedTokenIsRefreshedAndTriedAgain() {
    var rig = MachineRig()
    rig.start()
    rig.machine.socketOpened(rig.machine.attempt, now: rig.now, into: &rig.actions)
    _ = rig.take()
    rig.receive(
      ServerFrame(ref: "hello", body: .error(ServiceError(.unauthenticated, "expired"))))
    let actions = rig.take()
    #expect(actions.contains { if case .refreshToken = $0 { true } else { false } })
    rig.pass(10_000)
    #expect(rig.take().dialed.isEmpty, "not with the same token")
    rig.machine.tokenRefreshed("new", lifetime: 60_000, now: rig.now, into: &rig.actions)
    rig.open()
    #expect(rig.take().hello?.token == "new")
  }

  @Test func freshTokensThatAreRefusedAgainAndAgainEndTheClient() {
    var rig = MachineRig()
    let id = rig.send()
    for _ in 0..<4 {
      _ = rig.runUntil { $0.isDialing || $0.machine.phase == .closed }
      rig.machine.socketOpened(rig.machine.attempt, now: rig.now, into: &rig.actions)
      rig.receive(
        ServerFrame(ref: "hello", body: .error(ServiceError(.unauthenticated, "no"))))
      rig.machine.tokenRefreshed("t", lifetime: 60_000, now: rig.now, into: &rig.actions)
    }
    let actions = rig.take()
    let expected = MartletError.signedOut("gateways refuse this device's tokens")
    #expect(actions.endError == expected)
    #expect(actions.failure(id) == expected)
  }

  @Test func aRefreshIsRepeatedAtAnotherGatewayUntilItIsRefused() {
    var rig = MachineRig(gateways: 2, lifetime: 0)
    rig.start()
    var gateways: [Int] = []
    for _ in 0..<4 {
      for case .refreshToken(let gateway) in rig.take() { gateways.append(gateway) }
      rig.machine.refreshFailed(final: nil, now: rig.now, into: &rig.actions)
      _ = rig.runUntil { $0.machine.token.isRefreshing }
    }
    #expect(gateways.count == 4)
    #expect(Set(gateways) == [0, 1])
    _ = rig.take()
    rig.machine.refreshFailed(
      final: .signedOut("the session has ended"), now: rig.now, into: &rig.actions)
    #expect(rig.take().endError == .signedOut("the session has ended"))
  }

  @Test func aDeviceThatIsLoggedOutIsTold() {
    var rig = MachineRig()
    rig.open()
    _ = rig.take()
    rig.push(.error(ServiceError(.unauthenticated, "this device was logged out")))
    let actions = rig.take()
    #expect(actions.contains { if case .refreshToken = $0 { true } else { false } })
    rig.machine.refreshFailed(final: .signedOut("ended"), now: rig.now, into: &rig.actions)
    #expect(rig.take().endError == .signedOut("ended"))
  }

  @Test func aRefusedHelloIsFinalUnlessItMayBeTriedAgain() {
    var rig = MachineRig()
    rig.start()
    rig.machine.socketOpened(rig.machine.attempt, now: rig.now, into: &rig.actions)
    rig.receive(ServerFrame(ref: "hello", body: .error(.unavailable("no leader"))))
    #expect(rig.take().endError == nil)
    #expect(rig.runUntil { $0.isDialing })
    rig.machine.socketOpened(rig.machine.attempt, now: rig.now, into: &rig.actions)
    rig.receive(
      ServerFrame(ref: "hello", body: .error(ServiceError(.invalidArgument, "the cursor"))))
    #expect(rig.take().endError == .refused(code: "INVALID_ARGUMENT", message: "the cursor"))
  }

  @Test func timeNeverStandsStill() {
    // A machine whose next deadline has passed although it was just told the time would spin.
    for seed in UInt64(0)..<200 {
      var random = SeededRandom(seed: seed)
      let lifetime = Milliseconds(UInt64.random(in: 0...20_000, using: &random))
      var rig = MachineRig(lifetime: lifetime, seed: seed)
      rig.start()
      for _ in 0..<200 {
        switch Int.random(in: 0..<9, using: &random) {
        case 0: rig.open()
        case 1: rig.loseSocket()
        case 2: rig.send(timeout: 1_000)
        case 3: if let id = rig.machine.operations.keys.min() { rig.acknowledge(id) }
        case 4: if let id = rig.machine.operations.keys.min() { rig.refuse(id, .overloaded("")) }
        case 5: rig.push(.draining)
        case 6: rig.machine.refreshFailed(final: nil, now: rig.now, into: &rig.actions)
        case 7: rig.machine.tokenRefreshed("t", lifetime: 5_000, now: rig.now, into: &rig.actions)
        default: rig.pass(Milliseconds(UInt64.random(in: 0...3_000, using: &random)))
        }
        _ = rig.take()
        rig.pass(0)
        rig.pass(0)
        #expect(rig.machine.nextDeadline > rig.now, "seed \(seed), \(rig.machine.phase)")
      }
    }
  }
}
