import ChatModel
import ClientProtocol
import ClusterModel
import GatewayCore
import NodeProtocol
import Primitives
import Routing
import Testing
import WalkSupport

/// A gateway whose partitions are cut in two while it uses them.
@Suite struct SplitTests {
  private static let whole = GatewayScript.first
  private static let scheme = PartitionScheme(rootCount: GatewayScript.partitionCount)
  private static let half = scheme.half(of: whole, level: 1)
  private static let elsewhere = Response.Outcome.failed(
    .unavailable("elsewhere", retryAfterMilliseconds: 100))

  private let a = store(1)

  /// Of the first partition, in its lower or its upper half.
  private func room(_ number: Int, isUpper: Bool) -> ConversationID {
    (1...).lazy.map { GatewayScript.conversation(number * 1_000 + $0) }
      .first { Self.isUpper(.conversation($0)) == isUpper } ?? GatewayScript.conversation()
  }

  private static func isUpper(_ entity: EntityID) -> Bool {
    scheme.partition(of: entity.token, level: 1) == half
  }

  private func script() -> GatewayScript {
    var script = GatewayScript()
    script.lead(by: a)
    script.open(a)
    return script
  }

  // MARK: Requests

  @Test func `what waits and what is under way for the half is asked there, in its order`() {
    var script = script()
    let (lower, upper) = (room(1, isUpper: false), room(2, isUpper: true))
    for number in 1...6 { script.send(UInt64(number), to: number % 2 == 0 ? upper : lower) }
    let first = script.take()
    #expect(first.requests.map(\.request.partition) == Array(repeating: Self.whole, count: 6))
    // The first of the upper half was sent back before the record came.
    script.respond(first.requests[1].request, Self.elsewhere, from: a)
    script.split(Self.half, by: a, origin: 20)
    let moved = script.take().requests
    #expect(moved.map(\.request.text) == ["2", "4", "6"])
    #expect(moved.allSatisfy { $0.request.partition == Self.half })
    // What the shard still answers of the earlier tries says nothing.
    for place in [3, 5] { script.respond(first.requests[place].request, sentAnswer(9), from: a) }
    #expect(script.take().results.isEmpty)
    for item in moved { script.respond(item.request, sentAnswer(1), from: a) }
    for place in [0, 2, 4] { script.respond(first.requests[place].request, sentAnswer(7), from: a) }
    #expect(script.take().results.count == 6)
    #expect(script.core.pendingRequestCount == 0)
  }

  @Test func `what a shard said of the whole says nothing of who leads the half`() {
    var script = script()
    let upper = room(2, isUpper: true)
    script.send(1, to: upper)
    let first = script.take().requests[0].request
    script.split(Self.half, by: a, origin: 20)
    let moved = script.take().requests
    #expect(moved.map(\.request.partition) == [Self.half])
    // The answer to the first try comes late: somebody else leads the whole by now.
    script.respond(
      first,
      .notLeader(leader: ReplicaID(store: store(2), number: 1), revision: Revision(99)), from: a)
    script.advance(200)
    #expect(script.take().requests.isEmpty, "the second is not answered yet")
    script.send(2, to: upper)
    #expect(script.take().texts == ["2→1"])
    script.respond(moved[0].request, sentAnswer(1), from: a)
    #expect(script.take().results.count == 1)
  }

  @Test func `nothing newer overtakes what moves to a half without a leader`() {
    var script = script()
    let upper = room(2, isUpper: true)
    script.send(1, to: upper)
    _ = script.take()
    // Led by a store to which there is no link yet.
    script.split(Self.half, by: store(2), origin: 20)
    script.send(2, to: upper)
    script.advance(300)
    #expect(script.take().requests.isEmpty)
    script.open(store(2))
    #expect(script.take().texts == ["1→2", "2→2"])
  }

  @Test func `what is sent back before the record is known is tried again there`() {
    var script = script()
    let upper = room(2, isUpper: true)
    script.send(1, to: upper)
    script.respond(script.take().requests[0].request, Self.elsewhere, from: a)
    script.advance(150)
    let again = script.take().requests
    #expect(again.map(\.request.partition) == [Self.whole])
    script.respond(again[0].request, Self.elsewhere, from: a)
    script.split(Self.half, by: a, origin: 20)
    #expect(script.take().requests.map(\.request.partition) == [Self.half])
  }

  // MARK: Sessions

  /// A session that is live in both conversations, up to entry 10 of the partition.
  private func live(
    _ rooms: [ConversationID], cursor: Cursor? = nil,
    split before: ((inout GatewayScript) -> Void)? = nil
  ) -> GatewayScript {
    var script = script()
    before?(&script)
    script.openSession(SessionID(1), cursor: cursor)
    serve(&script, rooms)
    return script
  }

  /// Answers everything; nothing happened after entry 10.
  private func serve(
    _ script: inout GatewayScript, _ rooms: [ConversationID], from: UInt64 = 10
  ) {
    for _ in 0..<10 {
      let outputs = script.take()
      for item in outputs.subscribes {
        script.receive(
          .subscribed(
            Subscribed(
              partition: item.subscribe.partition, entity: item.subscribe.entity,
              from: item.subscribe.after ?? LogIndex(from), generation: 0)), from: item.store)
      }
      for item in outputs.requests {
        script.respond(item.request, answer(item.request, rooms, from), from: item.store)
      }
    }
  }

  private func answer(
    _ request: Request, _ rooms: [ConversationID], _ through: UInt64
  ) -> Response.Outcome {
    switch request.query {
    case .user: .answered(.user(profile(1)))
    case .conversationList:
      .answered(
        .conversationList(
          ConversationListPage(
            conversations: rooms.map {
              ListedConversation(conversation: $0, joined: LogIndex(3), listed: LogIndex(4))
            }, applied: LogIndex(9), generation: 0, more: false)))
    default:
      .answered(
        .changes(
          ChangesPage(events: [], through: LogIndex(through), more: false, generation: 0)))
    }
  }

  private func delivery(
    _ partition: PartitionID, _ room: ConversationID, _ sequence: UInt64, at index: UInt64
  ) -> LinkFrame {
    let event = Event(
      conversation: room, sequence: Sequence(sequence), time: WallTime(milliseconds: 1),
      author: user(2), index: LogIndex(index), content: .message(text: "\(sequence)"))
    return .delivery(
      Delivery(
        partition: partition, index: LogIndex(index), content: .event(event), isLastOfEntry: true))
  }

  private func index(_ script: GatewayScript, _ partition: PartitionID) -> LogIndex? {
    script.core.cursor(of: SessionID(1))?.positions.first { $0.partition == partition }?.index
  }

  @Test func `a session goes on in both halves, with a position in each`() {
    let (lower, upper) = (room(1, isUpper: false), room(2, isUpper: true))
    var script = live([lower, upper])
    script.receive(delivery(Self.whole, upper, 1, at: 11), from: a)
    script.split(Self.half, by: a, origin: 12)
    // The lower half goes on before the other one has begun.
    script.receive(delivery(Self.whole, lower, 1, at: 30), from: a)
    #expect(index(script, Self.half) == LogIndex(11))
    serve(&script, [lower, upper], from: 30)
    script.receive(delivery(Self.half, upper, 2, at: 13), from: a)
    let pushes = script.take().pushes.compactMap { push -> Sequence? in
      if case .event(let event) = push.body, event.conversation == upper {
        event.sequence
      } else {
        nil
      }
    }
    #expect(pushes == [Sequence(2)])
    #expect(index(script, Self.half) == LogIndex(13))
    #expect(index(script, Self.whole) == LogIndex(30))
  }

  @Test func `a subscription that missed nothing needs no pull`() {
    let upper = room(2, isUpper: true)
    var script = live([upper])
    script.receive(delivery(Self.whole, upper, 1, at: 11), from: a)
    _ = script.take()
    script.split(Self.half, by: a, origin: 12)
    let outputs = script.take()
    #expect(
      outputs.subscribes.contains {
        $0.subscribe
          == Subscribe(
            partition: Self.half, entity: .conversation(upper), after: LogIndex(11))
      })
    script.receive(
      .subscribed(
        Subscribed(
          partition: Self.half, entity: .conversation(upper), from: LogIndex(11), generation: 0)),
      from: a)
    #expect(script.take().requests.isEmpty)
    script.receive(delivery(Self.half, upper, 2, at: 13), from: a)
    #expect(script.take().pushes.count == 1)
  }

  @Test func `what a shard says of the whole says nothing of an entity that moved`() {
    let upper = room(2, isUpper: true)
    var script = live([upper])
    script.receive(delivery(Self.whole, upper, 1, at: 11), from: a)
    script.split(Self.half, by: a, origin: 12)
    _ = script.take()
    // The end of the subscription at the whole comes late.
    script.receive(
      .subscriptionEnded(
        SubscriptionEnded(
          partition: Self.whole, entity: .conversation(upper), reason: .notLeader)), from: a)
    script.receive(
      .subscribed(
        Subscribed(
          partition: Self.half, entity: .conversation(upper), from: LogIndex(11), generation: 0)),
      from: a)
    script.receive(delivery(Self.half, upper, 2, at: 13), from: a)
    #expect(script.take().pushes.count == 1)
  }

  @Test func `a pull of both halves that is under way is asked for anew, of each`() {
    let (lower, upper) = (room(1, isUpper: false), room(2, isUpper: true))
    var script = script()
    script.openSession(SessionID(1), cursor: cursor(whole: 7))
    // Everything is answered but the pull.
    var pull: Request?
    for _ in 0..<6 {
      let outputs = script.take()
      for item in outputs.subscribes {
        script.receive(
          .subscribed(
            Subscribed(
              partition: item.subscribe.partition, entity: item.subscribe.entity,
              from: LogIndex(10), generation: 0)), from: a)
      }
      for item in outputs.requests {
        if item.request.changes != nil {
          pull = item.request
        } else {
          script.respond(item.request, answer(item.request, [lower, upper], 10), from: a)
        }
      }
    }
    #expect(pull?.changes?.requests.count == 2)
    script.split(Self.half, by: a, origin: 12)
    var asked: [PartitionID: [ChangesQuery.Request]] = [:]
    for _ in 0..<6 {
      script.advance(10)
      let outputs = script.take()
      for item in outputs.subscribes {
        script.receive(
          .subscribed(
            Subscribed(
              partition: item.subscribe.partition, entity: item.subscribe.entity,
              from: LogIndex(12), generation: 0)), from: a)
      }
      for item in outputs.requests {
        if let changes = item.request.changes { asked[item.request.partition] = changes.requests }
      }
    }
    #expect(
      asked == [
        Self.whole: [ChangesQuery.Request(conversation: lower, after: LogIndex(7))],
        Self.half: [ChangesQuery.Request(conversation: upper, after: LogIndex(7))],
      ])
  }

  // MARK: Cursors

  private func cursor(
    whole: UInt64, half: UInt64? = nil, partition: PartitionID = SplitTests.half
  ) -> Cursor {
    func position(_ partition: PartitionID, _ index: UInt64) -> Cursor.Position {
      Cursor.Position(partition: partition, generation: 0, index: LogIndex(index))
    }
    return Cursor(
      user: position(Self.whole, 9),
      positions: [position(Self.whole, whole)] + (half.map { [position(partition, $0)] } ?? []))
  }

  /// From where the conversation of the half is asked.
  private func asked(
    _ cursor: Cursor, origin: UInt64, isKnown: Bool = true
  ) -> (position: LogIndex?, script: GatewayScript) {
    let upper = room(2, isUpper: true)
    var script = script()
    if isKnown { script.split(Self.half, by: a, origin: origin) }
    script.openSession(SessionID(1), cursor: cursor)
    var position: LogIndex?
    for _ in 0..<10 {
      let outputs = script.take()
      for item in outputs.subscribes {
        script.receive(
          .subscribed(
            Subscribed(
              partition: item.subscribe.partition, entity: item.subscribe.entity,
              from: LogIndex(40), generation: 0)), from: a)
      }
      for item in outputs.requests {
        if let changes = item.request.changes { position = changes.requests.first?.after }
        script.respond(item.request, answer(item.request, [upper], 40), from: a)
      }
    }
    return (position, script)
  }

  @Test func `a cursor of before the split holds for both halves, no further than they are one`() {
    #expect(asked(cursor(whole: 7), origin: 12).position == LogIndex(7))
    #expect(asked(cursor(whole: 30), origin: 12).position == LogIndex(12))
    #expect(asked(cursor(whole: 30, half: 14), origin: 12).position == LogIndex(14))
  }

  @Test func `a cursor of a half that is not known here waits for its record`() {
    var (position, script) = asked(cursor(whole: 30, half: 14), origin: 12, isKnown: false)
    #expect(position == nil, "nothing is taken for what the cursor says of another")
    script.split(Self.half, by: a, origin: 12)
    script.advance(20)
    for _ in 0..<10 {
      let outputs = script.take()
      for item in outputs.subscribes {
        script.receive(
          .subscribed(
            Subscribed(
              partition: item.subscribe.partition, entity: item.subscribe.entity,
              from: LogIndex(40), generation: 0)), from: a)
      }
      for item in outputs.requests {
        if let changes = item.request.changes { position = changes.requests.first?.after }
        script.respond(item.request, answer(item.request, [room(2, isUpper: true)], 40), from: a)
      }
    }
    #expect(position == LogIndex(14))
  }

  @Test func `a half that never comes is waited for no longer than is said, and costs repeats`() {
    var (position, script) = asked(cursor(whole: 30, half: 14), origin: 12, isKnown: false)
    script.advance(6_000)
    for _ in 0..<10 {
      let outputs = script.take()
      for item in outputs.subscribes {
        script.receive(
          .subscribed(
            Subscribed(
              partition: item.subscribe.partition, entity: item.subscribe.entity,
              from: LogIndex(40), generation: 0)), from: a)
      }
      for item in outputs.requests {
        if let changes = item.request.changes { position = changes.requests.first?.after }
        script.respond(item.request, answer(item.request, [room(2, isUpper: true)], 40), from: a)
      }
    }
    #expect(position == LogIndex(14), "never further than the one that is furthest behind")
  }

  // MARK: Routes

  @Test func `a table finds the latest half that is known`() {
    var table = RoutingTable(scheme: Self.scheme)
    let token = EntityID.conversation(room(2, isUpper: true)).token
    func observe(_ partition: PartitionID) {
      table.observe(
        partition, VersionedRecord(record: record(epoch: 1, leader: a), revision: Revision(1)))
    }
    #expect(table.partition(of: token) == Self.whole)
    let quarter = Self.scheme.partition(of: token, level: 2)
    let eighth = Self.scheme.partition(of: token, level: 3)
    // Records may come in any order.
    if eighth != quarter { observe(eighth) }
    observe(Self.half)
    #expect(table.partition(of: token) == (eighth == quarter ? Self.half : eighth))
    let beyond = table.observe(
      PartitionID(70_000),
      VersionedRecord(record: record(epoch: 1, leader: a), revision: Revision(1)))
    #expect(!beyond)
  }

  @Test func `a table is led when everything that is known is`() {
    var table = RoutingTable(scheme: PartitionScheme(rootCount: 1))
    #expect(!table.isLed)
    let led = VersionedRecord(record: record(epoch: 1, leader: a), revision: Revision(1))
    table.observe(PartitionID(0), led)
    #expect(table.isLed)
    table.observe(PartitionID(2), led)
    #expect(table.isLed, "of the others nobody knows whether they are")
  }
}
