import ChatModel
import ClientProtocol
import ClusterModel
import NodeProtocol
import Primitives
import ReplicaCore
import ShardCore

/// What is looked at when everything is mended, and what is counted on the way.
extension SimulatedCluster {
  /// What is not well yet; empty when everything is.
  var unsettled: String {
    for partition in coordinator.records.keys {
      guard let record = coordinator.records[partition]?.record else { continue }
      if record.target.contains(where: { !record.inSync.contains($0) })
        || record.inSync.contains(where: { !record.target.contains($0) })
      {
        return "\(partition) is in sync on \(record.inSync), should be on \(record.target)"
      }
      guard let host = leader(of: partition, record) else { return "\(partition) has no leader" }
      if !host.standing.acceptsCommands { return "\(partition) takes no commands" }
      for member in record.inSync {
        guard let follower = self.host(of: partition, member) else {
          return "\(member) of \(partition) is not here"
        }
        if follower.standing.isStopped { return "\(member) of \(partition) has stopped" }
        if follower.standing.appliedIndex != host.standing.appliedIndex {
          return "\(member) of \(partition) is behind"
        }
      }
    }
    if let change = ring.record.change {
      return "the ring is being changed: \(change.kind) \(change.subject)"
    }
    let conversations = conversations
    for client in clients {
      if !client.isRegistered { return "client \(client.number) has no account" }
      if !client.isWelcome { return "client \(client.number) is not connected" }
      // Until then it is told what happens from some moment on that it does not know.
      if client.listens, client.cursor == nil { return "client \(client.number) has no cursor" }
      if let operation = client.inFlight.first {
        return "client \(client.number) waits for \(operation.operation)"
      }
      if let late = lateConversation(of: client, among: conversations) { return late }
    }
    return wrongList(conversations) ?? ""
  }

  var isSettled: Bool { unsettled.isEmpty }

  /// Every partition's record and every replica, for whoever looks for the reason.
  var overview: String {
    var lines: [String] = []
    for partition in coordinator.records.keys {
      guard let known = coordinator.records[partition] else { continue }
      let record = known.record
      lines.append(
        "\(partition) \(known.revision.rawValue): \(record.epoch) led by \(record.leader), "
          + "boot \(record.leaderBoot.rawValue); in sync \(record.inSync), target \(record.target), "
          + "next \(record.nextReplica), \(checker.committed[Int(partition.rawValue)].count) committed"
      )
      for shard in shards {
        for host in shard.hosts where host.partition == partition {
          lines.append("  store \(shard.id.rawValue) boot \(shard.boot.rawValue): \(host.summary)")
        }
      }
    }
    return lines.joined(separator: "\n")
  }

  private func host(of partition: PartitionID, _ replica: ReplicaID) -> PartitionHost? {
    shards.first { $0.id == replica.store }?.hosts.first {
      $0.partition == partition && $0.replicaID == replica
    }
  }

  private func leader(of partition: PartitionID, _ record: PartitionRecord) -> PartitionHost? {
    guard let host = host(of: partition, record.leader), host.standing.isLeader else { return nil }
    return host
  }

  /// The one that holds an entity now: the latest half that has a record.
  func partition(of entity: EntityID) -> PartitionID {
    var partition = scheme.partition(of: entity.token, level: UInt32(plan.splits.count))
    while coordinator.records[partition] == nil, let origin = scheme.origin(of: partition) {
      partition = origin
    }
    return partition
  }

  /// What was cut off and has no record yet is nobody's at the moment.
  func leader(of entity: EntityID) -> PartitionHost? {
    let partition = partition(of: entity)
    guard let record = coordinator.records[partition]?.record,
      let host = leader(of: partition, record), host.owns(entity)
    else { return nil }
    return host
  }

  /// A conversation of which this client has not everything yet that it should have. Of one that it
  /// has heard nothing of, that is known only once something new was said there.
  private func lateConversation(
    of client: SimulatedClient, among conversations: [ConversationID]
  ) -> String? {
    guard client.listens else { return nil }
    for id in conversations {
      let seen = client.conversations[id]?.seen
      guard seen != nil || probed.contains(id), let head = head(of: id, for: client),
        head.rawValue != seen
      else { continue }
      return "client \(client.number) has seen \(seen ?? 0) of \(id), which ends at \(head)"
    }
    return nil
  }

  /// `nil` when the client is no member.
  private func head(of conversation: ConversationID, for client: SimulatedClient) -> Sequence? {
    let query = Query.history(
      HistoryQuery(conversation: conversation, reader: client.user, range: .latest, limit: 1))
    guard let host = leader(of: .conversation(conversation)),
      case .history(let page)? = try? host.answer(query)
    else { return nil }
    return page.head
  }

  // MARK: The end

  func checkEnd() throws(Violation) {
    if shards.contains(where: { $0.disk.loadCount > 0 }) { rare.note(.catchUpFromDisk) }
    for shard in shards where shard.process?.core.comparedStateCount ?? 0 > 0 {
      rare.note(.stateCompared)
    }
    for partition in coordinator.records.keys {
      guard let record = coordinator.records[partition]?.record else { continue }
      for member in record.inSync
      where !plan.isSafetyOnly && !checker.holdsEverything(member, partition, in: self) {
        fail("\(partition): \(member) is in sync at the end and lacks something")
      }
      let hosts = record.inSync.compactMap { host(of: partition, $0) }
      for host in hosts where host.standing.appliedIndex == hosts[0].standing.appliedIndex {
        if host.rollingHash != hosts[0].rollingHash { fail("the replicas of \(partition) differ") }
      }
    }
    for conversation in conversations {
      if plan.isSafetyOnly {
        guard isReadable(conversation) else { continue }
        rare.note(.readableWithoutHealing)
      }
      guard let reader = clients.first(where: { isMember($0, of: conversation) }) else {
        fail("nobody can read \(conversation)")
        continue
      }
      let log = log(of: conversation, reader: reader.user)
      history.check(conversation, log, in: self)
      checkGaps(conversation, log)
      checkBeginnings(conversation, log)
      checkRefusals(conversation, log)
    }
    for client in clients where !plan.isSafetyOnly {
      for place in client.conversations.places {
        guard let number = place.heardOutside else { continue }
        fail("client \(client.number) heard \(number) of \(place.id), which it was taken out of")
      }
    }
    if let violation { throw violation }
  }

  /// Whether the leader that the record names would answer now.
  private func isReadable(_ conversation: ConversationID) -> Bool {
    let id = EntityID.conversation(conversation)
    let partition = partition(of: id)
    guard let host = leader(of: id) else { return false }
    return host.standing.servesReads
      && host.standing.epoch == coordinator.records[partition]?.record.epoch
  }

  /// Something may be missing for somebody who was taken out and came back, and for nobody else.
  private func checkGaps(_ conversation: ConversationID, _ log: [Event]) {
    for client in clients where client.conversations[conversation]?.hadGap ?? false {
      if !wasOut(client, log) {
        fail("client \(client.number) was told of a gap in \(conversation)")
      }
    }
  }

  /// Who was added while it had a cursor hears everything from then on, from the event that says
  /// so. Of several such times the list of conversations knows the last.
  private func checkBeginnings(_ conversation: ConversationID, _ log: [Event]) {
    let partition = partition(of: .conversation(conversation))
    for client in clients where client.listens {
      guard let first = client.conversations[conversation]?.first,
        let event = log.last(where: { adds($0, client) }),
        checker.committedAt(event.index, of: partition) > client.firstCursorAt
      else { continue }
      if first > event.sequence.rawValue {
        fail("client \(client.number) heard nothing of \(conversation) before \(first)")
      }
    }
  }

  /// Nobody is refused who was never taken out.
  private func checkRefusals(_ conversation: ConversationID, _ log: [Event]) {
    for client in clients where client.refusedIn.contains(conversation) {
      if !wasOut(client, log) { fail("client \(client.number) was refused in \(conversation)") }
    }
  }

  private func adds(_ event: Event, _ client: SimulatedClient) -> Bool {
    switch event.content {
    case .created(_, _, let members), .membersChanged(let members, _):
      members.contains { $0.user == client.user }
    default: false
    }
  }

  private func wasOut(_ client: SimulatedClient, _ log: [Event]) -> Bool {
    log.contains { event in
      guard case .membersChanged(_, let removed) = event.content else { return false }
      return removed.contains(client.user)
    }
  }

  /// Those that anybody has heard of, or that are in somebody's list.
  var conversations: [ConversationID] {
    var conversations = history.conversations
    for id in onlyListed where !conversations.contains(id) { conversations.append(id) }
    for client in clients {
      for place in client.conversations.places where !conversations.contains(place.id) {
        conversations.append(place.id)
      }
    }
    return conversations
  }

  private func log(of conversation: ConversationID, reader: UserID) -> [Event] {
    guard let host = leader(of: .conversation(conversation)) else { return [] }
    var log: [Event] = []
    while true {
      let query = Query.history(
        HistoryQuery(
          conversation: conversation, reader: reader,
          range: .after(Sequence(UInt64(log.count))), limit: 200))
      guard case .history(let page)? = try? host.answer(query), !page.events.isEmpty else {
        return log
      }
      log += page.events
    }
  }

  /// When the outbox has told everybody, who is a member has the conversation in the list, and
  /// nobody else. `nil` when that is so.
  private func wrongList(_ conversations: [ConversationID]) -> String? {
    for client in clients {
      let query = Query.conversationList(user: client.user, after: nil, limit: 1_000)
      guard let host = leader(of: .user(client.user)),
        case .conversationList(let page)? = try? host.answer(query)
      else { return "the list of client \(client.number) cannot be read" }
      let listed = page.conversations.map(\.conversation)
      for conversation in listed where !conversations.contains(conversation) {
        onlyListed.append(conversation)
        return
          "nobody has heard of \(conversation) so far, which client \(client.number) has listed"
      }
      for conversation in conversations {
        let isMember = isMember(client, of: conversation)
        if listed.contains(conversation) != isMember {
          return "client \(client.number): \(conversation) is \(isMember ? "not " : "")listed"
        }
      }
    }
    return nil
  }

  /// Whether changes of a conversation, of which there are none after the greatest index, are
  /// given to the client.
  func isMember(_ client: SimulatedClient, of conversation: ConversationID) -> Bool {
    let request = ChangesQuery.Request(conversation: conversation, after: LogIndex(.max))
    let query = Query.changes(ChangesQuery(reader: client.user, requests: [request], limit: 1))
    guard let host = leader(of: .conversation(conversation)),
      case .changes(let page)? = try? host.answer(query)
    else { return false }
    return !page.refused.contains(conversation)
  }

  // MARK: Rare events

  func noteFrame(_ frame: LinkFrame, from sender: Node) {
    switch frame {
    case .request(let request):
      guard case .shard = sender, case .command(let bytes) = request.operation else { return }
      let digest = StableHash.hash64(bytes) &+ UInt64(request.partition.rawValue)
      if !toldBetweenShards.insert(digest).inserted { rare.note(.outboxRepeated) }
    case .replica(let message):
      switch message.body {
      case .append:
        let known = coordinator.records[message.partition]?.record.epoch ?? .zero
        if message.epoch < known { rare.note(.zombieAppend) }
      case .mismatched: rare.note(.mismatch)
      case .inquiry: rare.note(.inquiry)
      case .takeOver: rare.note(.handoff)
      case .snapshotOffered(let number, _):
        let digest = StableHash.hash64(
          Array("\(message.partition) \(message.to) \(message.epoch) \(number)".utf8))
        if !offeredSnapshots.insert(digest).inserted { rare.note(.snapshotRepeated) }
      default: break
      }
    default: break
    }
  }
}
