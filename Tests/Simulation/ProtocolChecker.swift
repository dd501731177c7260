import ChatCore
import ClusterModel
import NodeProtocol
import Primitives
import ReplicaCore
import ShardCore

/// What an entry is, in few bytes.
struct EntryDigest: Equatable {
  let epoch: UInt64
  let payload: UInt64
  let isEpochStart: Bool

  init(_ entry: Entry) {
    epoch = entry.epoch.rawValue
    isEpochStart = entry.isEpochStart
    payload = entry.payload.withUnsafeBytes { bytes in
      var hash = UInt64(bytes.count)
      for place in stride(from: 0, to: bytes.count - 7, by: 8) {
        Self.mix(bytes.loadUnaligned(fromByteOffset: place, as: UInt64.self), into: &hash)
      }
      for byte in bytes[(bytes.count & ~7)...] { Self.mix(UInt64(byte), into: &hash) }
      return hash
    }
  }

  private static func mix(_ word: UInt64, into hash: inout UInt64) {
    hash = (hash ^ word) &* 0x9e37_79b9_7f4a_7c15
    hash ^= hash >> 29
  }
}

/// Holds the invariants of replication after every step, with the eyes of somebody who sees all
/// disks, all memories and the coordinator at once.
///
/// - Every in-sync replica of the record holds every committed entry durably, but for one that was
///   damaged and has not been found out yet.
/// - Committed entries never change; (epoch, index) names one entry; an epoch has one leader.
/// - A committed command is durable on at least `minInSync` stores.
/// - Promises never go down (the disk holds it).
/// - What is applied is committed, and equal states are equal.
final class ProtocolChecker {
  private struct NamedEntry: Hashable {
    let partition: UInt32
    let epoch: UInt64
    let index: UInt64
  }

  private struct Leadership: Hashable {
    let partition: PartitionID
    let epoch: Epoch
  }

  /// One process's log of a partition, as it asked for it to be written.
  private struct WorkingLog {
    var replica: ReplicaID
    var entries: [EntryDigest]
    var applied: Int
  }

  private let minInSync: Int
  /// By partition, the committed entries in order.
  private(set) var committed: [[EntryDigest]]
  /// When each of them was first applied anywhere. Microseconds.
  private var commitTimes: [[UInt64]]
  /// By partition, the hash of the state after each entry; zero where nobody was looked at.
  private var states: [[UInt64]]
  /// By shard and partition.
  private var logs: [[WorkingLog?]]
  private var names: [NamedEntry: EntryDigest] = [:]
  private var leaders: [Leadership: BootID] = [:]
  /// Replicas whose disk lost something that was durable, and of which partitions.
  private var damagedIn: [ReplicaID: [PartitionID: Int]] = [:]

  init(partitionCount: Int, shardCount: Int, minInSync: Int) {
    self.minInSync = minInSync
    committed = Array(repeating: [], count: partitionCount)
    commitTimes = Array(repeating: [], count: partitionCount)
    states = Array(repeating: [], count: partitionCount)
    logs = Array(
      repeating: Array(repeating: nil, count: partitionCount), count: shardCount)
  }

  // MARK: What shards do

  func processStarted(_ shard: SimulatedShard, _ found: [RecoveredPartition]) {
    for partition in logs[shard.number].indices { logs[shard.number][partition] = nil }
    for item in found where item.damage == nil {
      logs[shard.number][Int(item.partition.rawValue)] = WorkingLog(
        replica: item.replica.id,
        entries: prefix(item.partition, shard.disk.log(of: item.partition).start)
          + shard.disk.log(of: item.partition).entries.map { EntryDigest($0) },
        // So that the state that was read from the disk is looked at, too.
        applied: max(0, Int(item.replica.appliedIndex.rawValue) - 1))
    }
  }

  /// What a snapshot of everything up to `index` stands for.
  private func prefix(_ partition: PartitionID, _ index: LogIndex) -> [EntryDigest] {
    Array(committed[Int(partition.rawValue)].prefix(Int(index.rawValue)))
  }

  /// A snapshot takes the place of a process's log and state.
  func installed(
    _ installation: ReplicaInstallation, of partition: PartitionID, _ replica: ReplicaID,
    by shard: SimulatedShard, in simulation: SimulatedCluster
  ) {
    let entries = prefix(partition, installation.last.index)
    guard let last = entries.last, entries.count == Int(installation.last.index.rawValue),
      last.epoch == installation.last.epoch.rawValue
    else {
      return simulation.fail("\(partition): a snapshot up to \(installation.last) is installed")
    }
    // So that the state is looked at.
    logs[shard.number][Int(partition.rawValue)] = WorkingLog(
      replica: replica, entries: entries, applied: entries.count - 1)
  }

  /// A partition is cut in two by one of its processes: both halves are the same up to there.
  func wasCut(_ cut: ShardCut, by shard: SimulatedShard, in simulation: SimulatedCluster) {
    let (whole, half) = (Int(cut.partition.rawValue), Int(cut.halfPartition.rawValue))
    let index = Int(cut.through.index.rawValue)
    let shared = prefix(cut.partition, cut.through.index)
    guard shared.count == index, shared.last?.epoch == cut.through.epoch.rawValue else {
      return simulation.fail("\(cut.partition) is cut at \(cut.through), which is not committed")
    }
    if committed[half].isEmpty {
      committed[half] = shared
      commitTimes[half] = Array(commitTimes[whole].prefix(index))
    }
    guard let replica = cut.half else { return }
    noteState(cut.upper.rollingHash, at: index, cut.halfPartition, replica, simulation)
    logs[shard.number][half] = WorkingLog(replica: replica, entries: shared, applied: index)
  }

  /// What was cut off and is nobody's so far.
  func halvesWithoutRecord(in simulation: SimulatedCluster) -> [PartitionID] {
    committed.indices.map { PartitionID(UInt32($0)) }.filter { partition in
      !committed[Int(partition.rawValue)].isEmpty
        && simulation.coordinator.records[partition] == nil
    }
  }

  /// The record of a half is made: whoever is in sync with it holds it.
  func began(
    _ partition: PartitionID, _ record: PartitionRecord, in simulation: SimulatedCluster
  ) {
    for member in record.inSync where !isDamaged(member, partition) {
      if !holdsEverything(member, partition, in: simulation) {
        simulation.fail("\(partition) begins with \(member) in sync, which has no half")
      }
    }
  }

  func wrote(
    _ write: ReplicaWrite, of partition: PartitionID, _ replica: ReplicaID,
    by shard: SimulatedShard, in simulation: SimulatedCluster
  ) {
    let place = Int(partition.rawValue)
    var log = WorkingLog(replica: replica, entries: [], applied: 0)
    if let known = logs[shard.number][place], known.replica == replica { log = known }
    logs[shard.number][place] = nil
    if let from = write.truncatingFrom {
      log.entries.removeLast(max(0, log.entries.count - Int(from.rawValue) + 1))
    }
    for entry in write.entries {
      let digest = EntryDigest(entry)
      simulation.fold(digest.payload)
      let name = NamedEntry(
        partition: partition.rawValue, epoch: digest.epoch, index: entry.index.rawValue)
      if let known = names[name] {
        if known != digest { simulation.fail("\(partition): two entries are \(entry.id)") }
      } else {
        names[name] = digest
      }
      log.entries.append(digest)
    }
    logs[shard.number][place] = log
  }

  func becameDurable(
    _ item: DiskWrite, on shard: SimulatedShard, in simulation: SimulatedCluster
  ) {
    let from: LogIndex
    switch item.what {
    case .log(let write):
      guard let index = write.truncatingFrom else { return }
      from = index
    case .snapshot(let installation, _): from = installation.last.index.successor
    }
    guard !isDamaged(item.replica, item.partition),
      simulation.coordinator.records[item.partition]?.record.inSync.contains(item.replica) ?? false
    else { return }
    let place = Int(item.partition.rawValue)
    var index = Int(from.rawValue)
    // What was cut off may have been replaced by the same.
    while index <= committed[place].count {
      guard isDurable(committed[place][index - 1], index, item.partition, item.replica, simulation)
      else {
        return simulation.fail(
          "\(item.partition): \(item.replica), in sync, cut committed entry \(index) off")
      }
      index += 1
    }
  }

  func leads(
    _ partition: PartitionID, _ epoch: Epoch, _ shard: SimulatedShard,
    in simulation: SimulatedCluster
  ) {
    let leadership = Leadership(partition: partition, epoch: epoch)
    if let other = leaders[leadership], other != shard.boot {
      simulation.fail("\(partition): two processes lead \(epoch)")
    }
    leaders[leadership] = shard.boot
  }

  /// After every input of a shard: what is newly applied there.
  func look(
    at shard: SimulatedShard, _ coordinator: SimulatedCoordinator, in simulation: SimulatedCluster
  ) {
    for host in shard.hosts {
      let place = Int(host.partition.rawValue)
      let applied = Int(host.standing.appliedIndex.rawValue)
      guard applied > 0, let log = logs[shard.number][place], log.replica == host.replicaID,
        applied > log.applied
      else { continue }
      guard applied <= log.entries.count else {
        simulation.fail(
          "\(host.partition): \(host.replicaID) applied \(applied), which it never had")
        return
      }
      for index in (log.applied + 1)...applied {
        noteCommitted(
          log.entries[index - 1], index, host.partition, by: host.replicaID, coordinator, simulation
        )
      }
      logs[shard.number][place]?.applied = applied
      // One that stopped in the middle of an entry has no state.
      if !host.standing.isStopped {
        noteState(host.rollingHash, at: applied, host.partition, host.replicaID, simulation)
      }
    }
  }

  private func noteCommitted(
    _ digest: EntryDigest, _ index: Int, _ partition: PartitionID, by replica: ReplicaID,
    _ coordinator: SimulatedCoordinator, _ simulation: SimulatedCluster
  ) {
    let place = Int(partition.rawValue)
    if index <= committed[place].count {
      if committed[place][index - 1] != digest {
        simulation.fail("\(partition): \(replica) applied another entry at \(index)")
      }
      return
    }
    committed[place].append(digest)
    commitTimes[place].append(simulation.now)
    guard let record = coordinator.records[partition]?.record else { return }
    var durableCount = 0
    var excusedCount = 0
    var lacking: ReplicaID?
    for member in record.members {
      if isDurable(digest, index, partition, member, simulation) {
        durableCount += 1
      } else if isExcused(member, partition, index) {
        excusedCount += 1
      } else if record.inSync.contains(member) {
        lacking = lacking ?? member
      }
    }
    if durableCount == 2 { simulation.rare.note(.twoMemberCommit) }
    if let lacking {
      return simulation.fail(
        "\(partition): \(index) is committed by \(replica) and not durable on \(lacking), in sync")
    }
    if !digest.isEpochStart, durableCount + excusedCount < minInSync {
      simulation.fail("\(partition): command \(index) is committed on \(durableCount) stores")
    }
  }

  private func isDurable(
    _ digest: EntryDigest, _ index: Int, _ partition: PartitionID, _ member: ReplicaID,
    _ simulation: SimulatedCluster
  ) -> Bool {
    let shard = simulation.shards.first { $0.id == member.store }
    return switch shard?.disk.trace(at: LogIndex(UInt64(index)), of: partition, member) {
    // Whether the state is the right one is looked at where it is used.
    case .inState: true
    case .entry(let entry): EntryDigest(entry) == digest
    case .nothing, nil: false
    }
  }

  private func noteState(
    _ hash: UInt64, at index: Int, _ partition: PartitionID, _ replica: ReplicaID,
    _ simulation: SimulatedCluster
  ) {
    let place = Int(partition.rawValue)
    while states[place].count < index { states[place].append(0) }
    let known = states[place][index - 1]
    if known == 0 {
      states[place][index - 1] = hash
    } else if known != hash {
      simulation.fail("\(partition): \(replica) has another state after \(index)")
    }
  }

  /// When an entry was first applied anywhere. Microseconds.
  func committedAt(_ index: LogIndex, of partition: PartitionID) -> UInt64 {
    commitTimes[Int(partition.rawValue)][Int(index.rawValue) - 1]
  }

  // MARK: What the coordinator decides

  func changed(
    _ partition: PartitionID, _ record: PartitionRecord, after before: PartitionRecord,
    in simulation: SimulatedCluster
  ) {
    let place = Int(partition.rawValue)
    if record.epoch < before.epoch { simulation.fail("\(partition): the epoch went back") }
    if record.nextReplica < before.nextReplica {
      simulation.fail("\(partition): replica ids are given out again")
    }
    for member in record.inSync where !before.inSync.contains(member) {
      for index in committed[place].indices where !isExcused(member, partition, index + 1) {
        if !isDurable(committed[place][index], index + 1, partition, member, simulation) {
          return simulation.fail("\(partition): \(member) joins without entry \(index + 1)")
        }
      }
    }
  }

  func forgot(
    _ partition: PartitionID, _ replica: ReplicaID, _ coordinator: SimulatedCoordinator,
    in simulation: SimulatedCluster
  ) {
    guard let record = coordinator.records[partition]?.record else { return }
    if record.hasMember(replica) || record.nextReplica <= replica.number {
      simulation.fail("\(partition): \(replica) was deleted while the record listed it")
    }
  }

  // MARK: Damage

  /// A replica's disk lost something of a log of `length` entries: what it holds of them counts no
  /// more until it has as much again, or is replaced. `nil` while a process goes on writing there,
  /// not knowing it.
  func wasDamaged(_ replica: ReplicaID, _ partition: PartitionID, length: Int?) {
    damagedIn[replica, default: [:]][partition] = length ?? .max
  }

  /// Nothing more is written by the process that did not know.
  func endedWriting(_ replica: ReplicaID, _ partition: PartitionID, length: Int) {
    guard damagedIn[replica]?[partition] == .max else { return }
    damagedIn[replica]?[partition] = length
  }

  /// Whether an entry is one that a replica may have acknowledged before its disk lost something.
  /// What comes later it has to have.
  private func isExcused(_ replica: ReplicaID, _ partition: PartitionID, _ index: Int) -> Bool {
    damagedIn[replica]?[partition].map { index <= $0 } ?? false
  }

  func isDamaged(_ replica: ReplicaID, _ partition: PartitionID) -> Bool {
    damagedIn[replica]?[partition] != nil
  }

  /// Whether every replica of the record holds everything that is committed: of one that was
  /// damaged, nothing is to be excused any more.
  func isWhole(_ partition: PartitionID, _ record: PartitionRecord, in simulation: SimulatedCluster)
    -> Bool
  {
    for member in record.inSync where isDamaged(member, partition) {
      let shard = simulation.shards.first { $0.id == member.store }
      guard let disk = shard?.disk,
        disk.length(of: partition, member) >= damagedIn[member]?[partition] ?? 0,
        holdsEverything(member, partition, in: simulation)
      else { return false }
      damagedIn[member]?[partition] = nil
    }
    return true
  }

  /// Whether a replica can be read and has everything that is committed.
  func holdsEverything(
    _ member: ReplicaID, _ partition: PartitionID, in simulation: SimulatedCluster
  ) -> Bool {
    guard let disk = simulation.shards.first(where: { $0.id == member.store })?.disk,
      disk.isReadable(partition, member)
    else { return false }
    let entries = committed[Int(partition.rawValue)]
    return entries.indices.allSatisfy {
      isDurable(entries[$0], $0 + 1, partition, member, simulation)
    }
  }
}
