import ChatModel
import ClusterModel
import NodeProtocol
import Primitives
import ReplicaCore
import Simulation
import Testing
import WalkSupport

@testable import ChatCore
@testable import ShardCore

/// Followers hold their state against what the leader says of its own (2.5).
@Suite struct StateComparisonTests {
  private let ring = Ring(count: 1)
  private var room: ConversationID { ring.conversation(1, in: 0) }
  private var ada: UserID { ring.user(1, in: 0) }
  private let first = PartitionID(0)

  /// Store 0 leads, the others follow, and some has been said.
  private func talking() -> ShardRig {
    var rig = ShardRig(stores: 3, partitions: 1) { $0.stateComparisonInterval = 1_000 }
    rig.run(milliseconds: 500)
    _ = rig.openGateway(to: 0)
    rig.run(milliseconds: 10)
    rig.command(group(room, creator: ada, members: []), through: 0)
    say(1...3, in: &rig)
    return rig
  }

  private func say(_ numbers: ClosedRange<Int>, in rig: inout ShardRig) {
    for number in numbers { rig.command(send("\(number)", to: room, by: ada), through: 0) }
    rig.run(milliseconds: 100)
  }

  private func counts(_ rig: borrowing ShardRig) -> [Int] {
    rig.stores.map { $0.core?.comparedStateCount ?? 0 }
  }

  /// Something happens to the memory of a store that no checksum sees.
  private func alter(_ store: Int, of rig: borrowing ShardRig) {
    for host in rig.stores[store].hosts { host.visitChat { $0.hash.fold(UInt64(1)) } }
  }

  @Test func `followers find that their state is the leader's, once for what was applied`() {
    var rig = talking()
    rig.run(milliseconds: 1_500)
    #expect(counts(rig) == [0, 1, 1])
    rig.run(milliseconds: 5_000)
    #expect(counts(rig) == [0, 1, 1], "nothing was applied since")
    say(4...4, in: &rig)
    rig.run(milliseconds: 1_500)
    #expect(counts(rig) == [0, 2, 2])
  }

  @Test func `states are compared while commands go on coming`() {
    var rig = talking()
    for number in 10..<60 {
      rig.command(send("\(number)", to: room, by: ada), through: 0)
      rig.run(milliseconds: 100)
    }
    #expect(counts(rig)[1] >= 4)
    #expect(counts(rig)[2] >= 4)
  }

  @Test func `one whose state differs stops, is told of, and the others go on without it`() throws {
    var rig = talking()
    alter(1, of: rig)
    rig.run(milliseconds: 1_500)
    guard case .stateDiffers? = rig.status(1, 0)?.stop else {
      Issue.record("it goes on: \(String(describing: rig.status(1, 0)))")
      return
    }
    #expect(rig.status(0, 0)?.stop == nil)
    #expect(rig.status(2, 0)?.stop == nil)
    let asked = rig.command(send("after", to: room, by: ada), through: 0)
    let isOut = rig.run(upTo: 10_000) {
      $0.coordinator.records[first]?.record.inSync.count == 2
    }
    #expect(isOut)
    rig.run(milliseconds: 100)
    guard case .applied(.messageSent)? = rig.outcome(asked) else {
      Issue.record("not taken: \(String(describing: rig.outcome(asked)))")
      return
    }
    #expect(rig.coordinator.records[first]?.record.nextReplica == 4, "nobody asks for a fresh one")
  }

  @Test func `when the leader is the one that is wrong nobody follows it`() {
    var rig = talking()
    alter(0, of: rig)
    rig.run(milliseconds: 1_500)
    for store in 1...2 {
      guard case .stateDiffers? = rig.status(store, 0)?.stop else {
        Issue.record("store \(store + 1) goes on")
        return
      }
    }
    let asked = rig.command(send("after", to: room, by: ada), through: 0)
    rig.run(milliseconds: 1_000)
    if case .applied? = rig.outcome(asked) { Issue.record("it was acknowledged") }
    #expect(rig.coordinator.records[first]?.record.inSync.count == 3)
  }
}
