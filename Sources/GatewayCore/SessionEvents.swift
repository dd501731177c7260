import ChatModel
import ClientProtocol
import NodeProtocol
import Primitives
import Routing

/// How events reach a session: pulled while it catches up, fanned out once it is live.
extension GatewayCore {
  // MARK: Pulling

  mutating func pullDue(_ id: SessionID, now: Instant, into actions: inout [GatewayAction]) {
    guard let session = sessions[id], !session.isCongested else { return }
    for partition in session.partitions.keys.sorted() {
      guard (sessions[id]?.pullCount ?? .max) < configuration.pullsPerSessionMax else { return }
      guard sessions[id]?.partitions[partition]?.mode == .due else { continue }
      pull(id, partition, now: now, into: &actions)
    }
  }

  mutating func pull(
    _ id: SessionID, _ partition: PartitionID, now: Instant, into actions: inout [GatewayAction]
  ) {
    guard let session = sessions[id], let state = session.partitions[partition] else { return }
    sessions[id]?.partitions[partition]?.mode = .pulling
    sessions[id]?.pullCount += 1
    let requests = state.conversations.map {
      ChangesQuery.Request(conversation: $0, after: state.after[$0] ?? state.position)
    }
    let query = ChangesQuery(
      reader: session.user, requests: requests, limit: configuration.changesPageMax)
    request(
      partition: partition, .query(.changes(query)),
      completion: .call { core, outcome, now, actions in
        core.pulled(id, partition, requests, outcome, now: now, into: &actions)
      }, now: now, into: &actions)
  }

  mutating func pulled(
    _ id: SessionID, _ partition: PartitionID, _ asked: [ChangesQuery.Request],
    _ outcome: Response.Outcome, now: Instant, into actions: inout [GatewayAction]
  ) {
    guard sessions[id]?.partitions[partition] != nil else { return }
    sessions[id]?.pullCount -= 1
    guard case .answered(.changes(let page)) = outcome else {
      sessions[id]?.partitions[partition]?.mode = .due
      restless.insert(id)
      return
    }
    for event in page.events { push(event, toCatchingUp: id, into: &actions) }
    sessions[id]?.partitions[partition]?.position = page.through
    sessions[id]?.partitions[partition]?.generation = page.generation
    for request in asked {
      // A conversation joined while this was under way keeps its own start.
      if sessions[id]?.partitions[partition]?.after[request.conversation] == request.after {
        sessions[id]?.partitions[partition]?.after[request.conversation] = nil
      }
    }
    noteCursor(id, now: now)
    guard let state = sessions[id]?.partitions[partition] else { return }
    let isComplete = state.conversations.allSatisfy {
      subscriptions[.conversation($0)]?.isActive ?? false
    }
    let isCurrent =
      !page.more && state.after.isEmpty
      && page.through >= livePositions[partition] ?? .zero
    if !isComplete {
      sessions[id]?.partitions[partition]?.mode = .waiting
    } else if isCurrent, sessions[id]?.isCongested == false {
      sessions[id]?.partitions[partition]?.mode = .live
      pullDue(id, now: now, into: &actions)
    } else {
      sessions[id]?.partitions[partition]?.mode = .due
      pullDue(id, now: now, into: &actions)
    }
  }

  mutating func push(
    _ event: Event, toCatchingUp id: SessionID, into actions: inout [GatewayAction]
  ) {
    guard let last = sessions[id]?.conversations[event.conversation], event.sequence > last else {
      return
    }
    sessions[id]?.conversations[event.conversation] = event.sequence
    actions.append(.push(.event(event), to: [id]))
  }

  // MARK: Live

  mutating func deliveryReceived(
    _ delivery: Delivery, from store: StoreID, now: Instant, into actions: inout [GatewayAction]
  ) {
    let partition = delivery.partition
    switch delivery.content {
    case .event(let event):
      guard let subscription = subscriptions[.conversation(event.conversation)],
        subscription.status == .active(store)
      else { return }
      livePositions[partition] = max(livePositions[partition] ?? .zero, delivery.index)
      fanOut(event, partition, subscription.sessions, now: now, into: &actions)
    case .listed(let user, let item, let removed):
      guard let subscription = subscriptions[.user(user)] else { return }
      for id in subscription.sessions {
        listChanged(id, item, removed: removed, at: delivery.index, now: now, into: &actions)
      }
    case .sessionClosed(let user, let device):
      guard let subscription = subscriptions[.user(user)] else { return }
      for id in subscription.sessions where sessions[id]?.device == device {
        actions.append(
          .endSession(id, ServiceError(.unauthenticated, "this device was logged out")))
      }
    }
  }

  /// One event to all sessions that stand at the head of its conversation.
  mutating func fanOut(
    _ event: Event, _ partition: PartitionID, _ listeners: [SessionID], now: Instant,
    into actions: inout [GatewayAction]
  ) {
    var receivers: [SessionID] = []
    receivers.reserveCapacity(listeners.count)
    for id in listeners {
      guard let session = sessions[id], let state = session.partitions[partition],
        state.mode == .live, event.index > state.position,
        let last = session.conversations[event.conversation], event.sequence > last
      else { continue }
      guard last == .zero || event.sequence == last.successor else {
        // Something is missing between: never skip it silently.
        let position = cursorIndex(partition, state)
        sessions[id]?.partitions[partition]?.position = position
        sessions[id]?.partitions[partition]?.mode = .due
        restless.insert(id)
        continue
      }
      sessions[id]?.conversations[event.conversation] = event.sequence
      receivers.append(id)
      noteCursor(id, now: now)
    }
    if !receivers.isEmpty { actions.append(.push(.event(event), to: receivers)) }
  }

  mutating func listChanged(
    _ id: SessionID, _ item: ListedConversation, removed: Bool, at index: LogIndex, now: Instant,
    into actions: inout [GatewayAction]
  ) {
    guard let session = sessions[id], let listed = session.listed, index > listed else { return }
    sessions[id]?.listed = index
    noteCursor(id, now: now)
    guard removed else {
      return join(id, item, since: listed, now: now, into: &actions)
    }
    guard sessions[id]?.conversations.removeValue(forKey: item.conversation) != nil else { return }
    let entity = EntityID.conversation(item.conversation)
    let partition = routing.partition(of: entity.token)
    sessions[id]?.partitions[partition]?.conversations.removeAll { $0 == item.conversation }
    sessions[id]?.partitions[partition]?.after[item.conversation] = nil
    detach(id, from: entity, into: &actions)
  }

  // MARK: Cursors

  mutating func noteCursor(_ id: SessionID, now: Instant) {
    guard sessions[id]?.cursorDueAt == nil else { return }
    sessions[id]?.cursorDueAt = now + configuration.cursorInterval
    restless.insert(id)
  }

  mutating func tendSessions(now: Instant, into actions: inout [GatewayAction]) {
    for id in restless.sorted() {
      guard let session = sessions[id] else {
        restless.remove(id)
        continue
      }
      let userEntity = EntityID.user(session.user)
      if session.wantsEvents, session.listed == nil, !session.isLoadingList,
        subscriptions[userEntity]?.isActive ?? false
      {
        loadList(id, after: nil, first: nil, now: now, into: &actions)
      }
      pullDue(id, now: now, into: &actions)
      if session.partitions.values.allSatisfy({ $0.after.isEmpty }), let listed = session.listed {
        sessions[id]?.safeListed = listed
      }
      if let due = session.cursorDueAt, now >= due, !session.isCongested,
        let cursor = cursor(of: id)
      {
        sessions[id]?.cursorDueAt = nil
        actions.append(.answer(id, ServerFrame(ref: "", body: .cursor(cursor))))
      }
      let isSettled =
        session.listed != nil && session.partitions.values.allSatisfy { $0.mode != .due }
      if isSettled, sessions[id]?.cursorDueAt == nil { restless.remove(id) }
    }
  }
}
