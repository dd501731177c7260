import ChatCore
import ChatModel
import ClusterModel
import NodeProtocol
import Primitives
import ReplicaCore
import Routing

extension ShardCore {
  /// Gives one replica an input and carries its actions out, and those that follow from them.
  mutating func drive(
    _ position: Int, now: Instant, into actions: inout [ShardAction],
    _ input: (inout Replica, inout [ReplicaAction]) -> Void
  ) {
    look(at: position)
    var pending: [ReplicaAction] = []
    swap(&pending, &scratch)
    let led = hosts[position].standing.isLeader
    let epoch = hosts[position].standing.epoch
    let wasClosing = hosts[position].standing.isClosing
    hosts[position].visit { input(&$0, &pending) }
    var next = 0
    while next < pending.count {
      let action = pending[next]
      next += 1
      perform(action, position, pending: &pending, now: now, into: &actions)
    }
    pending.removeAll(keepingCapacity: true)
    swap(&pending, &scratch)
    let leads = hosts[position].standing.isLeader
    if leads, !led || hosts[position].standing.epoch != epoch {
      startedLeading(position, now: now, into: &actions)
    } else if led, !leads {
      stoppedLeading(position, epoch: epoch, now: now, into: &actions)
    } else if wasClosing, !hosts[position].standing.isClosing, !hosts[position].pending.isEmpty {
      // The heir did not come: what waited for that is appended here.
      touched.append(position)
    }
  }

  private mutating func perform(
    _ action: ReplicaAction, _ position: Int, pending: inout [ReplicaAction], now: Instant,
    into actions: inout [ShardAction]
  ) {
    let partition = hosts[position].partition
    switch action {
    case .persist(let write):
      hosts[position].logSize.write(truncatingFrom: write.truncatingFrom, write.entries)
      actions.append(.write(partition, hosts[position].replica.id, write))
    case .send(let message):
      if message.to.store == configuration.store {
        answerForFormer(message, position, pending: &pending, now: now)
      } else if let link = link(to: message.to.store) {
        actions.append(.send(link, .replica(message)))
      }
    case .apply(let through):
      apply(position, through: through, pending: &pending, now: now, into: &actions)
    case .compareAndSet(let record, let base):
      actions.append(.compareAndSet(partition, record, base: base))
    case .readRecord(let ticket):
      actions.append(.readRecord(partition, ticket: ticket))
    case .loadEntries(let replica, let index, let bytesMax):
      let wanted = LearningBudget.Load(
        partition: partition, replica: replica, what: .entries(from: index), bytesMax: bytesMax)
      load(wanted, position, pending: &pending, now: now)
    case .beginSnapshot(let replica, let number):
      beginSnapshot(
        for: replica, number: number, position, pending: &pending, now: now, into: &actions)
    case .loadChunk(let replica, let number, let key, let bytesMax):
      let wanted = LearningBudget.Load(
        partition: partition, replica: replica, what: .chunk(number, after: key),
        bytesMax: bytesMax)
      load(wanted, position, pending: &pending, now: now)
    case .prepare(let id, let step):
      actions.append(.prepare(partition, hosts[position].replicaID, id, step))
    case .install(let installation):
      install(installation, position, pending: &pending, now: now, into: &actions)
    case .compareState(let index, let hash):
      // One that is far behind keeps what it was told first, or it would never get there.
      if hosts[position].leaderState == nil { hosts[position].leaderState = (index, hash) }
      compareState(position, pending: &pending)
    case .readsReady(let reads):
      for read in reads { serve(read, position, pending: &pending, into: &actions) }
      // Those that arrived meanwhile begin the next round when this turn ends.
      if !hosts[position].reads.isEmpty { touched.append(position) }
    case .readsFailed(let reads):
      for read in reads {
        guard let waiting = hosts[position].reads.removeValue(forKey: read) else { continue }
        respond(waiting.link, waiting.request, notServed(position), into: &actions)
      }
    case .statusChanged:
      break
    case .stopped(let reason):
      actions.append(.note(.replicaStopped(partition, reason)))
    }
  }

  // MARK: Applying

  private mutating func apply(
    _ position: Int, through index: LogIndex, pending: inout [ReplicaAction], now: Instant,
    into actions: inout [ShardAction]
  ) {
    while hosts[position].standing.appliedIndex < index, hosts[position].cut == nil {
      let next = hosts[position].standing.appliedIndex.successor
      guard let entry = hosts[position].visit({ $0.entry(at: next) }) else {
        preconditionFailure("\(hosts[position].partition): \(next) is committed but not in memory")
      }
      output.removeAll()
      output.isHeard = !hosts[position].subscribers.isEmpty
      do {
        try hosts[position].chat.apply(
          index: next, payload: entry.payload, state: hosts[position].reader, into: &output)
      } catch {
        hosts[position].visit { replica in
          if case .state(let unread) = error {
            replica.gaveUp(.damaged("\(unread)"), into: &pending)
          } else {
            replica.applyFailed(at: next, into: &pending)
          }
        }
        return
      }
      hosts[position].visit { $0.applied(through: next, into: &pending) }
      hosts[position].noteMark(at: next)
      if hosts[position].leaderState != nil {
        compareState(position, pending: &pending)
        guard !hosts[position].standing.isStopped else { return }
      }
      settle(entry, position, now: now, into: &actions)
      if let split = output.split {
        // The others cut as soon as they know that it is committed.
        hosts[position].visit { $0.tellCommit(now: now, into: &pending) }
        beginCut(split, through: entry.id, position, now: now, into: &actions)
      }
    }
    hosts[position].noteEntries()
    if hosts[position].standing.isLeader, hosts[position].visitChat({ !$0.outbox.isEmpty }) {
      deliverOutbox(position, now: now, into: &actions)
    }
  }

  /// Holds the state here against what its leader said of its own, once the same is applied.
  private mutating func compareState(_ position: Int, pending: inout [ReplicaAction]) {
    let host = hosts[position]
    guard let told = host.leaderState, told.index <= host.standing.appliedIndex else { return }
    host.leaderState = nil
    guard told.index == host.standing.appliedIndex else { return }
    if host.rollingHash == told.hash {
      comparedStateCount += 1
    } else {
      host.visit { $0.stateDiffers(at: told.index, into: &pending) }
    }
  }

  /// A leader tells its followers what its state is, so that damage that no checksum has seen, and
  /// an `apply` that is not deterministic, are found while the others are right.
  mutating func tellStateIfDue(
    _ position: Int, now: Instant, into actions: inout [ShardAction]
  ) {
    let host = hosts[position]
    guard host.standing.isLeader, host.standing.appliedIndex > host.toldState.index,
      now >= host.toldState.at + configuration.stateComparisonInterval
    else { return }
    host.toldState = (host.standing.appliedIndex, now)
    let hash = host.rollingHash
    drive(position, now: now, into: &actions) { replica, pending in
      replica.tellState(hash: hash, into: &pending)
    }
  }

  /// Answers those who waited for an entry, then tells the subscribers: a sender learns the
  /// number of its message before it sees the message.
  private mutating func settle(
    _ entry: Entry, _ position: Int, now: Instant, into actions: inout [ShardAction]
  ) {
    guard hosts[position].standing.isLeader else { return }
    if let first = hosts[position].inFlight.first, first.id == entry.id {
      hosts[position].inFlight.removeFirst()
      precondition(
        first.commands.count == output.results.count,
        "\(entry.id): \(first.commands.count) commands gave \(output.results.count) results")
      for (command, result) in zip(first.commands, output.results) {
        finish(command, result, position, now: now, into: &actions)
      }
    }
    if output.hasNewGeneration { endSubscriptions(position, .behind, into: &actions) }
    deliverOutput(at: hosts[position].chat.position, position, into: &actions)
  }

  private mutating func finish(
    _ command: PendingCommand, _ result: CommandResult, _ position: Int, now: Instant,
    into actions: inout [ShardAction]
  ) {
    if let user = command.resolves { accountResolved(user, position, into: &actions) }
    switch command.origin {
    case .request(let link, let request):
      if case .userPending = result, let user = pendingUser(command) {
        if hosts[position].accountWaiters.count < configuration.accountWaitersMax {
          hosts[position].accountWaiters.append((user, command.origin))
          return
        }
        return respond(
          link, request, .failed(.overloaded("too many accounts are being made")), into: &actions)
      }
      respond(link, request, .applied(result), into: &actions)
    case .outbox(let source, let entry):
      outboxAnswered(source: source, entry: entry, result: result, now: now)
    case .own:
      break
    }
  }

  private func pendingUser(_ command: PendingCommand) -> UserID? {
    guard case .createUser(let create)? = try? Command(decoding: command.bytes[...]) else {
      return nil
    }
    return create.user
  }

  private mutating func accountResolved(
    _ user: UserID, _ position: Int, into actions: inout [ShardAction]
  ) {
    let waiting = hosts[position].accountWaiters.filter { $0.user == user }
    guard !waiting.isEmpty else { return }
    hosts[position].accountWaiters.removeAll { $0.user == user }
    let result: CommandResult
    // Just applied, so it is in memory.
    switch try? hosts[position].chat.answer(.user(user), state: hosts[position].reader) {
    case .user(.some)?: result = .userActive(user)
    default: result = .refused(ServiceError(.alreadyExists, "the handle is taken"))
    }
    for waiter in waiting {
      guard case .request(let link, let request) = waiter.origin else { continue }
      respond(link, request, .applied(result), into: &actions)
    }
  }

  // MARK: Reading

  private mutating func serve(
    _ read: UInt64, _ position: Int, pending: inout [ReplicaAction],
    into actions: inout [ShardAction]
  ) {
    guard let waiting = hosts[position].reads.removeValue(forKey: read) else { return }
    guard hosts[position].serves(waiting.query) else {
      return respond(waiting.link, waiting.request, .isElsewhere, into: &actions)
    }
    do {
      let answer = try hosts[position].chat.answer(waiting.query, state: hosts[position].reader)
      respond(waiting.link, waiting.request, .answered(answer), into: &actions)
    } catch {
      // Another replica can read it: this one makes room, and the gateway asks there.
      hosts[position].visit { $0.gaveUp(.damaged("\(error)"), into: &pending) }
      respond(
        waiting.link, waiting.request,
        .failed(.unavailable("the stored state cannot be read here")), into: &actions)
    }
  }

  // MARK: Leading

  private mutating func startedLeading(
    _ position: Int, now: Instant, into actions: inout [ShardAction]
  ) {
    actions.append(.note(.becameLeader(hosts[position].partition, hosts[position].standing.epoch)))
    hosts[position].courier.reset()
    hasSplits = true
    hasHandoffs = true
    keepHolders(position, now: now)
    hosts[position].splitting = nil
    hosts[position].halves = HalvesKnown()
    hosts[position].askedGeneration = 0
    hosts[position].toldState = (.zero, now)
    hosts[position].leaderState = nil
    hosts[position].lastStamp = hosts[position].chat.lastStamp
    deliverOutbox(position, now: now, into: &actions)
  }

  private mutating func stoppedLeading(
    _ position: Int, epoch: Epoch, now: Instant, into actions: inout [ShardAction]
  ) {
    actions.append(.note(.steppedDown(hosts[position].partition, epoch)))
    // Before anything of the partition is deleted.
    dropUnusedSnapshots()
    let waiting =
      hosts[position].inFlight.flatMap { $0.commands.map(\.origin) }
      + hosts[position].pending.map(\.origin) + hosts[position].accountWaiters.map(\.origin)
    hosts[position].splitting = nil
    hosts[position].inFlight.removeAll()
    hosts[position].pending.removeAll()
    hosts[position].pendingBytes = 0
    hosts[position].accountWaiters.removeAll()
    hosts[position].courier.reset()
    for origin in waiting {
      switch origin {
      case .request(let link, let request):
        sendBack(request, on: link, position, notServed(position), into: &actions)
      case .outbox(let source, let entry):
        outboxFailed(source: source, entry: entry, now: now)
      case .own: break
      }
    }
    endSubscriptions(position, .notLeader, into: &actions)
  }

  /// After an operator has forced a leader, positions are told in a new generation, beginning
  /// before any other command.
  mutating func beginGeneration(
    _ position: Int, now: Instant, into actions: inout [ShardAction]
  ) {
    let host = hosts[position]
    let generation = routing.generation(of: host.partition)
    guard generation > 0, host.standing.isLeader, host.standing.acceptsCommands,
      generation > max(host.chat.generation, host.askedGeneration)
    else { return }
    host.askedGeneration = generation
    admit(
      Command.generationBegan(generation).encoded(), origin: .own, position, now: now,
      into: &actions)
  }

  /// Why this shard does not serve a partition now.
  func notServed(_ position: Int) -> Response.Outcome {
    let host = hosts[position]
    if host.standing.isLeader {
      return .failed(.unavailable("the partition waits for an in-sync replica"))
    }
    guard let leader = host.replica.knownLeader, leader != host.replica.id else {
      return .failed(.unavailable("the partition has no leader at the moment"))
    }
    return .notLeader(leader: leader, revision: host.replica.record?.revision ?? .zero)
  }
}
