import ChatCore
import ClusterModel
import Coordination
import DequeModule
import Logging
import LogStorage
import NIOCore
import NodeProtocol
import Primitives
import ReplicaCore
import ShardCore
import Synchronization
import TLSEngine
import Transport

/// The event loop of a shard: feeds its core with frames, completions, records and time, and
/// carries its actions out.
///
/// One turn: everything that arrived goes into the core; at the end of the turn the core makes its
/// entries, one batch goes to the committer, and each link flushes once.
///
/// **Isolation**: `eventLoop`, but for the completion sink, which hops there.
final class ShardLane: CompletionSink, @unchecked Sendable {
  // Safety: all state is touched on `eventLoop` only; `storageCompleted` and `deliver` hop to it.
  private static let tickInterval: Milliseconds = 10
  /// A link to a peer that is silent for so long is dialed anew.
  private static let linkSilenceMax: Milliseconds = 2_500
  /// A write that takes longer makes the store a stalled one; as long as a silent peer is borne.
  private static let stallMax: Milliseconds = 2_000
  /// What the other side of a lost link leaves to the side with the smaller store id.
  private static let secondDialPause: Milliseconds = 150

  let eventLoop: any EventLoop
  private var core: ShardCore
  private let store: ShardStore
  private let committer: Committer
  private let coordinator: any Coordinator
  private let dialer: ShardDialer
  let logger: Logger
  private let storeID: StoreID

  private var links: [LinkID: LinkConnection] = [:]
  private var lastLink: UInt64 = 0
  private var actions: [ShardAction] = []
  private var isTurnScheduled = false
  private var batch = StorageBatch(needsSync: true)
  private var batchTickets: [WrittenTicket] = []
  private var lastTicket: UInt64 = 0
  private var submitted: [UInt64: Submitted] = [:]
  private var ticking: RepeatedTask?
  /// Batches that the committer had no room for, in their order.
  private var deferred: Deque<(ticket: UInt64, batch: StorageBatch)> = []
  private var hasFailed = false
  private let preparation: StatePreparation
  private let hasStopped = Mutex(false)
  /// The coordinator's highest revision that this process has seen, and that it has written.
  private var seenRevision = Revision.zero
  private var writtenRevision = Revision.zero
  /// Why the store writes no more; nothing else comes.
  let failures: AsyncStream<StorageError>
  private let failed: AsyncStream<StorageError>.Continuation

  private struct WrittenTicket {
    let partition: PartitionID
    let replica: ReplicaID
    let ticket: UInt64
  }

  private enum Submitted {
    case writes([WrittenTicket])
    case checkpoint(PartitionID, ReplicaID, through: LogIndex)
    case cut(ShardCut)
    case deletion
  }

  init(
    core: consuming ShardCore, actions: [ShardAction], store: ShardStore, committer: Committer,
    coordinator: any Coordinator,
    dialer: ShardDialer, on eventLoop: any EventLoop, logger: Logger
  ) {
    storeID = core.configuration.store
    self.core = core
    self.actions = actions
    self.store = store
    self.committer = committer
    self.coordinator = coordinator
    self.dialer = dialer
    self.eventLoop = eventLoop
    self.logger = logger
    preparation = StatePreparation(store, on: eventLoop, logger: logger)
    (failures, failed) = AsyncStream.makeStream(of: StorageError.self)
  }

  func start() {
    eventLoop.preconditionInEventLoop()
    perform()
    preparation.onOutcome = { [weak self] partition, replica, id, outcome in
      self?.turn { $0.prepared(partition, replica, id, outcome, now: $1, into: &$2) }
    }
    preparation.onLeftover = { [weak self] prefix in
      var batch = StorageBatch(needsSync: true)
      batch.dropPrefix(prefix)
      self?.submit(batch, .deletion)
    }
    dialer.onLink = { [weak self] _, link in self?.opened(link) }
    dialer.onRefused = { [weak self] store in
      self?.turn { $0.connectionRefused(by: store, now: $1, into: &$2) }
    }
    ticking = eventLoop.scheduleRepeatedTask(
      initialDelay: Self.tickInterval.timeAmount, delay: Self.tickInterval.timeAmount
    ) { [weak self] _ in
      self?.tick()
    }
  }

  private func tick() {
    let metrics = committer.metrics
    let isStalled = metrics.currentWriteNanoseconds > Self.stallMax.rawValue * 1_000_000
    let isFull = !deferred.isEmpty || !committer.hasRoom
    turn { core, now, actions in
      core.storageChanged(isStalled: isStalled, isFull: isFull, now: now, into: &actions)
      core.tick(now: now, wall: Clock.wall(), into: &actions)
    }
    for id in core.silentLinks(longerThan: Self.linkSilenceMax, now: Clock.now()) {
      links[id]?.close()
    }
  }

  /// What the coordinator says. Callable from anywhere.
  func deliver(_ changes: [ClusterChange]) {
    eventLoop.execute { [self] in
      for change in changes {
        switch change {
        case .record(let partition, let record):
          seenRevision = max(seenRevision, record.revision)
          turn { $0.recordObserved(partition, record, now: $1, into: &$2) }
        case .node(let node): observe(node)
        case .ring(let ring, _): turn { core, _, _ in core.ringObserved(ring) }
        case .nodeGone: break
        case .backup(let request): core.holdConfirmations(request != nil)
        }
      }
    }
  }

  /// Every node knows this version from now on. Callable from anywhere.
  func activate(_ version: ActiveVersion) {
    eventLoop.execute { [self] in
      turn { core, _, _ in core.versionActivated(version.number) }
    }
  }

  private func observe(_ node: NodeRecord) {
    guard node.role == .shard, let store = node.store, store != storeID,
      let address = node.laneAddresses.first
    else { return }
    core.peerRegistered(store, boot: node.boot, now: Clock.now())
    dialer.connect(
      to: store, node: node.name, at: address,
      after: storeID < store ? 0 : Self.secondDialPause)
  }

  /// Hands over what is led here.
  func leave() { turn { $0.leave(now: $1, into: &$2) } }

  /// Nobody else could lead what is still led here.
  var hasLeft: Bool { core.hasLeft(now: Clock.now()) }

  /// Stops taking commands, and says so to everybody.
  func drain() { turn { core, _, actions in core.drain(into: &actions) } }

  /// Nothing is taken out of an outbox now.
  var keepsOutboxes: Bool { core.isHoldingConfirmations && !core.isConfirming }

  var isIdle: Bool { core.isIdle && submitted.isEmpty }
  var partitions: [ShardCore.PartitionStatus] { core.partitions }
  var extents: [PartitionID: (place: StatePlace, appended: UInt64)] { store.extents }
  var linkCount: Int { links.count }
  var comparedStateCount: Int { core.comparedStateCount }
  var commandCount: UInt64 { core.commandCount }
  var snapshotCounts: (begun: Int, installed: Int) { core.snapshotCounts }
  var logSize: (entries: Int, bytes: UInt64) { core.logSize }

  func stop() {
    hasStopped.withLock { $0 = true }
    ticking?.cancel()
    dialer.stop()
    preparation.stop()
    for link in links.values { link.close() }
  }

  // MARK: Links

  /// A link that is open: dialed here, or accepted by the listener.
  func opened(_ link: LinkConnection) {
    eventLoop.preconditionInEventLoop()
    guard let hello = link.peer else { return link.close() }
    lastLink += 1
    let id = LinkID(lastLink)
    links[id] = link
    link.onFrames = { [weak self] frames in
      self?.turn { core, now, actions in
        let wall = Clock.wall()
        for frame in frames {
          core.frameReceived(frame, on: id, now: now, wall: wall, into: &actions)
        }
      }
    }
    link.onCongestionChanged = { [weak self] isCongested in
      self?.turn { core, _, _ in core.congestionChanged(id, isCongested: isCongested) }
    }
    link.onClose = { [weak self] reason in self?.closed(id, hello, reason) }
    if let store = hello.store { dialer.linked(store) }
    logger.info("link open", metadata: ["node": .string(hello.node), "boot": "\(hello.boot)"])
    turn { $0.linkOpened(id, peer: hello, now: $1, into: &$2) }
  }

  private func closed(_ id: LinkID, _ hello: LinkHello, _ reason: LinkCloseReason) {
    guard links.removeValue(forKey: id) != nil else { return }
    logger.info("link closed", metadata: ["node": .string(hello.node), "why": "\(reason)"])
    turn { $0.linkClosed(id, now: $1, into: &$2) }
    guard let store = hello.store, !links.values.contains(where: { $0.peer?.store == store }) else {
      return
    }
    dialer.unlinked(store, after: storeID < store ? 0 : Self.secondDialPause)
  }

  // MARK: Turns

  /// Gives the core an input and carries its actions out; the turn ends after all of this loop's.
  private func turn(_ input: (inout ShardCore, Instant, inout [ShardAction]) -> Void) {
    eventLoop.preconditionInEventLoop()
    input(&core, Clock.now(), &actions)
    perform()
    guard !isTurnScheduled else { return }
    isTurnScheduled = true
    eventLoop.execute { [self] in endTurn() }
  }

  private func endTurn() {
    isTurnScheduled = false
    core.turnEnded(now: Clock.now(), wall: Clock.wall(), into: &actions)
    perform()
    submitBatch()
  }

  private func perform() {
    guard !actions.isEmpty else { return }
    var performing: [ShardAction] = []
    swap(&performing, &actions)
    for action in performing { perform(action) }
    performing.removeAll(keepingCapacity: true)
    if actions.isEmpty { swap(&performing, &actions) } else { perform() }
  }

  private func perform(_ action: ShardAction) {
    switch action {
    case .send(let id, let frame):
      links[id]?.send(frame)
    case .write(let partition, let replica, let write):
      store.add(write, of: partition, replica, to: &batch)
      batchTickets.append(
        WrittenTicket(partition: partition, replica: replica, ticket: write.ticket))
    case .checkpoint(let partition, let replica, let checkpoint, let commitIndex):
      // What was written before it in this turn comes first.
      submitBatch()
      var batch = StorageBatch(needsSync: false)
      store.add(checkpoint, of: partition, replica, commitIndex: commitIndex, to: &batch)
      submit(batch, .checkpoint(partition, replica, through: checkpoint.appliedIndex))
    case .cut(let cut):
      // The entries that it is made of become durable before it.
      submitBatch()
      self.cut(cut)
    case .install(let partition, let replica, let installation):
      store.add(installation, of: partition, replica, to: &batch)
      batchTickets.append(
        WrittenTicket(partition: partition, replica: replica, ticket: installation.ticket))
    case .prepare(let partition, let replica, let id, let step):
      preparation.perform(step, of: id, partition, replica)
    case .truncate(let partition, let replica, let base):
      submitBatch()
      var batch = StorageBatch(needsSync: false)
      store.truncate(replica, of: partition, base: base, in: &batch)
      submit(batch, .deletion)
    case .forget(let partition, let replica):
      submitBatch()
      var batch = StorageBatch(needsSync: true)
      store.forget(replica, of: partition, in: &batch)
      submit(batch, .deletion)
    case .setAside(let partition, let replica):
      submitBatch()
      var batch = StorageBatch(needsSync: true)
      store.setAside(replica, of: partition, in: &batch)
      submit(batch, .deletion)
    case .compareAndSet(let partition, let record, let base):
      compareAndSet(partition, record, base: base)
    case .makeRecord(let partition, let record, let whole, let base):
      makeRecord(partition, record, of: whole, base: base)
    case .readRecord(let partition, let ticket):
      readRecord(partition, ticket: ticket)
    case .closeLink(let id, let reason):
      logger.warning("closing a link", metadata: ["why": .string(reason)])
      links[id]?.close()
    case .note(let note):
      write(note)
    }
  }

  // MARK: Storage

  private func submitBatch() {
    guard !batchTickets.isEmpty else { return }
    let tickets = batchTickets
    batchTickets = []
    if seenRevision > writtenRevision {
      batch.raiseRevision(to: seenRevision.rawValue)
      writtenRevision = seenRevision
    }
    let full = batch
    batch = StorageBatch(needsSync: true)
    submit(full, .writes(tickets))
  }

  private func cut(_ cut: ShardCut) {
    var batch = StorageBatch(needsSync: true)
    do throws(StorageError) {
      try store.cut(cut, in: &batch)
    } catch {
      return storageFailed(error)
    }
    submit(batch, .cut(cut))
  }

  private func submit(_ batch: StorageBatch, _ what: Submitted) {
    lastTicket += 1
    let ticket = lastTicket
    submitted[ticket] = what
    deferred.append((ticket, batch))
    submitDeferred()
  }

  /// Hands over what waits, as far as there is room; completions make more.
  private func submitDeferred() {
    while let next = deferred.first {
      switch committer.submit(next.batch, ticket: StorageTicket(next.ticket), sink: self) {
      case .taken, .takenQueueFull: deferred.removeFirst()
      case .refused(.queueFull): return
      case .refused(let error): return storageFailed(error)
      }
    }
  }

  func storageCompleted(_ tickets: [StorageTicket], failure: StorageError?) {
    eventLoop.execute { [self] in
      if let failure { return storageFailed(failure) }
      submitDeferred()
      turn { core, now, actions in
        for ticket in tickets {
          switch submitted.removeValue(forKey: ticket.rawValue) {
          case .writes(let writes)?:
            for write in writes {
              core.persisted(
                write.partition, write.replica, ticket: write.ticket, now: now, into: &actions)
            }
          case .checkpoint(let partition, let replica, let through)?:
            core.checkpointWritten(
              partition, replica, through: through, now: now, into: &actions)
          case .cut(let cut)?: core.cutWritten(cut, now: now, into: &actions)
          case .deletion?, nil: break
          }
        }
      }
    }
  }

  /// A store that is not the only one is made anew at its next start.
  func noteDamage() {
    if core.configuration.replica.minInSync >= 2 { store.store.markDamaged() }
  }

  private func storageFailed(_ error: StorageError) {
    guard !hasFailed else { return }
    hasFailed = true
    if error.isDamage { noteDamage() }
    logger.critical(
      "the store does not write any more; its replicas stop", metadata: ["why": "\(error)"])
    submitted.removeAll()
    deferred.removeAll()
    turn { $0.storageFailed(now: $1, into: &$2) }
    failed.yield(error)
  }

  // MARK: Coordination

  /// Brings an answer of the coordinator to the loop. One that comes after `stop` is dropped: the
  /// loop may have ended.
  private func hop(_ body: @escaping @Sendable () -> Void) {
    hasStopped.withLock { hasStopped in
      if !hasStopped { eventLoop.execute(body) }
    }
  }

  private func compareAndSet(_ partition: PartitionID, _ record: PartitionRecord, base: Revision) {
    let coordinator = coordinator
    Task {
      let outcome = await RecordChange.compareAndSet(partition, record, base: base, in: coordinator)
      let change: ChangeOutcome =
        switch outcome {
        case .succeeded(let revision): .succeeded(revision)
        case .conflicted(let current): .conflicted(current)
        case .unknown: .unknown
        }
      hop { [self] in
        turn {
          $0.changeFinished(partition, base: base, outcome: change, now: $1, into: &$2)
        }
      }
    }
  }

  private func makeRecord(
    _ partition: PartitionID, _ record: PartitionRecord, of whole: PartitionID, base: Revision
  ) {
    let coordinator = coordinator
    Task {
      let made = await RecordChange.make(partition, record, of: whole, base: base, in: coordinator)
      // Otherwise it is asked for again.
      guard let made else { return }
      hop { [self] in turn { $0.recordObserved(partition, made, now: $1, into: &$2) } }
    }
  }

  private func readRecord(_ partition: PartitionID, ticket: UInt64) {
    let coordinator = coordinator
    Task {
      let found = await RecordChange.read(partition, in: coordinator)
      hop { [self] in
        turn { $0.recordRead(partition, ticket: ticket, found, now: $1, into: &$2) }
      }
    }
  }
}
