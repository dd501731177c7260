import Primitives
import Testing

@testable import WebSocketEngine

@Suite struct WebSocketConnectionTests {
  private let now = Instant(nanoseconds: 1_000_000_000)

  private func received(
    _ bytes: [UInt8], by connection: inout WebSocketConnection
  ) -> [WebSocketAction] {
    var actions: [WebSocketAction] = []
    connection.bytesReceived(bytes[...], now: now, into: &actions)
    return actions
  }

  @Test func messagesAreDeliveredAndPingsAnswered() {
    var connection = WebSocketConnection(role: .server)
    let actions = received(
      FrameFixture.masked("hi") + FrameFixture.masked(.ping, [7]) + FrameFixture.masked(.pong, [8])
        + FrameFixture.masked(.binary, [9]), by: &connection)
    #expect(
      actions == [
        .deliverText(Array("hi".utf8)), .send(.pong, payload: [7]), .pongReceived([8]),
        .deliverBinary([9]),
      ])
    #expect(connection.isOpen)
    #expect(connection.deadline == nil)
  }

  @Test func aPeersCloseIsEchoedWithItsCode() {
    var connection = WebSocketConnection(role: .server)
    let payload = FrameEncoder.closePayload(.goingAway, reason: "bye")
    let actions = received(
      FrameFixture.masked(.close, payload) + FrameFixture.masked("late"), by: &connection)
    #expect(
      actions == [
        .send(.close, payload: [0x03, 0xe9]), .ended(.closed(code: .goingAway, reason: "bye")),
        .closeTransport,
      ])
    #expect(!connection.isOpen)
    #expect(received(FrameFixture.masked("later"), by: &connection).isEmpty)
  }

  @Test func aCloseWithoutCodeIsEchoedWithoutCode() {
    var connection = WebSocketConnection(role: .server)
    #expect(
      received(FrameFixture.masked(.close, []), by: &connection) == [
        .send(.close, payload: []), .ended(.closed(code: nil, reason: "")), .closeTransport,
      ])
  }

  @Test func ourCloseWaitsForThePeersAndDropsMessages() {
    var connection = WebSocketConnection(role: .server)
    var actions: [WebSocketAction] = []
    connection.close(.serviceRestart, reason: "drain", now: now, into: &actions)
    connection.close(.normal, now: now, into: &actions)
    let payload = FrameEncoder.closePayload(.serviceRestart, reason: "drain")
    #expect(actions == [.send(.close, payload: payload)])
    #expect(!connection.isOpen)
    #expect(connection.deadline == now + 5_000)
    let late = FrameFixture.masked("late") + FrameFixture.masked(.ping, [])
    #expect(received(late, by: &connection).isEmpty)
    #expect(
      received(FrameFixture.masked(.close, payload), by: &connection) == [
        .ended(.closed(code: .serviceRestart, reason: "drain")), .closeTransport,
      ])
    #expect(connection.deadline == nil)
  }

  @Test func aPeerThatDoesNotAnswerOurCloseIsLeft() {
    var connection = WebSocketConnection(role: .server)
    var actions: [WebSocketAction] = []
    connection.close(.normal, now: now, into: &actions)
    actions = []
    connection.deadlineReached(now: now + 4_999, into: &actions)
    #expect(actions.isEmpty)
    connection.deadlineReached(now: now + 5_000, into: &actions)
    #expect(actions == [.ended(.lost), .closeTransport])
    connection.deadlineReached(now: now + 9_000, into: &actions)
    connection.transportEnded(into: &actions)
    #expect(actions.count == 2)
  }

  @Test func aViolationIsToldAndEndsTheSessionOnce() {
    var connection = WebSocketConnection(role: .server)
    let actions = received(FrameFixture.masked("ok") + [0x81, 0x01, 0x61], by: &connection)
    #expect(
      actions == [
        .deliverText(Array("ok".utf8)), .send(.close, payload: [0x03, 0xea]),
        .ended(.failed(.unmaskedClientFrame)), .closeTransport,
      ])
    #expect(received([0xff], by: &connection).isEmpty)
    var more: [WebSocketAction] = []
    connection.transportEnded(into: &more)
    connection.close(.normal, now: now, into: &more)
    #expect(more.isEmpty)
  }

  @Test func aViolationAfterOurCloseSendsNoSecondCloseFrame() {
    var connection = WebSocketConnection(role: .server)
    var actions: [WebSocketAction] = []
    connection.close(.normal, now: now, into: &actions)
    #expect(
      received([0xff], by: &connection) == [.ended(.failed(.reservedBitsSet)), .closeTransport])
  }

  @Test func aTransportThatEndsIsReportedOnce() {
    var connection = WebSocketConnection(role: .client)
    var actions: [WebSocketAction] = []
    connection.transportEnded(into: &actions)
    connection.transportEnded(into: &actions)
    #expect(actions == [.ended(.lost), .closeTransport])
  }

  @Test func twoEndsCloseTogether() {
    var server = WebSocketConnection(role: .server)
    var client = WebSocketConnection(role: .client)
    var toClient: [WebSocketAction] = []
    server.close(.goingAway, reason: "drain", now: now, into: &toClient)
    var clientActions: [WebSocketAction] = []
    for case .send(let opcode, let payload) in toClient {
      clientActions += received(FrameEncoder.encode(opcode, payload), by: &client)
    }
    #expect(clientActions.contains(.ended(.closed(code: .goingAway, reason: "drain"))))
    var serverActions: [WebSocketAction] = []
    for case .send(let opcode, let payload) in clientActions {
      serverActions += received(FrameFixture.masked(opcode, payload), by: &server)
    }
    #expect(serverActions == [.ended(.closed(code: .goingAway, reason: "")), .closeTransport])
  }
}
