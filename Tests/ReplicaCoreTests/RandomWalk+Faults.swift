import ClusterModel
import NodeProtocol
import Primitives
import ReplicaCore
import WalkSupport

extension RandomWalk {
  // MARK: Processes

  /// A new process on a store, with what its disk holds.
  mutating func start(_ store: Int) {
    guard !stores[store].isUp else { return }
    let boot = BootID(dice.number() | 1)
    stores[store].isUp = true
    stores[store].isPaused = false
    stores[store].boot = boot
    note("\(store) starts as \(boot)")
    if stores[store].disk != nil { makeReplica(store) }
    let late = phase == .faulting && dice.chance(permille: 200) ? 200_000 : 5_000
    schedule(.recordAsked(store: store, boot: boot), in: 0...late)
    if phase == .faulting, dice.chance(permille: 300), let old = coordinator.earlier.last {
      // A watch that begins where the process before had been.
      schedule(.recordSeen(store: store, old), in: 0...1_000)
    }
    for other in stores.indices where other != store {
      reconnect(store, other)
      if phase == .faulting, dice.chance(permille: 100) {
        schedule(.restartAnnounced(store: other, of: store, boot: boot), in: 0...200_000)
      }
    }
    letDetectorsNotice()
  }

  mutating func makeReplica(_ store: Int) {
    guard let disk = stores[store].disk else { return }
    if disk.applied > .zero { events.count(.recoveredCheckpoint) }
    stores[store].life += 1
    stores[store].replica = ReplicaBox(
      partition: partition, boot: stores[store].boot, recovered: disk.recovered,
      configuration: plan.configuration, seed: dice.number())
  }

  mutating func crash(_ store: Int, damaging: Bool = false) throws {
    guard stores[store].isUp else { return }
    if var disk = stores[store].disk {
      let kept = dice.between(0...disk.pendingCount)
      if kept < disk.pendingCount { events.count(.lostWrites) }
      try disk.crash(keeping: kept)
      let isChanging = coordinator.changes.contains { $0.isOnItsWay && $0.store == store }
      if damaging, !isChanging, quorumIsIntact(without: store),
        coordinator.current.record.inSync.contains(disk.id)
      {
        isDamageDone = true
        note("the disk of \(store) is damaged")
        stores[store].damagedThrough = disk.last.index
        disk.damage(losing: dice.between(1...4), forgettingPromise: dice.chance(permille: 500))
        stores[store].damaged = disk.id
      }
      stores[store].disk = disk
    }
    refreshDamage(store)
    note("\(store) crashes with \(stores[store].disk?.last.description ?? "nothing")")
    stores[store].isUp = false
    stores[store].isPaused = false
    stores[store].deferred.removeAll()
    endLife(of: store)
    for other in stores.indices where other != store { resetLink(store, other) }
    let late = dice.chance(permille: 200) ? 1_500_000 : 200_000
    schedule(.restarted(store: store), in: 1_000...late)
    letDetectorsNotice()
  }

  /// Entries that were lost and are back are no damage any more.
  mutating func refreshDamage(_ store: Int) {
    guard stores[store].damaged != nil, let disk = stores[store].disk else { return }
    let last = knowledge.committed.last
    guard disk.last.index >= stores[store].damagedThrough else { return }
    if last == nil || disk.entry(at: UInt64(knowledge.committed.count)) == last {
      stores[store].damaged = nil
    }
  }

  mutating func resume(_ store: Int) throws {
    guard stores[store].isUp, stores[store].isPaused else { return }
    note("\(store) goes on")
    stores[store].isPaused = false
    let deferred = stores[store].deferred
    stores[store].deferred = []
    let knows = dice.chance(permille: 500)
    if knows { try input(store) { $0.resumedAfterPause(now: $1, into: &$2) } }
    for happening in deferred { try happen(happening) }
    letDetectorsNotice()
  }

  // MARK: Faults

  mutating func breakSomething() throws {
    guard phase == .faulting else { return }
    schedule(.faulted, in: 1_000...plan.faultEveryMicrosecondsMax)
    let store = dice.below(stores.count)
    let other = (store + 1 + dice.below(stores.count - 1)) % stores.count
    switch dice.pick(plan.faults) {
    case .crash: try crash(target(store))
    case .damage: if !isDamageDone { try crash(store, damaging: true) }
    case .pause: pause(target(store))
    case .cutOneWay:
      note("cut \(store) → \(other)")
      cut(from: store, to: other)
    case .isolate:
      note("isolate \(store)")
      for other in stores.indices where other != store {
        cut(from: store, to: other)
        cut(from: other, to: store)
      }
    case .resetLink: resetLink(store, other)
    case .suspectWrongly: try suspect(store)
    case .stallWatch:
      stores[store].watchStallsUntil = after(dice.between(20_000...600_000))
    case .coordinatorOutage:
      guard coordinator.isAvailable else { return }
      coordinator.isAvailable = false
      note("the coordinator is away")
      schedule(.coordinatorHealed, in: 10_000...400_000)
    case .retarget: if coordinator.isAvailable, retargetCount < 4 { try retarget() }
    case .forbidLeading:
      try input(store) {
        $0.reachabilityChanged(unreachable: [], mayLead: false, now: $1, into: &$2)
      }
      schedule(.mayLead(store: store), in: 10_000...300_000)
    case .failStorage: break
    }
    letDetectorsNotice()
  }

  /// Faults like leaders.
  private mutating func target(_ store: Int) -> Int {
    guard dice.chance(permille: 400) else { return store }
    return Self.position(of: coordinator.current.record.leader.store)
  }

  private mutating func pause(_ store: Int) {
    guard stores[store].isUp, !stores[store].isPaused else { return }
    note("\(store) pauses")
    stores[store].isPaused = true
    schedule(.resumed(store: store), in: 5_000...500_000)
  }

  private mutating func cut(from: Int, to: Int) {
    network.cut(from: from, to: to)
    schedule(.healed(from: from, to: to), in: 10_000...500_000)
  }

  private mutating func suspect(_ store: Int) throws {
    guard stores[store].damaged == nil else { return }
    let suspects = stores.indices.filter { $0 != store && dice.chance(permille: 400) }
    note("\(store) suspects \(suspects)")
    let unreachable = suspects.map { stores[$0].id }
    try input(store) {
      $0.reachabilityChanged(unreachable: unreachable, mayLead: true, now: $1, into: &$2)
    }
  }
}
