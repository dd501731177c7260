import ChatModel
import ClusterModel
import GatewayCore
import NodeProtocol
import Primitives
import ReplicaCore
import RingControl
import ShardCore
import WalkSupport

/// What breaks, and how it is mended.
extension SimulatedCluster {
  func strike(_ fault: PlannedFault) {
    guard !isHealing else { return }
    var dice = Dice(seed: fault.salt)
    let end = now + fault.duration
    switch fault.kind.family {
    case .processes: strikeProcess(fault.kind, end, &dice)
    case .network: strikeNetwork(fault.kind, end, &dice)
    case .disks: strikeDisk(fault.kind, end, &dice)
    case .coordinator, .membership, .clocks: strikeMembership(fault.kind, end, &dice)
    }
  }

  /// Whether a store has gone for good and not everything that it held is somewhere else. Another
  /// process that starts now has nobody to compare with and waits for an operator: that a store is
  /// lost and another crashes at once is not promised to pass by itself.
  var isStoreMissing: Bool {
    if plan.isSafetyOnly { return false }
    let present = shards.map(\.id)
    return coordinator.records.keys.contains { partition in
      coordinator.records[partition]?.record.inSync.contains { !present.contains($0.store) }
        ?? false
    }
  }

  private func strikeProcess(_ kind: FaultKind, _ end: UInt64, _ dice: inout Dice) {
    let shard = shards[dice.below(shards.count)]
    let gateway = gateways[dice.below(gateways.count)]
    switch kind {
    case .crash:
      guard shard.isRunning, !isStoreMissing else { return }
      kill(shard)
      queue.schedule(.faultEnded(.restart(.shard(shard.number))), at: end)
    case .crashAll:
      guard !isStoreMissing else { return }
      for shard in shards where shard.isRunning {
        kill(shard)
        queue.schedule(
          .faultEnded(.restart(.shard(shard.number))), at: end + UInt64(dice.below(400_000)))
      }
    case .shardStop:
      guard shard.isRunning, !shard.isPaused, !isStoreMissing else { return }
      input(shard) { $0.leave(now: $1, into: &$2) }
      queue.schedule(
        .faultEnded(.stop(shard.number, life: shard.life)),
        at: now + UInt64(dice.between(1_000...1_000_000)))
    case .pause:
      guard shard.isRunning, !shard.isPaused else { return }
      shard.isPaused = true
      queue.schedule(.faultEnded(.resume(.shard(shard.number))), at: end)
    case .exile: exile(shard, gateway, until: max(end, now + 4_000_000))
    case .gatewayCrash:
      guard gateway.isRunning else { return }
      kill(gateway)
      queue.schedule(.faultEnded(.restart(.gateway(gateway.number))), at: end)
    case .gatewayDrain:
      guard gateway.isRunning, !gateway.isDraining else { return }
      gateway.isDraining = true
      input(gateway) { core, _, actions in core.drain(into: &actions) }
      queue.schedule(.faultEnded(.restart(.gateway(gateway.number))), at: end)
    case .gatewayPause:
      guard gateway.isRunning, !gateway.isPaused else { return }
      gateway.isPaused = true
      queue.schedule(.faultEnded(.resume(.gateway(gateway.number))), at: end)
    default: break
    }
  }

  /// A shard that neither its peers nor the coordinator reach, and a gateway that does not hear
  /// that another leads: whoever asks it must not be told what is old.
  private func exile(_ shard: SimulatedShard, _ gateway: SimulatedGateway, until end: UInt64) {
    let others = shards.filter { $0 !== shard }.map { Node.shard($0.number) }
    cut(others.flatMap { pairs(.shard(shard.number), $0) }, until: end, false)
    cutFromCoordinator.insert(shard.number)
    queue.schedule(.faultEnded(.coordinatorCut(shard.number)), at: end)
    lateWatchers.insert(100 + gateway.number)
    queue.schedule(.faultEnded(.lateWatch(100 + gateway.number)), at: end)
  }

  private func anyNode(_ dice: inout Dice) -> Node {
    let place = dice.below(shards.count + gateways.count)
    return place < shards.count ? .shard(place) : .gateway(place - shards.count)
  }

  private func strikeNetwork(_ kind: FaultKind, _ end: UInt64, _ dice: inout Dice) {
    let shard = Node.shard(dice.below(shards.count))
    let other = anyNode(&dice)
    let resets = dice.chance(permille: 500)
    let client = clients[dice.below(clients.count)]
    let open = connections.indices.filter { connections[$0].isOpen }
    switch kind {
    case .cut where shard != other: cut(pairs(shard, other), until: end, resets)
    case .oneWayCut where shard != other:
      cut([pairs(shard, other)[dice.below(2)]], until: end, resets)
    case .isolation:
      let others = shards.map { Node.shard($0.number) }.filter { $0 != shard }
      cut(others.flatMap { pairs(shard, $0) }, until: end, resets)
    case .reset: if !open.isEmpty { close(dice.pick(open)) }
    case .slowLink:
      guard !open.isEmpty else { return }
      let connection = dice.pick(open)
      connections[connection].slowness = dice.pick([20_000, 200_000])
      queue.schedule(.faultEnded(.slowness(connection: connection)), at: end)
    case .clientReset: if client.gateway != nil { lose(client) }
    case .clientCongestion:
      guard let number = client.gateway, let id = client.session, !client.isCongested else {
        return
      }
      client.isCongested = true
      input(gateways[number]) { $0.congestionChanged(id, isCongested: true, now: $1, into: &$2) }
      queue.schedule(
        .faultEnded(.congestion(client: client.number, connection: client.connection)), at: end)
    case .linkCongestion:
      let toGateways = open.filter {
        if case .gateway = connections[$0].ends[0] { true } else { false }
      }
      guard !toGateways.isEmpty else { return }
      let connection = connections[dice.pick(toGateways)]
      guard case .shard(let number) = connection.ends[1] else { return }
      input(shards[number]) { core, _, _ in
        core.congestionChanged(connection.links[1], isCongested: true)
      }
      queue.schedule(
        .faultEnded(.linkCongestion(shard: number, connection.links[1])), at: end)
    default: break
    }
  }

  private func cut(_ pairs: [NodePair], until end: UInt64, _ resets: Bool) {
    for pair in pairs { cuts[pair, default: 0] += 1 }
    queue.schedule(.faultEnded(.cut(pairs, resets: resets)), at: end)
  }

  // MARK: Disks

  /// Whether a store may lose something: one at a time, and only where others have everything.
  private func mayDamage(_ shard: SimulatedShard, _ kind: FaultKind) -> Bool {
    // Stores that are gone and know it may be as many as they like, where nobody waits for them.
    if plan.isSafetyOnly { return kind == .damagedStore || kind == .wipedStore }
    if let damagedShard, !isBack(shards[damagedShard]) || !isWhole(after: damagedShard) {
      return false
    }
    damagedShard = nil
    guard checker.halvesWithoutRecord(in: self).allSatisfy({ isHeld($0, without: shard) }) else {
      return false
    }
    return coordinator.records.keys.allSatisfy { partition in
      guard let record = coordinator.records[partition]?.record else { return false }
      let others = record.inSync.filter { $0.store != shard.id }
      return record.replica(on: shard.id) == nil || record.inSync.count == others.count
        || others.count >= 1 && record.inSync.count >= 2
    }
  }

  /// Whether a shard's process runs and serves every replica that counts: one that has not met the
  /// record yet does not know what it has lost.
  private func isBack(_ shard: SimulatedShard) -> Bool {
    coordinator.records.keys.allSatisfy { partition in
      guard
        let own = coordinator.records[partition]?.record.inSync.first(where: {
          $0.store == shard.id
        })
      else { return shard.isRunning }
      return shard.hosts.contains {
        $0.partition == partition && $0.replicaID == own && !$0.standing.isStopped
      }
    }
  }

  /// Whether somebody else could take the lead of each of its partitions at once: that a store is
  /// lost while all others start is not promised to pass by itself.
  private func othersKnowTheirEnd(_ shard: SimulatedShard) -> Bool {
    coordinator.records.keys.allSatisfy { partition in
      guard let record = coordinator.records[partition]?.record,
        record.inSync.contains(where: { $0.store == shard.id })
      else { return true }
      return record.inSync.contains { member in
        let other = shards.first { $0.id == member.store && $0 !== shard }
        let host = other?.hosts.first {
          $0.partition == partition && $0.replicaID == member
        }
        return host.map { !$0.standing.isStopped && $0.knowsItsEnd(in: record) } ?? false
      }
    }
  }

  private func isWhole(after shard: Int?) -> Bool {
    checker.halvesWithoutRecord(in: self).isEmpty
      && coordinator.records.keys.allSatisfy { partition in
        guard let record = coordinator.records[partition]?.record else { return false }
        return record.target.allSatisfy { record.inSync.contains($0) }
          && record.inSync.allSatisfy { record.target.contains($0) || $0 == record.leader }
          && checker.isWhole(partition, record, in: self)
      }
  }

  private func strikeDisk(_ kind: FaultKind, _ end: UInt64, _ dice: inout Dice) {
    let shard = shards[dice.below(shards.count)]
    switch kind {
    case .failedSync: shard.failsNextSync = shard.isRunning && !isStoreMissing
    case .stalledSync: shard.stalledUntil = end
    default:
      guard plan.replicaCount > 1, mayDamage(shard, kind) else { return }
      damagedShard = shard.number
      fold(60, shard.number)
      damage(shard, kind, &dice)
      if !shard.isRunning {
        queue.schedule(.faultEnded(.restart(.shard(shard.number))), at: end)
      }
    }
  }

  private func damage(_ shard: SimulatedShard, _ kind: FaultKind, _ dice: inout Dice) {
    let partitions = shard.disk.partitions
    guard !partitions.isEmpty else { return }
    switch kind {
    case .lostTail:
      kill(shard)
      for partition in partitions where dice.chance(permille: 700) {
        let log = shard.disk.log(of: partition)
        guard !log.entries.isEmpty else { continue }
        let (first, end) = (
          Int(log.start.rawValue) + 1, Int(log.start.rawValue) + log.entries.count
        )
        markDamaged(shard, partition)
        shard.disk.lose(
          from: LogIndex(UInt64(dice.between(max(first, end - 10)...end))), of: partition)
      }
    case .flippedBit:
      let partition = dice.pick(partitions)
      markDamaged(shard, partition, isInUse: shard.isRunning)
      shard.disk.flip(partition, inLog: dice.chance(permille: 500))
      // A running process finds it when it reads there; one that starts finds it at once.
      if dice.chance(permille: 500) { kill(shard) }
    case .damagedStore:
      kill(shard)
      for partition in partitions { markDamaged(shard, partition) }
      shard.disk = SimulatedDisk()
      shard.wasMadeAnew = true
    case .wipedStore:
      guard plan.isSafetyOnly || othersKnowTheirEnd(shard) else { return }
      kill(shard)
      for partition in partitions { markDamaged(shard, partition) }
      shard.disk = SimulatedDisk()
      shard.wasMadeAnew = false
      let gone = shard.id
      lastStore += 1
      shard.id = StoreID(lastStore)
      replace(gone, by: shard.id)
    default: break
    }
  }

  private func markDamaged(
    _ shard: SimulatedShard, _ partition: PartitionID, isInUse: Bool = false
  ) {
    for replica in shard.disk.replicas(of: partition) {
      checker.wasDamaged(
        replica, partition,
        length: isInUse ? nil : shard.disk.length(of: partition, replica))
    }
  }

  /// The process has ended, or does nothing more with a partition.
  func endedWriting(_ shard: SimulatedShard, _ partitions: [PartitionID]) {
    for partition in partitions {
      for replica in shard.disk.replicas(of: partition) {
        checker.endedWriting(
          replica, partition, length: shard.disk.length(of: partition, replica))
      }
    }
  }

  /// The operator tells the controller that a store is gone for good and another takes its place.
  private func replace(_ gone: StoreID, by store: StoreID) {
    let name = shards.first { $0.id == store }.map { "shard\($0.number + 1)" } ?? ""
    write(ring.record.replacing(gone, by: store, name: name))
    for partition in coordinator.records.keys {
      guard let known = coordinator.records[partition],
        known.record.target.contains(where: { $0.store == gone })
      else { continue }
      let stores = known.record.target.map { $0.store == gone ? store : $0.store }
      happenAtCoordinator(
        .retargeted(partition, known.record.retargeted(to: stores), base: known.revision))
    }
  }

  // MARK: Membership

  private func strikeMembership(_ kind: FaultKind, _ end: UInt64, _ dice: inout Dice) {
    let shard = dice.below(shards.count)
    switch kind {
    case .coordinatorOutage:
      isCoordinatorDown = true
      queue.schedule(.faultEnded(.outage), at: end)
    case .coordinatorCut:
      cutFromCoordinator.insert(shard)
      queue.schedule(.faultEnded(.coordinatorCut(shard)), at: end)
    case .slowCoordinator:
      coordinatorSlowness = 10
      queue.schedule(.faultEnded(.slowCoordinator), at: end)
    case .lateWatch:
      let watcher = dice.chance(permille: 700) ? shard : 100 + dice.below(gateways.count)
      lateWatchers.insert(watcher)
      queue.schedule(.faultEnded(.lateWatch(watcher)), at: end)
    case .retarget, .zombieController: retarget(isZombie: kind == .zombieController, &dice)
    case .ringChange: changeRing(&dice)
    case .leaseEnd: endLease()
    case .clockJump:
      shards[shard].clockOffset = Int64(dice.between(-20_000...20_000))
      shards[shard].clockDrift = Int64(dice.between(-plan.clockDrift...plan.clockDrift))
      queue.schedule(.faultEnded(.clock(shard)), at: end)
    default: break
    }
  }

  /// A controller moves a partition. One that is a zombie acts on what it read a while ago.
  private func retarget(isZombie: Bool, _ dice: inout Dice) {
    let partitions = coordinator.records.keys
    let partition = partitions[dice.below(partitions.count)]
    guard let known = coordinator.records[partition] else { return }
    var stores = shards.map(\.id)
    var target: [StoreID] = []
    while target.count < plan.replicaCount, !stores.isEmpty {
      target.append(stores.remove(at: dice.below(stores.count)))
    }
    let record = known.record.retargeted(to: target)
    let delay = isZombie ? dice.between(50_000...3_000_000) : dice.between(500...3_000)
    queue.schedule(
      .retargeted(partition, record, base: known.revision), at: now + UInt64(delay))
  }

  // MARK: Ends

  func end(_ end: FaultEnd) {
    switch end {
    case .restart(.shard(let number)): start(shards[number])
    case .stop(let number, let life):
      guard shards[number].life == life else { return }
      guard !isStoreMissing else {
        return queue.schedule(.faultEnded(.stop(number, life: life)), at: now + 500_000)
      }
      kill(shards[number])
      queue.schedule(.faultEnded(.restart(.shard(number))), at: now + 300_000)
    case .restart(.gateway(let number)):
      if gateways[number].isDraining { kill(gateways[number]) }
      start(gateways[number])
    case .resume(let node): resume(node)
    case .cut(let pairs, let resets): uncut(pairs, resets: resets)
    case .slowness(let connection): connections[connection].slowness = 0
    case .outage:
      isCoordinatorDown = false
      for shard in shards { announceAll(to: .shard(shard.number)) }
      for gateway in gateways { announceAll(to: .gateway(gateway.number)) }
    case .coordinatorCut(let shard):
      cutFromCoordinator.remove(shard)
      announceAll(to: .shard(shard))
    case .slowCoordinator: coordinatorSlowness = 1
    case .lateWatch(let watcher): lateWatchers.remove(watcher)
    case .congestion(let number, let connection):
      let client = clients[number]
      guard client.connection == connection, let gateway = client.gateway, let id = client.session
      else { return }
      client.isCongested = false
      input(gateways[gateway]) { $0.congestionChanged(id, isCongested: false, now: $1, into: &$2) }
    case .linkCongestion(let number, let link):
      input(shards[number]) { core, _, _ in core.congestionChanged(link, isCongested: false) }
    case .clock(let number):
      shards[number].clockOffset = 0
      shards[number].clockDrift = 0
    }
  }

  private func resume(_ node: Node) {
    let deferred: [Happening]
    switch node {
    case .shard(let number):
      guard shards[number].isPaused else { return }
      shards[number].isPaused = false
      deferred = shards[number].deferred
      shards[number].deferred = []
    case .gateway(let number):
      guard gateways[number].isPaused else { return }
      gateways[number].isPaused = false
      deferred = gateways[number].deferred
      gateways[number].deferred = []
    }
    for event in deferred { queue.schedule(event, at: now) }
  }

  /// Everything that is broken is mended, and stays so.
  func heal() {
    isHealing = true
    isCoordinatorDown = false
    coordinatorSlowness = 1
    cutFromCoordinator = []
    lateWatchers = []
    uncut(
      cuts.keys.sorted().flatMap { Array(repeating: $0, count: cuts[$0] ?? 0) }, resets: true)
    for shard in shards {
      shard.stalledUntil = 0
      shard.failsNextSync = false
      shard.clockOffset = 0
      shard.clockDrift = 0
      resume(.shard(shard.number))
      // Damage that nobody has met yet is found when the store is opened.
      if !shard.disk.isWhole { kill(shard) }
      start(shard)
      announceAll(to: .shard(shard.number))
    }
    for gateway in gateways {
      resume(.gateway(gateway.number))
      end(.restart(.gateway(gateway.number)))
      announceAll(to: .gateway(gateway.number))
    }
    for connection in connections.indices {
      connections[connection].slowness = 0
      // Whatever was lost on it is said again.
      if plan.reordersReplicas { close(connection) }
    }
    for shard in shards {
      for link in shard.linkEnds.indices {
        input(shard) { core, _, _ in
          core.congestionChanged(LinkID(UInt64(link + 1)), isCongested: false)
        }
      }
    }
    for client in clients where client.isCongested {
      end(.congestion(client: client.number, connection: client.connection))
    }
  }
}
