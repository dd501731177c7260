import ChatModel
import ClusterModel
import NodeProtocol
import Primitives
import Testing

@testable import ShardCore
import WalkSupport

/// What gateways that subscribed are told, and that it ends when it cannot be complete.
@Suite struct SubscriptionTests {
  private let ring = Ring(count: 2)
  private var room: ConversationID { ring.conversation(1, in: 0) }
  private var other: ConversationID { ring.conversation(2, in: 0) }
  private var ada: UserID { ring.user(1, in: 0) }

  private func rig(stores: Int = 1) -> ShardRig {
    var rig = ShardRig(stores: stores)
    rig.run(milliseconds: 500)
    let gateway = rig.openGateway(to: 0)
    for id in [room, other] { rig.command(group(id, creator: ada, members: []), through: gateway) }
    rig.run(milliseconds: 100)
    return rig
  }

  private func subscribe(
    _ rig: inout ShardRig, to entity: EntityID, after: LogIndex? = nil, through gateway: Int = 0
  ) -> Subscribed? {
    rig.tell(
      .subscribe(Subscribe(partition: ring.partition(entity), entity: entity, after: after)),
      through: gateway)
    rig.run(milliseconds: 10)
    return rig.received[gateway].reversed().lazy.compactMap { frame in
      if case .subscribed(let subscribed) = frame, subscribed.entity == entity {
        subscribed
      } else {
        nil
      }
    }.first
  }

  private func endings(_ rig: ShardRig, _ gateway: Int = 0) -> [SubscriptionEnded.Reason] {
    rig.received[gateway].compactMap {
      if case .subscriptionEnded(let ended) = $0 { ended.reason } else { nil }
    }
  }

  private func texts(_ rig: ShardRig, _ gateway: Int = 0) -> [String] {
    rig.deliveries(gateway).compactMap { delivery in
      guard case .event(let event) = delivery.content, case .message(let text) = event.content
      else { return nil }
      return text
    }
  }

  private func say(_ rig: inout ShardRig, _ text: String, in id: ConversationID? = nil) {
    rig.command(send(text, to: id ?? room, by: ada), through: 0)
    rig.run(milliseconds: 20)
  }

  @Test func `a subscription begins where the state is and goes on from there`() {
    var rig = rig()
    say(&rig, "before")
    let began = subscribe(&rig, to: .conversation(room))
    #expect(began?.from == rig.status(0, 0)?.appliedIndex)
    say(&rig, "a")
    say(&rig, "elsewhere", in: other)
    say(&rig, "b")
    #expect(texts(rig) == ["a", "b"])
    let indexes = rig.deliveries(0).map(\.index)
    #expect(indexes == indexes.sorted())
  }

  @Test func `nothing was missed when the conversation did not change since`() {
    var rig = rig()
    say(&rig, "a")
    guard let position = rig.status(0, 0)?.appliedIndex else { return }
    for number in 1...3 { say(&rig, "other \(number)", in: other) }
    #expect(subscribe(&rig, to: .conversation(room), after: position)?.from == position)
    let late = rig.openGateway(to: 0)
    let began = subscribe(&rig, to: .conversation(other), after: position, through: late)
    #expect(
      began?.from == rig.status(0, 0)?.appliedIndex, "it changed: what lies between is pulled")
    let unknown = subscribe(
      &rig, to: .conversation(ring.conversation(9, in: 0)), after: position, through: late)
    #expect(unknown?.from == position)
  }

  @Test func `two subscriptions of one link to one entity are one`() {
    var rig = rig()
    _ = subscribe(&rig, to: .conversation(room))
    _ = subscribe(&rig, to: .conversation(room))
    say(&rig, "a")
    #expect(texts(rig) == ["a"])
    rig.tell(
      .unsubscribe(Unsubscribe(partition: PartitionID(0), entity: .conversation(room))),
      through: 0)
    say(&rig, "b")
    #expect(texts(rig) == ["a"])
    #expect(rig.stores[0].hosts.allSatisfy { $0.subscribers.isEmpty } == true)
  }

  @Test func `a congested link loses its subscription, is told so once, and can come back`() {
    var rig = rig()
    let fast = rig.openGateway(to: 0)
    for gateway in [0, fast] { _ = subscribe(&rig, to: .conversation(room), through: gateway) }
    _ = subscribe(&rig, to: .conversation(other))
    let slow = rig.link(ofGateway: 0)
    rig.input(0) { core, _, _ in core.congestionChanged(slow.link, isCongested: true) }
    for number in 1...3 { say(&rig, "m\(number)") }
    #expect(endings(rig) == [.behind])
    #expect(texts(rig) == [])
    #expect(texts(rig, fast) == ["m1", "m2", "m3"])
    rig.input(0) { core, _, _ in core.congestionChanged(slow.link, isCongested: false) }
    say(&rig, "other", in: other)
    #expect(texts(rig) == ["other"], "what nothing happened to stayed subscribed")
    #expect(subscribe(&rig, to: .conversation(room)) != nil)
    say(&rig, "m4")
    #expect(texts(rig) == ["other", "m4"])
  }

  @Test func `subscriptions end when leadership is lost`() {
    var rig = rig(stores: 3)
    #expect(rig.leader(of: 0) == 0)
    _ = subscribe(&rig, to: .conversation(room))
    for peer in [1, 2] { rig.cut.formUnion([[0, peer], [peer, 0]]) }
    rig.stores[0].seesCoordinator = false
    let isReplaced = rig.run(upTo: 8_000) { [1, 2].contains($0.leader(of: 0) ?? 0) }
    #expect(isReplaced)
    #expect(endings(rig).isEmpty, "it cannot know yet")
    rig.stores[0].seesCoordinator = true
    rig.announceRecords(to: 0)
    rig.run(milliseconds: 100)
    #expect(endings(rig) == [.notLeader])
    #expect(rig.stores[0].hosts.allSatisfy { $0.subscribers.isEmpty } == true)
  }

  @Test func `who does not lead, or has not begun to, says so`() {
    var rig = rig(stores: 2)
    let gateway = rig.openGateway(to: 1)
    #expect(subscribe(&rig, to: .conversation(room), through: gateway) == nil)
    #expect(endings(rig, gateway) == [.notLeader])
  }

  @Test func `a closed link leaves no subscription and no waiter behind`() {
    var rig = rig()
    for entity in [EntityID.conversation(room), .conversation(other), .user(ada)] {
      _ = subscribe(&rig, to: entity)
    }
    rig.stores[0].holdsSync = true
    rig.command(send("m", to: room, by: ada), through: 0)
    rig.query(.user(ada), through: 0)
    rig.command(createUser(ring.user(5, in: 0), ring.handle(1, in: 1)), through: 0)
    rig.run(milliseconds: 5)
    rig.close(rig.gatewayConnections[0])
    rig.releaseSyncs(0)
    rig.run(milliseconds: 2_000)
    let store = rig.stores[0]
    #expect(store.isRunning)
    #expect(store.links.isEmpty)
    #expect(store.isIdle == true)
    #expect(store.hosts.allSatisfy { $0.subscribers.isEmpty })
    #expect(store.hosts.allSatisfy { $0.reads.isEmpty })
    #expect(store.hosts.allSatisfy { $0.accountWaiters.isEmpty })
    #expect(store.core?.outgoing.isEmpty == true)
  }

  @Test func `a subscription beyond the bound of a link is refused`() {
    var rig = ShardRig(stores: 1) { $0.subscriptionsPerLinkMax = 2 }
    rig.run(milliseconds: 500)
    _ = rig.openGateway(to: 0)
    for number in 1...3 {
      _ = subscribe(&rig, to: .conversation(ring.conversation(number, in: 0)))
    }
    #expect(endings(rig) == [.behind])
    #expect(rig.stores[0].links.values.first?.subscriptions.count == 2)
  }
}
