package import ClusterModel
import HashRing
package import Primitives

/// What an operator wants of the ring.
package enum RingEdit: Equatable, Sendable {
  /// A registered shard becomes a member, or a drained one holds replicas again, or a member gets
  /// another weight or zone. `nil`: as the node says itself, or as it was.
  case add(String, weight: UInt32?, zone: String?)
  /// A member hands everything over and stays known.
  case drain(String)
  /// A member hands everything over, if it still can, and is forgotten.
  case remove(String)
  /// Every partition is cut in two; so many there are to be then.
  case split(to: Int? = nil)

  package var subject: String {
    switch self {
    case .add(let name, _, _), .drain(let name), .remove(let name): name
    case .split: "every partition"
    }
  }
}

/// Why a change of the ring is refused, and the way out.
package enum RingEditError: Error, Equatable, Sendable {
  /// `change` has to be finished or turned back first.
  case changeUnderWay(kind: RingChange.Kind, subject: String)
  case unknownNode(String, known: [String])
  case notRegistered(String)
  /// A node of the name runs, with another store.
  case otherDisk(String)
  case nothingToDo(String)
  case weightOutOfRange(UInt32)
  case tooManyMembers(Int)
  /// With fewer members than `minInSync` nothing could be acknowledged.
  case tooFewMembers(left: Int, minInSync: Int)
  /// Fewer members than a partition should have replicas.
  case fewerThanReplicas(left: Int, replicas: Int)
  case tooManyPartitions(Int)
  /// A split doubles them.
  case otherPartitionCount(Int, allowed: Int)
}

/// What a change of the ring would do. A pure function of what is known; it changes nothing.
package struct RingPlan: Equatable, Sendable {
  /// How evenly something is spread.
  package struct Balance: Equatable, Sendable {
    /// Of the fullest member, relative to what its weight asks for. In thousandths.
    package var maxPermille: Int
    /// **Shape**: by member in the order of stores, with the number of replicas and of partitions
    /// that it should lead.
    package var loads: [(store: StoreID, replicas: Int, leads: Int)]

    package static func == (left: Balance, right: Balance) -> Bool {
      left.maxPermille == right.maxPermille
        && left.loads.elementsEqual(right.loads) { $0 == $1 }
    }
  }

  /// The ring with the change in it, ready to be written.
  package let record: RingRecord
  package let edit: RingEdit
  /// Replicas that have to be learned.
  package let replicaMoves: Int
  /// The fewest that any placement needs: what the new member should hold, or the old one held.
  package let idealMoves: Int
  /// Partitions whose leader should be another one.
  package let leaderChanges: Int
  package let before: Balance
  package let after: Balance

  package var moves: [RingMove] { record.change?.moves ?? [] }

  /// - Parameter ring: as it is.
  /// - Parameter scheme: how it is cut into partitions.
  /// - Parameter targets: by partition number, the stores of the record's target in their order.
  /// - Parameter registered: the shards that run.
  /// **Throws**: `RingEditError`.
  package init(
    _ edit: RingEdit, of ring: RingRecord, scheme: PartitionScheme, targets: [[StoreID]],
    replicaCount: Int, minInSync: Int, registered: [NodeRecord], now: WallTime
  ) throws(RingEditError) {
    if let change = ring.change {
      throw .changeUnderWay(kind: change.kind, subject: change.subject)
    }
    self.edit = edit
    let (members, kind) = try Self.members(edit, of: ring, registered: registered)
    let active = members.filter { !$0.isDrained }
    guard active.count <= RingRecord.membersMax else { throw .tooManyMembers(active.count) }
    guard active.count >= minInSync else {
      throw .tooFewMembers(left: active.count, minInSync: minInSync)
    }
    switch edit {
    case .add: break
    case .drain, .remove:
      guard active.count >= replicaCount else {
        throw .fewerThanReplicas(left: active.count, replicas: replicaCount)
      }
    case .split(let wanted):
      let count = scheme.count(level: ring.level + 1)
      if let wanted, wanted == scheme.count(level: ring.level) {
        throw .nothingToDo("there are \(wanted) partitions already")
      }
      if let wanted, wanted != count { throw .otherPartitionCount(wanted, allowed: count) }
      guard count <= Int(ClusterRecord.partitionCountRange.upperBound) else {
        throw .tooManyPartitions(count)
      }
    }
    let goal =
      kind == .split
      ? targets
      : Self.placement(
        active, scheme.inOrder(level: ring.level), targets: targets, replicaCount: replicaCount)
    let moves = targets.indices.compactMap { number -> RingMove? in
      guard targets[number] != goal[number] else { return nil }
      return RingMove(
        partition: PartitionID(UInt32(number)), before: targets[number], after: goal[number])
    }
    var record = ring
    record.members = members.sorted { $0.store < $1.store }
    record.changeCount += 1
    record.change = RingChange(
      number: record.changeCount, kind: kind, subject: edit.subject, startedAt: now,
      formerMembers: ring.members, moves: moves)
    self.record = record
    replicaMoves = moves.reduce(0) { $0 + $1.newcomers.count }
    leaderChanges = moves.count { $0.before.first != $0.after.first }
    before = Self.balance(of: targets, on: ring.active)
    after = Self.balance(of: goal, on: active)
    idealMoves = Self.ideal(edit, ring, members, before, after)
  }

  // MARK: Members

  private static func members(
    _ edit: RingEdit, of ring: RingRecord, registered: [NodeRecord]
  ) throws(RingEditError) -> ([RingMember], RingChange.Kind) {
    var members = ring.members
    let known = ring.member(named: edit.subject)
    let place = members.firstIndex { $0.store == known?.store }
    switch edit {
    case .add(let name, let weight, let zone):
      if let weight, !(1...Ring.weightMax).contains(weight) { throw .weightOutOfRange(weight) }
      guard let place else {
        guard let node = registered.first(where: { $0.name == name }), let store = node.store
        else {
          throw .unknownNode(name, known: Self.names(ring, registered))
        }
        members.append(
          RingMember(
            store: store, name: name, weight: weight ?? node.weight, zone: zone ?? node.zone))
        return (members, .add)
      }
      let old = members[place]
      guard registered.contains(where: { $0.store == old.store }) else {
        throw registered.contains { $0.name == old.name } ? .otherDisk(name) : .notRegistered(name)
      }
      members[place].isDrained = false
      members[place].weight = weight ?? old.weight
      members[place].zone = zone ?? old.zone
      guard members[place] != old else { throw .nothingToDo("\(name) is in the ring already") }
      return (members, old.isDrained ? .add : .rebalance)
    case .drain(let name):
      guard let place else { throw .unknownNode(name, known: ring.members.map(\.name)) }
      guard !members[place].isDrained else { throw .nothingToDo("\(name) is drained already") }
      members[place].isDrained = true
      return (members, .drain)
    case .remove(let name):
      guard let place else { throw .unknownNode(name, known: ring.members.map(\.name)) }
      members.remove(at: place)
      return (members, .remove)
    case .split: return (members, .split)
    }
  }

  private static func names(_ ring: RingRecord, _ registered: [NodeRecord]) -> [String] {
    let others = registered.filter { $0.role == .shard }.map(\.name)
    return Set(others + ring.members.map(\.name)).sorted()
  }

  // MARK: Placement

  /// Where the members that may have partitions sit on the circle; none when they make no ring.
  package static func tokens(of members: [RingMember]) -> [StoreID: [UInt64]] {
    let active = members.filter { !$0.isDrained }
    guard let ring = try? Ring(nodes: nodes(of: active)) else { return [:] }
    return Dictionary(uniqueKeysWithValues: active.map { ($0.store, ring.tokens(of: $0.store)) })
  }

  private static func nodes(of members: [RingMember]) -> [RingNode] {
    members.map { RingNode(store: $0.store, name: $0.name, weight: $0.weight, zone: $0.zone) }
  }

  /// - Parameter order: the partitions as they follow each other on the circle.
  private static func placement(
    _ active: [RingMember], _ order: [PartitionID], targets: [[StoreID]], replicaCount: Int
  ) -> [[StoreID]] {
    do throws(RingError) {
      let placement = try Ring(nodes: nodes(of: active)).placement(
        partitions: UInt32(targets.count), replicas: replicaCount,
        previous: order.map { ReplicaSet(targets[Int($0.rawValue)]) })
      var goal = targets
      for (partition, set) in zip(order, placement) { goal[Int(partition.rawValue)] = set.stores }
      return goal
    } catch {
      preconditionFailure("members that were checked make no ring: \(error)")
    }
  }

  private static func balance(of sets: [[StoreID]], on members: [RingMember]) -> Balance {
    var replicas: [StoreID: Int] = [:]
    var leads: [StoreID: Int] = [:]
    for set in sets {
      for store in set { replicas[store, default: 0] += 1 }
      if let first = set.first { leads[first, default: 0] += 1 }
    }
    let weights = members.reduce(0) { $0 + Int($1.weight) }
    let all = sets.reduce(0) { $0 + $1.count }
    let fullest = members.map { member in
      let share = all * Int(member.weight)
      return share == 0 ? 0 : (replicas[member.store] ?? 0) * weights * 1_000 / share
    }
    return Balance(
      maxPermille: fullest.max() ?? 0,
      loads: members.map { ($0.store, replicas[$0.store] ?? 0, leads[$0.store] ?? 0) })
  }

  private static func ideal(
    _ edit: RingEdit, _ ring: RingRecord, _ members: [RingMember], _ before: Balance,
    _ after: Balance
  ) -> Int {
    let member = members.first { $0.name == edit.subject } ?? ring.member(named: edit.subject)
    let store = member?.store
    let old = before.loads.first { $0.store == store }?.replicas ?? 0
    let new = after.loads.first { $0.store == store }?.replicas ?? 0
    return abs(new - old)
  }
}
