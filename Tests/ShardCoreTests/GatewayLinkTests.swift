import ChatModel
import ClusterModel
import NodeProtocol
import Primitives
import Testing

@testable import ShardCore
import Simulation
import WalkSupport

/// What arrives late on a link that its gateway has given up is not done any more.
@Suite struct GatewayLinkTests {
  private let ring = Ring(count: 2)
  private var room: ConversationID { ring.conversation(1, in: 0) }
  private var ada: UserID { ring.user(1, in: 0) }

  private func hello(boot: UInt64 = 7, lane: UInt32 = 0) -> LinkHello {
    LinkHello(
      clusterID: 1, node: "gateway", role: .gateway, store: nil, boot: BootID(boot), lane: lane,
      requestCredits: 0)
  }

  private func open(_ rig: inout ShardRig, _ number: UInt64, _ hello: LinkHello) {
    rig.input(0) { $0.linkOpened(LinkID(number), peer: hello, now: $1, into: &$2) }
  }

  private func say(_ rig: inout ShardRig, _ text: String, on link: UInt64, _ request: UInt64) {
    let command = send(text, to: room, by: ada)
    let frame = LinkFrame.request(
      Request(id: request, partition: PartitionID(0), operation: .command(command.encoded())))
    let wall = rig.wall(0)
    rig.input(0) { $0.frameReceived(frame, on: LinkID(link), now: $1, wall: wall, into: &$2) }
    rig.run(milliseconds: 20)
  }

  private func texts(_ rig: inout ShardRig) -> [String] {
    let gateway = rig.openGateway(to: 0)
    let query = HistoryQuery(conversation: room, reader: ada, range: .latest, limit: 20)
    let asked = rig.query(.history(query), through: gateway)
    rig.run(milliseconds: 200)
    return Array((rig.outcome(asked)?.answer?.texts ?? []).dropFirst())
  }

  private func rig() -> ShardRig {
    var rig = ShardRig()
    rig.run(milliseconds: 500)
    let gateway = rig.openGateway(to: 0)
    rig.command(group(room, creator: ada, members: []), through: gateway)
    rig.run(milliseconds: 100)
    return rig
  }

  @Test func `a newer link of the same event loop ends the one before`() {
    var rig = rig()
    open(&rig, 901, hello())
    say(&rig, "first", on: 901, 1)
    open(&rig, 902, hello())
    #expect(rig.closedByShard.map(\.reason) == ["the gateway has linked anew"])
    say(&rig, "late", on: 901, 2)
    say(&rig, "second", on: 902, 3)
    #expect(texts(&rig) == ["first", "second"])
  }

  @Test func `links of other event loops and other processes stay`() {
    var rig = rig()
    open(&rig, 901, hello())
    open(&rig, 902, hello(lane: 1))
    open(&rig, 903, hello(boot: 8))
    #expect(rig.closedByShard.isEmpty)
    for link in UInt64(901)...903 { say(&rig, "\(link)", on: link, link) }
    #expect(texts(&rig) == ["901", "902", "903"])
  }

  @Test func `a gateway that is not heard loses its link`() {
    var rig = rig()
    open(&rig, 901, hello())
    rig.run(milliseconds: 2_000)
    let heartbeat = LinkFrame.heartbeat(Heartbeat(boot: BootID(7), wallTime: .zero))
    let wall = rig.wall(0)
    rig.input(0) { $0.frameReceived(heartbeat, on: LinkID(901), now: $1, wall: wall, into: &$2) }
    rig.run(milliseconds: 1_000)
    let silent = { (rig: ShardRig) in
      rig.stores[0].core?.silentLinks(longerThan: 2_500, now: rig.instant) ?? []
    }
    #expect(!silent(rig).contains(LinkID(901)))
    rig.run(milliseconds: 1_600)
    #expect(silent(rig).contains(LinkID(901)))
  }

  @Test func `a late hello of an earlier process does not make the present one deaf`() {
    var rig = rig()
    let other = store(9)
    func open(_ number: UInt64, boot: UInt64) {
      let hello = LinkHello(
        clusterID: 1, node: "shard9", role: .shard, store: other, boot: BootID(boot),
        requestCredits: 100)
      rig.input(0) { $0.linkOpened(LinkID(number), peer: hello, now: $1, into: &$2) }
    }
    open(801, boot: 2)
    open(802, boot: 1)
    rig.input(0) { $0.linkClosed(LinkID(802), now: $1, into: &$2) }
    #expect(rig.stores[0].link(to: other) == LinkID(801))
    let peer = rig.stores[0].core?.peers.first { $0.store == other }
    #expect(peer?.boot == BootID(2))
  }
}
