import ChatModel
import ClusterModel
import NodeProtocol
import Primitives
import WalkSupport

/// All shards and the network between them and one gateway, on virtual time: leaders that come and
/// go over one `ChatWorld`, links that break, answers that are late or never come.
///
/// A store's frames to the gateway are two queues, as on a real link: responses may overtake
/// deliveries and what begins and ends subscriptions, never the reverse.
struct FakeShards {
  /// What goes wrong, in permille, and how long things take, in microseconds.
  struct Faults {
    var latency = 1_000...1_000
    /// Before a query is read: its barrier.
    var reading = 0...0
    /// While commands gather for one entry.
    var gathering = 0...0
    /// Before a listing is in the user's partition.
    var listing = 1_000...1_000
    /// Before the gateway learns of a new leader.
    var announcing = 1_000...1_000
    /// A delivery is turned into the end of its subscription.
    var behind = 0
    /// A request is answered with "not now".
    var refused = 0
    /// A request comes to nothing.
    var dropped = 0
    // Lies, which no shard may tell. They are planted to show that they are noticed.
    /// A delivery is left out although its subscription goes on.
    var skipped = 0
    /// An event is left out of a page of changes.
    var omitted = 0
    /// A subscription that missed something says that it did not.
    var liesGapless = false
  }

  enum Happening {
    case toStore(StoreID, link: Int, LinkFrame)
    case toGateway(StoreID, link: Int, LinkFrame)
    case linkOpened(StoreID)
    case recordSeen(PartitionID, VersionedRecord)
    case read(StoreID, link: Int, Request)
    case turnEnded(PartitionID)
    case listed(Command)
    case tick
    case step
  }

  private struct Store {
    /// Counts connections; `nil` while there is none.
    var link: Int?
    var subscriptions: Set<EntityID> = []
    var lastSent: UInt64 = 0
    var lastResponse: UInt64 = 0
    var lastDelivery: UInt64 = 0
  }

  private struct PendingCommand {
    let command: Command
    let origin: (store: StoreID, link: Int, request: UInt64)?
  }

  let partitionCount: UInt32
  var world: ChatWorld
  var faults = Faults()
  var queue = TimedQueue<UInt64, Happening>()
  var dice: Dice
  /// Microseconds.
  var now: UInt64 = 1_000_000
  /// Partitions whose queries are not read until this is empty again.
  var heldQueries: ((Query) -> Bool)?
  private(set) var behindCount = 0
  private(set) var skippedCount = 0
  private(set) var leaders: [StoreID]
  private var revisions: [Int64]
  private var stores: [StoreID: Store] = [:]
  private var pending: [[PendingCommand]]
  private var held: [(StoreID, Int, Request)] = []
  private var lastLink = 0

  init(partitionCount: UInt32, storeCount: Int, seed: UInt64) {
    self.partitionCount = partitionCount
    world = ChatWorld(partitionCount: partitionCount)
    dice = Dice(seed: seed)
    for number in 1...storeCount { stores[store(number)] = Store() }
    leaders = (0..<Int(partitionCount)).map { store($0 % storeCount + 1) }
    revisions = Array(repeating: 1, count: Int(partitionCount))
    pending = Array(repeating: [], count: Int(partitionCount))
    for partition in 0..<partitionCount { _ = world.apply([], to: PartitionID(partition)) }
  }

  var storeIDs: [StoreID] { stores.keys.sorted() }
  func leader(_ partition: PartitionID) -> StoreID { leaders[Int(partition.rawValue)] }
  func isLinked(_ store: StoreID) -> Bool { stores[store]?.link != nil }
  func subscriptions(of store: StoreID) -> [EntityID] {
    (stores[store]?.subscriptions ?? []).sorted { $0.token < $1.token }
  }

  func record(_ partition: PartitionID) -> VersionedRecord {
    let revision = revisions[Int(partition.rawValue)]
    return VersionedRecord(
      record: GatewayCoreTests.record(epoch: UInt64(revision), leader: leader(partition)),
      revision: Revision(revision))
  }

  mutating func schedule(_ happening: Happening, in range: ClosedRange<Int>) {
    queue.schedule(happening, at: now + UInt64(dice.between(range)))
  }

  // MARK: Links

  /// **Returns**: the number of the connection.
  mutating func linkOpened(_ store: StoreID) {
    lastLink += 1
    stores[store] = Store(link: lastLink)
  }

  /// What was under way is lost. With `restart` so is what had not become an entry.
  mutating func linkClosed(_ store: StoreID, restart: Bool = false) {
    stores[store]?.link = nil
    stores[store]?.subscriptions = []
    guard restart else { return }
    for partition in pending.indices {
      pending[partition].removeAll { $0.origin?.store == store }
    }
  }

  func isCurrent(_ store: StoreID, _ link: Int) -> Bool { stores[store]?.link == link }

  /// A frame of the gateway's.
  mutating func send(_ frame: LinkFrame, to store: StoreID) {
    guard let found = stores[store], let link = found.link else { return }
    let at = max(found.lastSent, now + UInt64(dice.between(faults.latency)))
    stores[store]?.lastSent = at
    queue.schedule(.toStore(store, link: link, frame), at: at)
  }

  private mutating func emit(_ frame: LinkFrame, from store: StoreID) {
    guard let found = stores[store], let link = found.link else { return }
    let at = now + UInt64(dice.between(faults.latency))
    switch frame.priority {
    case .delivery, .bulk:
      let arrival = max(at, found.lastDelivery, found.lastResponse)
      stores[store]?.lastDelivery = arrival
      queue.schedule(.toGateway(store, link: link, frame), at: arrival)
    case .control, .request:
      let arrival = max(at, found.lastResponse)
      stores[store]?.lastResponse = arrival
      queue.schedule(.toGateway(store, link: link, frame), at: arrival)
    }
  }

  private mutating func respond(
    _ store: StoreID, _ link: Int, _ request: UInt64, _ outcome: Response.Outcome
  ) {
    guard isCurrent(store, link) else { return }
    emit(.response(Response(id: request, outcome: outcome)), from: store)
  }

  // MARK: Frames

  mutating func receive(_ frame: LinkFrame, at store: StoreID, link: Int) {
    guard isCurrent(store, link) else { return }
    switch frame {
    case .request(let request): receive(request, at: store, link: link)
    case .subscribe(let subscribe): self.subscribe(subscribe, at: store)
    case .unsubscribe(let unsubscribe):
      stores[store]?.subscriptions.remove(unsubscribe.entity)
    case .heartbeat: break
    default: preconditionFailure("a gateway does not send \(frame)")
    }
  }

  private func notLeader(_ partition: PartitionID) -> Response.Outcome {
    .notLeader(
      leader: ReplicaID(store: leader(partition), number: 1),
      revision: record(partition).revision)
  }

  private mutating func receive(_ request: Request, at store: StoreID, link: Int) {
    guard leader(request.partition) == store else {
      return respond(store, link, request.id, notLeader(request.partition))
    }
    if dice.chance(permille: faults.dropped) { return }
    if dice.chance(permille: faults.refused) {
      let refusal = ServiceError.unavailable("not now", retryAfterMilliseconds: 10)
      return respond(store, link, request.id, .failed(refusal))
    }
    switch request.operation {
    case .query(let query):
      if let heldQueries, heldQueries(query) { return held.append((store, link, request)) }
      schedule(.read(store, link: link, request), in: faults.reading)
    case .command(let bytes):
      guard let command = try? Command(decoding: bytes[...]) else {
        preconditionFailure("the gateway sent no command")
      }
      add(
        PendingCommand(command: command, origin: (store, link, request.id)), to: request.partition)
    }
  }

  mutating func releaseQueries() {
    heldQueries = nil
    let waiting = held
    held = []
    for (store, link, request) in waiting {
      schedule(.read(store, link: link, request), in: faults.reading)
    }
  }

  /// The barrier of a query is through.
  mutating func read(_ request: Request, at store: StoreID, link: Int) {
    guard leader(request.partition) == store else {
      return respond(store, link, request.id, notLeader(request.partition))
    }
    guard case .query(let query) = request.operation else { return }
    var answer = world.answer(query, in: request.partition)
    if case .changes(var page) = answer, !page.events.isEmpty,
      dice.chance(permille: faults.omitted)
    {
      page.events.remove(at: dice.below(page.events.count))
      answer = .changes(page)
    }
    respond(store, link, request.id, .answered(answer))
  }

  // MARK: Commands

  /// Somebody else's command: through another gateway, or out of an outbox.
  mutating func add(_ command: Command) {
    guard let entity = command.entity else { return }
    add(PendingCommand(command: command, origin: nil), to: world.partition(of: entity))
  }

  private mutating func add(_ command: PendingCommand, to partition: PartitionID) {
    let position = Int(partition.rawValue)
    if pending[position].isEmpty { schedule(.turnEnded(partition), in: faults.gathering) }
    pending[position].append(command)
  }

  /// One entry of what has gathered: answers, then deliveries.
  mutating func endTurn(_ partition: PartitionID) {
    let commands = pending[Int(partition.rawValue)]
    guard !commands.isEmpty else { return }
    pending[Int(partition.rawValue)] = []
    let output = world.apply(commands.map(\.command), to: partition)
    for (command, result) in zip(commands, output.results) {
      guard let origin = command.origin else { continue }
      respond(origin.store, origin.link, origin.request, .applied(result))
    }
    for command in output.outbox { schedule(.listed(command), in: faults.listing) }
    deliver(output.deliveries, of: partition)
  }

  private mutating func deliver(
    _ deliveries: [(entity: EntityID, content: Delivery.Content)], of partition: PartitionID
  ) {
    let leader = leader(partition)
    let index = world.applied(partition)
    var frames: [Delivery] = []
    var isCut = false
    for (entity, content) in deliveries
    where stores[leader]?.subscriptions.contains(entity) ?? false {
      if dice.chance(permille: faults.behind) {
        isCut = true
        for frame in frames { emit(.delivery(frame), from: leader) }
        frames = []
        endSubscription(entity, of: partition, on: leader, .behind)
      } else if dice.chance(permille: faults.skipped) {
        skippedCount += 1
      } else {
        frames.append(Delivery(partition: partition, index: index, content: content))
      }
    }
    for (position, frame) in frames.enumerated() {
      var frame = frame
      frame.isLastOfEntry = !isCut && position == frames.count - 1
      emit(.delivery(frame), from: leader)
    }
  }

  // MARK: Subscriptions

  private mutating func subscribe(_ subscribe: Subscribe, at store: StoreID) {
    guard leader(subscribe.partition) == store else {
      return emit(
        .subscriptionEnded(
          SubscriptionEnded(
            partition: subscribe.partition, entity: subscribe.entity, reason: .notLeader)),
        from: store)
    }
    stores[store]?.subscriptions.insert(subscribe.entity)
    var from = world.applied(subscribe.partition)
    if let after = subscribe.after, after < from {
      let changed = world.lastChange(of: subscribe.entity)
      if faults.liesGapless || changed.map({ $0 <= after }) ?? false { from = after }
    }
    emit(
      .subscribed(
        Subscribed(
          partition: subscribe.partition, entity: subscribe.entity, from: from, generation: 0)),
      from: store)
  }

  mutating func endSubscription(
    _ entity: EntityID, of partition: PartitionID, on store: StoreID,
    _ reason: SubscriptionEnded.Reason
  ) {
    guard stores[store]?.subscriptions.remove(entity) != nil else { return }
    behindCount += 1
    emit(
      .subscriptionEnded(
        SubscriptionEnded(partition: partition, entity: entity, reason: reason)), from: store)
  }

  // MARK: Leaders

  mutating func lead(_ partition: PartitionID, by store: StoreID) {
    let position = Int(partition.rawValue)
    let former = leaders[position]
    guard former != store else { return }
    for command in pending[position] {
      guard let origin = command.origin else { continue }
      respond(origin.store, origin.link, origin.request, notLeader(partition))
    }
    pending[position].removeAll { $0.origin != nil }
    if !pending[position].isEmpty { schedule(.turnEnded(partition), in: faults.gathering) }
    for entity in subscriptions(of: former) where world.partition(of: entity) == partition {
      endSubscription(entity, of: partition, on: former, .notLeader)
    }
    leaders[position] = store
    revisions[position] += 1
    _ = world.apply([], to: partition)
    schedule(.recordSeen(partition, record(partition)), in: faults.announcing)
  }
}
