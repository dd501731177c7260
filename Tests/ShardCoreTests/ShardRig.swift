import ChatModel
import ClusterModel
import NodeProtocol
import Primitives
import ReplicaCore

@testable import ShardCore
import Simulation
import WalkSupport

/// One shard: a process that comes and goes, and a disk that stays.
final class RigStore {
  let id: StoreID
  let disk = SimulatedDisk()
  var core: ShardCore?
  var boot = BootID.none
  /// Counts processes: what was meant for an earlier one comes to nothing.
  var life = 0
  var isPaused = false
  /// What happened while the process was paused.
  var deferred: [ShardRig.Happening] = []
  /// What its clock says beyond virtual time. Milliseconds.
  var clockOffset: Int64 = 0
  var holdsSync = false
  var seesCoordinator = true
  /// Whether its watch of the records tells it what changes.
  var hearsRecords = true
  var batch: [DiskWrite] = []
  var isTurnScheduled = false
  var lastSync: UInt64 = 0
  var lastLink: UInt64 = 0
  var heldSyncs: [ShardRig.Happening] = []

  init(id: StoreID) { self.id = id }

  var isRunning: Bool { core != nil }
  /// Its partitions, where they lie; none while it does not run.
  var hosts: [PartitionHost] { core?.hosts ?? [] }
  var links: [LinkID: Link] { core?.links ?? [:] }
  var isIdle: Bool? { core?.isIdle }
  func link(to store: StoreID) -> LinkID? { core?.link(to: store) }
}

/// Who is at one end of a connection.
enum RigEnd: Equatable {
  case shard(Int, LinkID)
  case gateway(Int)
}

struct RigConnection {
  let ends: [RigEnd]
  var isOpen = true
  /// By direction and priority, so that a frame is never early.
  var lastArrivals = [[UInt64]](
    repeating: Array(repeating: 0, count: LinkFrame.Priority.allCases.count), count: 2)
}

/// Shards with their disks, a coordinator, links and gateways that the test plays, on virtual
/// time.
struct ShardRig {
  struct Delays {
    var link = 1_000...1_000
    var sync = 500...500
    var coordinator = 1_000...1_000
    /// Microseconds between two ticks of a shell.
    var tick = 10_000
  }

  enum Happening {
    case tick(Int, life: Int)
    case turnEnded(Int, life: Int)
    case frame(connection: Int, to: Int, LinkFrame)
    case synced(Int, life: Int, [DiskWrite])
    case prepared(Int, life: Int, PartitionID, ReplicaID, InstallationID, InstallationOutcome)
    case truncated(Int, life: Int, PartitionID, ReplicaID, base: EntryID)
    case checkpointed(Int, life: Int, PartitionID, Checkpointing)
    case forgotten(Int, life: Int, PartitionID, ReplicaID)
    indirect case cut(Int, life: Int, ShardCut)
    indirect case makingArrived(
      Int, life: Int, PartitionID, PartitionRecord, of: PartitionID, base: Revision)
    case changeArrived(Int, life: Int, PartitionID, PartitionRecord, base: Revision)
    case changeAnswered(Int, life: Int, PartitionID, base: Revision, ChangeOutcome)
    case readArrived(Int, life: Int, PartitionID, ticket: UInt64)
    case readAnswered(Int, life: Int, PartitionID, ticket: UInt64, VersionedRecord?)
    case recordSeen(Int, life: Int, PartitionID, VersionedRecord)
    case refused(Int, by: Int)
    case dialed(Int, Int)
  }

  let ring: Ring
  let minInSync: Int
  let configure: (inout ShardConfiguration) -> Void
  var delays = Delays()
  var stores: [RigStore]
  var coordinator: SimulatedCoordinator
  var connections: [RigConnection] = []
  var queue = TimedQueue<UInt64, Happening>()
  var dice: Dice
  /// Microseconds.
  var now: UInt64 = 1_000_000
  /// Pairs of stores whose frames are lost without anybody noticing.
  var cut: Set<[Int]> = []

  // What was seen.
  var notes: [(store: Int, note: ShardNote)] = []
  var checkpoints: [(store: Int, partition: PartitionID, at: UInt64)] = []
  var writes: [(store: Int, partition: PartitionID, write: ReplicaWrite)] = []
  var closedByShard: [(store: Int, reason: String)] = []
  /// By gateway.
  var received: [[LinkFrame]] = []
  var gatewayConnections: [Int] = []
  var responses: [UInt64: [Response.Outcome]] = [:]
  var requestsBetweenShards: [(from: Int, request: Request)] = []
  private var lastRequest: UInt64 = 0
  private var lastBoot: UInt64 = 0

  /// Every store is an owner of every partition, of partition p first of all store p, unless
  /// `owners` says otherwise.
  init(
    stores count: Int = 1, partitions: Int = 2, owners given: [Int: [Int]] = [:],
    seed: UInt64 = 1, startsNow: Bool = true,
    configure: @escaping (inout ShardConfiguration) -> Void = { _ in }
  ) {
    ring = Ring(count: UInt32(partitions))
    minInSync = min(2, count)
    self.configure = configure
    dice = Dice(seed: seed)
    stores = (1...count).map { RigStore(id: store($0)) }
    var owners: [PartitionID: [StoreID]] = [:]
    for partition in 0..<partitions {
      let places = given[partition] ?? (0..<count).map { (partition + $0) % count }
      owners[PartitionID(UInt32(partition))] = places.map { store($0 + 1) }
    }
    coordinator = SimulatedCoordinator(owners: owners)
    // The first owners lead before the others can have an opinion.
    for store in stores.indices { start(store, announcing: startsNow, dialingAfter: 100) }
  }

  var instant: Instant { Instant(nanoseconds: now * 1_000) }

  func wall(_ store: Int) -> WallTime {
    let milliseconds = Int64(1_700_000_000_000 + now / 1_000) + stores[store].clockOffset
    return WallTime(milliseconds: UInt64(milliseconds))
  }

  mutating func schedule(_ happening: Happening, in range: ClosedRange<Int>) {
    queue.schedule(happening, at: now + UInt64(dice.between(range)))
  }

  // MARK: Processes

  /// The process starts with what is on its disk.
  mutating func start(_ store: Int, announcing: Bool = true, dialingAfter pause: Int = 1) {
    guard !stores[store].isRunning else { return }
    lastBoot += 1
    let boot = BootID(1_000 + lastBoot)
    var configuration = ShardConfiguration(
      clusterID: 1, node: "shard\(store + 1)", store: stores[store].id, boot: boot,
      partitionCount: ring.count, minInSync: minInSync)
    configure(&configuration)
    var core = ShardCore(
      configuration: configuration, storage: stores[store].disk, seed: dice.number())
    var actions: [ShardAction] = []
    for found in stores[store].disk.recovered() {
      core.recover(found, now: instant, into: &actions)
    }
    stores[store].core = consume core
    stores[store].boot = boot
    stores[store].life += 1
    stores[store].isPaused = false
    stores[store].deferred = []
    stores[store].batch = []
    stores[store].heldSyncs = []
    stores[store].isTurnScheduled = false
    for action in actions { perform(action, of: store) }
    schedule(.tick(store, life: stores[store].life), in: 0...delays.tick)
    if announcing { announceRecords(to: store) }
    for other in stores.indices where other != store {
      queue.schedule(.dialed(store, other), at: now + UInt64(pause) * 1_000)
    }
  }

  mutating func announceRecords(to store: Int) {
    for partition in coordinator.records.keys {
      guard let record = coordinator.records[partition] else { continue }
      queue.schedule(
        .recordSeen(store, life: stores[store].life, partition, record), at: now + 100)
    }
  }

  /// The process ends: what was not synced is gone.
  mutating func kill(_ store: Int) {
    guard stores[store].isRunning else { return }
    stores[store].core = nil
    stores[store].disk.crash(keepingUnsynced: true)
    stores[store].life += 1
    for connection in connections.indices where touches(connection, store) {
      close(connection)
    }
    for other in stores.indices where other != store {
      queue.schedule(.refused(other, by: store), at: now + 50_000)
    }
  }

  mutating func restart(_ store: Int) {
    kill(store)
    start(store)
  }

  mutating func pause(_ store: Int) { stores[store].isPaused = true }

  mutating func resume(_ store: Int) {
    guard stores[store].isPaused else { return }
    stores[store].isPaused = false
    let deferred = stores[store].deferred
    stores[store].deferred = []
    for happening in deferred { queue.schedule(happening, at: now) }
  }

  // MARK: Links

  func touches(_ connection: Int, _ store: Int) -> Bool {
    guard connections[connection].isOpen else { return false }
    return connections[connection].ends.contains { end in
      if case .shard(store, _) = end { true } else { false }
    }
  }

  func hello(_ store: Int) -> LinkHello {
    LinkHello(
      clusterID: 1, node: "shard\(store + 1)", role: .shard, store: stores[store].id,
      boot: stores[store].boot, requestCredits: 1_000)
  }

  mutating func nextLink(_ store: Int) -> LinkID {
    stores[store].lastLink += 1
    return LinkID(stores[store].lastLink)
  }

  func isConnected(_ one: Int, _ other: Int) -> Bool {
    connections.indices.contains { touches($0, one) && touches($0, other) }
  }

  @discardableResult
  mutating func connect(_ one: Int, _ other: Int) -> Int? {
    guard stores[one].isRunning, stores[other].isRunning else { return nil }
    let ends = [RigEnd.shard(one, nextLink(one)), .shard(other, nextLink(other))]
    connections.append(RigConnection(ends: ends))
    for (end, peer) in [(ends[0], other), (ends[1], one)] {
      guard case .shard(let store, let link) = end else { continue }
      let hello = hello(peer)
      input(store) { $0.linkOpened(link, peer: hello, now: $1, into: &$2) }
    }
    return connections.count - 1
  }

  /// What is under way is lost; both sides notice.
  mutating func close(_ connection: Int) {
    guard connections[connection].isOpen else { return }
    connections[connection].isOpen = false
    for case .shard(let store, let link) in connections[connection].ends {
      input(store) { $0.linkClosed(link, now: $1, into: &$2) }
    }
  }

  /// Breaks the links between two stores; they dial again after a while, unless they are cut.
  mutating func resetLinks(_ one: Int, _ other: Int, pause milliseconds: Int = 20) {
    for connection in connections.indices
    where touches(connection, one) && touches(connection, other) {
      close(connection)
    }
    queue.schedule(.dialed(one, other), at: now + UInt64(milliseconds) * 1_000)
  }

  /// **Returns**: the number of a new gateway with a link to this store.
  mutating func openGateway(to store: Int) -> Int {
    let gateway = received.count
    received.append([])
    let link = nextLink(store)
    connections.append(RigConnection(ends: [.shard(store, link), .gateway(gateway)]))
    gatewayConnections.append(connections.count - 1)
    let hello = LinkHello(
      clusterID: 1, node: "gateway\(gateway)", role: .gateway, store: nil,
      boot: BootID(UInt64(gateway + 1)), requestCredits: 0)
    input(store) { $0.linkOpened(link, peer: hello, now: $1, into: &$2) }
    return gateway
  }

  /// The link of a gateway at its shard's end.
  func link(ofGateway gateway: Int) -> (store: Int, link: LinkID) {
    guard case .shard(let store, let link) = connections[gatewayConnections[gateway]].ends[0] else {
      preconditionFailure("a gateway's link ends at a shard")
    }
    return (store, link)
  }

  /// A frame of a gateway, or of whoever is at that end.
  mutating func transmit(_ frame: LinkFrame, on connection: Int, to end: Int) {
    guard connections[connection].isOpen else { return }
    let priority = frame.priority.rawValue
    var at = now + UInt64(dice.between(delays.link))
    for urgent in 0...priority {
      at = max(at, connections[connection].lastArrivals[end][urgent])
    }
    connections[connection].lastArrivals[end][priority] = at
    queue.schedule(.frame(connection: connection, to: end, frame), at: at)
  }

  mutating func tell(_ frame: LinkFrame, through gateway: Int) {
    transmit(frame, on: gatewayConnections[gateway], to: 0)
  }

  /// **Returns**: the number under which the answer will be in `responses`.
  @discardableResult
  mutating func request(
    _ operation: Request.Operation, in partition: PartitionID, through gateway: Int
  ) -> UInt64 {
    lastRequest += 1
    let request = Request(id: lastRequest, partition: partition, operation: operation)
    tell(.request(request), through: gateway)
    return lastRequest
  }

  @discardableResult
  mutating func command(_ command: Command, through gateway: Int) -> UInt64 {
    guard let entity = command.entity else { preconditionFailure("whose command is it?") }
    return request(
      .command(command.encoded()), in: ring.partition(entity), through: gateway)
  }

  @discardableResult
  mutating func query(_ query: Query, through gateway: Int) -> UInt64 {
    guard let entity = query.entity else { preconditionFailure("whom does it read?") }
    return request(.query(query), in: ring.partition(entity), through: gateway)
  }

  // MARK: What is seen

  /// Whom the record names, if it takes commands.
  func leader(of partition: Int) -> Int? {
    guard let record = coordinator.records[PartitionID(UInt32(partition))]?.record,
      let leader = stores.indices.first(where: { stores[$0].id == record.leader.store }),
      let status = status(leader, partition), status.isLeader, status.acceptsCommands
    else { return nil }
    return leader
  }

  func outcome(_ request: UInt64) -> Response.Outcome? { responses[request]?.first }

  func status(_ store: Int, _ partition: Int) -> ShardCore.PartitionStatus? {
    stores[store].core?.partitions.first { $0.partition == PartitionID(UInt32(partition)) }
  }

  func deliveries(_ gateway: Int) -> [Delivery] {
    received[gateway].compactMap { if case .delivery(let delivery) = $0 { delivery } else { nil } }
  }
}
