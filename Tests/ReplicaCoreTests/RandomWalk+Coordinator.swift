import ClusterModel
import NodeProtocol
import Primitives
import ReplicaCore
import WalkSupport

/// The coordinator of a walk: one key with its revision, and the changes on their way to it.
struct WalkCoordinator {
  struct Change {
    let record: PartitionRecord
    let base: Revision
    let store: Int
    let life: Int
    /// It may still arrive.
    var isOnItsWay: Bool
    /// Its author was told that its fate is unknown.
    var isUnknown = false
    var isAnswered: Bool
  }

  private(set) var current: VersionedRecord
  private(set) var earlier: [VersionedRecord] = []
  var isAvailable = true
  var changes: [Change] = []

  init(record: PartitionRecord) { current = VersionedRecord(record: record, revision: Revision(1)) }

  mutating func set(_ record: PartitionRecord, skipping revisions: Int64) {
    earlier.append(current)
    current = VersionedRecord(
      record: record, revision: Revision(current.revision.rawValue + 1 + revisions))
  }
}

extension RandomWalk {
  // MARK: Changes

  mutating func propose(_ record: PartitionRecord, base: Revision, of store: Int) {
    note("\(store) asks for \(Self.text(record)) on \(base)")
    let life = stores[store].life
    var change = WalkCoordinator.Change(
      record: record, base: base, store: store, life: life, isOnItsWay: true, isAnswered: true)
    let number = coordinator.changes.count
    let unknown = Happening.changeAnswered(store: store, life: life, base: base, .unknown)
    if phase == .faulting,
      !coordinator.isAvailable || dice.chance(permille: plan.coordinatorFaultPermille)
    {
      change.isAnswered = false
      change.isUnknown = true
      switch dice.below(3) {
      case 0: change.isOnItsWay = false
      case 1: schedule(.changeArrived(number), in: 0...5_000)
      default: schedule(.changeArrived(number), in: 10_000...300_000)
      }
      schedule(unknown, in: 5_000...40_000)
    } else {
      schedule(.changeArrived(number), in: 0...4_000)
    }
    coordinator.changes.append(change)
  }

  mutating func arrive(change number: Int) throws {
    let change = coordinator.changes[number]
    coordinator.changes[number].isOnItsWay = false
    let outcome: ChangeOutcome
    if change.isAnswered, !coordinator.isAvailable {
      outcome = .unknown
    } else if change.base == coordinator.current.revision {
      if change.isUnknown { events.count(.lateChange) }
      try countChange(change)
      try land(change.record, by: stores[change.store].id)
      outcome = .succeeded(coordinator.current.revision)
    } else {
      outcome = .conflicted(coordinator.current)
    }
    guard change.isAnswered else { return }
    schedule(
      .changeAnswered(
        store: change.store, life: change.life, base: change.base, outcome),
      in: 0...4_000)
  }

  private mutating func countChange(_ change: WalkCoordinator.Change) throws {
    let old = coordinator.current.record
    if change.record.epoch > old.epoch {
      events.count(.promotion)
      let isShrinkOpen = coordinator.changes.contains {
        $0.isOnItsWay && $0.base == change.base && $0.record.epoch == old.epoch
          && $0.record.inSync.count < old.inSync.count
      }
      if isShrinkOpen { events.count(.promotionDuringShrink) }
    } else if change.record.inSync.count > old.inSync.count {
      events.count(.expansion)
      if knowledge.committed.count > Int(knowledge.acknowledged) {
        events.count(.expansionOfUncommitted)
      }
    } else {
      events.count(.shrink)
    }
  }

  /// The record changes, and everybody who watches will see it.
  mutating func land(_ record: PartitionRecord, by author: StoreID?) throws {
    try checkChange(from: coordinator.current.record, to: record, by: author)
    coordinator.set(record, skipping: Int64(dice.below(3)))
    note("record \(coordinator.current.revision): \(Self.text(record))")
    if isRetargetUnfinished, record.target.allSatisfy({ record.inSync.contains($0) }) {
      isRetargetUnfinished = false
      events.count(.retargetFinished)
    }
    for store in stores.indices {
      show(coordinator.current, to: store)
      if phase == .faulting, dice.chance(permille: 100) {
        let old = dice.pick(coordinator.earlier + [coordinator.current])
        show(old, to: store)
      }
    }
  }

  private mutating func show(_ record: VersionedRecord, to store: Int) {
    let start = max(now, stores[store].watchStallsUntil)
    let delay = Milliseconds(UInt64(dice.below(dice.chance(permille: 100) ? 60 : 6)))
    queue.schedule(.recordSeen(store: store, record), at: start + delay)
  }

  static func text(_ record: PartitionRecord) -> String {
    func names(_ replicas: [ReplicaID]) -> String {
      replicas.map { "\($0.store.rawValue)#\($0.number)" }.joined(separator: " ")
    }
    return "\(record.epoch) leader \(names([record.leader])) in sync [\(names(record.inSync))] "
      + "target [\(names(record.target))]"
  }

  // MARK: Reading

  mutating func readRecord(_ store: Int, life: Int, ticket: UInt64) {
    let record = coordinator.isAvailable ? coordinator.current : nil
    let late = dice.chance(permille: 100) ? 80_000 : 4_000
    schedule(
      .readAnswered(store: store, life: life, ticket: ticket, record), in: 0...late)
  }

  /// A process that has started lists the record, until the coordinator answers.
  mutating func askRecord(_ store: Int, boot: BootID) {
    guard stores[store].boot == boot else { return }
    if coordinator.isAvailable {
      schedule(.recordSeen(store: store, coordinator.current), in: 0...10_000)
    } else {
      schedule(.recordAsked(store: store, boot: boot), in: 5_000...20_000)
    }
  }

  /// The shell sees the record: it tells its replica, or makes one that the record wants here.
  mutating func seeRecord(_ store: Int, _ observed: VersionedRecord) throws {
    try input(store) { $0.recordObserved(observed, now: $1, into: &$2) }
    let wanted = observed.record.members.last {
      $0.store == stores[store].id && $0.number > stores[store].lastHosted
    }
    guard stores[store].replica == nil, let wanted else { return }
    stores[store].lastHosted = wanted.number
    stores[store].disk = WalkDisk(id: wanted)
    note("\(store) makes replica #\(wanted.number)")
    makeReplica(store)
    try input(store) { $0.recordObserved(observed, now: $1, into: &$2) }
  }

  func quorumIsIntact(without store: Int) -> Bool {
    coordinator.current.record.inSync.contains { member in
      let other = Self.position(of: member.store)
      return other != store && stores[other].disk?.id == member && stores[other].damaged == nil
    }
  }

  // MARK: The controller (T4)

  /// Moves, adds or drops a replica of the target.
  mutating func retarget() throws {
    var record = coordinator.current.record
    let free = stores.map(\.id).filter { store in !record.members.contains { $0.store == store } }
    let position = dice.below(record.target.count)
    switch dice.below(5) {
    case 0 where record.target.count > max(2, plan.configuration.minInSync):
      record.target.remove(at: position)
    case 1 where !free.isEmpty:
      record.target.append(ReplicaID(store: dice.pick(free), number: record.nextReplica))
      record.nextReplica += 1
    case 2:
      record.target.append(record.target.remove(at: position))
    default:
      guard !free.isEmpty else { return }
      record.target[position] = ReplicaID(store: dice.pick(free), number: record.nextReplica)
      record.nextReplica += 1
    }
    retargetCount += 1
    isRetargetUnfinished = true
    note("retarget")
    try land(record, by: nil)
  }

  /// A store that gave its replica up gets a new one.
  mutating func rebuild(_ store: Int) throws {
    guard coordinator.isAvailable else {
      return schedule(.rebuilt(store: store), in: 5_000...20_000)
    }
    var record = coordinator.current.record
    guard let position = record.target.firstIndex(where: { $0.store == stores[store].id }),
      record.target[position].number <= stores[store].lastHosted, stores[store].disk == nil
    else { return }
    record.target[position] = ReplicaID(store: stores[store].id, number: record.nextReplica)
    record.nextReplica += 1
    isRetargetUnfinished = true
    events.count(.rebuilt)
    note("rebuild on \(store)")
    try land(record, by: nil)
  }
}
