import ClusterModel
import NodeProtocol
import Primitives
import ReplicaCore
import WalkSupport

/// One store of the miniature cluster: a process that comes and goes, and a disk that stays.
struct WalkStore {
  let id: StoreID
  var isUp = false
  var isPaused = false
  var boot = BootID.none
  var replica: ReplicaBox?
  /// Names the value in `replica`.
  var life = 0
  var disk: WalkDisk?
  /// No replica with this number or a lower one is ever made here again.
  var lastHosted: UInt32 = 0
  /// What happened while the process was paused.
  var deferred: [Happening] = []
  /// Entries proposed here whose clients wait.
  var proposed: [EntryID] = []
  /// Reads that wait, with the highest acknowledged index at the moment when each arrived.
  var reads: [(read: UInt64, acknowledged: UInt64)] = []
  var appliesThrough = LogIndex.zero
  var tickAt = Instant.distantFuture
  var syncsUntil = Instant.zero
  var watchStallsUntil = Instant.zero
  /// States that are being sent, by receiver.
  var frozen: [ReplicaID: (number: UInt64, state: [Entry])] = [:]
  /// The state that comes in.
  var prepared: (id: InstallationID, state: [Entry])?
  /// The replica here that lost acknowledged entries and has not got them back.
  var damaged: ReplicaID?
  /// How far its log went before.
  var damagedThrough = LogIndex.zero
  /// The replica here that gave itself up because of that.
  var givenUp: ReplicaID?
}

/// The lines of a trace, each beginning with the virtual microsecond.
final class WalkTrace {
  var lines: [String] = []
}

/// One partition on a few stores, on virtual time and from one seed: coordinator, network, disks,
/// processes, faults and clients, with the invariants held after every step.
struct RandomWalk {
  enum Phase { case faulting, settling, quiet }

  let plan: WalkPlan
  let partition = PartitionID(7)
  /// Whether a rule that is not kept ends the walk before it has done any harm.
  let checksRules: Bool
  var dice: Dice
  var now = Instant.zero
  var queue = TimedQueue<Instant, Happening>()
  var phase = Phase.faulting
  var stores: [WalkStore]
  var coordinator: WalkCoordinator
  var network: WalkNetwork
  var knowledge = WalkKnowledge()
  var events = RareEvents()
  var stepCount = 0
  /// The latest instant by which the present phase must have reached its end.
  var phaseEndsAt: Instant
  /// Since when the replicas are equal, and what had been sent and had woken up by then.
  var idle: (since: Instant, isCounted: Bool, sentCount: Int, tickCount: Int)?
  var tickCount = 0
  var isDamageDone = false
  var retargetCount = 0
  var isRetargetUnfinished = false
  /// Where what happens is written down, when somebody will read it.
  private let log: WalkTrace?

  init(
    seed: UInt64, isTracing: Bool = false, checksRules: Bool = true,
    configure: (inout ReplicaConfiguration) -> Void = { _ in }
  ) {
    self.checksRules = checksRules
    var dice = Dice(seed: seed)
    plan = WalkPlan(dice: &dice, configure: configure)
    self.dice = dice
    log = isTracing ? WalkTrace() : nil
    stores = (0..<plan.storeCount).map { WalkStore(id: StoreID(UInt64($0) + 1)) }
    coordinator = WalkCoordinator(
      record: PartitionRecord(initialOwners: stores.prefix(plan.ownerCount).map(\.id)))
    network = WalkNetwork(storeCount: plan.storeCount)
    phaseEndsAt = .zero
    phaseEndsAt = after(plan.faultingMicroseconds)
  }

  static func position(of store: StoreID) -> Int { Int(store.rawValue) - 1 }

  func after(_ microseconds: Int) -> Instant {
    Instant(nanoseconds: now.nanoseconds + UInt64(microseconds) * 1_000)
  }

  mutating func schedule(_ happening: Happening, in range: ClosedRange<Int>) {
    queue.schedule(happening, at: after(dice.between(range)))
  }

  func note(_ text: @autoclosure () -> String) {
    log?.lines.append("\(now.nanoseconds / 1_000) \(text())")
  }

  var trace: [String] { log?.lines ?? [] }

  // MARK: Running

  /// Runs the walk to its end. **Throws**: the first `Violation`.
  mutating func run() throws {
    for member in coordinator.current.record.members {
      let store = Self.position(of: member.store)
      stores[store].disk = WalkDisk(id: member)
      stores[store].lastHosted = member.number
    }
    for store in stores.indices { start(store) }
    schedule(.proposed, in: 0...5_000)
    schedule(.readRequested, in: 0...5_000)
    schedule(.faulted, in: 20_000...100_000)
    queue.schedule(.inspected, at: phaseEndsAt)
    while let (instant, happening) = queue.next() {
      now = instant
      stepCount += 1
      if case .inspected = happening {
        if try inspect() { return try checkEverything() }
        continue
      }
      try happen(happening)
      try checkStep()
    }
    throw Violation(kind: .stuck, text: "nothing is left to happen")
  }

  mutating func happen(_ happening: Happening) throws {
    if let store = happening.store {
      guard stores.indices.contains(store), stores[store].isUp else { return }
      if stores[store].isPaused {
        stores[store].deferred.append(happening)
        return
      }
    }
    switch happening {
    case .tick(let store, let life):
      guard stores[store].life == life else { return }
      stores[store].tickAt = .distantFuture
      tickCount += 1
      try input(store, life: life, .tick) { $0.tick(now: $1, into: &$2) }
    case .delivered(let message, let connection): try deliver(message, connection: connection)
    case .synced(let store, let life, let ticket): try sync(store, life: life, ticket: ticket)
    case .storageFailed(let store, let life):
      guard stores[store].life == life else { return }
      note("storage of \(store) fails")
      try input(store, life: life) { $0.storageFailed(into: &$2) }
      try crash(store)
    case .applied(let store, let life, let through): try apply(store, life: life, through: through)
    case .loaded(let store, let life, let replica, let from, let entries):
      try input(store, life: life) {
        $0.entriesLoaded(for: replica, from: from, entries: entries, now: $1, into: &$2)
      }
    case .chunkRead(let store, let life, let replica, let number, let chunk):
      try input(store, life: life) {
        $0.chunkLoaded(for: replica, number: number, chunk, now: $1, into: &$2)
      }
    case .prepared(let store, let life, let id, let outcome):
      try prepared(store, life: life, id, outcome)
    case .recordSeen(let store, let record): try seeRecord(store, record)
    case .recordAsked(let store, let boot): askRecord(store, boot: boot)
    case .changeArrived(let number): try arrive(change: number)
    case .changeAnswered(let store, let life, let base, let outcome):
      try input(store, life: life) {
        $0.changeFinished(base: base, outcome: outcome, now: $1, into: &$2)
      }
    case .readArrived(let store, let life, let ticket):
      readRecord(store, life: life, ticket: ticket)
    case .readAnswered(let store, let life, let ticket, let record):
      try input(store, life: life, .recordRead) {
        $0.recordRead(ticket: ticket, record, now: $1, into: &$2)
      }
    case .reachabilitySeen(let store): try seeReachability(store)
    case .restartAnnounced(let store, let other, let boot):
      guard stores[other].boot == boot, !network.isCut(from: other, to: store) else { return }
      let peer = stores[other].id
      try input(store) { $0.peerRestarted(store: peer, boot: boot, now: $1, into: &$2) }
    case .linkReset(let store, let other):
      let peer = stores[other].id
      try input(store) { $0.linkReset(store: peer, now: $1, into: &$2) }
    case .barrierDue(let store, let life):
      try input(store, life: life) { $0.startBarrier(now: $1, into: &$2) }
    case .proposed: try proposeSomething()
    case .readRequested: try readSomething()
    case .faulted: try breakSomething()
    case .inspected: break
    case .restarted(let store): start(store)
    case .resumed(let store): try resume(store)
    case .healed(let from, let to):
      guard network.isCut(from: from, to: to) else { return }
      network.heal(from: from, to: to)
      reconnect(from, to)
    case .coordinatorHealed: coordinator.isAvailable = true
    case .mayLead(let store): try seeReachability(store)
    case .rebuilt(let store): try rebuild(store)
    }
  }

  /// What kind of input an action came from, where it matters for counting.
  enum InputKind { case tick, recordRead, message, other }

  /// Gives one input to the replica of a store and carries out what it asks for.
  mutating func input(
    _ store: Int, life: Int? = nil, _ kind: InputKind = .other,
    _ body: (inout Replica, Instant, inout [ReplicaAction]) throws -> Void
  ) throws {
    guard stores[store].isUp, let replica = stores[store].replica,
      life ?? stores[store].life == stores[store].life
    else { return }
    var actions: [ReplicaAction] = []
    try body(&replica.value, now, &actions)
    let givenLife = stores[store].life
    for action in actions { try perform(action, of: store, after: kind) }
    guard stores[store].life == givenLife, let replica = stores[store].replica else { return }
    if replica.wakeAt < stores[store].tickAt {
      let at = max(replica.wakeAt, now)
      stores[store].tickAt = replica.wakeAt
      queue.schedule(.tick(store: store, life: givenLife), at: at)
    }
    try checkLeader(store)
  }

  // MARK: Phases

  /// Looks whether the phase has reached its end. **Returns**: whether the walk is over.
  private mutating func inspect() throws -> Bool {
    switch phase {
    case .faulting:
      try settle()
    case .settling:
      if isSettled {
        note("settled")
        phase = .quiet
        phaseEndsAt = after(5_000_000)
      }
    case .quiet:
      guard let idle else {
        if areEqual { idle = (now, false, 0, 0) }
        break
      }
      // Longer than anything is waited for, `firstOwnerPatience` included.
      guard now.milliseconds(since: idle.since) >= 1_200 else { break }
      if idle.isCounted {
        try checkQuiet()
        return true
      }
      // What was due once more after the last change is no restlessness: counting begins here.
      self.idle = (now, true, network.sentCount, tickCount)
    }
    guard now < phaseEndsAt else {
      throw Violation(kind: .stuck, text: "\(phase): \(whatIsMissing)")
    }
    queue.schedule(.inspected, at: after(20_000))
    return false
  }

  private mutating func settle() throws {
    note("faults stop")
    phase = .settling
    phaseEndsAt = after(20_000_000)
    network.healAll()
    coordinator.isAvailable = true
    for store in stores.indices {
      stores[store].watchStallsUntil = now
      if stores[store].isPaused { try resume(store) }
      if !stores[store].isUp { start(store) }
      schedule(.reachabilitySeen(store: store), in: 0...20_000)
      for other in stores.indices where other > store { reconnect(store, other) }
    }
  }
}
