import ChatModel
import ClusterModel
import NodeProtocol
import Primitives
import ReplicaCore
import Simulation
import Testing
import WalkSupport

@testable import ShardCore

/// Three stores hold the only partition; Ada has conversations in both halves of it.
struct SplitScene {
  static let scheme = PartitionScheme(rootCount: 1)
  static let half = PartitionID(1)

  var rig: ShardRig
  let gateway: Int
  let ada: UserID
  let lower: [ConversationID]
  let upper: [ConversationID]

  init(stores: Int = 3, configure: @escaping (inout ShardConfiguration) -> Void = { _ in }) {
    rig = ShardRig(stores: stores, partitions: 1, configure: configure)
    gateway = rig.openGateway(to: 0)
    ada = rig.ring.user(1, in: 0)
    let ring = rig.ring
    let rooms = (1...8).map { ring.conversation($0, in: 0) }
    let ofUpper = rooms.filter {
      Self.scheme.partition(of: EntityID.conversation($0).token, level: 1) == Self.half
    }
    upper = ofUpper
    lower = rooms.filter { !ofUpper.contains($0) }
    precondition(lower.count > 1 && upper.count > 1, "the names are all in one half")
    rig.run(milliseconds: 300)
    for room in rooms {
      rig.command(group(room, creator: ada, members: []), through: gateway)
    }
    rig.run(milliseconds: 100)
    for room in rooms { say("before", in: room) }
    rig.run(milliseconds: 200)
  }

  @discardableResult
  mutating func say(
    _ text: String, in room: ConversationID, to partition: PartitionID = PartitionID(0),
    through gateway: Int? = nil
  ) -> UInt64 {
    rig.request(
      .command(send(text, to: room, by: ada).encoded()), in: partition,
      through: gateway ?? self.gateway)
  }

  /// The ring wants every partition to be cut once.
  mutating func split(level: UInt32 = 0) {
    let ring = RingRecord(
      members: [],
      change: RingChange(
        number: 1, kind: .split, subject: "", startedAt: .zero, formerMembers: [], moves: []),
      level: level)
    for store in rig.stores.indices {
      rig.input(store) { core, _, _ in core.ringObserved(ring) }
    }
  }

  func sequence(_ request: UInt64) -> UInt64? {
    guard case .applied(.messageSent(let sequence, _, _))? = rig.outcome(request) else {
      return nil
    }
    return sequence.rawValue
  }

  func isElsewhere(_ request: UInt64) -> Bool {
    rig.responses[request] == [.isElsewhere]
  }

  var record: PartitionRecord? { rig.coordinator.records[Self.half]?.record }

  func host(_ store: Int, _ partition: PartitionID) -> PartitionHost? {
    rig.stores[store].hosts.first { $0.partition == partition }
  }

  mutating func begins(
    within milliseconds: Int = 1_000,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let leads = rig.run(upTo: milliseconds) { $0.leader(of: 1) != nil }
    #expect(leads, "nobody leads the half", sourceLocation: sourceLocation)
  }
}
