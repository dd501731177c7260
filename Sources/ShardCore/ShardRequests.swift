import ChatModel
import ClusterModel
package import NodeProtocol
package import Primitives
import ReplicaCore
import Routing

extension ShardCore {
  /// A frame of a peer or a gateway.
  package mutating func frameReceived(
    _ frame: LinkFrame, on id: LinkID, now: Instant, wall: WallTime,
    into actions: inout [ShardAction]
  ) {
    guard let link = links[id] else { return }
    link.lastHeard = now
    switch frame {
    case .hello:
      actions.append(.closeLink(id, reason: "a second hello"))
    case .heartbeat(let heartbeat):
      heartbeatReceived(heartbeat, on: id, now: now, wall: wall)
    case .replica(let message):
      guard let peer = presentPeer(on: id), peers[peer].store == message.from.store,
        peers[peer].boot == message.fromBoot
      else { return }
      if receiveSplit(message, on: id, now: now, into: &actions) { return }
      guard let position = position(of: message.partition) else { return }
      // What is not taken is sent again.
      if isStorageFull, case .append(_, let entries, _) = message.body, !entries.isEmpty { return }
      let hosted = hosts[position].replica.id
      if message.to.store == hosted.store, message.to.number < hosted.number {
        return answerForFormer(message, on: id, into: &actions)
      }
      drive(position, now: now, into: &actions) { replica, pending in
        replica.messageReceived(message, now: now, into: &pending)
      }
    case .request(let request):
      receive(request, on: id, now: now, into: &actions)
    case .response(let response):
      responseReceived(response, now: now, into: &actions)
    case .subscribe(let subscribe):
      self.subscribe(subscribe, on: id, into: &actions)
    case .unsubscribe(let unsubscribe):
      self.unsubscribe(unsubscribe, on: id)
    case .subscribed, .subscriptionEnded, .delivery:
      actions.append(.closeLink(id, reason: "a shard takes no deliveries"))
    case .draining:
      if let peer = presentPeer(on: id) { peers[peer].isLeaving = true }
    }
  }

  func respond(
    _ link: LinkID, _ request: UInt64, _ outcome: Response.Outcome,
    into actions: inout [ShardAction]
  ) {
    guard links[link] != nil else { return }
    actions.append(.send(link, .response(Response(id: request, outcome: outcome))))
  }

  // MARK: Admission

  private mutating func receive(
    _ request: Request, on link: LinkID, now: Instant, into actions: inout [ShardAction]
  ) {
    guard let position = position(of: request.partition) else {
      return respond(link, request.id, elsewhere(request.partition), into: &actions)
    }
    switch request.operation {
    case .command(let bytes):
      if overtakes(request, on: link) {
        return sendBack(request.id, on: link, position, notServed(position), into: &actions)
      }
      admit(bytes, origin: .request(link, request.id), position, now: now, into: &actions)
    case .query(let query):
      read(query, request.id, on: link, position, now: now, into: &actions)
    }
  }

  /// A gateway tries what was sent back again once all that was on its way is answered, oldest
  /// first. So a number beyond those that were sent back was on its way already, and one of them
  /// begins anew.
  private mutating func overtakes(_ request: Request, on link: LinkID) -> Bool {
    guard let link = links[link], let sentBack = link.sentBack[request.partition] else {
      return false
    }
    if request.id > sentBack.upperBound { return true }
    link.sentBack[request.partition] = nil
    return false
  }

  /// Answers a command that may be tried again, here or elsewhere.
  mutating func sendBack(
    _ request: UInt64, on link: LinkID, _ position: Int, _ outcome: Response.Outcome,
    into actions: inout [ShardAction]
  ) {
    if let link = links[link], link.role == .gateway {
      let partition = hosts[position].partition
      let earlier = link.sentBack[partition]
      link.sentBack[partition] =
        min(earlier?.lowerBound ?? request, request)...max(earlier?.upperBound ?? request, request)
    }
    respond(link, request, outcome, into: &actions)
  }

  private func elsewhere(_ partition: PartitionID) -> Response.Outcome {
    guard let record = routing.record(of: partition), let leader = routing.leader(of: partition)
    else {
      return .failed(.unavailable("this shard does not know the partition"))
    }
    return .notLeader(leader: leader, revision: record.revision)
  }

  /// Takes a command for the entry of this turn, or refuses it with nothing done.
  mutating func admit(
    _ bytes: [UInt8], origin: CommandOrigin, _ position: Int, now: Instant,
    into actions: inout [ShardAction]
  ) {
    if origin != .own { beginGeneration(position, now: now, into: &actions) }
    var resolves: UserID?
    if let refusal = capacityRefusal(bytes.count, position) {
      return refuse(origin, position, refusal, now: now, into: &actions)
    }
    if origin != .own {
      guard let command = try? Command(decoding: bytes[...]), let entity = command.entity else {
        let error = ServiceError(.invalidArgument, "not a command that this version knows")
        return refuse(origin, position, .failed(error), now: now, into: &actions)
      }
      guard hosts[position].owns(entity) else {
        if hosts[position].level > 0 { return turnAway(origin, now: now, into: &actions) }
        let error = ServiceError(.invalidArgument, "the command belongs to another partition")
        return refuse(origin, position, .failed(error), now: now, into: &actions)
      }
      if case .handleResolved(let resolved) = command { resolves = resolved.user }
    }
    if hosts[position].pending.isEmpty, !hosts[position].holdsCommands {
      touched.append(position)
    }
    hosts[position].pending.append(
      PendingCommand(bytes: bytes, origin: origin, resolves: resolves))
    hosts[position].pendingBytes += bytes.count
  }

  private func capacityRefusal(_ bytes: Int, _ position: Int) -> Response.Outcome? {
    let standing = hosts[position].standing
    guard standing.acceptsCommands || standing.isClosing, !isDraining else {
      return notServed(position)
    }
    guard hosts[position].pendingBytes + bytes <= configuration.pendingCommandBytesMax,
      !isStorageFull
    else {
      return .failed(.overloaded("too much waits for this partition"))
    }
    return nil
  }

  private mutating func refuse(
    _ origin: CommandOrigin, _ position: Int, _ outcome: Response.Outcome, now: Instant,
    into actions: inout [ShardAction]
  ) {
    switch origin {
    case .request(let link, let request):
      if outcome.isTriedAgain {
        sendBack(request, on: link, position, outcome, into: &actions)
      } else {
        respond(link, request, outcome, into: &actions)
      }
    case .outbox(let source, let entry): outboxFailed(source: source, entry: entry, now: now)
    case .own:
      // Asked again when there is room.
      hosts[position].courier.takeBackConfirmations(retryAt: now + configuration.outboxRetry)
      hosts[position].askedGeneration = 0
      look(at: position)
    }
  }

  private mutating func read(
    _ query: Query, _ request: UInt64, on link: LinkID, _ position: Int, now: Instant,
    into actions: inout [ShardAction]
  ) {
    if PlantedBug.isActive(.followerAnswers), !hosts[position].standing.isLeader,
      let answer = try? hosts[position].answer(query)
    {
      return respond(link, request, .answered(answer), into: &actions)
    }
    guard hosts[position].standing.isLeader else {
      return respond(link, request, notServed(position), into: &actions)
    }
    guard hosts[position].serves(query) else {
      let error = ServiceError(.invalidArgument, "the query belongs to another partition")
      return respond(
        link, request, hosts[position].level > 0 ? .isElsewhere : .failed(error), into: &actions)
    }
    lastReadID += 1
    let id = lastReadID
    hosts[position].reads[id] = PendingRead(link: link, request: request, query: query)
    touched.append(position)
    drive(position, now: now, into: &actions) { replica, pending in
      replica.readRequested(id, now: now, into: &pending)
    }
  }

  // MARK: The end of a turn

  /// Makes entries of the commands and barrier rounds of the reads that this turn brought.
  package mutating func turnEnded(now: Instant, wall: WallTime, into actions: inout [ShardAction]) {
    guard !touched.isEmpty else { return }
    let positions = touched
    touched.removeAll(keepingCapacity: true)
    for position in positions {
      appendPending(position, now: now, wall: wall, into: &actions)
      guard !hosts[position].reads.isEmpty else { continue }
      drive(position, now: now, into: &actions) { replica, pending in
        replica.startBarrier(now: now, into: &pending)
      }
    }
  }

  mutating func appendPending(
    _ position: Int, now: Instant, wall: WallTime, into actions: inout [ShardAction]
  ) {
    var waiting = hosts[position].pending[...]
    guard !waiting.isEmpty, !hosts[position].holdsCommands else { return }
    hosts[position].pending = []
    hosts[position].pendingBytes = 0
    while !waiting.isEmpty {
      var bytes = 0
      let share = waiting.prefix { command in
        defer { bytes += command.bytes.count }
        return bytes == 0 || bytes + command.bytes.count <= configuration.entryBytesMax
      }
      waiting = waiting.dropFirst(share.count)
      guard !append(Array(share), position, now: now, wall: wall, into: &actions) else { continue }
      for command in share {
        refuse(command.origin, position, notServed(position), now: now, into: &actions)
      }
    }
  }

  /// Makes one entry of commands.
  ///
  /// **Returns**: whether it was appended.
  mutating func append(
    _ commands: [PendingCommand], _ position: Int, now: Instant, wall: WallTime,
    into actions: inout [ShardAction]
  ) -> Bool {
    let stamp = max(hosts[position].lastStamp, wall)
    hosts[position].lastStamp = stamp
    let payload = EntryPayload(time: stamp, commands: commands.map { $0.bytes[...] }).encoded()
    var appended: EntryID?
    drive(position, now: now, into: &actions) { replica, pending in
      appended = replica.propose(payload: payload, now: now, into: &pending)
    }
    // Nothing is applied before it is durable, and that is told in a later input.
    guard let appended else { return false }
    hosts[position].inFlight.append((appended, commands))
    commandCount += UInt64(commands.count)
    return true
  }
}

extension Response.Outcome {
  /// Whether a gateway tries the request again by itself.
  fileprivate var isTriedAgain: Bool {
    switch self {
    case .notLeader: true
    case .failed(let error): error.retryable && error.code == .unavailable
    case .applied, .answered: false
    }
  }
}
