import ChatModel
import ClientProtocol
import ClusterModel
import GatewayCore
import NodeProtocol
import Primitives
import ReplicaCore
import RingControl
import ShardCore
import WalkSupport

/// Something that must not happen.
package struct Violation: Error, CustomStringConvertible, Sendable {
  package let description: String

  init(_ description: String) { self.description = description }
}

/// A whole cluster on one thread: shards, gateways, clients and a coordinator on virtual time, with
/// the cores that the product runs. The same seed and the same plan give the same run in every
/// process: nothing here or in the cores iterates a dictionary in its own order.
///
/// Back of the envelope: a simulated second of an idle cluster of three shards and two gateways is
/// some 200 events (ticks, heartbeats), a message some 30, at about 1 µs each.
package final class SimulatedCluster {
  /// What is large lies elsewhere: events are moved often.
  enum Happening {
    // Shards
    case shardTick(Int, life: Int)
    case turnEnded(Int, life: Int)
    case syncEnded(Int, life: Int)
    // Gateways
    case gatewayTick(Int, life: Int)
    // Network
    indirect case frame(connection: Int, to: Int, LinkFrame)
    case dial(Node, shard: Int)
    case refused(Int, by: StoreID)
    // Coordinator
    indirect case changeArrived(
      Int, life: Int, PartitionID, PartitionRecord, base: Revision, answers: Bool)
    indirect case changeAnswered(Int, life: Int, PartitionID, base: Revision, ChangeOutcome)
    case prepared(
      Int, life: Int, PartitionID, ReplicaID, InstallationID, InstallationOutcome)
    case readArrived(Int, life: Int, PartitionID, ticket: UInt64)
    indirect case readAnswered(Int, life: Int, PartitionID, ticket: UInt64, VersionedRecord?)
    indirect case recordSeen(Node, life: Int, PartitionID, VersionedRecord)
    indirect case ringSeen(Int, life: Int, RingRecord)
    indirect case makingArrived(
      Int, life: Int, PartitionID, PartitionRecord, of: PartitionID, base: Revision)
    case split
    indirect case retargeted(PartitionID, PartitionRecord, base: Revision)
    case controllerTick
    indirect case controlled(RingControlAction, shard: Int, key: Int64)
    // Clients
    case clientWoke(Int)
    case clientArrived(Int, connection: Int, gateway: Int)
    case clientLost(Int, connection: Int)
    indirect case clientSaid(Int, connection: Int, ClientFrame)
    indirect case clientHeard(Int, connection: Int, ServerFrame)
    case clientEnded(Int, connection: Int, ServiceError)
    indirect case callFinished(Int, CallResult)
    // Faults
    case fault(Int)
    case faultEnded(FaultEnd)
  }

  /// What ends of itself.
  enum FaultEnd {
    case restart(Node)
    /// A shard that was asked to stop does.
    case stop(Int, life: Int)
    case resume(Node)
    case cut([NodePair], resets: Bool)
    case slowness(connection: Int)
    case outage
    case coordinatorCut(Int)
    case slowCoordinator
    case lateWatch(Int)
    case congestion(client: Int, connection: Int)
    case linkCongestion(shard: Int, LinkID)
    case clock(Int)
  }

  package let plan: SimulationPlan
  let scheme: PartitionScheme
  /// Microseconds.
  var now: UInt64 = 1_000_000
  var queue = EventQueue<Happening>()
  /// Chance, for each part its own, so that one part's draws do not shift another's.
  var networkDice: Dice
  var diskDice: Dice
  var clientDice: Dice
  var lifeDice: Dice

  let shards: [SimulatedShard]
  let gateways: [SimulatedGateway]
  let clients: [SimulatedClient]
  var coordinator: SimulatedCoordinator
  var ring: SimulatedRing
  var connections: [Connection] = []
  /// Pairs of nodes whose frames are held up: as many cuts as there are.
  var cuts: [NodePair: Int] = [:]
  var isCoordinatorDown = false
  var coordinatorSlowness = 1
  var cutFromCoordinator: Set<Int> = []
  var lateWatchers: Set<Int> = []
  var isHealing = false
  /// Conversations that were found in a list and that nobody had heard of by then.
  var onlyListed: [ConversationID] = []
  /// Conversations in which something was said after everything was mended.
  var probed: [ConversationID] = []
  /// The store that was damaged last, until it is whole again: a minority, never two at a time.
  var damagedShard: Int?
  /// What shards have told other shards' partitions, to notice what is told again.
  var toldBetweenShards: Set<UInt64> = []
  var offeredSnapshots: Set<UInt64> = []
  var lastStore: UInt64
  var lastBoot: UInt64 = 0
  var actions: [ShardAction] = []
  var gatewayActions: [GatewayAction] = []

  let checker: ProtocolChecker
  let history: ClientHistory
  package var rare = RareEventCounts()
  package private(set) var eventCount = 0
  /// Over everything that happened: two runs of a plan have the same.
  package private(set) var trace: UInt64 = 0xcbf2_9ce4_8422_2325
  var violation: Violation?
  /// Told what happens, in words, by who looks for a mistake.
  package var narrator: ((String) -> Void)?

  package init(_ plan: SimulationPlan) {
    self.plan = plan
    let scheme = PartitionScheme(rootCount: UInt32(plan.partitionCount))
    self.scheme = scheme
    var dice = Dice(seed: plan.seed &* 0x9e37_79b9_7f4a_7c15 &+ 1)
    networkDice = Dice(seed: dice.number())
    diskDice = Dice(seed: dice.number())
    clientDice = Dice(seed: dice.number())
    lifeDice = Dice(seed: dice.number())
    shards = (0..<plan.shardCount).map { SimulatedShard(number: $0, id: store($0 + 1)) }
    ring = SimulatedRing(shards)
    lastStore = UInt64(plan.shardCount)
    gateways = (0..<plan.gatewayCount).map { SimulatedGateway(number: $0) }
    clients = (0..<plan.clientCount).map { SimulatedClient(number: $0) }
    var owners: [PartitionID: [StoreID]] = [:]
    for partition in 0..<plan.partitionCount {
      owners[PartitionID(UInt32(partition))] = (0..<plan.replicaCount).map {
        store((partition + $0) % plan.shardCount + 1)
      }
    }
    coordinator = SimulatedCoordinator(owners: owners, startsAlone: plan.startsAlone)
    checker = ProtocolChecker(
      partitionCount: scheme.count(level: UInt32(plan.splits.count)), shardCount: plan.shardCount,
      minInSync: plan.minInSync)
    history = ClientHistory(clientCount: plan.clientCount)
    var clockDice = Dice(seed: plan.seed ^ 0x636c_6f63_6b5f_5f31)
    for shard in shards {
      shard.ownDrift = Int64(clockDice.between(-plan.clockDrift...plan.clockDrift))
    }
    for gateway in gateways {
      gateway.ownDrift = Int64(clockDice.between(-plan.clockDrift...plan.clockDrift))
    }
    for client in clients.suffix(plan.quietClientCount) { client.listens = false }
    for shard in shards { start(shard) }
    for gateway in gateways { start(gateway) }
    for client in clients { queue.schedule(.clientWoke(client.number), at: now + 300_000) }
    for at in plan.splits { queue.schedule(.split, at: now + at) }
    for fault in plan.faults.indices {
      queue.schedule(.fault(fault), at: now + plan.faults[fault].at)
    }
  }

  /// Simulated seconds so far.
  package var seconds: Double { Double(now - 1_000_000) / 1_000_000 }

  // MARK: Running

  /// Faults and load, then a healing: everything must become writable, every reader must reach the
  /// head, and the histories must be right.
  package func run() throws(Violation) {
    try run(until: 1_000_000 + plan.faultsEnd)
    if plan.isSafetyOnly { return try checkEnd() }
    heal()
    try settle()
    try probe()
    // What was still on its way may stir things up once more.
    try run(until: now + 300_000)
    try settle()
    try checkEnd()
  }

  /// Somebody says something in every conversation: whoever listens must hear it, also those who
  /// have heard nothing of it so far.
  private func probe() throws(Violation) {
    let deadline = now + SimulationLimits.healingMicroseconds
    probed = conversations
    var waiting = probed
    while true {
      waiting.removeAll { sayAnything(in: $0) }
      if waiting.isEmpty { break }
      guard now < deadline else { throw Violation("nothing can be said in \(waiting)") }
      try run(until: now + 100_000)
    }
  }

  private func settle() throws(Violation) {
    let deadline = now + SimulationLimits.healingMicroseconds
    while !isSettled {
      guard now < deadline else { throw Violation("not settled: \(unsettled)\n\(overview)") }
      restoreTargets()
      try run(until: now + 250_000)
    }
  }

  func run(until end: UInt64) throws(Violation) {
    while violation == nil, let (at, event) = queue.next(until: end) {
      now = max(now, at)
      eventCount += 1
      happen(event)
    }
    if let violation { throw violation }
    now = max(now, end)
  }

  func fail(_ text: @autoclosure () -> String) {
    if violation == nil { violation = Violation(text()) }
  }

  func tell(_ text: @autoclosure () -> String) {
    narrator?("\(Double(now) / 1_000_000) " + text())
  }

  func fold(_ value: UInt64) { trace = (trace ^ value) &* 0x0000_0100_0000_01b3 }

  func fold(_ kind: UInt64, _ one: Int, _ other: Int = 0) {
    fold(now)
    fold(kind << 48 ^ UInt64(bitPattern: Int64(one)) << 24 ^ UInt64(bitPattern: Int64(other)))
  }

  /// What a process takes for the time, whose clock is so many parts per million fast.
  func instant(drift: Int64) -> Instant {
    Instant(nanoseconds: UInt64(Int64(now * 1_000) + Int64(now / 1_000) * drift))
  }

  func after(_ delay: ClosedRange<Int>, _ dice: inout Dice) -> UInt64 {
    now + UInt64(dice.between(delay))
  }

  // MARK: What happens

  private func happen(_ event: Happening) {
    switch event {
    case .shardTick, .turnEnded, .syncEnded, .changeAnswered, .readAnswered, .prepared:
      happenAtShard(event)
    case .gatewayTick(let number, let life):
      happen(event, at: gateways[number], life: life)
    case .recordSeen(.shard(let number), let life, _, _):
      happen(event, at: shards[number], life: life)
    case .recordSeen(.gateway(let number), let life, _, _):
      happen(event, at: gateways[number], life: life)
    case .frame(let connection, let end, _):
      guard connections[connection].isOpen else { return }
      switch connections[connection].ends[end] {
      case .shard(let number): happen(event, at: shards[number], life: shards[number].life)
      case .gateway(let number): happen(event, at: gateways[number], life: gateways[number].life)
      }
    case .dial, .refused: happenInNetwork(event)
    case .changeArrived, .readArrived, .retargeted, .makingArrived: happenAtCoordinator(event)
    case .ringSeen(let number, let life, _): happen(event, at: shards[number], life: life)
    case .split: splitRing()
    case .controllerTick: controllerTick()
    case .controlled(let action, let shard, let key): controlled(action, shard: shard, key: key)
    case .clientWoke, .clientArrived, .clientLost, .clientSaid, .clientHeard, .clientEnded,
      .callFinished:
      happenAtClient(event)
    case .fault(let fault):
      fold(40, fault)
      tell("fault \(fault): \(plan.faults[fault].kind) for \(plan.faults[fault].duration) µs")
      strike(plan.faults[fault])
    case .faultEnded(let end):
      fold(41, 0)
      tell("fault ended: \(end)")
      self.end(end)
    }
  }

  private func happenAtShard(_ event: Happening) {
    switch event {
    case .shardTick(let number, let life), .turnEnded(let number, let life),
      .syncEnded(let number, let life), .changeAnswered(let number, let life, _, _, _),
      .readAnswered(let number, let life, _, _, _),
      .prepared(let number, let life, _, _, _, _):
      happen(event, at: shards[number], life: life)
    default: preconditionFailure("not an event of a shard")
    }
  }

  private func happen(_ event: Happening, at shard: SimulatedShard, life: Int) {
    guard shard.isRunning, shard.life == life else { return }
    if shard.isPaused { return shard.deferred.append(event) }
    perform(event, at: shard)
  }

  private func happen(_ event: Happening, at gateway: SimulatedGateway, life: Int) {
    guard gateway.isRunning, gateway.life == life else { return }
    if gateway.isPaused { return gateway.deferred.append(event) }
    perform(event, at: gateway)
  }
}

/// Bounds of a run.
enum SimulationLimits {
  /// After the last fault everything must be well again. Microseconds.
  static let healingMicroseconds: UInt64 = 60_000_000
  /// A client that waits longer for an answer connects anew. Microseconds.
  static let clientPatience: UInt64 = 12_000_000
  /// A shell ends a link to a shard that is silent for so long.
  static let linkSilenceMax: Milliseconds = 2_500
  /// A write that takes longer makes a store a stalled one. Microseconds.
  static let stallMax: UInt64 = 2_000_000
}
