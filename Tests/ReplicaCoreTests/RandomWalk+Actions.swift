import ClusterModel
import NodeProtocol
import Primitives
import ReplicaCore
import WalkSupport

extension RandomWalk {
  /// Does what a replica asked for, as its shell would.
  mutating func perform(_ action: ReplicaAction, of store: Int, after kind: InputKind) throws {
    let life = stores[store].life
    switch action {
    case .persist(let write): try submit(write, of: store)
    case .send(let message):
      try checkSent(message, by: store)
      if case .refused = message.body { events.count(.refusal) }
      send(message, from: store)
    case .apply(let through):
      stores[store].appliesThrough = max(stores[store].appliesThrough, through)
      schedule(.applied(store: store, life: life, through: through), in: 0...3_000)
    case .compareAndSet(let record, let base):
      propose(record, base: base, of: store)
    case .readRecord(let ticket):
      if kind == .message { events.count(.heldMessage) }
      schedule(.readArrived(store: store, life: life, ticket: ticket), in: 0...3_000)
    case .loadEntries(let replica, let from, let bytesMax):
      load(for: replica, from: from, bytesMax: bytesMax, of: store)
    case .beginSnapshot, .loadChunk, .prepare, .install:
      try performSnapshot(action, of: store)
    case .compareState: preconditionFailure("these replicas have no state, and nobody tells any")
    case .readsReady(let reads):
      events.count(kind == .recordRead ? .barrierByRecord : .barrierByMembers)
      try checkReads(reads, of: store)
    case .readsFailed(let reads):
      forget(reads, of: store)
    case .statusChanged:
      note("status of \(store): leads \(stores[store].replica?.isLeader ?? false)")
    case .stopped(let reason): try stop(store, reason)
    }
  }

  private mutating func submit(_ write: ReplicaWrite, of store: Int) throws {
    guard let disk = stores[store].disk, !checksRules || write.promise >= disk.latestPromise else {
      throw Violation(kind: .brokenPromise, text: "\(store) goes back to \(write.promise)")
    }
    for entry in write.entries { try checkPayload(entry) }
    if let index = write.truncatingFrom {
      events.count(.truncation)
      note("\(store) truncates from \(index)")
    }
    stores[store].disk?.submit(.log(write))
    if phase == .faulting, plan.faults.contains(.failStorage), dice.chance(permille: 1) {
      schedule(.storageFailed(store: store, life: stores[store].life), in: 0...1_000)
    }
    scheduleSync(of: store, ticket: write.ticket)
  }

  mutating func scheduleSync(of store: Int, ticket: UInt64) {
    let slowest = phase == .faulting ? plan.syncMicrosecondsMax : 1_000
    let at = max(after(dice.between(0...slowest)), stores[store].syncsUntil)
    stores[store].syncsUntil = at
    queue.schedule(.synced(store: store, life: stores[store].life, ticket: ticket), at: at)
  }

  mutating func sync(_ store: Int, life: Int, ticket: UInt64) throws {
    guard stores[store].life == life else { return }
    try stores[store].disk?.sync(through: ticket)
    refreshDamage(store)
    // One fsync covers every earlier write: sometimes only the last is told.
    if stores[store].disk?.pendingCount ?? 0 > 0, dice.chance(permille: 200),
      stores[store].syncsUntil > now
    {
      return
    }
    try input(store, life: life) { $0.persisted(ticket: ticket, now: $1, into: &$2) }
  }

  mutating func apply(_ store: Int, life: Int, through: LogIndex) throws {
    guard stores[store].life == life, let replica = stores[store].replica, replica.stop == nil,
      through > replica.appliedIndex
    else { return }
    var index = replica.appliedIndex.successor
    while index <= through {
      guard let entry = replica.entry(at: index) else {
        throw Violation(kind: .stopped, text: "\(store) cannot apply \(index): not in memory")
      }
      try checkApplied(entry, by: store)
      index = index.successor
    }
    try input(store, life: life) { $0.applied(through: through, into: &$2) }
    try acknowledge(of: store, through: through)
    if dice.chance(permille: 200), let replica = stores[store].replica {
      stores[store].disk?.submit(
        .checkpoint(applied: replica.appliedIndex, commit: replica.commitIndex))
      shortenLog(of: store)
    }
  }

  private mutating func load(for replica: ReplicaID, from: LogIndex, bytesMax: Int, of store: Int) {
    events.count(.loadFromStorage)
    var entries: [Entry] = []
    var bytes = 0
    precondition(
      from > stores[store].replica?.value.baseEntry.index ?? .zero, "\(from) is not in the log")
    if !(phase == .faulting && dice.chance(permille: 100)), let disk = stores[store].disk {
      var index = from.rawValue
      while let entry = disk.entry(at: index), entries.isEmpty || bytes + entry.bytes <= bytesMax {
        entries.append(entry)
        bytes += entry.bytes
        index += 1
      }
    }
    let late = phase == .faulting ? dice.pick([5_000, 5_000, 5_000, 5_000, 200_000]) : 1_000
    schedule(
      .loaded(
        store: store, life: stores[store].life, replica: replica, from: from, entries: entries),
      in: 0...late)
  }

  private mutating func stop(_ store: Int, _ reason: ReplicaStop) throws {
    note("replica of \(store) stops: \(reason)")
    switch reason {
    case .removed:
      events.count(.removed)
      discard(store)
    case .fenced:
      guard stores[store].damaged != nil else {
        throw Violation(kind: .stopped, text: "\(store) is whole and was fenced: \(reason)")
      }
      events.count(.fenced)
      stores[store].givenUp = stores[store].disk?.id
      discard(store)
      schedule(.rebuilt(store: store), in: 1_000...50_000)
    case .storageFailed: break
    case .conflictBelowCommit, .applyFailed, .stateDiffers, .damaged, .lost:
      throw Violation(kind: .stopped, text: "\(store) stopped: \(reason)")
    }
  }

  /// The data of the replica on this store are deleted.
  private mutating func discard(_ store: Int) {
    endLife(of: store)
    stores[store].disk = nil
    stores[store].damaged = nil
  }

  /// The value of the replica is gone, with everything that is not on the disk.
  mutating func endLife(of store: Int) {
    stores[store].replica = nil
    stores[store].life += 1
    stores[store].proposed.removeAll()
    stores[store].reads.removeAll()
    stores[store].frozen.removeAll()
    stores[store].prepared = nil
    stores[store].appliesThrough = .zero
    stores[store].tickAt = .distantFuture
    stores[store].syncsUntil = .zero
  }

  // MARK: Clients

  mutating func proposeSomething() throws {
    guard phase != .quiet else { return }
    let pause = phase == .faulting ? 100...plan.proposeEveryMicrosecondsMax : 5_000...40_000
    schedule(.proposed, in: pause)
    guard
      let store = runningStores.filter({ stores[$0].replica?.acceptsCommands ?? false })
        .randomElement(using: &dice)
    else { return }
    knowledge.lastPayload += 1
    let number = knowledge.lastPayload
    let length = dice.between(8...40)
    let payload = (0..<length).map {
      $0 < 8 ? UInt8(truncatingIfNeeded: number >> (8 * UInt64($0))) : 0
    }
    var made: EntryID?
    try input(store) { replica, now, actions in
      made = replica.propose(payload: payload, now: now, into: &actions)
    }
    if let made { stores[store].proposed.append(made) }
  }

  mutating func readSomething() throws {
    guard phase != .quiet else { return }
    schedule(.readRequested, in: 100...plan.proposeEveryMicrosecondsMax)
    let leaders = runningStores.filter { stores[$0].replica?.isLeader ?? false }
    let from = leaders.isEmpty || dice.chance(permille: 50) ? runningStores : leaders
    guard let store = from.randomElement(using: &dice), stores[store].replica != nil else { return }
    knowledge.lastRead += 1
    let read = knowledge.lastRead
    stores[store].reads.append((read, knowledge.acknowledged))
    try input(store) { $0.readRequested(read, now: $1, into: &$2) }
    schedule(.barrierDue(store: store, life: stores[store].life), in: 0...500)
  }

  var runningStores: [Int] { stores.indices.filter { stores[$0].isUp && !stores[$0].isPaused } }
}

extension Array {
  fileprivate func randomElement(using dice: inout Dice) -> Element? {
    isEmpty ? nil : dice.pick(self)
  }
}
