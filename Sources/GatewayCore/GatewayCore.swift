import ChatModel
import ClientProtocol
package import ClusterModel
import DequeModule
package import NodeProtocol
package import Primitives
import Routing

/// How far live deliveries of one partition have come on this event loop.
struct LivePosition {
  /// Of the newest entry that anything was delivered of.
  var begun = LogIndex.zero
  /// Everything up to here that active subscriptions cover was delivered.
  var complete = LogIndex.zero
}

/// One event loop of a gateway as a deterministic value: its client sessions, the requests that
/// wait for shards, and one subscription per conversation that somebody here listens to.
///
/// **Isolation**: owned by one event loop.
package struct GatewayCore {
  package let configuration: GatewayConfiguration
  var routing: RoutingTable
  var random: SeededRandom
  var links: [StoreID: ShardLink] = [:]

  // Requests
  var requests: [UInt64: PendingRequest] = [:]
  /// From clients' messages to their answers.
  package internal(set) var sends = DurationHistogram()
  var waiting: [PartitionID: WaitingRequests] = [:]
  /// Commands that a shard has and has not answered, by partition.
  var commandsUnderWay: [PartitionID: Int] = [:]
  var lastRequestID: UInt64 = 0
  var nextRetry = Instant.distantFuture
  var nextExpiry = Instant.zero

  // Sessions
  var sessions: [SessionID: ClientSession] = [:]
  var subscriptions: [EntityID: EntitySubscription] = [:]
  /// What of them is in a partition, so that its moves cost nothing elsewhere.
  var subscribedEntities: [PartitionID: Set<EntityID>] = [:]
  /// Entities whose subscription could not be asked for yet, and when the first of them is due.
  var unasked: Set<EntityID> = []
  var nextAsk = Instant.distantFuture
  /// What was delivered live, by partition.
  var livePositions: [PartitionID: LivePosition] = [:]
  /// Sessions with something to load or to pull at the next tick.
  var restless: Set<SessionID> = []
  /// When sessions are to be told their cursors, earliest first.
  var cursorsDue: Deque<CursorDeadline> = []
  var isDraining = false
  var lastHeartbeat = Instant.zero

  package init(configuration: GatewayConfiguration, seed: UInt64) {
    self.configuration = configuration
    routing = RoutingTable(scheme: PartitionScheme(rootCount: configuration.partitionCount))
    random = SeededRandom(seed: seed)
  }

  // MARK: The cluster

  /// The coordinator's record of a partition.
  package mutating func recordObserved(
    _ partition: PartitionID, _ observed: VersionedRecord, now: Instant,
    into actions: inout [GatewayAction]
  ) {
    let before = routing.leader(of: partition)
    let whole = routing.known(partition)
    guard routing.observe(partition, observed) else { return }
    if whole != partition {
      partitionSplit(
        whole, half: partition, origin: observed.record.origin, now: now, into: &actions)
    }
    if routing.leader(of: partition) != before {
      partitionMoved(partition, now: now, into: &actions)
    }
  }

  /// The partition has another leader: ask and subscribe there.
  mutating func partitionMoved(
    _ partition: PartitionID, now: Instant, into actions: inout [GatewayAction]
  ) {
    reroute(partition, now: now, into: &actions)
    resubscribe(partition, now: now, into: &actions)
  }

  /// A link to a shard is open and both sides have said hello.
  package mutating func linkOpened(
    _ store: StoreID, peer hello: LinkHello, now: Instant, into actions: inout [GatewayAction]
  ) {
    // The shell may know of a new connection before it knows that the old one is dead.
    linkClosed(store, now: now, into: &actions)
    links[store] = ShardLink(
      boot: hello.boot, lastHeard: now, credits: Int(hello.requestCredits))
    for partition in waiting.keys.sorted() where routing.leader(of: partition)?.store == store {
      flush(partition, now: now, into: &actions)
    }
    subscribeAll(on: store, now: now, into: &actions)
  }

  package mutating func linkClosed(
    _ store: StoreID, now: Instant, into actions: inout [GatewayAction]
  ) {
    guard links.removeValue(forKey: store) != nil else { return }
    requestsLost(on: store, now: now, into: &actions)
    subscriptionsLost(on: store)
  }

  package mutating func frameReceived(
    _ frame: LinkFrame, from store: StoreID, now: Instant, into actions: inout [GatewayAction]
  ) {
    links[store]?.lastHeard = now
    switch frame {
    case .response(let response):
      responseReceived(response, from: store, now: now, into: &actions)
    case .delivery(let delivery):
      deliveryReceived(delivery, from: store, now: now, into: &actions)
    case .subscribed(let subscribed):
      subscriptionBegan(subscribed, from: store, now: now, into: &actions)
    case .subscriptionEnded(let ended):
      subscriptionEnded(ended, from: store, now: now, into: &actions)
    case .draining:
      links[store]?.isDraining = true
    case .hello, .heartbeat, .replica, .request, .subscribe, .unsubscribe:
      break
    }
  }

  /// Stores whose links are silent: the shell closes and opens them anew.
  package func silentLinks(longerThan silence: Milliseconds, now: Instant) -> [StoreID] {
    // Asked at every tick, and hardly ever with an answer.
    var silent: [StoreID] = []
    for (store, link) in links where now > link.lastHeard + silence { silent.append(store) }
    return silent.sorted()
  }

  // MARK: Time

  package mutating func tick(now: Instant, into actions: inout [GatewayAction]) {
    tendRequests(now: now, into: &actions)
    tendSubscriptions(now: now, into: &actions)
    tendSessions(now: now, into: &actions)
    guard now >= lastHeartbeat + configuration.heartbeatInterval else { return }
    lastHeartbeat = now
    // A shard ends the link of a gateway that it does not hear.
    for store in links.keys.sorted() {
      actions.append(.send(store, .heartbeat(Heartbeat(boot: configuration.boot, wallTime: .zero))))
    }
  }

  /// Tells every session to connect elsewhere.
  package mutating func drain(into actions: inout [GatewayAction]) {
    isDraining = true
    actions.append(.push(.draining, to: sessions.keys.sorted()))
  }

  // MARK: For operators

  package var sessionCount: Int { sessions.count }
  package var pendingRequestCount: Int { requests.count }
  package var subscriptionCount: Int { subscriptions.count }
  /// Whether most requests can be served: some shard answers and every partition has a leader.
  package var isReady: Bool {
    !isDraining && !links.isEmpty && routing.isLed
  }
}
