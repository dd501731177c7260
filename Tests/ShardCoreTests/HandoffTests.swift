import ChatModel
import ClusterModel
import NodeProtocol
import Primitives
import ReplicaCore
import Testing

@testable import ShardCore
import Simulation
import WalkSupport

/// Leadership goes where it belongs, and nobody who waits for an answer notices.
@Suite struct HandoffTests {
  private let ring = Ring(count: 2)
  private var room: ConversationID { ring.conversation(1, in: 0) }
  private var ada: UserID { ring.user(1, in: 0) }

  private func rig(
    partitions: Int = 2, configure: @escaping (inout ShardConfiguration) -> Void = { _ in }
  ) -> ShardRig {
    var rig = ShardRig(stores: 3, partitions: partitions, configure: configure)
    rig.run(milliseconds: 500)
    for store in 0..<3 { _ = rig.openGateway(to: store) }
    rig.run(milliseconds: 10)
    return rig
  }

  /// Store 0 was away, so another leads partition 0; it has just come back.
  private func returned() -> ShardRig {
    var rig = rig()
    rig.command(group(room, creator: ada, members: []), through: 0)
    rig.run(milliseconds: 100)
    rig.kill(0)
    let isReplaced = rig.run(upTo: 3_000) { ($0.leader(of: 0) ?? 0) != 0 }
    #expect(isReplaced)
    rig.start(0)
    let isInSync = rig.run(upTo: 3_000) { rig in
      rig.coordinator.records[PartitionID(0)]?.record.inSync.count == 3
    }
    #expect(isInSync)
    return rig
  }

  @Test func `a store that is back gets its leaderships again, after a while`() {
    var rig = returned()
    rig.run(milliseconds: 1_000)
    #expect(rig.leader(of: 0) != 0, "not at once")
    let isBack = rig.run(upTo: 4_000) { $0.leader(of: 0) == 0 }
    #expect(isBack)
    #expect(rig.coordinator.records[PartitionID(0)]?.record.inSync.count == 3)
  }

  @Test func `a store that has just become fit again is asked later`() {
    var rig = rig()
    rig.stores[0].clockOffset = 20_000
    let isReplaced = rig.run(upTo: 5_000) { ($0.leader(of: 0) ?? 0) != 0 }
    #expect(isReplaced)
    rig.stores[0].clockOffset = 0
    rig.run(milliseconds: 2_500)
    #expect(rig.leader(of: 0) != 0)
    let isBack = rig.run(upTo: 4_000) { $0.leader(of: 0) == 0 }
    #expect(isBack)
  }

  @Test func `what is sent during a handoff is done once, here or there`() throws {
    var rig = returned()
    let old = try #require(rig.leader(of: 0))
    var sent: [UInt64] = []
    var elsewhere: [UInt64] = []
    for number in 0..<5_000 where rig.leader(of: 0) != 0 {
      sent.append(rig.command(send("m\(number)", to: room, by: ada), through: old))
      rig.run(milliseconds: 1)
    }
    #expect(rig.leader(of: 0) == 0)
    rig.run(milliseconds: 500)
    for request in sent {
      #expect(rig.responses[request]?.count == 1)
      if rig.outcome(request)?.isNotLeader ?? false { elsewhere.append(request) }
    }
    #expect(elsewhere == Array(sent.suffix(elsewhere.count)), "in their order")
    #expect(elsewhere.count < 100)
    for request in sent.prefix(sent.count - elsewhere.count) {
      guard case .applied? = rig.outcome(request) else {
        Issue.record("\(String(describing: rig.outcome(request)))")
        return
      }
    }
  }

  @Test func `what waited is done here when the heir does not come`() throws {
    var rig = returned()
    let old = try #require(rig.leader(of: 0))
    rig.stores[0].seesCoordinator = false
    let isClosing = rig.run(upTo: 6_000) { rig in
      rig.stores[old].hosts.contains { $0.standing.isClosing }
    }
    #expect(isClosing)
    let asked = rig.command(send("m", to: room, by: ada), through: old)
    rig.run(milliseconds: 50)
    #expect(rig.outcome(asked) == nil)
    rig.run(milliseconds: 600)
    guard case .applied? = rig.outcome(asked) else {
      Issue.record("\(String(describing: rig.outcome(asked)))")
      return
    }
    #expect(rig.leader(of: 0) == old)
  }

  @Test func `who is about to stop leads nothing any more, and is given nothing`() {
    var rig = rig()
    rig.input(0) { $0.leave(now: $1, into: &$2) }
    let hasLeft = rig.run(upTo: 500) { rig in
      rig.stores[0].core?.hasLeft(now: rig.instant) ?? false
    }
    #expect(hasLeft)
    rig.run(milliseconds: 50)
    #expect(rig.leader(of: 0) != nil && rig.leader(of: 0) != 0)
    #expect(rig.coordinator.records[PartitionID(0)]?.record.inSync.count == 3)
    rig.run(milliseconds: 10_000)
    #expect(rig.leader(of: 0) != 0)
    rig.restart(0)
    let isBack = rig.run(upTo: 8_000) { $0.leader(of: 0) == 0 }
    #expect(isBack)
  }

  @Test func `a leader that is not wanted any more goes when the others are there`() {
    var rig = rig()
    let first = PartitionID(0)
    guard let known = rig.coordinator.records[first] else { return }
    let wanted = known.record.retargeted(to: [store(2), store(3)])
    _ = rig.coordinator.compareAndSet(first, wanted, base: known.revision)
    for store in 0..<3 { rig.announceRecords(to: store) }
    let isGone = rig.run(upTo: 6_000) { rig in
      rig.coordinator.records[first]?.record.inSync.map(\.store) == [store(2), store(3)]
    }
    #expect(isGone)
    #expect(rig.leader(of: 0) == 1)
  }

  @Test func `few leaderships move at a time`() {
    var rig = rig(partitions: 60) { $0.handoffsMax = 2 }
    rig.kill(0)
    rig.run(milliseconds: 3_000)
    rig.start(0)
    var most = 0
    let isBack = rig.run(upTo: 20_000) { rig in
      for store in 1...2 {
        most = max(most, rig.stores[store].hosts.count { $0.standing.isHandingOver })
      }
      return rig.stores[0].core?.ledPartitionCount == 20
    }
    #expect(isBack)
    #expect(most == 2)
  }
}
