import ChatModel
import ClientProtocol
import DequeModule
import Primitives

extension ClientSessionMachine {
  // MARK: Inputs

  /// Somebody wants something done. Sends of one conversation are done in the order of these calls.
  mutating func submitted(
    _ operation: PendingOperation, now: Instant, into actions: inout [ClientAction]
  ) {
    guard phase != .closed else {
      return actions.append(.complete(operation.id, .failure(.closed)))
    }
    guard operations.count < configuration.operationsMax else {
      return actions.append(.complete(operation.id, .failure(.tooManyOperations)))
    }
    enqueue(operation, now: now)
    connectRequested(now: now, into: &actions)
    settle(now: now, into: &actions)
  }

  /// Nobody waits for the answer any more.
  mutating func abandoned(_ id: UInt64, now: Instant, into actions: inout [ClientAction]) {
    guard let operation = operations[id] else { return }
    finish(operation, now: now)
    settle(now: now, into: &actions)
  }

  mutating func enqueue(_ operation: PendingOperation, now: Instant) {
    var operation = operation
    lastOrder += 1
    operation.order = lastOrder
    operations[operation.id] = operation
    nextExpiry = min(nextExpiry, now + configuration.expiryInterval)
    if let conversation = operation.conversation {
      outboxes[conversation, default: Outbox()].pending.append(operation.id)
      list(conversation)
    } else {
      waitingCalls.append(operation.id)
    }
  }

  // MARK: Sending

  /// Sends what may be sent: calls first, then conversations in turn.
  mutating func pump(now: Instant, into actions: inout [ClientAction]) {
    switch phase {
    case .open, .leaving: break
    case .idle, .waiting, .dialing, .greeting, .emptying, .closed: return
    }
    var frames: [ClientFrame] = []
    while inFlightCount < configuration.inFlightMax, let id = waitingCalls.popFirst() {
      write(id, into: &frames)
    }
    while inFlightCount < configuration.inFlightMax, let conversation = sendable.popFirst() {
      outboxes[conversation]?.isListed = false
      sendBurst(conversation, into: &frames)
      list(conversation)
    }
    if !frames.isEmpty { actions.append(.write(frames)) }
  }

  private mutating func sendBurst(
    _ conversation: WireConversation, into frames: inout [ClientFrame]
  ) {
    guard let at = outboxes.index(forKey: conversation), outboxes.values[at].refused.isEmpty else {
      return
    }
    let room = min(
      configuration.sendsInFlightMax - outboxes.values[at].inFlight.count,
      configuration.sendBurstMax, configuration.inFlightMax - inFlightCount)
    var count = 0
    while count < room, let id = outboxes.values[at].pending.popFirst() {
      outboxes.values[at].inFlight.append(id)
      write(id, into: &frames)
      count += 1
    }
    if outboxes.values[at].isEmpty { outboxes.remove(at: at) }
  }

  private mutating func write(_ id: UInt64, into frames: inout [ClientFrame]) {
    guard let at = operations.index(forKey: id) else { return }
    operations.values[at].wasWritten = true
    operations.values[at].isInFlight = true
    inFlightCount += 1
    frames.append(operations.values[at].frame)
  }

  /// Puts a conversation that may send among those that do.
  private mutating func list(_ conversation: WireConversation) {
    guard let at = outboxes.index(forKey: conversation) else { return }
    let outbox = outboxes.values[at]
    guard !outbox.isListed, !outbox.pending.isEmpty, outbox.refused.isEmpty,
      outbox.inFlight.count < configuration.sendsInFlightMax
    else { return }
    outboxes.values[at].isListed = true
    sendable.append(conversation)
  }

  // MARK: Answers

  mutating func answered(
    _ id: UInt64, _ body: ServerBody, now: Instant, into actions: inout [ClientAction]
  ) {
    // Late, repeated, or made up.
    guard let operation = operations[id], operation.isInFlight else { return }
    if case .error(let error) = body {
      if error.code == .unauthenticated, !error.retryable {
        // Not this operation's fault: the session has ended.
        return lose(isSocketGone: false, now: now, into: &actions)
      }
      if error.retryable, now < operation.deadline {
        return refuse(operation, error, now: now)
      }
      finish(operation, now: now)
      return conclude(operation, .failure(MartletError(error)), now: now, into: &actions)
    }
    if let conversation = operation.conversation { outboxes[conversation]?.refusals = 0 }
    finish(operation, now: now)
    if body.answers(operation.operation) {
      conclude(operation, .success(body), now: now, into: &actions)
    } else {
      let error = MartletError.outcomeUnknown("the gateway gave an answer of another kind")
      conclude(operation, .failure(error), now: now, into: &actions)
    }
  }

  private mutating func conclude(
    _ operation: PendingOperation, _ result: Result<ServerBody, MartletError>, now: Instant,
    into actions: inout [ClientAction]
  ) {
    if operation.isFill {
      filled(result, now: now, into: &actions)
    } else {
      actions.append(.complete(operation.id, result))
    }
  }

  /// Forgets an operation, wherever it stands.
  private mutating func finish(_ operation: PendingOperation, now: Instant) {
    operations[operation.id] = nil
    if operation.isInFlight { inFlightCount -= 1 }
    guard let conversation = operation.conversation else {
      if !operation.isInFlight {
        waitingCalls.removeFirst(operation.id)
        delayedCalls.removeAll { $0 == operation.id }
      }
      return
    }
    guard let at = outboxes.index(forKey: conversation) else { return }
    if operation.isInFlight {
      outboxes.values[at].inFlight.removeFirst(operation.id)
    } else {
      outboxes.values[at].pending.removeFirst(operation.id)
      outboxes.values[at].refused.removeAll { $0 == operation.id }
    }
    settleOutbox(conversation, now: now)
  }

  /// The gateway did not do it and says that it may be tried again. The later sends of its
  /// conversation wait until it was.
  private mutating func refuse(_ operation: PendingOperation, _ error: ServiceError, now: Instant) {
    guard let place = operations.index(forKey: operation.id) else { return }
    let asked = min(Milliseconds(UInt64(error.retryAfterMilliseconds)), configuration.retryMax)
    operations.values[place].isInFlight = false
    inFlightCount -= 1
    guard let conversation = operation.conversation else {
      let pause = max(retryPause(operation.refusals), asked)
      operations.values[place].refusals += 1
      operations.values[place].retryAt = now + pause
      return delayedCalls.append(operation.id)
    }
    guard let at = outboxes.index(forKey: conversation) else { return }
    outboxes.values[at].inFlight.removeFirst(operation.id)
    outboxes.values[at].refused.append(operation.id)
    var pause = asked
    if recovering.insert(conversation).inserted {
      pause = max(retryPause(outboxes.values[at].refusals), asked)
      outboxes.values[at].refusals += 1
    }
    outboxes.values[at].resumeAt = max(outboxes.values[at].resumeAt, now + pause)
  }

  private mutating func retryPause(_ refusals: Int) -> Milliseconds {
    jitter(Self.doubled(configuration.retryBase, refusals, limit: configuration.retryMax))
  }

  /// Goes on with a conversation after an answer: once everything under way was answered and the
  /// pause is over, what was refused is sent again before anything newer.
  private mutating func settleOutbox(_ conversation: WireConversation, now: Instant) {
    guard let at = outboxes.index(forKey: conversation) else { return }
    if recovering.contains(conversation) {
      guard outboxes.values[at].inFlight.isEmpty, now >= outboxes.values[at].resumeAt else {
        return
      }
      requeue(outboxes.values[at].refused, at: at)
      outboxes.values[at].refused = []
      recovering.remove(conversation)
    }
    if outboxes.values[at].isEmpty, !outboxes.values[at].isListed {
      outboxes.remove(at: at)
    } else {
      list(conversation)
    }
  }

  private mutating func requeue(
    _ ids: [UInt64], at index: Dictionary<WireConversation, Outbox>.Index
  ) {
    let ordered = ids.sorted { (operations[$0]?.order ?? 0) < (operations[$1]?.order ?? 0) }
    outboxes.values[index].pending.prepend(contentsOf: ordered)
  }

  // MARK: Time and loss

  mutating func tendOperations(now: Instant, into actions: inout [ClientAction]) {
    for conversation in recovering { settleOutbox(conversation, now: now) }
    if !delayedCalls.isEmpty {
      let due = delayedCalls.filter { now >= operations[$0]?.retryAt ?? .zero }
      delayedCalls.removeAll(where: due.contains)
      waitingCalls.prepend(contentsOf: due)
    }
    guard now >= nextExpiry else { return }
    let isUnreachable = isUnreachable(now)
    let late = operations.values
      .filter { now >= $0.deadline || isUnreachable && !$0.wasWritten }
      .sorted { $0.order < $1.order }
    for operation in late {
      finish(operation, now: now)
      let error: MartletError =
        operation.wasWritten
        ? .outcomeUnknown("no answer in time")
        : isUnreachable ? .unreachable(lastLoss) : .deadlineExceeded("no gateway took it in time")
      conclude(operation, .failure(error), now: now, into: &actions)
    }
    nextExpiry = operations.isEmpty ? .distantFuture : now + configuration.expiryInterval
  }

  private func isUnreachable(_ now: Instant) -> Bool {
    guard let unreachableSince else { return false }
    return now >= unreachableSince + configuration.unreachableTimeout
  }

  /// The connection is gone: what was under way is to be sent again on the next one, in its order.
  mutating func restoreOperations(now: Instant, into actions: inout [ClientAction]) {
    recovering.removeAll()
    for conversation in outboxes.keys.sorted() {
      guard let at = outboxes.index(forKey: conversation) else { continue }
      let unanswered = Array(outboxes.values[at].inFlight) + outboxes.values[at].refused
      for id in unanswered { operations[id]?.isInFlight = false }
      outboxes.values[at].inFlight.removeAll()
      outboxes.values[at].refused = []
      requeue(unanswered, at: at)
      list(conversation)
    }
    inFlightCount = 0
    restoreCalls(into: &actions)
  }

  private mutating func restoreCalls(into actions: inout [ClientAction]) {
    let waiting = Set(waitingCalls)
    let calls = operations.values
      .filter { $0.conversation == nil && ($0.isFill || !waiting.contains($0.id)) }
      .sorted { $0.order < $1.order }
    delayedCalls = []
    var again: [UInt64] = []
    for call in calls {
      operations[call.id]?.isInFlight = false
      if call.isFill {
        operations[call.id] = nil
        waitingCalls.removeFirst(call.id)
      } else if call.isRepeatable || !call.isInFlight {
        again.append(call.id)
      } else {
        operations[call.id] = nil
        let error = MartletError.outcomeUnknown("the connection was lost before the answer came")
        actions.append(.complete(call.id, .failure(error)))
      }
    }
    waitingCalls.prepend(contentsOf: again)
  }
}

extension Deque where Element == UInt64 {
  /// Removes an id that is near the front, if anywhere.
  fileprivate mutating func removeFirst(_ id: UInt64) {
    if let place = firstIndex(of: id) { remove(at: place) }
  }
}

extension ServerBody {
  /// Whether this is the kind of answer that an operation gets.
  fileprivate func answers(_ operation: ClientOperation) -> Bool {
    switch (operation, self) {
    case (.send(let conversation, _, _), .sent(let answered, _, _, _)): conversation == answered
    case (.createConversation, .conversation), (.changeMembers, .membersChanged),
      (.listConversations, .conversations), (.history, .history), (.ping, .pong):
      true
    default: false
    }
  }
}
