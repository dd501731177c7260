package import ClusterModel
package import NodeProtocol
package import Primitives

/// One replica of one partition as a value: inputs go in, actions come out. It reads no clock,
/// draws no randomness but from its seed, and touches neither disk nor network.
///
/// An acknowledged entry is durable on every in-sync replica, so any in-sync replica may lead. The
/// coordinator's record says who is in sync and who leads, by compare-and-set; no vote is held
/// here.
///
/// ```
///             suspicion, or the record names this process
///  follower ──────────────────────────────────────────────▶ candidate (record change under way)
///     ▲  ▲                                                       │
///     │  └───────────── the record went to somebody else ────────┤
///     │                                                          ▼ the record names this process
///     │        a later epoch is in the record                 assuming (promise not yet durable)
///     └────────────────────────────────────────── leader ◀───────┘
///
///  any ──▶ stopped (storage failed, fenced, conflict below the commit index, removed)
/// ```
///
/// Not copyable: there is one of it, and a look at one field must not retain its whole log.
///
/// **Invariant**: the numbered rules of ARCHITECTURE.md, section "Rules of safety"; each is named
/// where it is kept.
///
/// **Source**: Lin et al., "PacificA: Replication in Log-Based Distributed Storage Systems" (2008);
/// Kafka's in-sync replicas; log matching as in Ongaro and Ousterhout, "In Search of an
/// Understandable Consensus Algorithm" (2014), section 5.3.
package struct Replica: ~Copyable {
  enum Role: Equatable {
    case follower
    case candidate
    case assuming
    case leader
    case stopped(ReplicaStop)
  }

  package let partition: PartitionID
  package let id: ReplicaID
  package let boot: BootID
  private(set) var configuration: ReplicaConfiguration

  var role = Role.follower
  var random: SeededRandom

  // The record
  var known: VersionedRecord?
  /// A change of the record that this process asked for and that is neither done nor impossible yet
  /// (rule 2).
  var pendingChange: PendingChange?
  /// The highest epoch that this process has led (rule 6).
  var ledEpoch = Epoch.zero

  // The log
  var log: LogTail
  var promise: Epoch
  var durablePromise: Epoch
  var durableIndex: LogIndex
  package internal(set) var commitIndex: LogIndex
  package internal(set) var appliedIndex: LogIndex
  var pendingWrites = PendingWrites()

  // As a follower
  /// Up to here the log is known to equal that of the leader of `promise`.
  var matchedIndex = LogIndex.zero
  var acknowledgedIndex = LogIndex.zero
  /// Answers that wait for the promise to be durable (rule 4).
  var deferredAnswers: [ReplicaMessage] = []
  /// Messages of a sender that the known record does not explain (rule 8).
  var heldMessages: [ReplicaMessage] = []
  var installation: Installation?
  var lastInstallation: UInt64 = 0
  /// No snapshot is taken before then: one could not be written.
  var installAfter = Instant.zero

  // Promotion
  var unreachable: [StoreID] = []
  /// Stores that say of themselves that they should not lead.
  var unfit: [StoreID] = []
  var restarted: [StoreID] = []
  /// Which process answered last on each store. One element per store of the partition's members.
  var peerBoots: [(store: StoreID, boot: BootID)] = []
  var mayLead = true
  var promoteAt: Instant?
  var failedPromotionCount = 0
  var comparison: Comparison

  // As a leader
  var leadership = Leadership(epoch: .zero, epochStart: .zero)

  /// Members that should leave stay: what they hold is needed elsewhere.
  var keepsLeaving = false

  // Reads
  var reads = ReadBarrier()
  var recordReads = RecordReads()

  /// When `tick` has something to do.
  package internal(set) var wakeAt = Instant.distantFuture

  package init(
    partition: PartitionID, boot: BootID, recovered: RecoveredReplica,
    configuration: ReplicaConfiguration, seed: UInt64
  ) {
    self.partition = partition
    self.id = recovered.id
    self.boot = boot
    self.configuration = configuration
    random = SeededRandom(seed: seed)
    log = LogTail(
      base: recovered.base, last: recovered.last, epochStarts: recovered.epochStarts,
      tail: recovered.tail)
    promise = recovered.promise
    durablePromise = recovered.promise
    durableIndex = recovered.last.index
    commitIndex = max(min(recovered.commitIndex, recovered.last.index), recovered.appliedIndex)
    appliedIndex = recovered.appliedIndex
    comparison = Comparison(
      needed: recovered.promise > .zero && !recovered.isOfThisProcess)
  }

  // MARK: What others may know

  package var standing: ReplicaStanding {
    ReplicaStanding(
      isLeader: isLeader, epoch: epoch, acceptsCommands: acceptsCommands, servesReads: servesReads,
      isHandingOver: role == .leader && leadership.handoff != nil, isClosing: isClosing,
      isStopped: stop != nil, appliedIndex: appliedIndex, wakeAt: wakeAt)
  }

  /// For a person who looks for a mistake.
  package var summary: String {
    "\(role), log ends \(log.last), commit \(commitIndex), promise \(promise), "
      + "record \(known?.revision.rawValue ?? 0), pending \(pendingChange != nil), "
      + "unreachable \(unreachable), compares \(comparison.needed) \(comparison.answers.count), "
      + "promotes \(promoteAt != nil), progress "
      + leadership.progress.map { "\($0.replica) \($0.match) \($0.mode)" }.joined(separator: " ")
  }

  package var isLeader: Bool { if case .leader = role { true } else { false } }
  package var stop: ReplicaStop? { if case .stopped(let reason) = role { reason } else { nil } }
  package var lastEntry: EntryID { log.last }
  /// The entry before the first one that the log holds.
  package var baseEntry: EntryID { log.base }
  package var durablyPromised: Epoch { durablePromise }
  package var record: VersionedRecord? { known }
  package var epoch: Epoch { isLeader ? leadership.epoch : known?.record.epoch ?? promise }
  /// Who leads, as far as the known record says.
  package var knownLeader: ReplicaID? {
    known.flatMap { $0.record.epoch > .zero ? $0.record.leader : nil }
  }

  /// Whether a client's command may be appended now (rule 10).
  package var acceptsCommands: Bool {
    guard role == .leader, !isClosing, let known else { return false }
    return
      (known.record.inSync.count >= configuration.minInSync
      || configuration.breaks(.commandsNeedMinimum) || configuration.breaks(.neverBelowMinimum))
      && commitIndex >= leadership.epochStart
      && leadership.uncommittedBytes < configuration.uncommittedBytesMax
  }

  /// Whether no command is accepted because another replica is about to lead; soon some are again,
  /// here or there.
  package var isClosing: Bool {
    guard role == .leader, let handoff = leadership.handoff else { return false }
    return handoff.phase != .asking
  }

  /// Whether it leads and has committed the start of its epoch, so that its applied state is
  /// current as far as a barrier says so.
  package var servesReads: Bool { role == .leader && commitIndex >= leadership.epochStart }

  /// The entry at `index`, while it is in memory: always so for one that is not applied yet.
  package func entry(at index: LogIndex) -> Entry? { log.entry(at: index) }

  /// Of the entry at `index`, as far as the log reaches.
  package func epoch(at index: LogIndex) -> Epoch? { log.epoch(at: index) }

  /// How far each other replica is, for operators. Empty unless leading.
  package var followers: [(replica: ReplicaID, match: LogIndex)] {
    isLeader ? leadership.progress.map { ($0.replica, $0.match) } : []
  }

  // MARK: Inputs of the shell

  /// Other bounds hold from now on.
  package mutating func configure(_ configuration: ReplicaConfiguration) {
    self.configuration = configuration
  }

  /// Entries up to `index` were applied.
  package mutating func applied(through index: LogIndex, into actions: inout [ReplicaAction]) {
    precondition(
      index >= appliedIndex && index <= commitIndex, "applied \(index) of \(commitIndex)")
    appliedIndex = index
    log.trim(
      entriesMax: configuration.tailEntriesMax, bytesMax: configuration.tailBytesMax,
      keepingAfter: min(appliedIndex, durableIndex))
    releaseReads(into: &actions)
  }

  /// A write that was asked for is durable, and with it every earlier one of this replica.
  package mutating func persisted(ticket: UInt64, now: Instant, into actions: inout [ReplicaAction])
  {
    guard let (index, promised) = pendingWrites.finish(through: ticket) else { return }
    durableIndex = max(durableIndex, index)
    durablePromise = max(durablePromise, promised)
    switch role {
    case .leader: advanceCommit(now: now, into: &actions)
    case .assuming: if durablePromise >= promise { lead(now: now, into: &actions) }
    case .follower, .candidate: answerDurable(into: &actions)
    case .stopped: break
    }
  }

  /// A write or an fsync failed: the replica is out of service for good (rule 9).
  package mutating func storageFailed(into actions: inout [ReplicaAction]) {
    halt(.storageFailed, into: &actions)
  }

  /// The store holds nothing of this replica that can be trusted: it gives itself up
  /// (section 2.5).
  package mutating func gaveUp(_ reason: ReplicaStop, into actions: inout [ReplicaAction]) {
    precondition(reason.isFinal, "\(reason) is no reason to be replaced")
    halt(reason, into: &actions)
  }

  /// The record lists a later replica of this store: this one is out of service.
  package mutating func superseded(into actions: inout [ReplicaAction]) {
    halt(.removed, into: &actions)
  }

  /// A committed entry is one that this version cannot apply (rule 11).
  package mutating func applyFailed(at index: LogIndex, into actions: inout [ReplicaAction]) {
    halt(.applyFailed(index), into: &actions)
  }

  /// The leader says what its state is with everything applied, so that the others compare theirs.
  package func tellState(hash: UInt64, into actions: inout [ReplicaAction]) {
    guard role == .leader else { return }
    for progress in leadership.progress {
      actions.append(
        .send(
          message(
            to: progress.replica, epoch: leadership.epoch,
            .stateTold(index: appliedIndex, hash: hash))))
    }
  }

  /// After the entry at `index` the state here is another than the leader's.
  package mutating func stateDiffers(at index: LogIndex, into actions: inout [ReplicaAction]) {
    halt(.stateDiffers(index), into: &actions)
  }

  /// Whether members that are only to live elsewhere stay for now; who cannot be reached does not.
  package mutating func keepLeaving(_ keeps: Bool, now: Instant) {
    keepsLeaving = keeps
    wake(at: now)
  }

  /// Which stores cannot be reached now (silent, refusing connections, stalled), which should not
  /// lead, and whether this store may: its clock agrees with its peers' and its disk keeps up.
  package mutating func reachabilityChanged(
    unreachable: [StoreID], unfit: [StoreID] = [], mayLead: Bool, now: Instant,
    into actions: inout [ReplicaAction]
  ) {
    self.unreachable = unreachable
    self.unfit = unfit
    self.mayLead = mayLead
    considerPromotion(now: now)
    wake(at: now)
  }

  /// Another process serves `store` now: what it said before is void, and if it led, it does not.
  package mutating func peerRestarted(
    store: StoreID, boot: BootID, now: Instant, into actions: inout [ReplicaAction]
  ) {
    let isAnother = !peerBoots.contains { $0.store == store && $0.boot == boot }
    peerBoots.removeAll { $0.store == store }
    peerBoots.append((store, boot))
    if let known, known.record.leader.store == store, known.record.leaderBoot != boot {
      if !restarted.contains(store) { restarted.append(store) }
    } else {
      restarted.removeAll { $0 == store }
    }
    comparison.answers.removeAll { $0.replica.store == store }
    if isAnother { doubtProgress(on: store) }
    linkReset(store: store, now: now, into: &actions)
    considerPromotion(now: now)
  }

  /// What an earlier process acknowledged lets no learner join (rule 5) and nothing more be
  /// committed (rule 1): the new one says what it still has. Of an in-sync member it is kept, to
  /// notice when something is missing.
  private mutating func doubtProgress(on store: StoreID) {
    guard role == .leader else { return }
    for position in leadership.progress.indices {
      let replica = leadership.progress[position].replica
      guard replica.store == store else { continue }
      if quorumMembers.contains(replica) {
        leadership.progress[position].isOfEarlierProcess = true
      } else {
        leadership.progress[position] = Progress(
          replica: replica, next: leadership.progress[position].next)
      }
    }
  }

  /// The link to `store` broke: what was on its way is lost.
  package mutating func linkReset(store: StoreID, now: Instant, into actions: inout [ReplicaAction])
  {
    guard role == .leader else { return }
    for position in leadership.progress.indices
    where leadership.progress[position].replica.store == store {
      if leadership.progress[position].mode == .installing {
        resumeTransfer(to: position, now: now, into: &actions)
        continue
      }
      leadership.progress[position].probe(from: leadership.progress[position].next)
      sendAppends(to: position, now: now, into: &actions)
    }
  }

  /// The process did not run for a while: what it thinks of others is worth nothing until it has
  /// read the record and listened again.
  package mutating func resumedAfterPause(now: Instant, into actions: inout [ReplicaAction]) {
    promoteAt = nil
    // One that is under way may have begun before the pause.
    _ = readRecordAnew(for: .refresh, into: &actions)
  }

  /// Does what is due. The shell calls it when `wakeAt` has come.
  package mutating func tick(now: Instant, into actions: inout [ReplicaAction]) {
    guard now >= wakeAt else { return }
    wakeAt = .distantFuture
    if case .stopped = role { return }
    inquire(now: now, into: &actions)
    retryChange(now: now, into: &actions)
    promoteIfDue(now: now, into: &actions)
    if role == .leader {
      expireHandoff(now: now)
      tendFollowers(now: now, into: &actions)
      considerMembership(now: now, into: &actions)
    }
    expireBarrier(now: now, into: &actions)
  }

  // MARK: Shared by all roles

  mutating func wake(at instant: Instant) { wakeAt = min(wakeAt, instant) }

  func message(to replica: ReplicaID, epoch: Epoch, _ body: ReplicaMessage.Body) -> ReplicaMessage {
    ReplicaMessage(
      partition: partition, from: id, fromBoot: boot, to: replica, epoch: epoch,
      revision: known?.revision ?? .zero, body: body)
  }

  /// Asks for one write: the promise as it is now, a truncation, entries.
  mutating func persist(
    truncatingFrom: LogIndex? = nil, entries: [Entry], into actions: inout [ReplicaAction]
  ) {
    let ticket = pendingWrites.begin(last: entries.last?.index, promise: promise)
    let written = configuration.breaks(.promiseFirst) ? .zero : promise
    actions.append(
      .persist(
        ReplicaWrite(
          ticket: ticket, promise: written, truncatingFrom: truncatingFrom, entries: entries)))
  }

  mutating func truncate(from index: LogIndex) {
    log.truncate(from: index)
    durableIndex = min(durableIndex, index.predecessor)
    matchedIndex = min(matchedIndex, index.predecessor)
    pendingWrites.truncate(from: index)
  }

  mutating func commit(through index: LogIndex, into actions: inout [ReplicaAction]) {
    guard index > commitIndex else { return }
    precondition(index <= log.last.index, "commit \(index) beyond the log's end \(log.last)")
    commitIndex = index
    failedPromotionCount = 0
    actions.append(.apply(through: index))
  }

  mutating func halt(_ reason: ReplicaStop, into actions: inout [ReplicaAction]) {
    if case .stopped = role { return }
    stepDown(into: &actions)
    abandonInstallation(into: &actions)
    role = .stopped(reason)
    promoteAt = nil
    pendingChange = nil
    failReads(into: &actions)
    actions.append(.stopped(reason))
    actions.append(.statusChanged)
  }
}

/// Writes that were asked for and are not durable yet, in order.
struct PendingWrites {
  private struct Write {
    let ticket: UInt64
    var last: LogIndex?
    let promise: Epoch
  }

  private var writes: [Write] = []
  private var lastTicket: UInt64 = 0

  var isEmpty: Bool { writes.isEmpty }

  mutating func begin(last: LogIndex?, promise: Epoch) -> UInt64 {
    lastTicket += 1
    writes.append(Write(ticket: lastTicket, last: last, promise: promise))
    return lastTicket
  }

  /// **Returns**: how far the log and what promise became durable; `nil` when `ticket` is not
  /// pending.
  mutating func finish(through ticket: UInt64) -> (index: LogIndex, promise: Epoch)? {
    var index = LogIndex.zero
    var promise = Epoch.zero
    var count = 0
    for write in writes {
      guard write.ticket <= ticket else { break }
      index = max(index, write.last ?? .zero)
      promise = max(promise, write.promise)
      count += 1
    }
    guard count > 0 else { return nil }
    writes.removeFirst(count)
    return (index, promise)
  }

  /// A snapshot takes the log's place: earlier writes make nothing of it durable.
  mutating func logReplaced() {
    for position in writes.indices { writes[position].last = nil }
  }

  /// Entries from `index` on are replaced: earlier writes make them durable no longer.
  mutating func truncate(from index: LogIndex) {
    for position in writes.indices {
      writes[position].last = writes[position].last.map { min($0, index.predecessor) }
    }
  }
}
