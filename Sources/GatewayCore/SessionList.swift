import ChatModel
import ClientProtocol
import NodeProtocol
import Primitives
import Routing

/// One change of a user's list of conversations.
struct ListChange {
  let item: ListedConversation
  let removed: Bool
  /// The entry of the user's partition that made it.
  let index: LogIndex
}

/// A list of conversations that is being read page by page.
struct ListLoading {
  var items: [ListedConversation] = []
  /// The position that the first page shows.
  var applied: LogIndex?
  /// What happened to the list meanwhile. The pages may show it or not.
  var changes: [ListChange] = []
}

/// Which conversations a session listens to: the list as it was read, and how it changes.
extension GatewayCore {
  /// Reads the list anew, unless that is under way.
  mutating func loadList(
    _ id: SessionID, now: Instant, into actions: inout [GatewayAction]
  ) {
    guard let session = sessions[id], session.loading == nil else { return }
    guard knowsPartitions(of: session) || now >= session.patientUntil else {
      session.needsList = true
      // Looked at again with the next tick.
      restless.insert(id)
      return
    }
    noteListIndex(id)
    session.loading = ListLoading()
    session.needsList = false
    loadPage(id, after: nil, now: now, into: &actions)
  }

  private mutating func loadPage(
    _ id: SessionID, after: ConversationID?, now: Instant, into actions: inout [GatewayAction]
  ) {
    guard let session = sessions[id] else { return }
    let query = Query.conversationList(
      user: session.user, after: after, limit: configuration.listPageMax)
    request(
      .user(session.user), .query(query),
      completion: .call { core, outcome, now, actions in
        core.pageLoaded(id, outcome, now: now, into: &actions)
      }, now: now, into: &actions)
  }

  private mutating func pageLoaded(
    _ id: SessionID, _ outcome: Response.Outcome, now: Instant, into actions: inout [GatewayAction]
  ) {
    guard let session = sessions[id], session.loading != nil else { return }
    guard case .answered(.conversationList(let page)) = outcome else {
      session.loading = nil
      session.needsList = true
      restless.insert(id)
      return
    }
    session.loading?.items += page.conversations
    if session.loading?.applied == nil { session.loading?.applied = page.applied }
    if page.more, let last = page.conversations.last {
      return loadPage(id, after: last.conversation, now: now, into: &actions)
    }
    session.userGeneration = page.generation
    finishLoading(id, now: now, into: &actions)
  }

  /// Takes the whole list over at once: a partition must not be pulled before all of its
  /// conversations are known.
  private mutating func finishLoading(
    _ id: SessionID, now: Instant, into actions: inout [GatewayAction]
  ) {
    guard let session = sessions[id], let loaded = session.loading, let applied = loaded.applied
    else { return }
    noteListIndex(id)
    session.loading = nil
    let joined = Dictionary(loaded.items.map { ($0.conversation, $0.joined) }) { $1 }
    // Who left and came back meanwhile is read from the new joining on.
    let gone = session.conversations.filter { joined[$0.key] != $0.value.joined }
    for conversation in gone.keys.sorted() { leave(id, conversation, into: &actions) }
    // What the list does not show any more comes back as something new.
    for partition in session.partitions.keys {
      guard let leftAhead = session.partitions[partition]?.leftAhead, !leftAhead.isEmpty else {
        continue
      }
      session.partitions[partition]?.leftAhead = leftAhead.filter { joined[$0.key] != nil }
    }
    let since = session.listed ?? session.resumed?.user.index ?? applied
    if session.listed == nil, session.resumed == nil { session.safeListed = applied }
    for item in loaded.items { join(id, item, since: since, now: now, into: &actions) }
    session.listed = max(session.listed ?? .zero, applied)
    if session.partitions.values.allSatisfy({ $0.after.isEmpty }) {
      session.safeListed = max(session.safeListed, applied)
    }
    for change in loaded.changes where change.index > applied {
      carryOut(id, change, now: now, into: &actions)
    }
    if session.needsList { restless.insert(id) }
    considerWaiting(id, now: now, into: &actions)
  }

  /// The shard tells that the list has changed.
  mutating func listChanged(
    _ id: SessionID, _ change: ListChange, now: Instant, into actions: inout [GatewayAction]
  ) {
    guard let session = sessions[id] else { return }
    if let loading = session.loading {
      guard loading.changes.count < configuration.listChangesMax else {
        session.needsList = true
        return
      }
      session.loading?.changes.append(change)
      return
    }
    guard let listed = session.listed, change.index > listed else { return }
    noteListIndex(id)
    carryOut(id, change, now: now, into: &actions)
    considerWaiting(id, now: now, into: &actions)
  }

  private mutating func carryOut(
    _ id: SessionID, _ change: ListChange, now: Instant, into actions: inout [GatewayAction]
  ) {
    if change.removed {
      leave(id, change.item.conversation, into: &actions)
    } else {
      // The list may tell of the return alone: what came before it is not read any more.
      if let place = sessions[id]?.conversations[change.item.conversation],
        place.joined != change.item.joined
      {
        leave(id, change.item.conversation, into: &actions)
      }
      join(id, change.item, since: sessions[id]?.listed ?? .zero, now: now, into: &actions)
    }
  }

  /// What waited may go on: a conversation came or went.
  private mutating func considerWaiting(
    _ id: SessionID, now: Instant, into actions: inout [GatewayAction]
  ) {
    guard let session = sessions[id] else { return }
    noteCursor(id, now: now)
    for partition in session.partitions.keys.sorted() {
      considerPartition(id, partition, now: now, into: &actions)
    }
    tellFirstCursor(id, into: &actions)
  }

  /// Adds a conversation to a session. One that entered the list after `since` is read from where
  /// the user joined it; an older one from where the session stands in its partition, which for a
  /// session that begins anew is the present end of the log.
  private mutating func join(
    _ id: SessionID, _ item: ListedConversation, since: LogIndex, now: Instant,
    into actions: inout [GatewayAction]
  ) {
    guard let session = sessions[id], session.conversations[item.conversation] == nil else {
      return
    }
    let entity = EntityID.conversation(item.conversation)
    let partition = routing.partition(of: entity.token)
    let known = resumedPosition(of: session, in: partition)
    session.conversations[item.conversation] = ConversationPlace(
      last: session.departed.removeValue(forKey: item.conversation) ?? .zero, joined: item.joined)
    let beginsAnew = session.listed == nil && session.resumed == nil
    if session.partitions[partition] == nil {
      let former = session.formerPositions.removeValue(forKey: partition)
      session.partitions[partition] = SessionPartition(
        position: former?.index ?? known?.index ?? (beginsAnew ? nil : .zero),
        generation: former?.generation ?? known?.generation)
    }
    session.partitions[partition]?.insert(item.conversation)
    let ahead = session.partitions[partition]?.leftAhead.removeValue(forKey: item.conversation)
    if let ahead { session.partitions[partition]?.after[item.conversation] = ahead }
    let isNewcomer = item.listed > since || (known == nil && !beginsAnew)
    if isNewcomer, !PlantedBug.isActive(.newcomerReadFromNow) {
      session.partitions[partition]?.after[item.conversation] =
        item.joined == .zero ? .zero : item.joined.predecessor
    }
    settleIntoWaiting(id, partition)
    attach(id, to: entity, now: now, into: &actions)
  }

  /// - Parameter index: up to where the conversation was read, when the list does not tell yet that
  /// the
  ///   user was taken out of it.
  mutating func leave(
    _ id: SessionID, _ conversation: ConversationID, aheadAt index: LogIndex? = nil,
    into actions: inout [GatewayAction]
  ) {
    guard let session = sessions[id] else { return }
    let entity = EntityID.conversation(conversation)
    let partition = routing.partition(of: entity.token)
    session.partitions[partition]?.leftAhead[conversation] = index
    guard let place = session.conversations.removeValue(forKey: conversation) else { return }
    session.departed[conversation] = place.last
    session.reread.remove(conversation)
    session.partitions[partition]?.conversations.removeAll { $0 == conversation }
    session.partitions[partition]?.after[conversation] = nil
    session.partitions[partition]?.reread.remove(conversation)
    if let state = session.partitions[partition], state.conversations.isEmpty,
      state.mode != .pulling
    {
      drop(partition, state, of: session)
    }
    detach(id, from: entity, into: &actions)
  }

  /// Nothing of a partition is of interest to a session any more, for now.
  func drop(_ partition: PartitionID, _ state: SessionPartition, of session: ClientSession) {
    session.partitions[partition] = nil
    guard let index = cursorIndex(partition, state) else { return }
    session.formerPositions[partition] = (
      min(index, state.leftAhead.values.min() ?? index), state.generation
    )
  }
}
