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
      guard session.pullCount < configuration.pullsPerSessionMax else { return }
      guard session.partitions[partition]?.mode == .due else { continue }
      pull(id, partition, now: now, into: &actions)
    }
  }

  mutating func pull(
    _ id: SessionID, _ partition: PartitionID, now: Instant, into actions: inout [GatewayAction]
  ) {
    guard let session = sessions[id], let state = session.partitions[partition] else { return }
    session.partitions[partition]?.mode = .pulling
    session.pullCount += 1
    let requests = state.requests
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
    guard let session = sessions[id] else { return }
    session.pullCount -= 1
    if case .answered(.changes(let page)) = outcome {
      leaveRefused(id, partition, asked, page, into: &actions)
    }
    if session.partitions[partition]?.conversations.isEmpty ?? true {
      if let state = session.partitions[partition] { drop(partition, state, of: session) }
      pullDue(id, now: now, into: &actions)
      return tellFirstCursor(id, into: &actions)
    }
    guard case .answered(.changes(let page)) = outcome else {
      session.partitions[partition]?.mode = .due
      restless.insert(id)
      return
    }
    noteGeneration(page.generation, id, partition, into: &actions)
    var torn: Set<ConversationID> = []
    for event in page.events where !torn.contains(event.conversation) {
      if !push(event, toCatchingUp: session, into: &actions) { torn.insert(event.conversation) }
    }
    let more = page.more && !PlantedBug.isActive(.laterPagesForgotten)
    session.partitions[partition]?.read(asked, through: page.through, more: more)
    for conversation in torn {
      session.partitions[partition]?.after[conversation] = .zero
      session.partitions[partition]?.reread.insert(conversation)
    }
    noteCursor(id, now: now)
    guard let state = session.partitions[partition] else { return }
    let isComplete = state.conversations.allSatisfy {
      subscriptions[.conversation($0)]?.isActive ?? false
    }
    let isCurrent =
      !more && state.after.isEmpty
      && page.through >= livePositions[partition]?.begun ?? .zero
    if !isComplete {
      session.partitions[partition]?.mode = .waiting
    } else {
      session.partitions[partition]?.mode = isCurrent && !session.isCongested ? .live : .due
    }
    // Another partition may have waited for this pull to end.
    pullDue(id, now: now, into: &actions)
    tellFirstCursor(id, into: &actions)
  }

  /// After an operator has forced a leader, what the session was told may not have happened: the
  /// client is to look again, and what follows may take numbers that it has seen.
  private mutating func noteGeneration(
    _ generation: UInt32, _ id: SessionID, _ partition: PartitionID,
    into actions: inout [GatewayAction]
  ) {
    guard let session = sessions[id], let state = session.partitions[partition] else { return }
    session.partitions[partition]?.generation = generation
    guard let known = state.generation, known != generation else { return }
    for conversation in state.conversations {
      session.conversations[conversation]?.last = .zero
      session.reread.remove(conversation)
      actions.append(.push(.gap(conversation), to: [id]))
    }
  }

  /// Conversations that the user was taken out of and that the list still shows. One that the user
  /// joined again since it was asked for is asked for anew.
  private mutating func leaveRefused(
    _ id: SessionID, _ partition: PartitionID, _ asked: [ChangesQuery.Request],
    _ page: ChangesPage, into actions: inout [GatewayAction]
  ) {
    guard !page.refused.isEmpty, let present = sessions[id]?.partitions[partition]?.requests else {
      return
    }
    for request in present where page.refused.contains(request.conversation) {
      guard asked.contains(request) else { continue }
      // Whoever was no member then comes back later than that.
      leave(id, request.conversation, aheadAt: page.through, into: &actions)
    }
  }

  /// Who sees being taken out of a conversation sees nothing more of it, even if the list of
  /// conversations changes later.
  private mutating func leaveIfRemoved(
    _ id: SessionID, by event: Event, into actions: inout [GatewayAction]
  ) {
    guard case .membersChanged(_, let removed) = event.content, let user = sessions[id]?.user,
      removed.contains(user)
    else { return }
    // The same entry may bring the user back: it is read once more then.
    leave(id, event.conversation, aheadAt: event.index.predecessor, into: &actions)
  }

  /// Pushes an event unless it was pushed before.
  ///
  /// **Returns**: `false` when events before it are missing: who was taken out of a conversation
  /// and comes back while it catches up was refused some of them. The conversation is then read
  /// again from its beginning; if they are missing even there, the client is told so.
  private func push(
    _ event: Event, toCatchingUp session: ClientSession, into actions: inout [GatewayAction]
  ) -> Bool {
    let id = event.conversation
    guard let place = session.conversations[id], event.sequence > place.last else { return true }
    let last = place.last
    if last > .zero, event.sequence != last.successor, !event.adds(session.user) {
      guard session.reread.remove(id) != nil else {
        session.reread.insert(id)
        return false
      }
      actions.append(.push(.gap(id), to: [session.id]))
    } else {
      session.reread.remove(id)
    }
    session.conversations[id]?.last = event.sequence
    actions.append(.push(.event(event), to: [session.id]))
    return true
  }

  // MARK: Live

  mutating func deliveryReceived(
    _ delivery: Delivery, from store: StoreID, now: Instant, into actions: inout [GatewayAction]
  ) {
    let partition = delivery.partition
    // After the content was given to the sessions: those that miss something stand before it.
    defer { noteDelivered(delivery, from: store) }
    switch delivery.content {
    case .event(let event):
      guard let subscription = subscriptions[.conversation(event.conversation)],
        subscription.status == .active(store)
      else { return }
      fanOut(event, partition, subscription.sessions, now: now, into: &actions)
    case .listed(let user, let item, let removed):
      guard let subscription = subscriptions[.user(user)], subscription.status == .active(store)
      else { return }
      let change = ListChange(item: item, removed: removed, index: delivery.index)
      for id in subscription.sessions { listChanged(id, change, now: now, into: &actions) }
    case .sessionClosed(let user, let device):
      guard let subscription = subscriptions[.user(user)] else { return }
      for id in subscription.sessions where sessions[id]?.device == device {
        actions.append(
          .endSession(id, ServiceError(.unauthenticated, "this device was logged out")))
      }
    }
  }

  /// Positions count only what came on the link of the partition's present leader.
  private mutating func noteDelivered(_ delivery: Delivery, from store: StoreID) {
    guard routing.leader(of: delivery.partition)?.store == store else { return }
    var position = livePositions[delivery.partition] ?? LivePosition()
    position.begun = max(position.begun, delivery.index)
    let complete = delivery.isLastOfEntry ? delivery.index : delivery.index.predecessor
    position.complete = max(position.complete, complete)
    livePositions[delivery.partition] = position
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
        state.mode == .live, let position = state.position, event.index > position,
        let last = session.conversations[event.conversation]?.last, event.sequence > last
      else { continue }
      guard last == .zero || event.sequence == last.successor else {
        // Something is missing between, at the earliest from where this began to be live.
        session.partitions[partition]?.mode = .due
        restless.insert(id)
        continue
      }
      session.conversations[event.conversation]?.last = event.sequence
      receivers.append(id)
      noteCursor(id, now: now)
    }
    if !receivers.isEmpty { actions.append(.push(.event(event), to: receivers)) }
    for id in receivers { leaveIfRemoved(id, by: event, into: &actions) }
  }

  // MARK: Cursors

  mutating func noteCursor(_ id: SessionID, now: Instant) {
    guard let session = sessions[id], session.cursorDueAt == nil else { return }
    tellCursor(session, at: now + configuration.cursorInterval)
  }

  private mutating func tellCursor(_ session: ClientSession, at time: Instant) {
    session.cursorDueAt = time
    cursorsDue.append(CursorDeadline(at: time, session: session.id))
  }

  /// A client can resume only once it was told where it stands: the first time, as soon as it has
  /// caught up.
  mutating func tellFirstCursor(_ id: SessionID, into actions: inout [GatewayAction]) {
    guard let session = sessions[id], !session.wasToldCursor, !session.isCongested,
      session.partitions.values.allSatisfy({ $0.mode == .live }), let cursor = cursor(of: id)
    else { return }
    session.wasToldCursor = true
    session.cursorDueAt = nil
    actions.append(.answer(id, ServerFrame(ref: "", body: .cursor(cursor))))
  }

  mutating func tendSessions(now: Instant, into actions: inout [GatewayAction]) {
    if !restless.isEmpty {
      let ids = restless.sorted()
      restless.removeAll(keepingCapacity: true)
      for id in ids {
        guard let session = sessions[id], session.wantsEvents else { continue }
        // One that is not active yet loads the list when it is.
        if session.needsList, subscriptions[.user(session.user)]?.isActive ?? false {
          loadList(id, now: now, into: &actions)
        }
        pullDue(id, now: now, into: &actions)
      }
    }
    while let next = cursorsDue.first, next.at <= now {
      cursorsDue.removeFirst()
      guard let session = sessions[next.session], session.cursorDueAt == next.at else { continue }
      guard !session.isCongested, let cursor = cursor(of: session.id) else {
        tellCursor(session, at: now + configuration.cursorInterval)
        continue
      }
      session.cursorDueAt = nil
      session.wasToldCursor = true
      actions.append(.answer(session.id, ServerFrame(ref: "", body: .cursor(cursor))))
    }
  }
}

/// When a session is to be told its cursor, unless it was told meanwhile.
struct CursorDeadline {
  let at: Instant
  let session: SessionID
}

extension Event {
  /// Whether with this event the user comes (back) into the conversation.
  fileprivate func adds(_ user: UserID) -> Bool {
    guard case .membersChanged(let added, _) = content else { return false }
    return added.contains { $0.user == user }
  }
}
