import ClusterModel
import Primitives
import ReplicaCore
import ShardCore
import WalkSupport

/// The coordinator: slow, away, with answers that are lost and changes that land late.
extension SimulatedCluster {
  private var delay: ClosedRange<Int> {
    plan.coordinatorDelay.lowerBound...(plan.coordinatorDelay.upperBound * coordinatorSlowness)
  }

  private func isReachable(by shard: Int) -> Bool {
    !isCoordinatorDown && !cutFromCoordinator.contains(shard)
  }

  /// A shell asks for a compare-and-set and gets an answer, or none in time. What it is told may
  /// come before the change is made.
  func ask(
    _ shard: SimulatedShard, _ partition: PartitionID, _ record: PartitionRecord, base: Revision
  ) {
    let number = shard.number
    let isLost = !isHealing && networkDice.chance(permille: 30)
    if !isReachable(by: number) || isLost {
      queue.schedule(
        .changeAnswered(number, life: shard.life, partition, base: base, .unknown),
        at: now + 400_000)
      // It may never arrive, or much later.
      guard networkDice.chance(permille: 500) else { return }
      return queue.schedule(
        .changeArrived(number, life: shard.life, partition, record, base: base, answers: false),
        at: now + UInt64(networkDice.between(1_000...2_000_000)))
    }
    queue.schedule(
      .changeArrived(number, life: shard.life, partition, record, base: base, answers: true),
      at: after(delay, &networkDice))
  }

  func happenAtCoordinator(_ event: Happening) {
    switch event {
    case .changeArrived(let number, let life, let partition, let record, let base, let answers):
      guard !isCoordinatorDown else {
        if answers {
          queue.schedule(
            .changeAnswered(number, life: life, partition, base: base, .unknown), at: now + 300_000)
        }
        return
      }
      let outcome = change(partition, record, base: base)
      if !answers, case .succeeded = outcome { rare.note(.lateChange) }
      guard answers else { return }
      queue.schedule(
        .changeAnswered(number, life: life, partition, base: base, outcome),
        at: after(delay, &networkDice))
    case .readArrived(let number, let life, let partition, let ticket):
      let isReachable = isReachable(by: number)
      let found = isReachable ? coordinator.records[partition] : nil
      queue.schedule(
        .readAnswered(number, life: life, partition, ticket: ticket, found),
        at: isReachable ? after(delay, &networkDice) : now + 400_000)
    case .makingArrived(let number, let life, let partition, let record, let whole, let base):
      guard !isCoordinatorDown else { return }
      make(partition, record, of: whole, base: base)
      guard shards[number].life == life, isReachable(by: number) else { return }
      announce(partition, to: .shard(number))
    case .retargeted(let partition, let record, let base):
      if case .succeeded = change(partition, record, base: base) { rare.note(.retarget) }
    default: preconditionFailure("not an event of the coordinator")
    }
  }

  /// A shell asks for the record of a half. Nobody waits for the answer.
  func make(
    _ partition: PartitionID, _ record: PartitionRecord, of whole: PartitionID, base: Revision,
    by shard: SimulatedShard
  ) {
    let isLost = !isHealing && networkDice.chance(permille: 100)
    let at =
      isLost || !isReachable(by: shard.number)
      ? now + UInt64(networkDice.between(1_000...4_000_000)) : after(delay, &networkDice)
    queue.schedule(
      .makingArrived(
        shard.number, life: shard.life, partition, record, of: whole, base: base), at: at)
  }

  private func make(
    _ partition: PartitionID, _ record: PartitionRecord, of whole: PartitionID, base: Revision
  ) {
    fold(31, Int(partition.rawValue), Int(base.rawValue))
    tell("the record of \(partition) is asked for on \(base)")
    guard coordinator.make(partition, record, of: whole, base: base) else { return }
    rare.note(.halfBegun)
    if record.inSync.count < record.target.count { rare.note(.halfBegunWithoutAll) }
    tell("record \(partition) of \(whole): \(record)")
    checker.began(partition, record, in: self)
    for shard in shards where !cutFromCoordinator.contains(shard.number) {
      announce(partition, to: .shard(shard.number))
    }
    for gateway in gateways { announce(partition, to: .gateway(gateway.number)) }
  }

  /// A watch tells a shard the ring, which says nothing before it was split.
  func announceRing(to shard: SimulatedShard) {
    guard ring.record.wantedLevel > 0, !cutFromCoordinator.contains(shard.number) else { return }
    queue.schedule(
      .ringSeen(shard.number, life: shard.life, ring.record), at: after(delay, &networkDice))
  }

  private func change(
    _ partition: PartitionID, _ record: PartitionRecord, base: Revision
  ) -> ChangeOutcome {
    let before = coordinator.records[partition]?.record
    let outcome = coordinator.compareAndSet(partition, record, base: base)
    fold(30, Int(partition.rawValue), Int(base.rawValue))
    if case .conflicted(let current) = outcome, record.inSync.count < current.record.inSync.count,
      record.epoch < current.record.epoch
    {
      rare.note(.promotionDuringShrink)
    }
    guard case .succeeded = outcome, let before else { return outcome }
    note(record, after: before)
    tell("record \(partition): \(record)")
    // Of a replica that has caught up, nothing is to be excused any more.
    _ = checker.isWhole(partition, before, in: self)
    checker.changed(partition, record, after: before, in: self)
    for shard in shards where !cutFromCoordinator.contains(shard.number) {
      announce(partition, to: .shard(shard.number))
    }
    for gateway in gateways { announce(partition, to: .gateway(gateway.number)) }
    return outcome
  }

  private func note(_ record: PartitionRecord, after before: PartitionRecord) {
    if record.epoch > before.epoch {
      rare.note(.promotion)
      if record.leader.store == before.leader.store { rare.note(.returnOfLeader) }
    }
    if record.epoch == before.epoch, record.inSync.count < before.inSync.count {
      rare.note(.shrinking)
    }
    if record.inSync.count > before.inSync.count { rare.note(.expansion) }
  }

  /// A watch tells a process the record as it is when the telling arrives, or later.
  func announce(_ partition: PartitionID, to node: Node) {
    guard let record = coordinator.records[partition] else { return }
    let life: Int
    var isLate = false
    switch node {
    case .shard(let number):
      life = shards[number].life
      isLate = lateWatchers.contains(number)
    case .gateway(let number):
      life = gateways[number].life
      isLate = lateWatchers.contains(100 + number)
    }
    let at =
      isLate
      ? now + UInt64(networkDice.between(500_000...5_000_000)) : after(delay, &networkDice)
    queue.schedule(.recordSeen(node, life: life, partition, record), at: at)
  }

  /// After an outage or a cut everybody lists anew.
  func announceAll(to node: Node) {
    for partition in coordinator.records.keys { announce(partition, to: node) }
    if case .shard(let number) = node { announceRing(to: shards[number]) }
  }
}
