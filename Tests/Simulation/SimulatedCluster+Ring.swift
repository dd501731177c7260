import ClusterModel
import Primitives
import RingControl
import WalkSupport

/// The ring as the coordinator has it, and who controls it.
struct SimulatedRing {
  var record: RingRecord
  var revision: Int64 = 1
  /// The controller's key: whose, and when its lease was renewed last. Microseconds.
  var key: (shard: Int, life: Int, revision: Int64, renewedAt: UInt64)?
  var lastKey: Int64 = 0

  init(_ shards: [SimulatedShard]) {
    record = RingRecord(
      members: shards.map {
        RingMember(
          store: $0.id, name: "shard\($0.number + 1)", weight: 1, zone: "")
      }, movesMax: 2)
  }
}

/// A process that thinks that it holds the key.
struct SimulatedRole {
  var controller: RingController
  let life: Int
  let key: Int64
}

/// The controller: a role that moves from process to process, with leases that end too early and
/// holders that do not know it.
extension SimulatedCluster {
  /// How long a lease lives after its holder was heard last. Microseconds.
  private static let leaseLife: UInt64 = 3_000_000
  private static let tick: UInt64 = 100_000

  // MARK: What operators do

  /// Asks for a change of the ring, or turns one back that is under way.
  func changeRing(_ dice: inout Dice) {
    if let turned = ring.record.turnedBack() {
      rare.note(.ringTurnedBack)
      return write(turned)
    }
    // Whoever plans with a store that is gone would go back to it: that one is replaced first.
    let present = shards.map(\.id)
    guard
      coordinator.records.keys.allSatisfy({ partition in
        coordinator.records[partition]?.record.target.allSatisfy { present.contains($0.store) }
          ?? false
      })
    else { return }
    let member = dice.pick(ring.record.members)
    let edit: RingEdit =
      switch dice.below(4) {
      case 0: .drain(member.name)
      case 1: .remove(member.name)
      default:
        .add(
          "shard\(dice.below(shards.count) + 1)", weight: UInt32(dice.between(1...3)), zone: nil)
      }
    let targets = coordinator.records.keys.compactMap {
      coordinator.records[$0]?.record.target.map(\.store)
    }
    do throws(RingEditError) {
      let plan = try RingPlan(
        edit, of: ring.record, scheme: scheme, targets: targets, replicaCount: plan.replicaCount,
        minInSync: plan.minInSync, registered: shards.map { registered($0) },
        now: WallTime(milliseconds: now / 1_000))
      tell("\(edit) moves \(plan.moves.count) partitions")
      write(plan.record)
    } catch {
      tell("\(edit) is refused: \(error)")
    }
  }

  /// Asks for every partition to be cut in two, again and again while something else is under way.
  func splitRing() {
    guard ring.record.change == nil else {
      return queue.schedule(.split, at: now + 500_000)
    }
    guard ring.record.level < plan.splits.count else { return }
    var record = ring.record
    record.changeCount += 1
    record.change = RingChange(
      number: record.changeCount, kind: .split, subject: "", startedAt: .zero,
      formerMembers: record.members, moves: [])
    tell("the ring is split to level \(record.wantedLevel)")
    write(record)
  }

  /// Whether somebody else has what was cut off, or is yet to cut it.
  func isHeld(_ half: PartitionID, without shard: SimulatedShard) -> Bool {
    guard let whole = scheme.origin(of: half), let record = coordinator.records[whole]?.record
    else {
      return false
    }
    let index = LogIndex(UInt64(checker.committed[Int(half.rawValue)].count))
    return shards.contains { other in
      guard other !== shard else { return false }
      let isHere = other.disk.replicas(of: half).contains {
        if case .inState = other.disk.trace(at: index, of: half, $0) { true } else { false }
      }
      if isHere { return true }
      guard let member = record.replica(on: other.id),
        case .entry = other.disk.trace(at: index, of: whole, member)
      else { return false }
      return other.disk.appliedIndex(of: whole) < index
    }
  }

  private func registered(_ shard: SimulatedShard) -> NodeRecord {
    NodeRecord(
      name: "shard\(shard.number + 1)", role: .shard, store: shard.id, boot: BootID(1),
      laneAddresses: [], operatorAddress: nil, publicURLs: [], zone: "", weight: 1,
      protocolVersion: 1)
  }

  func write(_ record: RingRecord) {
    let isIdle = ring.record.change == nil
    ring.record = record
    ring.revision += 1
    fold(70, Int(ring.revision), record.change?.moves.count ?? 0)
    for shard in shards { announceRing(to: shard) }
    guard isIdle, record.change != nil else { return }
    queue.schedule(.controllerTick, at: now + Self.tick)
  }

  /// The lease ends although its holder lives and does not notice.
  func endLease() {
    guard ring.key != nil else { return }
    rare.note(.leaseEndedEarly)
    ring.key = nil
  }

  /// The controller wants every partition on stores that exist. What an earlier one asked for may
  /// still come after that, so it looks again.
  func restoreTargets() {
    for partition in coordinator.records.keys {
      guard let known = coordinator.records[partition] else { continue }
      var stores = known.record.target.map(\.store)
      let present = shards.map(\.id)
      for place in stores.indices where !present.contains(stores[place]) {
        guard let store = present.first(where: { !stores.contains($0) }) else { continue }
        stores[place] = store
      }
      let record = known.record.retargeted(to: stores)
      if record != known.record {
        happenAtCoordinator(.retargeted(partition, record, base: known.revision))
      }
    }
  }

  // MARK: What controllers do

  func controllerTick() {
    guard ring.record.change != nil else { return forgetRoles() }
    queue.schedule(.controllerTick, at: now + Self.tick)
    renewLease()
    for shard in shards where shard.isRunning && !shard.isPaused {
      guard !isCoordinatorDown, !cutFromCoordinator.contains(shard.number) else { continue }
      if shard.role?.life != shard.life { shard.role = nil }
      guard shard.role != nil else {
        if ring.key == nil { takeKey(shard) }
        continue
      }
      step(shard)
    }
  }

  private func forgetRoles() {
    ring.key = nil
    for shard in shards { shard.role = nil }
  }

  private func renewLease() {
    guard let key = ring.key else { return }
    let holder = shards[key.shard]
    if holder.isRunning, holder.life == key.life, !holder.isPaused, !isCoordinatorDown,
      !cutFromCoordinator.contains(key.shard)
    {
      ring.key?.renewedAt = now
    } else if now > key.renewedAt + Self.leaseLife {
      ring.key = nil
    }
  }

  private func takeKey(_ shard: SimulatedShard) {
    guard lifeDice.chance(permille: 300) else { return }
    ring.lastKey += 1
    ring.key = (shard.number, shard.life, ring.lastKey, now)
    shard.role = SimulatedRole(
      controller: RingController(scheme), life: shard.life, key: ring.lastKey)
    fold(71, shard.number, Int(ring.lastKey))
    look(shard)
  }

  private func look(_ shard: SimulatedShard) {
    shard.role?.controller.registeredStores(Set(shards.filter(\.isRunning).map(\.id)))
    shard.role?.controller.ringObserved(ring.record, revision: Revision(ring.revision))
    for partition in coordinator.records.keys {
      guard let record = coordinator.records[partition] else { continue }
      shard.role?.controller.recordObserved(partition, record)
    }
  }

  private func step(_ shard: SimulatedShard) {
    guard let key = shard.role?.key else { return }
    // Whose watch is late acts on what it saw before.
    if !lateWatchers.contains(shard.number) { look(shard) }
    let instant = instant(drift: shard.ownDrift)
    for action in shard.role?.controller.step(now: instant) ?? [] {
      // It may arrive when somebody else has the key.
      let delay =
        networkDice.chance(permille: 50)
        ? networkDice.between(100_000...4_000_000) : networkDice.between(500...3_000)
      queue.schedule(.controlled(action, shard: shard.number, key: key), at: now + UInt64(delay))
    }
  }

  func controlled(_ action: RingControlAction, shard: Int, key: Int64) {
    guard !isCoordinatorDown else { return }
    guard ring.key?.revision == key else {
      rare.note(.formerController)
      if shards[shard].role?.key == key { shards[shard].role = nil }
      return
    }
    switch action {
    case .retarget(let partition, let record, let base, let wantedIn):
      guard wantedIn == Revision(ring.revision) else { return }
      happenAtCoordinator(.retargeted(partition, record, base: base))
      shards[shard].role?.controller.failed(partition)
    case .finish(let record, let base):
      guard base == Revision(ring.revision) else { return }
      rare.note(ring.record.change?.kind == .split ? .ringSplit : .ringChanged)
      write(record)
    }
  }
}
