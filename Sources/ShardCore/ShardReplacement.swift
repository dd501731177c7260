import ChatCore
import ClusterModel
import NodeProtocol
import Primitives
import ReplicaCore
import Routing

/// Replicas that come, give themselves up and go.
///
/// ```
///  the record lists a replica of this store        a later one of this store is listed
///  that is not here ──▶ hosted ──────────────┬───────────────────────────▶ former
///                          │                 │                                │
///                          ▼ damage          │                                ▼
///                       given up ────────────┘                           forgotten: no
///                       (asks for a later one in its place, T4)          record lists it
/// ```
///
/// **Invariant**: a store never hosts a replica whose number is not greater than those that it
/// hosted before; what is left of one is deleted only when no record lists it. What is left of one
/// whose generation an operator has ended is never deleted.
extension ShardCore {
  /// Hosts the replica that a record lists for this store, unless it or a later one is here.
  ///
  /// - Parameter isFirst: whether it is the first record of the partition that this process sees.
  /// **Returns**: whether it is new.
  mutating func takeIn(
    _ partition: PartitionID, _ record: PartitionRecord, isFirst: Bool, now: Instant,
    into actions: inout [ShardAction]
  ) -> Bool {
    guard let listed = record.replica(on: configuration.store), !isBeingCut(partition) else {
      return false
    }
    guard let position = position(of: partition) else {
      create(
        listed, of: partition, record, former: [], settingAside: false, isFirst: isFirst, now: now,
        into: &actions)
      return true
    }
    let hosted = hosts[position].replica.id
    guard listed.number > hosted.number else { return false }
    drive(position, now: now, into: &actions) { replica, pending in
      replica.superseded(into: &pending)
    }
    actions.append(.note(.replicaReplaced(partition, old: hosted, new: listed)))
    let isSetAside = hosts[position].isOutdated(by: record) && !hosts[position].isForgotten
    if isSetAside { actions.append(.note(.replicaSetAside(partition, hosted))) }
    let isKept = hosts[position].isForgotten || isSetAside
    create(
      listed, of: partition, record, former: hosts[position].former + (isKept ? [] : [hosted]),
      settingAside: isSetAside, isFirst: isFirst, now: now, into: &actions)
    return true
  }

  /// Makes an empty replica, of an in-sync member too: the record of a young partition may be seen
  /// first when others have begun already, and without this replica's acknowledgement nothing was
  /// committed. A store that was made anew knows that it has lost it instead; it may have lost
  /// every replica that it finds listed when it starts, learners too, which may join by a change
  /// that was asked for before.
  private mutating func create(
    _ replica: ReplicaID, of partition: PartitionID, _ record: PartitionRecord,
    former: [ReplicaID], settingAside: Bool, isFirst: Bool, now: Instant,
    into actions: inout [ShardAction]
  ) {
    do throws(StateReadError) {
      let reader = try storage.createReplica(
        replica, of: partition, generation: record.generation, settingAside: settingAside)
      let chat = try ChatPartition(partition: partition, state: reader)
      let host = PartitionHost(
        partition: partition,
        replica: Replica(
          partition: partition, boot: configuration.boot,
          recovered: RecoveredReplica(empty: replica), configuration: configuration.replica,
          seed: random.next()),
        chat: chat, reader: reader, generation: record.generation, logSize: emptyLogSize,
        scheme: routing.scheme, now: now)
      host.former = former
      install(host)
    } catch {
      return actions.append(.note(.replicaNotCreated(partition, error)))
    }
    guard let position = position(of: partition) else { return }
    // Where nobody has led yet there is nothing to lose.
    if configuration.wasMadeAnew, record.epoch > .zero, isFirst || record.inSync.contains(replica) {
      drive(position, now: now, into: &actions) { replica, pending in
        replica.gaveUp(.lost, into: &pending)
      }
    }
    tellReachability(to: position, now: now, into: &actions)
  }

  /// Asks for a fresh replica in the place of one that gave itself up.
  mutating func considerReplacement(
    _ position: Int, now: Instant, into actions: inout [ShardAction]
  ) {
    let host = hosts[position]
    guard host.standing.isStopped, now >= host.replacementAt,
      let known = routing.record(of: host.partition),
      let listed = known.record.replica(on: configuration.store)
    else { return }
    // One that an earlier one of this store gave its place to may be listed alone again: whoever
    // moves partitions cannot know that there is nothing left of it.
    let hosted = host.replica.id
    guard listed == hosted && host.replica.stop?.isFinal ?? false || listed.number < hosted.number
    else { return }
    host.replacementAt = now + configuration.replacementRetry
    if let changed = known.record.giving(up: listed) {
      actions.append(.compareAndSet(host.partition, changed, base: known.revision))
    }
  }

  /// Deletes what is left of replicas that no record lists any more and that no later record can
  /// list again.
  mutating func forgetUnlisted(
    _ position: Int, _ record: PartitionRecord, into actions: inout [ShardAction]
  ) {
    let host = hosts[position]
    let gone = host.former.filter { record.nextReplica > $0.number && !record.hasMember($0) }
    host.former.removeAll { gone.contains($0) }
    for replica in gone { actions.append(.forget(host.partition, replica)) }
    let hosted = host.replica.id
    // The last one is what this store knows by that earlier ones gave themselves up.
    if host.standing.isStopped, !host.isForgotten, host.former.isEmpty,
      record.nextReplica > hosted.number, !record.hasMember(hosted)
    {
      host.isForgotten = true
      if host.isOutdated(by: record) {
        actions.append(.setAside(host.partition, hosted))
        actions.append(.note(.replicaSetAside(host.partition, hosted)))
      } else {
        actions.append(.forget(host.partition, hosted))
      }
    }
  }

  /// A replica that a later one of this store has taken the place of holds nothing: who compares
  /// must not wait for it.
  func answerForFormer(
    _ message: ReplicaMessage, on link: LinkID, into actions: inout [ShardAction]
  ) {
    guard let answer = answerForFormer(message) else { return }
    actions.append(.send(link, .replica(answer)))
  }

  /// The same where the one that compares is of this store, too.
  func answerForFormer(
    _ message: ReplicaMessage, _ position: Int, pending: inout [ReplicaAction], now: Instant
  ) {
    guard let answer = answerForFormer(message) else { return }
    hosts[position].visit { $0.messageReceived(answer, now: now, into: &pending) }
  }

  private func answerForFormer(_ message: ReplicaMessage) -> ReplicaMessage? {
    guard case .inquiry = message.body else { return nil }
    return ReplicaMessage(
      partition: message.partition, from: message.to, fromBoot: configuration.boot,
      to: message.from, epoch: message.epoch,
      revision: routing.record(of: message.partition)?.revision ?? .zero,
      body: .inquiryAnswered(last: nil, inquirerBoot: message.fromBoot))
  }
}
