import ChatModel
import ClusterModel
import NodeProtocol
import Primitives
import WalkSupport

// Things with names. Where something lies on the ring is chosen by counting up until the hash fits.

func user(_ number: Int) -> UserID { UserID(UInt128(number) << 64 | 0xa11ce) }

func profile(_ number: Int) -> UserProfile {
  UserProfile(
    user: user(number), handle: handle("user\(number)"), displayName: "User \(number)")
}

func member(_ number: Int, _ role: MemberRole = .member) -> Member {
  Member(user: user(number), handle: handle("user\(number)"), role: role)
}

/// Where an entity lies when the ring was never split.
func home(of entity: EntityID, _ count: UInt32) -> PartitionID {
  PartitionScheme(rootCount: count).partition(of: entity.token, level: 0)
}

/// A conversation that lies in a partition; the same one for the same number.
func conversation(_ number: Int, in partition: PartitionID, of count: UInt32) -> ConversationID {
  var candidate = UInt128(number) << 64
  while true {
    let id = ConversationID(candidate)
    if home(of: .conversation(id), count) == partition { return id }
    candidate += 1
  }
}

/// A user whose own partition is this one; the same one for the same number.
func user(_ number: Int, in partition: PartitionID, of count: UInt32) -> UserID {
  var candidate = UInt128(number) << 64
  while true {
    let id = UserID(candidate)
    if home(of: .user(id), count) == partition { return id }
    candidate += 1
  }
}

func record(epoch: UInt64, leader: StoreID) -> PartitionRecord {
  let replica = ReplicaID(store: leader, number: 1)
  return PartitionRecord(
    epoch: Epoch(epoch), leader: replica, leaderBoot: BootID(leader.rawValue), inSync: [replica],
    target: [replica], nextReplica: 2, generation: 0)
}

func hello(_ store: StoreID, credits: UInt32) -> LinkHello {
  LinkHello(
    clusterID: 1, node: "shard\(store.rawValue)", role: .shard, store: store,
    boot: BootID(store.rawValue), requestCredits: credits)
}
