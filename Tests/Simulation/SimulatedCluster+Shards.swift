import ChatCore
import ClusterModel
import NodeProtocol
import Primitives
import ReplicaCore
import ShardCore
import WalkSupport

/// Shard processes: their life, their turns and their disks.
extension SimulatedCluster {
  func wall(_ shard: SimulatedShard) -> WallTime {
    let drift = Int64(now / 1_000) * (shard.ownDrift + shard.clockDrift) / 1_000_000
    let milliseconds = 1_700_000_000_000 + Int64(now / 1_000) + shard.clockOffset + drift
    return WallTime(milliseconds: UInt64(milliseconds))
  }

  /// The process starts with what is on its disk.
  func start(_ shard: SimulatedShard) {
    guard !shard.isRunning else { return }
    fold(1, shard.number, shard.life)
    lastBoot += 1
    shard.boot = BootID(1_000 + lastBoot)
    shard.life += 1
    shard.isPaused = false
    shard.deferred = []
    shard.batch = []
    shard.syncs = []
    shard.failsNextSync = false
    shard.isTurnScheduled = false
    var core = ShardCore(
      configuration: configuration(of: shard), storage: shard.disk, seed: lifeDice.number())
    let found = shard.disk.recovered()
    checker.processStarted(shard, found)
    for partition in found {
      core.recover(partition, now: instant(drift: shard.ownDrift), into: &actions)
    }
    for other in shards where other !== shard {
      core.peerRegistered(other.id, boot: other.boot, now: instant(drift: shard.ownDrift))
    }
    shard.process = ShardProcess(core)
    performActions(of: shard)
    queue.schedule(
      .shardTick(shard.number, life: shard.life), at: now + UInt64(lifeDice.below(plan.tick)))
    for partition in coordinator.records.keys {
      announce(partition, to: .shard(shard.number))
    }
    announceRing(to: shard)
    for other in shards where other !== shard {
      // Each knows of the other by now, or soon.
      other.process?.core.peerRegistered(
        shard.id, boot: shard.boot, now: instant(drift: other.ownDrift))
      queue.schedule(.dial(.shard(shard.number), shard: other.number), at: now + 3_000)
    }
    for gateway in gateways {
      queue.schedule(.dial(.gateway(gateway.number), shard: shard.number), at: now + 5_000)
    }
  }

  private func configuration(of shard: SimulatedShard) -> ShardConfiguration {
    var configuration = ShardConfiguration(
      clusterID: 1, node: "shard\(shard.number + 1)", store: shard.id, boot: shard.boot,
      partitionCount: UInt32(plan.partitionCount), minInSync: plan.minInSync)
    configuration.wasMadeAnew = shard.wasMadeAnew
    configuration.checkpointEntries = plan.checkpointEntries
    configuration.stateComparisonInterval = 500
    configuration.checkpointInterval = Milliseconds(UInt64(plan.checkpointInterval))
    configuration.logEntriesMax = plan.logEntriesMax
    configuration.replica.chunkBytesMax = 2_000
    configuration.replica.snapshotPatience = 3_000
    configuration.replica.tailEntriesMax = plan.isTight ? 8 : 4_096
    configuration.replica.windowEntriesMax = plan.isTight ? 4 : 1_024
    #if MARTLET_PLANTED_BUGS
      configuration.replica.brokenRules = PlantedBug.brokenRules
    #endif
    return configuration
  }

  /// The process ends. Of what was not synced as much survives as chance wants: the batches that
  /// the disk had reached, in their order.
  func kill(_ shard: SimulatedShard) {
    guard shard.isRunning else { return }
    fold(2, shard.number, shard.life)
    shard.process = nil
    shard.life += 1
    let kept = diskDice.below(shard.syncs.count + 1)
    for item in shard.syncs.prefix(kept) { carryOut(item.sync, on: shard) }
    shard.disk.crash(keepingUnsynced: diskDice.chance(permille: 500))
    endedWriting(shard, shard.disk.partitions)
    shard.syncs = []
    shard.stalledUntil = 0
    for connection in connections.indices
    where connections[connection].isOpen
      && connections[connection].ends.contains(.shard(shard.number))
    {
      close(connection)
    }
    for other in shards where other !== shard {
      queue.schedule(.refused(other.number, by: shard.id), at: now + 20_000)
    }
  }

  // MARK: Turns

  /// Gives an input to a shard's core and carries out what it asks for; its turn ends after all
  /// that arrives at the same instant.
  func input(
    _ shard: SimulatedShard, _ body: (inout ShardCore, Instant, inout [ShardAction]) -> Void
  ) {
    guard let process = shard.process else { return }
    body(&process.core, instant(drift: shard.ownDrift), &actions)
    performActions(of: shard)
    checker.look(at: shard, coordinator, in: self)
    guard !shard.isTurnScheduled, !shard.batch.isEmpty || process.core.hasTurn else { return }
    shard.isTurnScheduled = true
    queue.schedule(.turnEnded(shard.number, life: shard.life), at: now)
  }

  func performActions(of shard: SimulatedShard) {
    var performing: [ShardAction] = []
    swap(&performing, &actions)
    for action in performing { perform(action, of: shard) }
    performing.removeAll(keepingCapacity: true)
    swap(&performing, &actions)
  }

  private func perform(_ action: ShardAction, of shard: SimulatedShard) {
    switch action {
    case .send(let link, let frame): send(frame, on: link, of: shard)
    case .write(let partition, let replica, let write):
      checker.wrote(write, of: partition, replica, by: shard, in: self)
      if write.truncatingFrom != nil { rare.note(.truncation) }
      shard.batch.append(DiskWrite(write, of: partition, replica))
    case .install(let partition, let replica, let installation):
      rare.note(.snapshotInstalled)
      checker.installed(installation, of: partition, replica, by: shard, in: self)
      if let state = shard.disk.takePrepared(partition, installation.id) {
        shard.batch.append(DiskWrite(installation, state, of: partition, replica))
      }
    case .prepare(let partition, let replica, let id, let step):
      if step == .abandon { rare.note(.snapshotAbandoned) }
      guard let outcome = shard.disk.prepare(step, of: id, partition) else { return }
      queue.schedule(
        .prepared(shard.number, life: shard.life, partition, replica, id, outcome),
        at: after(plan.syncDelay, &diskDice))
    case .cut(let cut):
      rare.note(cut.half == nil ? .cutWithoutHalf : .cut)
      // What was applied before it is noted first.
      checker.look(at: shard, coordinator, in: self)
      checker.wasCut(cut, by: shard, in: self)
      submitBatch(of: shard)
      submit(.cut(cut), of: shard)
    case .makeRecord(let partition, let record, let whole, let base):
      make(partition, record, of: whole, base: base, by: shard)
    case .truncate(let partition, let replica, let base):
      rare.note(.logShortened)
      submitBatch(of: shard)
      submit(.truncation(partition, replica, base: base), of: shard)
    case .checkpoint(let partition, let replica, let checkpoint, let commitIndex):
      submitBatch(of: shard)
      submit(.checkpoint(partition, replica, checkpoint, commitIndex: commitIndex), of: shard)
    case .setAside: break
    case .forget(let partition, let replica):
      submitBatch(of: shard)
      submit(.forgetting(partition, replica), of: shard)
    case .compareAndSet(let partition, let record, let base):
      ask(shard, partition, record, base: base)
    case .readRecord(let partition, let ticket):
      let isLeader = shard.hosts.contains {
        $0.partition == partition && $0.standing.isLeader
      }
      if isLeader { rare.note(.leaderReadsRecord) }
      let at = after(plan.coordinatorDelay, &networkDice)
      queue.schedule(
        .readArrived(shard.number, life: shard.life, partition, ticket: ticket), at: at)
    case .closeLink(let link, let why):
      fail("shard \(shard.number + 1) closes a link: \(why)")
      if let connection = connection(of: shard, link) { close(connection) }
    case .note(let note): notice(note, of: shard)
    }
  }

  private func notice(_ note: ShardNote, of shard: SimulatedShard) {
    tell("shard \(shard.number): \(note)")
    switch note {
    case .becameLeader(let partition, let epoch):
      fold(3, shard.number, Int(epoch.rawValue))
      checker.leads(partition, epoch, shard, in: self)
    case .replicaStopped(let partition, let reason):
      endedWriting(shard, [partition])
      switch reason {
      case .fenced: rare.note(.fencing)
      case .damaged, .lost: rare.note(.givingUp)
      case .conflictBelowCommit, .applyFailed, .stateDiffers:
        fail("shard \(shard.number + 1) stopped: \(reason)")
      case .storageFailed, .removed: break
      }
    case .replicaReplaced: rare.note(.replacement)
    default: break
    }
  }

  func perform(_ event: Happening, at shard: SimulatedShard) {
    switch event {
    case .shardTick(_, let life):
      let wall = wall(shard)
      let isStalled = shard.syncs.first.map { now > $0.since + SimulationLimits.stallMax } ?? false
      var silent: [LinkID] = []
      input(shard) { core, now, actions in
        core.storageChanged(isStalled: isStalled, isFull: false, now: now, into: &actions)
        core.tick(now: now, wall: wall, into: &actions)
        silent = core.silentLinks(longerThan: SimulationLimits.linkSilenceMax, now: now)
      }
      for link in silent {
        if let connection = connection(of: shard, link) { close(connection) }
      }
      queue.schedule(.shardTick(shard.number, life: life), at: now + UInt64(plan.tick))
    case .turnEnded: endTurn(of: shard)
    case .syncEnded: finishSync(of: shard)
    case .changeAnswered(_, _, let partition, let base, let outcome):
      fold(4, shard.number, Int(base.rawValue))
      input(shard) {
        $0.changeFinished(partition, base: base, outcome: outcome, now: $1, into: &$2)
      }
    case .readAnswered(_, _, let partition, let ticket, let found):
      input(shard) { $0.recordRead(partition, ticket: ticket, found, now: $1, into: &$2) }
    case .ringSeen(_, _, let record):
      input(shard) { core, _, _ in core.ringObserved(record) }
    case .recordSeen(_, _, let partition, let record):
      input(shard) { $0.recordObserved(partition, record, now: $1, into: &$2) }
    case .prepared(_, _, let partition, let replica, let id, let outcome):
      input(shard) { $0.prepared(partition, replica, id, outcome, now: $1, into: &$2) }
    case .frame(let connection, let end, let frame):
      let link = connections[connection].links[end]
      let wall = wall(shard)
      fold(5, shard.number, connection)
      tell("shard \(shard.number) hears \(frame)")
      noteFrame(frame, from: connections[connection].ends[1 - end])
      input(shard) { $0.frameReceived(frame, on: link, now: $1, wall: wall, into: &$2) }
    default: preconditionFailure("not an event of a shard")
    }
  }

  private func endTurn(of shard: SimulatedShard) {
    shard.isTurnScheduled = false
    let wall = wall(shard)
    shard.process?.core.turnEnded(now: instant(drift: shard.ownDrift), wall: wall, into: &actions)
    performActions(of: shard)
    submitBatch(of: shard)
  }

  // MARK: Disks

  private func submitBatch(of shard: SimulatedShard) {
    guard !shard.batch.isEmpty else { return }
    let batch = shard.batch
    shard.batch = []
    submit(.writes(batch), of: shard)
  }

  private func submit(_ sync: PendingSync, of shard: SimulatedShard) {
    shard.syncs.append((sync, now))
    let at = max(
      shard.lastSyncAt, shard.stalledUntil, after(plan.syncDelay, &diskDice))
    shard.lastSyncAt = at
    queue.schedule(.syncEnded(shard.number, life: shard.life), at: at)
  }

  private func finishSync(of shard: SimulatedShard) {
    if now < shard.stalledUntil {
      return queue.schedule(
        .syncEnded(shard.number, life: shard.life), at: shard.stalledUntil)
    }
    if shard.failsNextSync, !isStoreMissing { return failSync(of: shard) }
    guard !shard.syncs.isEmpty else { return }
    let sync = shard.syncs.removeFirst().sync
    carryOut(sync, on: shard)
    switch sync {
    case .writes(let writes):
      input(shard) { core, now, actions in
        for item in writes { item.finish(&core, now: now, into: &actions) }
      }
    case .checkpoint(let partition, let replica, let checkpoint, _):
      input(shard) {
        $0.checkpointWritten(
          partition, replica, through: checkpoint.appliedIndex, now: $1, into: &$2)
      }
    case .cut(let cut): input(shard) { $0.cutWritten(cut, now: $1, into: &$2) }
    case .forgetting, .truncation: break
    }
  }

  private func carryOut(_ sync: PendingSync, on shard: SimulatedShard) {
    switch sync {
    case .writes(let writes):
      for item in writes {
        shard.disk.write(item)
        checker.becameDurable(item, on: shard, in: self)
      }
    case .checkpoint(let partition, let replica, let checkpoint, let commitIndex):
      shard.disk.write(checkpoint, of: partition, replica, commitIndex: commitIndex)
    case .cut(let cut): shard.disk.write(cut)
    case .truncation(let partition, let replica, let base):
      shard.disk.truncate(base, of: partition, replica)
    case .forgetting(let partition, let replica):
      shard.disk.forget(replica, of: partition)
      checker.forgot(partition, replica, coordinator, in: self)
    }
    if let violation = shard.disk.violation { fail("shard \(shard.number + 1): \(violation)") }
  }

  /// The engine takes no more writes: the shell stops its replicas and ends the process.
  private func failSync(of shard: SimulatedShard) {
    shard.failsNextSync = false
    rare.note(.failedSync)
    if PlantedBug.isActive(.failureIgnored) {
      let lost = shard.syncs
      shard.syncs = []
      input(shard) { core, now, actions in
        for case .writes(let writes) in lost.map(\.sync) {
          for item in writes { item.finish(&core, now: now, into: &actions) }
        }
      }
      return
    }
    shard.syncs = []
    input(shard) { $0.storageFailed(now: $1, into: &$2) }
    kill(shard)
    queue.schedule(
      .faultEnded(.restart(.shard(shard.number))),
      at: now + UInt64(lifeDice.between(50_000...900_000)))
  }
}
