import ChatCore
import ChatModel
import NodeProtocol
import Primitives
import ReplicaCore
import Routing

extension ShardCore {
  /// Begins to send what happens to an entity. If nothing happened to it since `after`, nothing is
  /// missing; otherwise the gateway pulls what lies between.
  mutating func subscribe(
    _ subscribe: Subscribe, on id: LinkID, into actions: inout [ShardAction]
  ) {
    let end: (SubscriptionEnded.Reason) -> ShardAction = { reason in
      .send(
        id,
        .subscriptionEnded(
          SubscriptionEnded(
            partition: subscribe.partition, entity: subscribe.entity, reason: reason)))
    }
    guard let position = position(of: subscribe.partition), hosts[position].standing.isLeader,
      hosts[position].standing.servesReads
    else { return actions.append(end(.notLeader)) }
    guard hosts[position].owns(subscribe.entity), let link = links[id],
      link.subscriptions.count < configuration.subscriptionsPerLinkMax
    else { return actions.append(end(.behind)) }
    let isNew = link.subscriptions.insert(
      Subscription(partition: subscribe.partition, entity: subscribe.entity)
    ).inserted
    if isNew { hosts[position].subscribers[subscribe.entity, default: []].append(id) }
    var from = hosts[position].chat.position
    if let after = subscribe.after, after < from, after.generation == from.generation,
      let changed = try? hosts[position].chat.lastChange(
        of: subscribe.entity, state: hosts[position].reader),
      changed <= after
    {
      from = after
    }
    actions.append(
      .send(
        id,
        .subscribed(
          Subscribed(
            partition: subscribe.partition, entity: subscribe.entity, from: from,
            generation: hosts[position].chat.generation))))
  }

  mutating func unsubscribe(_ unsubscribe: Unsubscribe, on id: LinkID) {
    let subscription = Subscription(partition: unsubscribe.partition, entity: unsubscribe.entity)
    guard links[id]?.subscriptions.remove(subscription) != nil,
      let position = position(of: unsubscribe.partition)
    else { return }
    hosts[position].subscribers[unsubscribe.entity]?.removeAll { $0 == id }
    if hosts[position].subscribers[unsubscribe.entity]?.isEmpty ?? false {
      hosts[position].subscribers[unsubscribe.entity] = nil
    }
  }

  /// Tells the subscribers what applying an entry gave.
  mutating func deliverOutput(
    at index: LogIndex, _ position: Int, into actions: inout [ShardAction]
  ) {
    guard !hosts[position].subscribers.isEmpty else { return }
    for (ordinal, delivery) in output.deliveries.enumerated() {
      for link in hosts[position].subscribers[delivery.entity] ?? [] {
        links[link]?.lastDelivery = ordinal
      }
    }
    for (ordinal, delivery) in output.deliveries.enumerated() {
      deliver(
        delivery.content, to: delivery.entity, at: index, ordinal: ordinal, position, into: &actions
      )
    }
  }

  /// Sends what happened to everybody who subscribed. A link that cannot take more loses the
  /// subscription and is told, so that it pulls: nothing is skipped silently.
  private mutating func deliver(
    _ content: Delivery.Content, to entity: EntityID, at index: LogIndex, ordinal: Int,
    _ position: Int, into actions: inout [ShardAction]
  ) {
    guard let subscribers = hosts[position].subscribers[entity] else { return }
    let partition = hosts[position].partition
    let told = PlantedBug.isActive(.subscribersForgotten) ? subscribers.prefix(1) : subscribers[...]
    for id in told {
      guard let link = links[id] else { continue }
      guard link.isCongested else {
        actions.append(
          .send(
            id,
            .delivery(
              Delivery(
                partition: partition, index: index, content: content,
                isLastOfEntry: ordinal == link.lastDelivery))))
        continue
      }
      if PlantedBug.isActive(.deliveriesDropped) { continue }
      unsubscribe(Unsubscribe(partition: partition, entity: entity), on: id)
      actions.append(
        .send(
          id,
          .subscriptionEnded(
            SubscriptionEnded(partition: partition, entity: entity, reason: .behind))))
    }
  }

  /// This store does not lead the partition any more, or tells positions in another generation, or
  /// an entity is another partition's.
  mutating func endSubscriptions(
    _ position: Int, _ reason: SubscriptionEnded.Reason, into actions: inout [ShardAction],
    where isMeant: (EntityID) -> Bool = { _ in true }
  ) {
    let partition = hosts[position].partition
    let subscribers = hosts[position].subscribers.filter { isMeant($0.key) }
    for entity in subscribers.keys { hosts[position].subscribers[entity] = nil }
    for id in links.keys.sorted() {
      guard let link = links[id] else { continue }
      let ended = link.subscriptions.filter {
        $0.partition == partition && subscribers[$0.entity] != nil
      }
      link.subscriptions.subtract(ended)
      for subscription in ended.sorted(by: { $0.entity.token < $1.entity.token }) {
        actions.append(
          .send(
            id,
            .subscriptionEnded(
              SubscriptionEnded(
                partition: partition, entity: subscription.entity, reason: reason))))
      }
    }
  }
}
