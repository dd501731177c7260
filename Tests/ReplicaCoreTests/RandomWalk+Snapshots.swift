import NodeProtocol
import Primitives
import ReplicaCore
import WalkSupport

extension RandomWalk {
  /// Gives up the beginning of a log, as far as the replica allows.
  mutating func shortenLog(of store: Int) {
    guard dice.chance(permille: plan.shorteningPermille), let replica = stores[store].replica else {
      return
    }
    // The shell's patience with those who follow is short while there are faults, then endless.
    let applied = replica.appliedIndex
    let bound = phase == .faulting && dice.chance(permille: 300) ? applied : .zero
    let limit = phase == .faulting && dice.chance(permille: 50) ? applied : .zero
    let index = replica.value.expendable(
      through: applied, atLeast: bound, limit: limit, now: now)
    guard index > replica.value.baseEntry.index else { return }
    replica.value.beginLog(after: index)
    stores[store].disk?.submit(.truncation(base: replica.value.baseEntry))
    events.count(.logShortened)
    note("the log of \(store) begins after \(replica.value.baseEntry)")
  }

  mutating func performSnapshot(_ action: ReplicaAction, of store: Int) throws {
    switch action {
    case .beginSnapshot(let replica, let number):
      guard let disk = stores[store].disk else { return }
      events.count(.snapshotBegun)
      let isRefused = phase == .faulting && dice.chance(permille: 100)
      if !isRefused { stores[store].frozen[replica] = (number, disk.state) }
      try input(store) {
        $0.snapshotBegun(
          for: replica, number: number, through: isRefused ? nil : disk.applied, now: $1,
          into: &$2)
      }
    case .loadChunk(let replica, let number, let key, let bytesMax):
      let late = phase == .faulting ? dice.pick([3_000, 3_000, 3_000, 250_000]) : 1_000
      let chunk = chunk(number, after: key, bytesMax: bytesMax, of: store, for: replica)
      schedule(
        .chunkRead(
          store: store, life: stores[store].life, replica: replica, number: number, chunk),
        in: 0...late)
    case .prepare(let id, let step): prepare(id, step, at: store)
    case .install(let installation): try install(installation, at: store)
    default: break
    }
  }

  /// The key of an entry is its index.
  private mutating func chunk(
    _ number: UInt64, after key: [UInt8], bytesMax: Int, of store: Int, for replica: ReplicaID
  ) -> SnapshotChunk? {
    if phase == .faulting, dice.chance(permille: 30) {
      events.count(.snapshotLost)
      stores[store].frozen[replica] = nil
    }
    guard let frozen = stores[store].frozen[replica], frozen.number == number else { return nil }
    let first = key.reduce(0) { $0 << 8 | Int($1) }
    var records = StateRecords()
    var index = first
    while index < frozen.state.count, records.count == 0 || records.bytes.count < bytesMax {
      let entry = frozen.state[index]
      index += 1
      records.add(
        key: (0..<4).reversed().map { UInt8(truncatingIfNeeded: index >> (8 * $0)) },
        value: [
          UInt8(truncatingIfNeeded: entry.epoch.rawValue >> 8),
          UInt8(truncatingIfNeeded: entry.epoch.rawValue),
        ] + entry.payload)
    }
    // One that was changed on its way.
    let sum = CRC32C.checksum(records.bytes) &+ (dice.chance(permille: 20) ? 1 : 0)
    return SnapshotChunk(
      number: number, after: key, through: records.lastKey, records: records.bytes, checksum: sum,
      isLast: index == frozen.state.count)
  }

  private mutating func prepare(_ id: InstallationID, _ step: InstallationStep, at store: Int) {
    let life = stores[store].life
    let fails = phase == .faulting && dice.chance(permille: 20)
    switch step {
    case .begin: stores[store].prepared = (id, [])
    case .write(let chunk):
      guard stores[store].prepared?.id == id else { return }
      let records = (try? StateRecords.decode(chunk.records)) ?? []
      for record in records {
        let index = record.key.reduce(0) { $0 << 8 | UInt64($1) }
        let epoch = UInt64(record.value[0]) << 8 | UInt64(record.value[1])
        let id = EntryID(epoch: Epoch(epoch), index: LogIndex(index))
        stores[store].prepared?.state.append(
          Entry(id: id, payload: Array(record.value.dropFirst(2))))
      }
      schedule(
        .prepared(store: store, life: life, id, fails ? .failed : .written), in: 0...3_000)
    case .finish:
      guard stores[store].prepared?.id == id else { return }
      schedule(.prepared(store: store, life: life, id, fails ? .failed : .ready), in: 0...3_000)
    case .abandon:
      events.count(.snapshotAbandoned)
      if stores[store].prepared?.id == id { stores[store].prepared = nil }
    }
  }

  mutating func prepared(
    _ store: Int, life: Int, _ id: InstallationID, _ outcome: Happening.Preparation
  ) throws {
    try input(store, life: life) { replica, now, actions in
      switch outcome {
      case .written: replica.chunkInstalled(id, into: &actions)
      case .ready: replica.installationReady(id, into: &actions)
      case .failed: replica.installationFailed(id, now: now)
      }
    }
  }

  private mutating func install(_ installation: ReplicaInstallation, at store: Int) throws {
    guard let prepared = stores[store].prepared, prepared.id == installation.id else {
      throw Violation(kind: .divergence, text: "\(store) installs what it has not prepared")
    }
    stores[store].prepared = nil
    events.count(.snapshotInstalled)
    note("\(store) installs a snapshot up to \(installation.last)")
    let isWhole =
      prepared.state.last?.id == installation.last
      && prepared.state == Array(knowledge.committed.prefix(prepared.state.count))
    guard isWhole else {
      throw Violation(
        kind: .divergence, text: "\(store) installs another state up to \(installation.last)")
    }
    stores[store].disk?.submit(.snapshot(installation, prepared.state))
    scheduleSync(of: store, ticket: installation.ticket)
  }
}
