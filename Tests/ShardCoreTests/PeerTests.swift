import ChatModel
import ClusterModel
import NodeProtocol
import Primitives
import ReplicaCore
import Simulation
import Testing
import WalkSupport

@testable import ShardCore

/// Peers that were never heard, that hear nothing, that cannot write; replicas that are replaced;
/// the order of what is sent back.
@Suite struct PeerTests {
  private let ring = Ring(count: 2)
  private var room: ConversationID { ring.conversation(1, in: 0) }
  private var ada: UserID { ring.user(1, in: 0) }
  private let first = PartitionID(0)

  private func rig(stores: Int) -> ShardRig {
    var rig = ShardRig(stores: stores)
    rig.run(milliseconds: 500)
    for store in 0..<stores { _ = rig.openGateway(to: store) }
    rig.run(milliseconds: 10)
    return rig
  }

  @Test func `a leader that nobody has ever heard of is replaced`() {
    var rig = rig(stores: 3)
    for store in 0..<3 { rig.kill(store) }
    rig.run(milliseconds: 100)
    // The first store, which led, does not come back, and is registered no more.
    for store in 1..<3 { rig.start(store) }
    let isReplaced = rig.run(upTo: 6_000) { ($0.leader(of: 0) ?? 0) != 0 }
    #expect(isReplaced)
  }

  @Test func `a leader that hears nobody is replaced and takes nothing`() {
    var rig = rig(stores: 3)
    #expect(rig.leader(of: 0) == 0)
    rig.cut = [[1, 0], [2, 0]]
    let isReplaced = rig.run(upTo: 5_000) { ($0.leader(of: 0) ?? 0) != 0 }
    #expect(isReplaced, "its own heartbeats still arrive")
    rig.run(milliseconds: 3_000)
    #expect(rig.leader(of: 1) == 1, "it has not taken what others lead")
  }

  @Test func `a leader whose store stalls is replaced, and follows when it writes again`() {
    var rig = rig(stores: 3)
    rig.input(0) { $0.storageChanged(isStalled: true, isFull: false, now: $1, into: &$2) }
    let isReplaced = rig.run(upTo: 2_000) { ($0.leader(of: 0) ?? 0) != 0 }
    #expect(isReplaced)
    rig.input(0) { $0.storageChanged(isStalled: false, isFull: false, now: $1, into: &$2) }
    rig.run(milliseconds: 3_000)
    #expect(rig.coordinator.records[first]?.record.inSync.count == 3)
  }

  @Test func `a store that is full takes no commands and no entries`() {
    var rig = rig(stores: 2)
    rig.command(group(room, creator: ada, members: []), through: 0)
    rig.run(milliseconds: 100)
    rig.input(0) { $0.storageChanged(isStalled: false, isFull: true, now: $1, into: &$2) }
    let refused = rig.command(send("m", to: room, by: ada), through: 0)
    rig.run(milliseconds: 100)
    guard case .failed(let error)? = rig.outcome(refused) else {
      Issue.record("it was taken: \(String(describing: rig.outcome(refused)))")
      return
    }
    #expect(error.code == .resourceExhausted && error.retryable)
  }

  @Test func `a leader that cannot read its state gives itself up, and a fresh replica follows`() {
    var rig = rig(stores: 3)
    rig.command(group(room, creator: ada, members: []), through: 0)
    for number in 1...5 { rig.command(send("m\(number)", to: room, by: ada), through: 0) }
    rig.run(milliseconds: 500)
    let damaged = ReplicaID(store: store(1), number: 1)
    rig.stores[0].disk.flip(first, inLog: false)
    // Reading it again is what finds it.
    rig.restart(0)
    let isRebuilt = rig.run(upTo: 8_000) { rig in
      guard let record = rig.coordinator.records[first]?.record else { return false }
      return !record.hasMember(damaged) && record.inSync.count == 3
        && record.target.allSatisfy { record.inSync.contains($0) }
    }
    #expect(isRebuilt, "\(String(describing: rig.coordinator.records[first]?.record))")
    #expect(rig.status(0, 0)?.stop == nil)
    rig.run(milliseconds: 500)
    #expect(rig.status(0, 0)?.appliedIndex == rig.status(1, 0)?.appliedIndex)
    // What was left of it is deleted when nobody lists it.
    #expect(!rig.stores[0].disk.replicas(of: first).contains(damaged))
  }

  @Test func `what is sent behind a command that is sent back does not overtake it`() {
    var rig = rig(stores: 3)
    rig.command(group(room, creator: ada, members: []), through: 0)
    rig.run(milliseconds: 100)
    let (store, link) = rig.link(ofGateway: 0)
    var outcomes: [UInt64: Response.Outcome] = [:]
    func request(_ id: UInt64, _ text: String) {
      let command = send(text, to: room, by: ada)
      var actions: [ShardAction] = []
      let now = rig.instant
      let wall = rig.wall(store)
      rig.stores[store].core?.frameReceived(
        .request(Request(id: id, partition: first, operation: .command(command.encoded()))),
        on: link, now: now, wall: wall, into: &actions)
      for case .send(link, .response(let response)) in actions {
        outcomes[response.id] = response.outcome
      }
    }
    func isSentBack(_ id: UInt64) -> Bool {
      if case .failed(let error)? = outcomes[id] { error.code == .unavailable } else { false }
    }
    rig.stores[store].core?.isDraining = true
    request(1_001, "one")
    #expect(isSentBack(1_001))
    rig.stores[store].core?.isDraining = false
    request(1_002, "two")
    #expect(isSentBack(1_002), "it was on its way when the first was sent back")
    request(1_001, "one")
    request(1_002, "two")
    request(1_003, "three")
    #expect(outcomes[1_003] == nil, "they wait for their entry")
  }
}
