package import ChatCore
import ChatModel
import ClusterModel
import NodeProtocol
package import Primitives
import ReplicaCore
import Routing

/// Partitions that are cut in two, because the ring is to have twice as many.
///
/// ```
///  leader    waits ──PartitionSplit──▶ committed ──cut──▶ asks ──all have cut──▶ T5: the record
///  follower                            committed ──cut──▶ answers               of the half
/// ```
///
/// The entry is the last one that both halves share. Whoever applies it applies nothing more before
/// the cut is durable, which moves no data. From the entry on the upper half's commands are not
/// taken here; they are sent back, and gateways try them at the half, once that has a record.
/// Nothing else is decided by anybody: which entry it is, the log says; who is in sync with the
/// half, those say who have cut their replicas; the half's epoch is later than that
/// of the entry, which is all that its replicas have promised; and its leader takes it up like any
/// other.
/// Who cuts later, a learner perhaps, has a replica of the half that its record lists or does not.
///
/// **Invariant**: a store hosts a half that it has cut, or an empty one that a record lists; never
/// both, and a half under a name that a record could give to somebody else never.
extension ShardCore {
  /// Numbers of replicas that a partition may give out between a split and its being applied
  /// everywhere: the half gives out none of them.
  private static let replicaReserve: UInt32 = 1 << 20

  // MARK: The cut

  /// The entry at `through` has cut the partition: from here on the upper half is not served here.
  mutating func beginCut(
    _ split: PartitionSplit, through: EntryID, _ position: Int, now: Instant,
    into actions: inout [ShardAction]
  ) {
    let host = hosts[position]
    host.cut = PendingCut(split: split, through: through, isWriting: false)
    host.splitting = nil
    host.halves = HalvesKnown()
    hasSplits = true
    host.narrowTokens()
    keepHolders(position, now: now)
    endSubscriptions(position, .notLeader, into: &actions) { !host.tokens.contains($0.token) }
    let moved = host.accountWaiters.filter { !host.owns(.user($0.user)) }
    host.accountWaiters.removeAll { !host.owns(.user($0.user)) }
    for waiter in moved { turnAway(waiter.origin, now: now, into: &actions) }
    writeCut(position, into: &actions)
  }

  /// One checkpoint at a time.
  mutating func writeCut(_ position: Int, into actions: inout [ShardAction]) {
    let host = hosts[position]
    guard let cut = host.cut, !cut.isWriting, host.checkpointing == nil,
      !host.standing.isStopped
    else { return }
    host.cut?.isWriting = true
    let scheme = routing.scheme
    let half = scheme.half(of: host.partition, level: cut.split.level)
    let upper = scheme.range(of: half, level: cut.split.level)
    let checkpoints = host.chat.beginSplit(upper: upper)
    precondition(
      scheme.origin(of: half) == host.partition, "\(half) is no half of \(host.partition)")
    let makesHalf = host.replicaID.number < cut.split.replicaLimit
    // They hold the upper half, too, which may be deleted under them.
    snapshots.removeAll { $0.partition == host.partition }
    actions.append(
      .cut(
        ShardCut(
          partition: host.partition, replica: host.replicaID, through: cut.through,
          generation: host.firstGeneration,
          lower: checkpoints.lower,
          lowerTokens: scheme.range(of: host.partition, level: cut.split.level),
          halfPartition: half,
          half: makesHalf && self.position(of: half) == nil
            ? host.replicaID : nil, upper: checkpoints.upper, upperTokens: upper)))
    host.noteEntries()
  }

  /// Both halves are durable.
  package mutating func cutWritten(
    _ cut: ShardCut, now: Instant, into actions: inout [ShardAction]
  ) {
    defer { if let replica = cut.half { host(half: cut, replica, now: now, into: &actions) } }
    // A snapshot may have taken its place meanwhile.
    guard let position = position(of: cut.partition, hosting: cut.replica),
      hosts[position].cut?.through == cut.through
    else { return }
    let host = hosts[position]
    do throws(StateReadError) {
      let reader = storage.stateReader(of: cut.partition)
      let chat = try ChatPartition(partition: cut.partition, state: reader)
      guard chat.appliedIndex == cut.through.index else {
        throw .unreadable("the cut state is of \(chat.appliedIndex), not \(cut.through.index)")
      }
      host.reopen(chat, reader, now: now)
    } catch {
      return drive(position, now: now, into: &actions) { replica, pending in
        replica.gaveUp(.damaged("\(error)"), into: &pending)
      }
    }
    actions.append(.note(.partitionCut(cut.partition, half: cut.halfPartition, cut.through)))
    readmit(position, now: now, into: &actions)
    drive(position, now: now, into: &actions) { replica, pending in
      pending.append(.apply(through: replica.commitIndex))
    }
    deliverOutbox(position, now: now, into: &actions)
  }

  /// The upper half is a replica of its own, which waits for its record.
  private mutating func host(
    half cut: ShardCut, _ id: ReplicaID, now: Instant, into actions: inout [ShardAction]
  ) {
    guard self.position(of: cut.halfPartition) == nil else { return }
    var half = RecoveredReplica(
      id: id, promise: cut.through.epoch, commitIndex: cut.through.index,
      appliedIndex: cut.through.index, base: cut.through, epochStarts: [], last: cut.through,
      tail: [])
    half.isOfThisProcess = true
    recover(
      RecoveredPartition(
        partition: cut.halfPartition, replica: half, generation: cut.generation),
      now: now, into: &actions)
    guard let position = self.position(of: cut.halfPartition) else { return }
    tellReachability(to: position, now: now, into: &actions)
    tellPresentPeers(to: position, now: now, into: &actions)
    if let known = routing.record(of: cut.halfPartition) {
      recordTaken(cut.halfPartition, known, isFirst: false, now: now, into: &actions)
    } else if let whole = self.position(of: cut.partition) {
      tendSplit(whole, now: now, into: &actions)
    }
  }

  /// What waited while the partition was cut goes on, here or at the half.
  private mutating func readmit(
    _ position: Int, now: Instant, into actions: inout [ShardAction]
  ) {
    let waiting = hosts[position].pending
    hosts[position].pending = []
    hosts[position].pendingBytes = 0
    for command in waiting {
      let entity = (try? Command(decoding: command.bytes[...]))?.entity
      if let entity, !hosts[position].owns(entity) {
        turnAway(command.origin, now: now, into: &actions)
      } else {
        hosts[position].pending.append(command)
        hosts[position].pendingBytes += command.bytes.count
      }
    }
    if !hosts[position].pending.isEmpty { touched.append(position) }
  }

  /// It is another partition's by now. Nothing of the upper half is taken here any more, so those
  /// that are turned away cannot overtake each other here.
  mutating func turnAway(
    _ origin: CommandOrigin, now: Instant, into actions: inout [ShardAction]
  ) {
    switch origin {
    case .request(let link, let request): respond(link, request, .isElsewhere, into: &actions)
    case .outbox(let source, let entry): outboxFailed(source: source, entry: entry, now: now)
    case .own: break
    }
  }

  // MARK: Leading

  /// Begins what the ring wants, and goes on with what is begun.
  mutating func considerSplits(now: Instant, into actions: inout [ShardAction]) {
    guard hasSplits else { return }
    hasSplits = false
    // While the coordinator is away halves get no records: what is cut then stays few.
    var room = configuration.splitsMax - hosts.indices.count { isBeingSplit($0) }
    for position in hosts.indices {
      keepHolders(position, now: now)
      tendSplit(position, now: now, into: &actions)
      if isSplitOpen(position) { hasSplits = true }
      guard room > 0, maySplit(position, now: now) else { continue }
      room -= 1
      propose(position, now: now, into: &actions)
    }
  }

  private func isBeingSplit(_ position: Int) -> Bool {
    let host = hosts[position]
    return host.cut != nil || host.splitting != nil
      || host.standing.isLeader && missingHalf(of: position) != nil
  }

  /// Whether a partition has to be looked at again. Of a ring that was split long ago none has.
  private func isSplitOpen(_ position: Int) -> Bool {
    let host = hosts[position]
    guard !host.standing.isStopped else { return false }
    return host.level < wantedLevel || host.cut != nil || missingHalf(of: position) != nil
  }

  /// Nobody needs to leave before the half has a record: who does takes along a part of what there
  /// is of it.
  mutating func keepHolders(_ position: Int, now: Instant) {
    let keeps = hosts[position].cut != nil || missingHalf(of: position) != nil
    guard hosts[position].keepsHolders != keeps else { return }
    hosts[position].keepsHolders = keeps
    hosts[position].visit { $0.keepLeaving(keeps, now: now) }
    look(at: position)
  }

  private func maySplit(_ position: Int, now: Instant) -> Bool {
    let host = hosts[position]
    guard activeVersion >= ProtocolVersion.splits, host.standing.isLeader,
      host.standing.acceptsCommands, !host.standing.isHandingOver, !isLeaving, !isDraining,
      host.cut == nil, host.splitting == nil, host.level < wantedLevel,
      missingHalf(of: position) == nil,
      let record = routing.record(of: host.partition)?.record
    else { return false }
    // Everybody has to cut before the half can begin.
    return record.inSync.allSatisfy { member in
      member == host.replicaID
        || peers.contains { $0.store == member.store && $0.link != nil && !$0.isSuspected }
    }
  }

  private mutating func propose(
    _ position: Int, now: Instant, into actions: inout [ShardAction]
  ) {
    let host = hosts[position]
    guard let record = routing.record(of: host.partition)?.record else { return }
    appendPending(position, now: now, wall: lastWall, into: &actions)
    let split = PartitionSplit(
      level: host.level + 1, replicaLimit: record.nextReplica + Self.replicaReserve)
    let command = PendingCommand(
      bytes: Command.partitionSplit(split).encoded(), origin: .own, resolves: nil)
    host.splitting = split.level
    if !append([command], position, now: now, wall: lastWall, into: &actions) {
      host.splitting = nil
    }
  }

  /// The half that this partition was cut into and that no record is known of.
  private func missingHalf(of position: Int) -> PartitionID? {
    let host = hosts[position]
    let level = host.level
    guard level > routing.scheme.firstLevel(of: host.partition) else { return nil }
    let half = routing.scheme.half(of: host.partition, level: level)
    return routing.knows(half) ? nil : half
  }

  /// Asks who has cut, and makes the half's record when enough have: who has, holds all of the half
  /// there is. That may be one that is no member any more.
  private mutating func tendSplit(
    _ position: Int, now: Instant, into actions: inout [ShardAction]
  ) {
    let host = hosts[position]
    guard host.standing.isLeader, host.cut == nil, let half = missingHalf(of: position),
      let split = host.chat.lastSplit, let known = routing.record(of: host.partition),
      known.record.leader == host.replicaID, known.record.epoch == host.standing.epoch
    else { return }
    let cutAt = host.chat.splitPosition
    let own = origin(of: half)
    host.halves.note(own?.replica ?? host.replicaID, isHolder: own?.index == cutAt)
    askHalves(position, half, split, known, now: now, into: &actions)
    let holders =
      PlantedBug.isActive(.halfNotAwaited) ? known.record.inSync : host.halves.holders
    guard !host.halves.holders.isEmpty, now >= host.halves.makeAt,
      PlantedBug.isActive(.halfNotAwaited) || mayBegin(host.halves, known.record, now)
    else { return }
    host.halves.makeAt = now + configuration.splitRecordRetry
    let record = known.record.cutOff(
      after: cutAt, holders: holders, limit: split.replicaLimit)
    actions.append(.makeRecord(half, record, of: host.partition, base: known.revision))
  }

  /// Whether nobody needs to be waited for any longer: everybody has answered, or can hardly do so.
  /// Who is not in sync is waited for briefly: it can learn the half like any other. As long as
  /// there are fewer holders than commands need, all who are in sync are waited for.
  private func mayBegin(
    _ halves: HalvesKnown, _ record: PartitionRecord, _ now: Instant
  ) -> Bool {
    let silent = record.members.filter { !halves.hasAnswered($0.store) }
    let isInSyncKnown = !silent.contains { record.inSync.contains($0) }
    if isInSyncKnown {
      return now >= halves.learnersUntil || !silent.contains { isReachable($0.store) }
    }
    let isEnough = halves.holders.count >= configuration.replica.minInSync
    return isEnough && now >= halves.patientUntil
  }

  private func isReachable(_ store: StoreID) -> Bool {
    peers.contains { $0.store == store && $0.link != nil && !$0.isSuspected }
  }

  /// Asks the members; when none of them has a half, everybody.
  private mutating func askHalves(
    _ position: Int, _ half: PartitionID, _ split: PartitionSplit, _ known: VersionedRecord,
    now: Instant, into actions: inout [ShardAction]
  ) {
    let host = hosts[position]
    guard now >= host.halves.askAt else { return }
    if host.halves.patientUntil == .distantFuture {
      host.halves.patientUntil = now + configuration.splitPatience
      host.halves.learnersUntil = now + configuration.splitLearnerPatience
    }
    host.halves.askAt = now + configuration.splitAskInterval
    let asksAll = host.halves.holders.isEmpty && now >= host.halves.patientUntil
    let members = known.record.members.map(\.store)
    for peer in peers where asksAll || members.contains(peer.store) {
      guard !host.halves.hasAnswered(peer.store), let link = peer.link else { continue }
      let message = ReplicaMessage(
        partition: half, from: host.replicaID, fromBoot: configuration.boot,
        to: ReplicaID(store: peer.store, number: 0), epoch: host.standing.epoch,
        revision: known.revision, body: .splitAsked(level: split.level))
      actions.append(.send(link, .replica(message)))
    }
  }

  /// A half here that waits for a record, and up to where it and what it was cut off from are the
  /// same.
  private func origin(of half: PartitionID) -> (replica: ReplicaID, index: LogIndex)? {
    guard let position = position(of: half) else { return nil }
    let host = hosts[position]
    guard !host.standing.isStopped, !host.hasRecord else { return nil }
    return (host.replicaID, host.chat.position)
  }

  /// A shard asks about a half of this one, or answers.
  ///
  /// **Returns**: whether the message was one of these.
  mutating func receiveSplit(
    _ message: ReplicaMessage, on link: LinkID, now: Instant, into actions: inout [ShardAction]
  ) -> Bool {
    switch message.body {
    case .splitAsked(let level):
      guard message.to.store == configuration.store, !mayStillCut(message.partition) else {
        return true
      }
      let found = origin(of: message.partition)
      let answer = ReplicaMessage(
        partition: message.partition, from: found?.replica ?? message.to,
        fromBoot: configuration.boot, to: message.from, epoch: message.epoch,
        revision: message.revision, body: .splitDone(level: level, origin: found?.index))
      actions.append(.send(link, .replica(answer)))
    case .splitDone(let level, let origin):
      guard let whole = routing.scheme.origin(of: message.partition),
        let position = position(of: whole, hosting: message.to),
        hosts[position].standing.isLeader, message.epoch == hosts[position].standing.epoch,
        level == hosts[position].level
      else { return true }
      // What was cut elsewhere is another half: an operator gave up what that one went on from.
      let isHolder = origin == hosts[position].chat.splitPosition
      hosts[position].halves.note(message.from, isHolder: isHolder)
      tendSplit(position, now: now, into: &actions)
    default: return false
    }
    return true
  }

  /// Whether a replica here may still be cut, and become this half too.
  private func mayStillCut(_ half: PartitionID) -> Bool {
    guard let whole = routing.scheme.origin(of: half), let position = position(of: whole) else {
      return false
    }
    let host = hosts[position]
    return !host.standing.isStopped
      && (host.cut != nil || host.level < routing.scheme.firstLevel(of: half))
  }

  /// Whether this store is making a half of a partition, so that it must not make an empty one.
  func isBeingCut(_ half: PartitionID) -> Bool {
    guard let origin = routing.scheme.origin(of: half), let position = position(of: origin),
      let cut = hosts[position].cut, cut.isWriting, self.position(of: half) == nil
    else { return false }
    return hosts[position].replicaID.number < cut.split.replicaLimit
      && routing.scheme.half(of: origin, level: cut.split.level) == half
  }
}

/// What the leader of a partition knows of those that have cut it.
struct HalvesKnown {
  private(set) var holders: [ReplicaID] = []
  private var others: [StoreID] = []
  var askAt = Instant.zero
  var makeAt = Instant.zero
  /// Until then the members that are not in sync are waited for, and until then those that are.
  var learnersUntil = Instant.distantFuture
  var patientUntil = Instant.distantFuture

  /// - Parameter isHolder: whether a store has the half, and not another of that name.
  mutating func note(_ replica: ReplicaID, isHolder: Bool) {
    guard isHolder else {
      if !hasAnswered(replica.store) { others.append(replica.store) }
      return
    }
    others.removeAll { $0 == replica.store }
    if !holders.contains(replica) { holders.append(replica) }
  }

  func hasAnswered(_ store: StoreID) -> Bool {
    others.contains(store) || holders.contains { $0.store == store }
  }
}

/// A cut that was applied and is not durable yet.
struct PendingCut {
  let split: PartitionSplit
  let through: EntryID
  var isWriting: Bool
}

/// What has to be written, at once and synced, for a replica to be cut in two: a checkpoint of the
/// whole, after which each half has its own range of the entities.
package struct ShardCut: Sendable {
  package let partition: PartitionID
  package let replica: ReplicaID
  /// The last entry that both halves share.
  package let through: EntryID
  /// Of the half's replica.
  package let generation: UInt32
  package let lower: Checkpoint
  package let lowerTokens: ClosedRange<Token>
  package let halfPartition: PartitionID
  /// The replica of the upper half that is made; `nil` when this store is to make none, and the
  /// half's range is to be deleted.
  package let half: ReplicaID?
  package let upper: Checkpoint
  package let upperTokens: ClosedRange<Token>
}

extension PartitionHost {
  /// Whether everything that a query names is this partition's.
  func serves(_ query: Query) -> Bool {
    switch query {
    // Gateways ask for those of one partition.
    case .changes(let changes) where level > 0:
      changes.requests.allSatisfy { owns(.conversation($0.conversation)) }
    case .summaries(_, let conversations) where level > 0:
      conversations.allSatisfy { owns(.conversation($0)) }
    default: query.entity.map { owns($0) } ?? true
    }
  }
}

extension Response.Outcome {
  /// A gateway asks again, and by then knows where.
  static let isElsewhere = Response.Outcome.failed(
    .unavailable("it belongs to another partition since the ring was split"))
}
