import ChatModel
import ClientProtocol
import ClusterModel
import GatewayCore
import NodeProtocol
import Primitives
import Testing
import WalkSupport

/// A cursor says that everything up to it was pushed: never more, and when nothing is under way
/// not less.
@Suite struct CursorTests {
  private let partition = PartitionID(1)
  private var room: ConversationID { conversation(1, in: partition, of: 4) }

  private func rig(
    configure: (inout GatewayConfiguration) -> Void = { _ in }
  ) throws -> GatewayRig {
    var rig = GatewayRig(configure: configure)
    try rig.run(milliseconds: 20)
    rig.create(room, members: [user(1)], creator: user(2))
    try rig.run(milliseconds: 50)
    return rig
  }

  private func index(_ cursor: Cursor?, of partition: PartitionID? = nil) -> LogIndex? {
    cursor?.positions.first { $0.partition == partition ?? self.partition }?.index
  }

  @Test func `a first cursor is told as soon as the first pulls are done`() throws {
    var rig = try rig()
    let client = rig.addClient(user(1))
    try rig.run(milliseconds: 60)
    #expect(rig.clients[client].cursorCount == 1)
    #expect(index(rig.clients[client].cursor) == rig.world.applied(partition))
    try rig.run(milliseconds: 3_000)
    #expect(rig.clients[client].cursorCount <= 2, "nothing happened since")
  }

  @Test func `a user without conversations gets a first cursor too`() throws {
    var rig = try rig()
    let client = rig.addClient(user(3))
    try rig.run(milliseconds: 60)
    #expect(rig.clients[client].cursor?.positions.isEmpty == true)
  }

  @Test func `no cursor is told while a first pull has not ended`() throws {
    var rig = try rig()
    rig.shards.heldQueries = { if case .changes = $0 { true } else { false } }
    let client = rig.addClient(user(1))
    try rig.run(milliseconds: 3_000)
    #expect(rig.clients[client].cursorCount == 0)
    rig.shards.releaseQueries()
    try rig.run(milliseconds: 60)
    #expect(rig.clients[client].cursorCount == 1)
  }

  @Test func `what happens after the first cursor is not lost by a reconnect at once`() throws {
    var rig = try rig()
    let client = rig.addClient(user(1))
    while rig.clients[client].cursor == nil, rig.shards.now < 10_000_000 {
      try rig.run(milliseconds: 1)
    }
    rig.disconnect(client)
    rig.say("m", in: room, by: user(2))
    try rig.run(milliseconds: 50)
    rig.connect(client)
    try rig.run(milliseconds: 100)
    #expect(rig.clients[client].log[room]?.count == 1)
  }

  @Test func `a cursor counts an entry whose last delivery was seen`() throws {
    var rig = try rig()
    let client = rig.addClient(user(1))
    try rig.run(milliseconds: 1_500)
    rig.say("m", in: room, by: user(2))
    try rig.run(milliseconds: 1_500)
    #expect(index(rig.clients[client].cursor) == rig.world.applied(partition))
  }

  /// Opens a session by hand that is live in one partition at entry 10.
  private func liveScript(user: UserID = GatewayScript.user()) -> GatewayScript {
    var script = GatewayScript()
    script.lead(by: store(1))
    script.open(store(1))
    script.openSession(SessionID(1), user: user)
    serve(&script, through: 10)
    return script
  }

  /// Answers everything from a list with one conversation, in a partition applied so far.
  private func serve(_ script: inout GatewayScript, through applied: UInt64) {
    for _ in 0..<10 {
      let outputs = script.take()
      for item in outputs.subscribes {
        script.receive(
          .subscribed(
            Subscribed(
              partition: item.subscribe.partition, entity: item.subscribe.entity,
              from: LogIndex(applied), generation: 0)), from: item.store)
      }
      for item in outputs.requests {
        script.respond(item.request, answer(item.request, applied), from: item.store)
      }
    }
  }

  private func answer(_ request: Request, _ applied: UInt64) -> Response.Outcome {
    switch request.query {
    case .user(let user):
      var profile = profile(1)
      profile.user = user
      return .answered(.user(profile))
    case .conversationList:
      let item = ListedConversation(
        conversation: GatewayScript.conversation(), joined: LogIndex(3), listed: LogIndex(4))
      return .answered(
        .conversationList(
          ConversationListPage(
            conversations: [item], applied: LogIndex(applied), generation: 0, more: false)))
    default:
      return .answered(
        .changes(
          ChangesPage(events: [], through: LogIndex(applied), more: false, generation: 0)))
    }
  }

  private func delivery(
    _ sequence: UInt64, at index: UInt64, isLastOfEntry: Bool
  ) -> LinkFrame {
    let event = Event(
      conversation: GatewayScript.conversation(), sequence: Sequence(sequence),
      time: WallTime(milliseconds: 1), author: user(2), index: LogIndex(index),
      content: .message(text: "\(sequence)"))
    return .delivery(
      Delivery(
        partition: GatewayScript.first, index: LogIndex(index), content: .event(event),
        isLastOfEntry: isLastOfEntry))
  }

  @Test func `an entry of which more may come is not counted`() {
    var script = liveScript()
    let first = GatewayScript.first
    func position() -> LogIndex? {
      script.core.cursor(of: SessionID(1))?.positions.first { $0.partition == first }?.index
    }
    #expect(position() == LogIndex(10))
    script.receive(delivery(5, at: 12, isLastOfEntry: false), from: store(1))
    #expect(position() == LogIndex(11))
    script.receive(delivery(6, at: 12, isLastOfEntry: false), from: store(1))
    #expect(position() == LogIndex(11))
    script.receive(delivery(7, at: 12, isLastOfEntry: true), from: store(1))
    #expect(position() == LogIndex(12))
    script.receive(delivery(8, at: 15, isLastOfEntry: false), from: store(1))
    #expect(position() == LogIndex(14))
  }

  @Test func `no cursor counts the entry that took the user out, which may bring the user back`() {
    var script = liveScript()
    let other = ListedConversation(
      conversation: GatewayScript.conversation(2), joined: LogIndex(11), listed: LogIndex(11))
    script.receive(
      .delivery(
        Delivery(
          partition: GatewayScript.first, index: LogIndex(11),
          content: .listed(user: GatewayScript.user(), conversation: other, removed: false),
          isLastOfEntry: true)), from: store(1))
    serve(&script, through: 11)
    let removal = Event(
      conversation: GatewayScript.conversation(), sequence: Sequence(5),
      time: WallTime(milliseconds: 1), author: user(2), index: LogIndex(12),
      content: .membersChanged(added: [], removed: [GatewayScript.user()]))
    script.receive(
      .delivery(
        Delivery(
          partition: GatewayScript.first, index: LogIndex(12), content: .event(removal),
          isLastOfEntry: true)), from: store(1))
    #expect(script.take().pushes.map(\.body) == [.event(removal)])
    let position = script.core.cursor(of: SessionID(1))?.positions.first?.index
    #expect(position == LogIndex(11))
  }

  @Test func `a gap between live events is pulled, and the cursor waits for it`() {
    var script = liveScript()
    _ = script.take()
    script.receive(delivery(5, at: 12, isLastOfEntry: true), from: store(1))
    script.receive(delivery(8, at: 14, isLastOfEntry: true), from: store(1))
    script.advance(20)
    let outputs = script.take()
    let pushed = outputs.pushes.compactMap { push -> UInt64? in
      if case .event(let event) = push.body { event.sequence.rawValue } else { nil }
    }
    #expect(pushed == [5])
    // Nothing says where in the log the missing ones lie, but that it is after what was seen.
    let changes = outputs.requests.compactMap(\.request.changes)
    #expect(changes.count == 1)
    #expect(changes.first.map { $0.requests[0].after <= LogIndex(12) } ?? false)
    let position = script.core.cursor(of: SessionID(1))?.positions.first?.index
    #expect(position.map { $0 <= LogIndex(12) } ?? false)
  }

  /// The subscription has ended and comes back.
  ///
  /// - Parameter applied: from where it is live; `nil` when nothing is missing.
  private func resubscribe(
    _ script: inout GatewayScript, in generation: UInt32 = 0, at applied: LogIndex? = nil
  ) {
    script.receive(
      .subscriptionEnded(
        SubscriptionEnded(
          partition: GatewayScript.first,
          entity: .conversation(GatewayScript.conversation()), reason: .behind)),
      from: store(1))
    script.advance(100)
    for item in script.take().subscribes {
      script.receive(
        .subscribed(
          Subscribed(
            partition: item.subscribe.partition, entity: item.subscribe.entity,
            from: applied ?? item.subscribe.after ?? LogIndex(12), generation: generation)),
        from: item.store)
    }
  }

  @Test func `after a forced leader a session is told to look again and gets numbers anew`() {
    var script = liveScript()
    for number in 5...9 as ClosedRange<UInt64> {
      script.receive(delivery(number, at: 7 + number, isLastOfEntry: true), from: store(1))
    }
    _ = script.take()
    let applied = LogIndex(14).inGeneration(1)
    resubscribe(&script, in: 1, at: applied)
    let asked = script.take().requests
    #expect(asked.compactMap(\.request.changes).first?.requests.first?.after == LogIndex(16))
    let event = Event(
      conversation: GatewayScript.conversation(), sequence: Sequence(7),
      time: WallTime(milliseconds: 1), author: user(2), index: applied, content: .message(text: "7")
    )
    for item in asked {
      script.respond(
        item.request,
        .answered(
          .changes(ChangesPage(events: [event], through: applied, more: false, generation: 1))),
        from: item.store)
    }
    #expect(
      script.take().pushes.map(\.body) == [.gap(GatewayScript.conversation()), .event(event)])
    let position = script.core.cursor(of: SessionID(1))?.positions.first
    #expect(position?.generation == 1 && position?.index == applied)
    // From there on it is live again.
    script.receive(
      .delivery(
        Delivery(
          partition: GatewayScript.first, index: applied.successor,
          content: .event(
            Event(
              conversation: GatewayScript.conversation(), sequence: Sequence(8),
              time: WallTime(milliseconds: 1), author: user(2), index: applied.successor,
              content: .message(text: "8"))), isLastOfEntry: true)), from: store(1))
    let pushed = script.take().pushes.compactMap { push -> UInt64? in
      if case .event(let event) = push.body { event.sequence.rawValue } else { nil }
    }
    #expect(pushed == [8])
  }

  @Test func `a congested session is told so once and gets nothing until it has drained`() {
    var script = liveScript()
    _ = script.take()
    script.setCongested(SessionID(1), true)
    script.setCongested(SessionID(1), true)
    script.receive(delivery(5, at: 12, isLastOfEntry: true), from: store(1))
    script.advance(3_000)
    let during = script.take()
    #expect(during.answers.map(\.frame.body) == [.behind])
    #expect(during.pushes.isEmpty)
    #expect(during.requests.isEmpty)
    script.setCongested(SessionID(1), false)
    #expect(script.take().requests.compactMap(\.request.changes).count == 1)
  }

  @Test func `a cursor that came due while the client was congested is told later`() {
    var script = liveScript()
    script.receive(delivery(5, at: 12, isLastOfEntry: true), from: store(1))
    script.setCongested(SessionID(1), true)
    script.advance(1_500)
    _ = script.take()
    script.setCongested(SessionID(1), false)
    for item in script.take().requests {
      let page = ChangesPage(events: [], through: LogIndex(12), more: false, generation: 0)
      script.respond(item.request, .answered(.changes(page)), from: item.store)
    }
    _ = script.take()
    script.advance(1_000)
    let cursors = script.take().answers.compactMap { answer -> Cursor? in
      if case .cursor(let cursor) = answer.frame.body { cursor } else { nil }
    }
    #expect(cursors.map { index($0, of: GatewayScript.first) } == [LogIndex(12)])
  }

  @Test func `a connection without events gets none when it has drained, and leaves nothing`() {
    var script = liveScript()
    script.openSession(SessionID(2), device: 2, events: false)
    serve(&script, through: 10)
    for isCongested in [true, false] { script.setCongested(SessionID(2), isCongested) }
    script.advance(100)
    serve(&script, through: 10)
    script.receive(delivery(5, at: 12, isLastOfEntry: true), from: store(1))
    #expect(script.take().pushes.map(\.sessions) == [[SessionID(1)]])
    script.closeSession(SessionID(2))
    script.closeSession(SessionID(1))
    #expect(script.core.subscriptionCount == 0)
  }

  @Test func `a congested session stays behind when a subscription comes back`() {
    var script = liveScript()
    script.receive(delivery(5, at: 12, isLastOfEntry: true), from: store(1))
    // Once interrupted and back without a gap, it is live from where it stood.
    resubscribe(&script)
    script.setCongested(SessionID(1), true)
    resubscribe(&script)
    _ = script.take()
    script.receive(delivery(6, at: 13, isLastOfEntry: true), from: store(1))
    #expect(script.take().pushes.isEmpty)
  }
}
