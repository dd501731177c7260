import ChatModel
import ClientProtocol
import NodeProtocol
import Primitives
import Routing

/// This event loop's one subscription to a conversation or a user, shared by its sessions.
///
/// ```
///            subscribe sent          subscribed
///   wanted ────────────────▶ asked ────────────▶ active
///     ▲                        │                    │
///     └────────────────────────┴────────────────────┘
///        link lost, leader changed, ended by the shard
/// ```
struct EntitySubscription {
  enum Status: Equatable {
    case wanted
    case asked(StoreID)
    case active(StoreID)
  }

  let entity: EntityID
  fileprivate(set) var partition: PartitionID
  var status = Status.wanted
  /// What is asked for after the connection broke: everything up to here was delivered.
  var resumeAfter: LogIndex?
  /// In the order of their ids, so that pushes go out in a fixed order.
  var sessions: [SessionID] = []
  var retryAt = Instant.zero

  mutating func insert(_ session: SessionID) {
    let place = sessions.firstIndex { $0 >= session } ?? sessions.endIndex
    if place == sessions.endIndex || sessions[place] != session {
      sessions.insert(session, at: place)
    }
  }

  var isActive: Bool { if case .active = status { true } else { false } }
}

extension GatewayCore {
  /// Adds a session to an entity's subscription and begins one where there is none.
  mutating func attach(
    _ session: SessionID, to entity: EntityID, now: Instant, into actions: inout [GatewayAction]
  ) {
    let partition = routing.partition(of: entity.token)
    if subscriptions[entity] == nil {
      subscriptions[entity] = EntitySubscription(entity: entity, partition: partition)
      subscribedEntities[partition, default: []].insert(entity)
    }
    subscriptions[entity]?.insert(session)
    if subscriptions[entity]?.status == .wanted { ask(entity, now: now, into: &actions) }
  }

  mutating func detach(
    _ session: SessionID, from entity: EntityID, into actions: inout [GatewayAction]
  ) {
    guard let subscription = subscriptions[entity] else { return }
    subscriptions[entity]?.sessions.removeAll { $0 == session }
    guard subscriptions[entity]?.sessions.isEmpty ?? false else { return }
    subscriptions[entity] = nil
    forget(entity, in: subscription.partition)
    switch subscription.status {
    case .wanted: break
    case .asked(let store), .active(let store):
      let frame = Unsubscribe(partition: subscription.partition, entity: entity)
      if links[store] != nil { actions.append(.send(store, .unsubscribe(frame))) }
    }
  }

  private mutating func ask(
    _ entity: EntityID, now: Instant, into actions: inout [GatewayAction]
  ) {
    guard let subscription = subscriptions[entity] else { return }
    guard let leader = routing.leader(of: subscription.partition), let link = links[leader.store],
      !link.isDraining
    else {
      return askLater(entity, at: now + configuration.retryPause)
    }
    unasked.remove(entity)
    subscriptions[entity]?.status = .asked(leader.store)
    actions.append(
      .send(
        leader.store,
        .subscribe(
          Subscribe(
            partition: subscription.partition, entity: entity, after: subscription.resumeAfter))))
  }

  private mutating func askLater(_ entity: EntityID, at time: Instant) {
    subscriptions[entity]?.retryAt = time
    unasked.insert(entity)
    nextAsk = min(nextAsk, time)
  }

  mutating func subscriptionBegan(
    _ subscribed: Subscribed, from store: StoreID, now: Instant,
    into actions: inout [GatewayAction]
  ) {
    guard let subscription = subscriptions[subscribed.entity],
      subscription.status == .asked(store), subscription.partition == subscribed.partition
    else { return }
    subscriptions[subscribed.entity]?.status = .active(store)
    let isGapless =
      subscription.resumeAfter.map { subscribed.from <= $0 } ?? false
      || PlantedBug.isActive(.gapNotSuspected)
    subscriptions[subscribed.entity]?.resumeAfter = nil
    for session in subscription.sessions {
      subscriptionReady(
        session, subscribed.entity, subscription.partition, isGapless: isGapless, now: now,
        into: &actions)
    }
  }

  mutating func subscriptionEnded(
    _ ended: SubscriptionEnded, from store: StoreID, now: Instant,
    into actions: inout [GatewayAction]
  ) {
    guard let subscription = subscriptions[ended.entity],
      subscription.partition == ended.partition,
      subscription.status == .asked(store) || subscription.status == .active(store)
    else { return }
    interrupt(ended.entity, until: now + configuration.retryPause)
  }

  /// Nothing arrives for the entity until it is subscribed again: its sessions stand still there.
  private mutating func interrupt(_ entity: EntityID, until retryAt: Instant = .zero) {
    guard let subscription = subscriptions[entity] else { return }
    if subscription.isActive {
      let live = livePositions[subscription.partition]
      subscriptions[entity]?.resumeAfter =
        PlantedBug.isActive(.resumesTooLate) ? live?.begun.successor : live?.complete
      if case .user = entity {
        for id in subscription.sessions { noteListIndex(id) }
      }
    }
    subscriptions[entity]?.status = .wanted
    askLater(entity, at: retryAt)
    for session in subscription.sessions { interrupted(session, subscription.partition, entity) }
  }

  mutating func subscriptionsLost(on store: StoreID) {
    for entity in entities(where: { $0.status == .asked(store) || $0.status == .active(store) }) {
      interrupt(entity)
    }
  }

  /// The partition has another leader.
  mutating func resubscribe(
    _ partition: PartitionID, now: Instant, into actions: inout [GatewayAction]
  ) {
    let leader = routing.leader(of: partition)?.store
    for entity in entities(in: partition) {
      switch subscriptions[entity]?.status {
      case .asked(let store)?, .active(let store)?:
        guard store != leader else { continue }
        if links[store] != nil {
          actions.append(
            .send(store, .unsubscribe(Unsubscribe(partition: partition, entity: entity))))
        }
        interrupt(entity)
      default: break
      }
      ask(entity, now: now, into: &actions)
    }
  }

  /// The entities of the half are subscribed to there.
  mutating func moveSubscriptions(
    from whole: PartitionID, to half: PartitionID, origin: LogIndex,
    into actions: inout [GatewayAction]
  ) {
    for entity in entities(in: whole) {
      guard routing.partition(of: entity.token) == half else { continue }
      switch subscriptions[entity]?.status {
      case .asked(let store)?, .active(let store)?:
        if links[store] != nil {
          actions.append(.send(store, .unsubscribe(Unsubscribe(partition: whole, entity: entity))))
        }
        interrupt(entity)
      default: break
      }
      subscriptions[entity]?.partition = half
      forget(entity, in: whole)
      subscribedEntities[half, default: []].insert(entity)
      if let after = subscriptions[entity]?.resumeAfter {
        subscriptions[entity]?.resumeAfter = min(after, origin)
      }
    }
  }

  mutating func subscribeAll(
    on store: StoreID, now: Instant, into actions: inout [GatewayAction]
  ) {
    for entity in unasked.sorted(by: { $0.token < $1.token })
    where routing.leader(of: routing.partition(of: entity.token))?.store == store {
      ask(entity, now: now, into: &actions)
    }
  }

  mutating func tendSubscriptions(now: Instant, into actions: inout [GatewayAction]) {
    guard now >= nextAsk else { return }
    nextAsk = .distantFuture
    for entity in unasked.sorted(by: { $0.token < $1.token }) {
      guard let subscription = subscriptions[entity], subscription.status == .wanted else {
        unasked.remove(entity)
        continue
      }
      if subscription.retryAt <= now {
        ask(entity, now: now, into: &actions)
      } else {
        nextAsk = min(nextAsk, subscription.retryAt)
      }
    }
  }

  private mutating func forget(_ entity: EntityID, in partition: PartitionID) {
    subscribedEntities[partition]?.remove(entity)
    if subscribedEntities[partition]?.isEmpty ?? false { subscribedEntities[partition] = nil }
  }

  private func entities(in partition: PartitionID) -> [EntityID] {
    subscribedEntities[partition, default: []].sorted { $0.token < $1.token }
  }

  private func entities(where matches: (EntitySubscription) -> Bool) -> [EntityID] {
    subscriptions.values.filter(matches).map(\.entity).sorted { $0.token < $1.token }
  }
}
