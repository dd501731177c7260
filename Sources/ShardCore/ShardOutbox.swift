import ChatCore
import ChatModel
import NodeProtocol
import Primitives
import ReplicaCore
import Routing

/// An outbox delivery to another shard that is not answered yet.
struct OutgoingDelivery {
  let source: PartitionID
  let entry: OutboxEntryID
  let target: PartitionID
  let link: LinkID
}

extension ShardCore {
  /// Sends what the outbox of a led partition holds and is due, within the window.
  mutating func deliverOutbox(_ position: Int, now: Instant, into actions: inout [ShardAction]) {
    hosts[position].courier.wakeAt = .distantFuture
    guard hosts[position].standing.isLeader else { return }
    confirmDelivered(position, now: now, into: &actions)
    // What is delivered and held does not keep the rest from being delivered.
    let done = hosts[position].courier.doneCount
    for entry in hosts[position].chat.outbox.entries(
      after: nil, countMax: configuration.outboxWindow + done)
    {
      let courier = hosts[position].courier
      guard !courier.confirming.contains(entry.id), !courier.confirmed.contains(entry.id) else {
        continue
      }
      let slot = courier.shipments.firstIndex { $0.entry == entry.id }
      if let slot, now < courier.shipments[slot].retryAt {
        hosts[position].courier.wakeAt = min(courier.wakeAt, courier.shipments[slot].retryAt)
        continue
      }
      let retryAt = now + configuration.outboxRetry
      let shipment = OutboxCourier.Shipment(entry: entry.id, retryAt: retryAt)
      if let slot {
        hosts[position].courier.shipments[slot] = shipment
      } else {
        hosts[position].courier.shipments.append(shipment)
      }
      hosts[position].courier.wakeAt = min(hosts[position].courier.wakeAt, retryAt)
      ship(entry, from: hosts[position].partition, now: now, into: &actions)
      if PlantedBug.isActive(.outboxSentOnce) {
        hosts[position].courier.confirmed.append(entry.id)
        hosts[position].courier.wakeAt = .zero
      }
    }
  }

  /// Keeps what was delivered in the outboxes, or lets it go again. A backup copies stores one
  /// after the other, and what one of them has handed over and forgotten must not be missing in
  /// another that was copied before: so nothing is forgotten from before the first copy until after
  /// the last.
  package mutating func holdConfirmations(_ isHolding: Bool) { isHoldingConfirmations = isHolding }

  /// Whether a command that takes something out of an outbox is on its way.
  package var isConfirming: Bool {
    // What has been taken out is forgotten at the next look at an outbox that is not empty.
    hosts.contains { host in
      !host.courier.confirming.isEmpty && host.visitChat { !$0.outbox.isEmpty }
    }
  }

  private mutating func ship(
    _ entry: OutboxEntry, from source: PartitionID, now: Instant, into actions: inout [ShardAction]
  ) {
    let target = routing.partition(of: entry.target.token)
    guard let leader = routing.leader(of: target) else { return }
    if leader.store == configuration.store {
      guard let position = position(of: target) else { return }
      return admit(
        entry.command, origin: .outbox(source: source, entry.id), position, now: now, into: &actions
      )
    }
    guard let link = link(to: leader.store) else { return }
    lastRequestID += 1
    outgoing[lastRequestID] = OutgoingDelivery(
      source: source, entry: entry.id, target: target, link: link)
    actions.append(
      .send(
        link,
        .request(
          Request(id: lastRequestID, partition: target, operation: .command(entry.command)))))
  }

  /// The answer of another shard to a delivery.
  mutating func responseReceived(
    _ response: Response, now: Instant, into actions: inout [ShardAction]
  ) {
    guard let delivery = outgoing.removeValue(forKey: response.id) else { return }
    switch response.outcome {
    case .applied(let result):
      outboxAnswered(source: delivery.source, entry: delivery.entry, result: result, now: now)
    case .notLeader(let leader, let revision):
      if let leader { routing.redirect(delivery.target, to: leader, revision: revision) }
      outboxFailed(source: delivery.source, entry: delivery.entry, now: now)
    case .answered, .failed:
      outboxFailed(source: delivery.source, entry: delivery.entry, now: now)
    }
  }

  /// The target applied the command. A refusal that may pass is tried again; any other answer is
  /// final: the target has seen the entry.
  mutating func outboxAnswered(
    source: PartitionID, entry: OutboxEntryID, result: CommandResult, now: Instant
  ) {
    if case .refused(let error) = result, error.retryable {
      return outboxFailed(source: source, entry: entry, now: now)
    }
    guard let position = position(of: source), hosts[position].standing.isLeader else { return }
    hosts[position].courier.shipments.removeAll { $0.entry == entry }
    if !hosts[position].courier.confirmed.contains(entry) {
      hosts[position].courier.confirmed.append(entry)
    }
    hosts[position].courier.wakeAt = .zero
    look(at: position)
  }

  mutating func outboxFailed(source: PartitionID, entry: OutboxEntryID, now: Instant) {
    guard let position = position(of: source),
      let slot = hosts[position].courier.shipments.firstIndex(where: { $0.entry == entry })
    else { return }
    let retryAt = now + configuration.outboxRetry
    hosts[position].courier.shipments[slot].retryAt = retryAt
    hosts[position].courier.wakeAt = min(hosts[position].courier.wakeAt, retryAt)
    look(at: position)
  }

  mutating func outboxLinkLost(_ id: LinkID, now: Instant) {
    for request in outgoing.keys.sorted() {
      guard let delivery = outgoing[request], delivery.link == id else { continue }
      outgoing[request] = nil
      outboxFailed(source: delivery.source, entry: delivery.entry, now: now)
    }
  }

  /// Takes what was delivered out of the state, by a command of its own.
  private mutating func confirmDelivered(
    _ position: Int, now: Instant, into actions: inout [ShardAction]
  ) {
    let countMax = configuration.outboxWindow * 2 + hosts[position].courier.doneCount
    let waiting = Set(
      hosts[position].chat.outbox.entries(after: nil, countMax: countMax).map(\.id))
    hosts[position].courier.confirming.formIntersection(waiting)
    let confirmed = hosts[position].courier.confirmed.filter { waiting.contains($0) }
    hosts[position].courier.confirmed.removeAll()
    guard !confirmed.isEmpty, hosts[position].standing.acceptsCommands, !isHoldingConfirmations
    else {
      hosts[position].courier.confirmed = confirmed
      if !confirmed.isEmpty { hosts[position].courier.wakeAt = now + configuration.outboxRetry }
      return
    }
    let sorted = confirmed.sorted()
    let taken = Array(sorted.prefix(configuration.outboxWindow * 2))
    if taken.count < sorted.count {
      hosts[position].courier.confirmed = Array(sorted[taken.count...])
      hosts[position].courier.wakeAt = now
    }
    let command = Command.outboxConfirmed(OutboxConfirmed(entries: taken))
    hosts[position].courier.confirming.formUnion(taken)
    admit(command.encoded(), origin: .own, position, now: now, into: &actions)
  }
}
