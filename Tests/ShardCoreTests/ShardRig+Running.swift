import ChatCore
import ChatModel
import ClusterModel
import NodeProtocol
import Primitives
import ReplicaCore

@testable import ShardCore
import Simulation
import WalkSupport

/// A checkpoint on its way to the disk.
struct Checkpointing {
  let replica: ReplicaID
  let checkpoint: Checkpoint
  let commitIndex: LogIndex
}

extension ShardRig {
  /// Gives an input to a store's core and carries out what it asks for; its turn ends after all
  /// that arrives at the same instant.
  mutating func input(
    _ store: Int, _ body: (inout ShardCore, Instant, inout [ShardAction]) -> Void
  ) {
    guard stores[store].isRunning else { return }
    var actions: [ShardAction] = []
    body(&stores[store].core!, instant, &actions)
    for action in actions { perform(action, of: store) }
    guard !stores[store].isTurnScheduled else { return }
    stores[store].isTurnScheduled = true
    queue.schedule(.turnEnded(store, life: stores[store].life), at: now)
  }

  mutating func perform(_ action: ShardAction, of store: Int) {
    let life = stores[store].life
    switch action {
    case .send(let link, let frame): send(frame, on: link, of: store)
    case .write(let partition, let replica, let write):
      writes.append((store, partition, write))
      stores[store].batch.append(DiskWrite(write, of: partition, replica))
    case .install(let partition, let replica, let installation):
      guard let state = stores[store].disk.takePrepared(partition, installation.id) else { return }
      stores[store].batch.append(DiskWrite(installation, state, of: partition, replica))
    case .prepare(let partition, let replica, let id, let step):
      guard let outcome = stores[store].disk.prepare(step, of: id, partition) else { return }
      schedule(.prepared(store, life: life, partition, replica, id, outcome), in: delays.sync)
    case .truncate(let partition, let replica, let base):
      submitBatch(store)
      submit(.truncated(store, life: life, partition, replica, base: base), of: store)
    case .cut(let cut):
      submitBatch(store)
      submit(.cut(store, life: life, cut), of: store)
    case .makeRecord(let partition, let record, let whole, let base):
      schedule(
        .makingArrived(store, life: life, partition, record, of: whole, base: base),
        in: delays.coordinator)
    case .setAside: break
    case .forget(let partition, let replica):
      submitBatch(store)
      submit(.forgotten(store, life: life, partition, replica), of: store)
    case .checkpoint(let partition, let replica, let checkpoint, let commitIndex):
      submitBatch(store)
      checkpoints.append((store, partition, now))
      let happening = Happening.checkpointed(
        store, life: life, partition,
        Checkpointing(replica: replica, checkpoint: checkpoint, commitIndex: commitIndex))
      submit(happening, of: store)
    case .compareAndSet(let partition, let record, let base):
      schedule(
        .changeArrived(store, life: life, partition, record, base: base), in: delays.coordinator)
    case .readRecord(let partition, let ticket):
      schedule(.readArrived(store, life: life, partition, ticket: ticket), in: delays.coordinator)
    case .closeLink(let link, let reason):
      closedByShard.append((store, reason))
      if let connection = connection(of: store, link) { close(connection) }
    case .note(let note): notes.append((store, note))
    }
  }

  private func connection(of store: Int, _ link: LinkID) -> Int? {
    connections.indices.last {
      connections[$0].isOpen && connections[$0].ends.contains(.shard(store, link))
    }
  }

  private mutating func send(_ frame: LinkFrame, on link: LinkID, of store: Int) {
    guard let connection = connection(of: store, link),
      let end = connections[connection].ends.firstIndex(where: { $0 != .shard(store, link) })
    else { return }
    if case .shard(let other, _) = connections[connection].ends[end] {
      if case .request(let request) = frame { requestsBetweenShards.append((store, request)) }
      if cut.contains([store, other]) { return }
    }
    transmit(frame, on: connection, to: end)
  }

  // MARK: Disks

  private mutating func submitBatch(_ store: Int) {
    guard !stores[store].batch.isEmpty else { return }
    let batch = stores[store].batch
    stores[store].batch = []
    submit(.synced(store, life: stores[store].life, batch), of: store)
  }

  private mutating func submit(_ happening: Happening, of store: Int) {
    if stores[store].holdsSync { return stores[store].heldSyncs.append(happening) }
    let at = max(stores[store].lastSync, now + UInt64(dice.between(delays.sync)))
    stores[store].lastSync = at
    queue.schedule(happening, at: at)
  }

  mutating func releaseSyncs(_ store: Int) {
    stores[store].holdsSync = false
    let held = stores[store].heldSyncs
    stores[store].heldSyncs = []
    for happening in held { submit(happening, of: store) }
  }

  // MARK: Time

  mutating func run(milliseconds: Int) {
    let end = now + UInt64(milliseconds) * 1_000
    while let (at, happening) = queue.next(until: end) {
      now = max(now, at)
      happen(happening)
    }
    now = end
  }

  /// Runs until something is so. **Returns**: whether it came to be.
  mutating func run(
    upTo milliseconds: Int, until isSo: (ShardRig) -> Bool
  ) -> Bool {
    for _ in 0..<max(1, milliseconds / 5) {
      if isSo(self) { return true }
      run(milliseconds: 5)
    }
    return isSo(self)
  }

  /// Whose process must be running for it to happen.
  private func process(of happening: Happening) -> (store: Int, life: Int)? {
    switch happening {
    case .tick(let store, let life), .turnEnded(let store, let life),
      .changeAnswered(let store, let life, _, _, _), .readAnswered(let store, let life, _, _, _),
      .recordSeen(let store, let life, _, _):
      return (store, life)
    case .frame(let connection, let end, _):
      guard connections[connection].isOpen,
        case .shard(let store, _) = connections[connection].ends[end]
      else { return nil }
      return (store, stores[store].life)
    default: return nil
    }
  }

  private mutating func happen(_ happening: Happening) {
    if let (store, life) = process(of: happening) {
      guard stores[store].isRunning, stores[store].life == life else { return }
      if stores[store].isPaused { return stores[store].deferred.append(happening) }
    }
    switch happening {
    case .tick(let store, let life):
      let wall = wall(store)
      input(store) { $0.tick(now: $1, wall: wall, into: &$2) }
      queue.schedule(.tick(store, life: life), at: now + UInt64(delays.tick))
    case .turnEnded(let store, _): endTurn(store)
    case .frame(let connection, let end, let frame): arrive(frame, on: connection, at: end)
    case .synced(let store, let life, let writes):
      guard stores[store].life == life else { return }
      for item in writes { stores[store].disk.write(item) }
      input(store) { core, now, actions in
        for item in writes { item.finish(&core, now: now, into: &actions) }
      }
    case .checkpointed(let store, let life, let partition, let checkpointing):
      guard stores[store].life == life else { return }
      stores[store].disk.write(
        checkpointing.checkpoint, of: partition, checkpointing.replica,
        commitIndex: checkpointing.commitIndex)
      input(store) {
        $0.checkpointWritten(
          partition, checkpointing.replica, through: checkpointing.checkpoint.appliedIndex,
          now: $1, into: &$2)
      }
    case .prepared(let store, let life, let partition, let replica, let id, let outcome):
      guard stores[store].life == life else { return }
      input(store) { $0.prepared(partition, replica, id, outcome, now: $1, into: &$2) }
    case .truncated(let store, let life, let partition, let replica, let base):
      guard stores[store].life == life else { return }
      stores[store].disk.truncate(base, of: partition, replica)
    case .cut(let store, let life, let cut):
      guard stores[store].life == life else { return }
      stores[store].disk.write(cut)
      input(store) { $0.cutWritten(cut, now: $1, into: &$2) }
    case .forgotten(let store, let life, let partition, let replica):
      guard stores[store].life == life else { return }
      stores[store].disk.forget(replica, of: partition)
    case .changeArrived, .changeAnswered, .readArrived, .readAnswered, .recordSeen,
      .makingArrived:
      coordinate(happening)
    case .refused(let store, let other):
      guard !stores[other].isRunning, stores[store].isRunning else { return }
      let peer = stores[other].id
      input(store) { $0.connectionRefused(by: peer, now: $1, into: &$2) }
      queue.schedule(.refused(store, by: other), at: now + 100_000)
    case .dialed(let one, let other):
      guard stores[one].isRunning, stores[other].isRunning, !isConnected(one, other) else {
        return
      }
      guard !cut.contains([one, other]), !cut.contains([other, one]) else {
        return queue.schedule(.dialed(one, other), at: now + 50_000)
      }
      connect(one, other)
    }
  }

  private mutating func endTurn(_ store: Int) {
    stores[store].isTurnScheduled = false
    guard stores[store].isRunning else { return }
    var actions: [ShardAction] = []
    let wall = wall(store)
    stores[store].core!.turnEnded(now: instant, wall: wall, into: &actions)
    for action in actions { perform(action, of: store) }
    submitBatch(store)
  }

  private mutating func arrive(_ frame: LinkFrame, on connection: Int, at end: Int) {
    guard connections[connection].isOpen else { return }
    switch connections[connection].ends[end] {
    case .gateway(let gateway):
      received[gateway].append(frame)
      if case .response(let response) = frame {
        responses[response.id, default: []].append(response.outcome)
      }
    case .shard(let store, let link):
      let wall = wall(store)
      input(store) { $0.frameReceived(frame, on: link, now: $1, wall: wall, into: &$2) }
    }
  }

  // MARK: The coordinator

  private mutating func coordinate(_ happening: Happening) {
    switch happening {
    case .changeArrived(let store, let life, let partition, let record, let base):
      guard stores[store].seesCoordinator else {
        return schedule(
          .changeAnswered(store, life: life, partition, base: base, .unknown),
          in: 100_000...100_000)
      }
      let outcome = coordinator.compareAndSet(partition, record, base: base)
      schedule(
        .changeAnswered(store, life: life, partition, base: base, outcome), in: delays.coordinator)
      guard case .succeeded = outcome, let current = coordinator.records[partition] else { return }
      for other in stores.indices where stores[other].seesCoordinator && stores[other].hearsRecords
      {
        schedule(
          .recordSeen(other, life: stores[other].life, partition, current), in: delays.coordinator)
      }
    case .makingArrived(let store, _, let partition, let record, let whole, let base):
      guard stores[store].seesCoordinator,
        coordinator.make(partition, record, of: whole, base: base)
      else { return }
      for other in stores.indices where stores[other].seesCoordinator && stores[other].hearsRecords
      {
        announceRecords(to: other)
      }
    case .changeAnswered(let store, _, let partition, let base, let outcome):
      input(store) {
        $0.changeFinished(partition, base: base, outcome: outcome, now: $1, into: &$2)
      }
    case .readArrived(let store, let life, let partition, let ticket):
      let found = stores[store].seesCoordinator ? coordinator.records[partition] : nil
      schedule(
        .readAnswered(store, life: life, partition, ticket: ticket, found), in: delays.coordinator)
    case .readAnswered(let store, _, let partition, let ticket, let found):
      input(store) { $0.recordRead(partition, ticket: ticket, found, now: $1, into: &$2) }
    case .recordSeen(let store, _, let partition, let record):
      input(store) { $0.recordObserved(partition, record, now: $1, into: &$2) }
    default: break
    }
  }
}
