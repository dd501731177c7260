package import ChatCore
import ClusterModel
package import NodeProtocol
package import Primitives
package import ReplicaCore
package import ShardCore

/// One replica's write on its way to the disk.
package struct DiskWrite {
  package enum What {
    case log(ReplicaWrite)
    case snapshot(ReplicaInstallation, SimulatedState)
  }

  let partition: PartitionID
  let replica: ReplicaID
  let what: What

  package init(_ write: ReplicaWrite, of partition: PartitionID, _ replica: ReplicaID) {
    self.partition = partition
    self.replica = replica
    what = .log(write)
  }

  package init(
    _ installation: ReplicaInstallation, _ state: SimulatedState, of partition: PartitionID,
    _ replica: ReplicaID
  ) {
    self.partition = partition
    self.replica = replica
    what = .snapshot(installation, state)
  }

  var ticket: UInt64 {
    switch what {
    case .log(let write): write.ticket
    case .snapshot(let installation, _): installation.ticket
    }
  }

  /// Tells the process of it.
  package func finish(
    _ core: inout ShardCore, now: Instant, into actions: inout [ShardAction]
  ) {
    core.persisted(partition, replica, ticket: ticket, now: now, into: &actions)
  }
}

/// One store's data directory in memory. What was synced survives the process; of the rest a crash
/// keeps as much as the simulation says.
package final class SimulatedDisk: ShardStorage {
  /// One replica as it lies on the disk.
  private final class Stored {
    let id: ReplicaID
    let generation: UInt32
    /// Whether anything of it was written.
    var isWritten = false
    var promise = Epoch.zero
    /// What was before the log: a snapshot was installed that ended there.
    let start: EntryID
    /// The entry of index i is at i - 1 - start. Entries up to `base` are not there for anybody.
    var log: [Entry] = []
    /// Where the log begins.
    var base: EntryID
    var appliedIndex: LogIndex
    var commitIndex: LogIndex
    let state: SimulatedState
    var isLogDamaged = false

    init(id: ReplicaID, generation: UInt32) {
      self.id = id
      self.generation = generation
      start = .zero
      base = .zero
      appliedIndex = .zero
      commitIndex = .zero
      state = SimulatedState()
    }

    /// The same replica after a snapshot.
    init(_ before: Stored, _ installation: ReplicaInstallation, _ state: SimulatedState) {
      id = before.id
      generation = before.generation
      promise = installation.promise
      start = installation.last
      base = start
      appliedIndex = start.index
      commitIndex = start.index
      self.state = state
    }

    /// The same replica after its partition was cut in two.
    init(_ before: Stored, _ cut: ShardCut) {
      id = before.id
      generation = before.generation
      promise = before.promise
      start = before.start
      log = before.log
      base = before.base
      appliedIndex = cut.lower.appliedIndex
      commitIndex = cut.through.index
      state = before.state.part(own: true, of: cut.lowerTokens)
      isLogDamaged = before.isLogDamaged
      isWritten = true
    }

    /// The half of a replica that was cut off.
    init(half id: ReplicaID, of before: Stored, _ cut: ShardCut) {
      self.id = id
      generation = cut.generation
      promise = cut.through.epoch
      start = cut.through
      base = start
      appliedIndex = start.index
      commitIndex = start.index
      state = before.state.part(own: false, of: cut.upperTokens)
      for write in cut.upper.writes { state.set(write.key, write.value) }
      isWritten = true
    }

    var last: EntryID { log.last?.id ?? start }
    func entry(at index: LogIndex) -> Entry? {
      guard index > start.index, index <= last.index else { return nil }
      return log[index - start.index - 1]
    }
    func cut(from index: LogIndex) { log.removeLast(max(0, last.index - index.predecessor)) }
  }

  /// A checkpoint that no fsync has followed yet, and how to take it back.
  private struct Unsynced {
    let stored: Stored
    let appliedIndex: LogIndex
    let commitIndex: LogIndex
    let base: EntryID
    let before: [(key: [UInt8], value: [UInt8]?)]
  }

  private var present: [PartitionID: Stored] = [:]
  private var former: [PartitionID: [Stored]] = [:]
  private var unsynced: [Unsynced] = []
  /// States that processes prepare beside the others.
  private var prepared: [PartitionID: (id: InstallationID, state: SimulatedState)] = [:]
  /// How often entries were read for a follower.
  package private(set) var loadCount = 0
  /// What must not be: a promise taken back, a gap in a log. The first one.
  package private(set) var violation: String?

  package init() {}

  // MARK: ShardStorage

  package func stateReader(of partition: PartitionID) -> any StateReader {
    guard let stored = present[partition] else { preconditionFailure("\(partition) is not here") }
    return stored.state
  }

  package func createReplica(
    _ replica: ReplicaID, of partition: PartitionID, generation: UInt32, settingAside: Bool
  ) throws(StateReadError) -> any StateReader {
    if let earlier = present[partition] {
      if earlier.id.number >= replica.number { violation = "\(replica) after \(earlier.id)" }
      if earlier.isWritten, !settingAside { former[partition, default: []].append(earlier) }
    }
    let stored = Stored(id: replica, generation: generation)
    present[partition] = stored
    return stored.state
  }

  package func entries(
    of partition: PartitionID, from index: LogIndex, bytesMax: Int
  ) throws(StateReadError) -> [Entry] {
    guard let stored = present[partition] else { return [] }
    loadCount += 1
    if stored.isLogDamaged { throw .unreadable("a flipped bit in the log") }
    if index <= stored.base.index { violation = "\(partition): \(index) is read, which is gone" }
    var bytes = 0
    return Array(
      stored.log.dropFirst(index - stored.start.index - 1).prefix { entry in
        defer { bytes += entry.bytes }
        return bytes == 0 || bytes + entry.bytes <= bytesMax
      })
  }

  package func freezeState(of partition: PartitionID) throws(StateReadError) -> any FrozenState {
    guard let stored = present[partition] else { preconditionFailure("\(partition) is not here") }
    return SimulatedSnapshot(stored.state.copy(), appliedIndex: stored.appliedIndex)
  }

  package func preparedState(of partition: PartitionID, _ id: InstallationID) -> any StateReader {
    guard let found = prepared[partition], found.id == id else {
      preconditionFailure("\(partition): installation \(id.rawValue) was not prepared")
    }
    return found.state
  }

  // MARK: Preparing

  /// **Returns**: what came of it; `nil` when it is not answered.
  package func prepare(
    _ step: InstallationStep, of id: InstallationID, _ partition: PartitionID
  ) -> InstallationOutcome? {
    switch step {
    case .begin: prepared[partition] = (id, SimulatedState())
    case .write(let chunk):
      guard let found = prepared[partition], found.id == id else { return nil }
      guard let records = try? StateRecords.decode(chunk.records) else { return .failed }
      for record in records {
        if found.state.set(record.key, record.value) != nil { violation = "a key came twice" }
      }
      return .written
    case .finish: return prepared[partition]?.id == id ? .ready : nil
    case .abandon: if prepared[partition]?.id == id { prepared[partition] = nil }
    }
    return nil
  }

  // MARK: Writing

  /// A synced write. What was written before it is durable with it.
  package func write(_ item: DiskWrite) {
    switch item.what {
    case .log(let write): self.write(write, of: item.partition, item.replica)
    case .snapshot(let installation, let state):
      install(installation, state, of: item.partition, item.replica)
    }
  }

  private func write(_ write: ReplicaWrite, of partition: PartitionID, _ replica: ReplicaID) {
    unsynced.removeAll(keepingCapacity: true)
    guard let stored = present[partition], stored.id == replica else { return }
    if write.promise < stored.promise { violation = "a promise was taken back by \(replica)" }
    stored.isWritten = true
    stored.promise = write.promise
    if let from = write.truncatingFrom { stored.cut(from: from) }
    for entry in write.entries {
      if entry.index != stored.last.index.successor {
        violation = "\(entry.id) is written after \(stored.last)"
      }
      stored.log.append(entry)
    }
  }

  /// - Parameter state: as `preparedState` was when it was asked for.
  private func install(
    _ installation: ReplicaInstallation, _ state: SimulatedState, of partition: PartitionID,
    _ replica: ReplicaID
  ) {
    unsynced.removeAll(keepingCapacity: true)
    guard let stored = present[partition], stored.id == replica else { return }
    if installation.promise < stored.promise {
      violation = "a promise was taken back by \(replica)"
    }
    let installed = Stored(stored, installation, state)
    installed.isWritten = true
    present[partition] = installed
  }

  /// A synced cut.
  package func write(_ cut: ShardCut) {
    unsynced.removeAll(keepingCapacity: true)
    guard let stored = present[cut.partition], stored.id == cut.replica else { return }
    if stored.appliedIndex > cut.through.index || stored.last.index < cut.through.index {
      violation = "\(cut.partition) is cut at \(cut.through), where its log is \(stored.last)"
    }
    for write in cut.lower.writes { stored.state.set(write.key, write.value) }
    present[cut.partition] = Stored(stored, cut)
    guard let half = cut.half, present[cut.halfPartition] == nil else { return }
    present[cut.halfPartition] = Stored(half: half, of: stored, cut)
  }

  /// Hands a prepared state over: from here on it is the replica's.
  package func takePrepared(_ partition: PartitionID, _ id: InstallationID) -> SimulatedState? {
    guard let found = prepared[partition], found.id == id else { return nil }
    prepared[partition] = nil
    return found.state
  }

  package func truncate(_ base: EntryID, of partition: PartitionID, _ replica: ReplicaID) {
    guard let stored = present[partition], stored.id == replica, base.index > stored.base.index
    else { return }
    if base.index > stored.appliedIndex || stored.entry(at: base.index)?.id != base {
      violation = "\(partition): the log is cut to \(base), checkpointed \(stored.appliedIndex)"
    }
    unsynced.append(
      Unsynced(
        stored: stored, appliedIndex: stored.appliedIndex, commitIndex: stored.commitIndex,
        base: stored.base, before: []))
    stored.base = base
  }

  package func write(
    _ checkpoint: Checkpoint, of partition: PartitionID, _ replica: ReplicaID,
    commitIndex: LogIndex
  ) {
    guard let stored = present[partition], stored.id == replica else { return }
    let before = checkpoint.writes.map { ($0.key, stored.state.set($0.key, $0.value)) }
    unsynced.append(
      Unsynced(
        stored: stored, appliedIndex: stored.appliedIndex, commitIndex: stored.commitIndex,
        base: stored.base, before: before))
    stored.isWritten = true
    stored.appliedIndex = checkpoint.appliedIndex
    stored.commitIndex = commitIndex
  }

  package func forget(_ replica: ReplicaID, of partition: PartitionID) {
    former[partition]?.removeAll { $0.id == replica }
    if present[partition]?.id == replica { present[partition] = nil }
  }

  /// The process died: checkpoints that nothing has followed may be lost.
  package func crash(keepingUnsynced: Bool) {
    for item in unsynced.reversed() where !keepingUnsynced {
      for (key, value) in item.before.reversed() { item.stored.state.set(key, value) }
      item.stored.appliedIndex = item.appliedIndex
      item.stored.commitIndex = item.commitIndex
      item.stored.base = item.base
    }
    unsynced.removeAll()
    prepared.removeAll()
    // One that never wrote anything was never here.
    present = present.filter { $0.value.isWritten }
  }

  // MARK: Looking

  /// The entries after `start`, which are as good as all when it is zero.
  package func log(of partition: PartitionID) -> (start: LogIndex, entries: [Entry]) {
    (present[partition]?.start.index ?? .zero, present[partition]?.log ?? [])
  }
  package func appliedIndex(of partition: PartitionID) -> LogIndex {
    present[partition]?.appliedIndex ?? .zero
  }
  /// Which replica lies here, the present one and those before it.
  package func replicas(of partition: PartitionID) -> [ReplicaID] {
    (former[partition] ?? []).map(\.id) + (present[partition].map { [$0.id] } ?? [])
  }
  /// What a disk has of an entry.
  package enum Trace {
    case entry(Entry)
    /// It came with a snapshot: only the state knows it.
    case inState
    case nothing
  }

  /// The entry at `index` of one replica, present or former, as it is durable; nothing of one that
  /// can be read no more.
  package func trace(
    at index: LogIndex, of partition: PartitionID, _ replica: ReplicaID
  ) -> Trace {
    guard let stored = stored(partition, replica), !stored.isLogDamaged, !stored.state.isDamaged,
      index > .zero
    else { return .nothing }
    if index <= stored.start.index { return .inState }
    return stored.entry(at: index).map { .entry($0) } ?? .nothing
  }

  /// Entries that a replica has or had: its last index.
  package func length(of partition: PartitionID, _ replica: ReplicaID) -> Int {
    Int(stored(partition, replica)?.last.index.rawValue ?? 0)
  }

  /// Whether what is here of a replica can be read.
  package func isReadable(_ partition: PartitionID, _ replica: ReplicaID) -> Bool {
    stored(partition, replica).map { !$0.isLogDamaged && !$0.state.isDamaged } ?? false
  }

  private func stored(_ partition: PartitionID, _ replica: ReplicaID) -> Stored? {
    if let stored = present[partition], stored.id == replica { return stored }
    return former[partition]?.first { $0.id == replica }
  }

  // MARK: Damage

  /// Loses everything from an entry on, as a disk does that lies about fsync.
  package func lose(from index: LogIndex, of partition: PartitionID) {
    guard let stored = present[partition], index > stored.base.index, stored.last.index >= index
    else { return }
    stored.cut(from: index)
  }

  /// Makes the log or the state of a partition unreadable.
  package func flip(_ partition: PartitionID, inLog: Bool) {
    if inLog {
      present[partition]?.isLogDamaged = true
    } else {
      present[partition]?.state.isDamaged = true
    }
  }

  package var partitions: [PartitionID] { present.keys.sorted() }
  package var isWhole: Bool {
    present.values.allSatisfy { !$0.isLogDamaged && !$0.state.isDamaged }
  }

  /// What a process finds when it starts.
  package func recovered() -> [RecoveredPartition] {
    present.keys.sorted().compactMap { partition in
      guard let stored = present[partition] else { return nil }
      var starts: [EntryID] = []
      for entry in stored.log where entry.index > stored.base.index {
        if entry.epoch != starts.last?.epoch { starts.append(entry.id) }
      }
      let last = stored.last
      var damage: String?
      if stored.isLogDamaged { damage = "a flipped bit in the log" }
      if stored.state.isDamaged { damage = "a flipped bit in the state" }
      if last.index < stored.appliedIndex { damage = "the log ends before the checkpoint" }
      let replica =
        damage == nil
        ? RecoveredReplica(
          id: stored.id, promise: stored.promise,
          commitIndex: min(stored.commitIndex, last.index), appliedIndex: stored.appliedIndex,
          base: stored.base, epochStarts: starts, last: last,
          tail: Array(stored.log.drop { $0.index <= stored.appliedIndex }))
        : RecoveredReplica(empty: stored.id)
      return RecoveredPartition(
        partition: partition, replica: replica, generation: stored.generation,
        former: (former[partition] ?? []).map(\.id), damage: damage)
    }
  }
}
