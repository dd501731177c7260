import ChatModel
import ClientProtocol
import NodeProtocol
import Primitives
import Routing

/// What happens with the answer to a request. A send has its own case, so that the message path
/// makes no closure.
enum Completion {
  case send(Reply, ConversationID)
  case call((inout GatewayCore, Response.Outcome, Instant, inout [GatewayAction]) -> Void)
}

/// A request to a shard that is not answered yet.
///
/// A class, so that looking at one field does not copy the others; `GatewayCore` alone refers to
/// it.
final class PendingRequest {
  /// Greater than those of older requests of the partition.
  fileprivate(set) var id: UInt64
  fileprivate(set) var partition: PartitionID
  /// By what it is routed; `nil` when it names its partition itself.
  let token: Token?
  let operation: Request.Operation
  let completion: Completion
  let deadline: Instant
  /// Who has it and has not answered; `nil` while it waits.
  fileprivate(set) var sentTo: StoreID?
  /// Whether it ever went to a shard.
  var wasSent = false
  /// Links that were lost while it was on its way.
  var lossCount = 0

  init(
    id: UInt64, partition: PartitionID, token: Token?, operation: Request.Operation,
    completion: Completion, deadline: Instant
  ) {
    self.id = id
    self.partition = partition
    self.token = token
    self.operation = operation
    self.completion = completion
    self.deadline = deadline
  }

  /// Whether its place among others matters.
  fileprivate var isCommand: Bool { if case .command = operation { true } else { false } }

  /// Whether a client that asks for the same thing again gets the same, and does nothing twice.
  var isRepeatable: Bool {
    if case .query = operation { return true }
    if case .send = completion { return true }
    return false
  }
}

/// Requests that wait, by partition, in the order in which they came.
///
/// **Invariant**: while something waits for a partition, nothing newer is sent there, so that a
/// sender's messages keep their order across retries and changes of the leader.
///
/// A shard that has sent commands back takes none that is newer, until one comes that is not: it
/// takes that for the oldest of them. So nothing is tried again before all that is under way is
/// answered, or a command that was sent back later than others would be tried on its own.
struct WaitingRequests {
  private(set) var ids: [UInt64] = []
  var retryAt: Instant
  /// Whether a shard has sent any of them back.
  var wasSentBack = false

  init(retryAt: Instant) { self.retryAt = retryAt }

  mutating func insert(_ id: UInt64) {
    if let last = ids.last, last > id {
      let place = ids.firstIndex { $0 > id } ?? ids.endIndex
      ids.insert(id, at: place)
    } else {
      ids.append(id)
    }
  }

  mutating func remove(_ id: UInt64) { ids.removeAll { $0 == id } }
}

/// An open link to a shard.
struct ShardLink {
  var boot: BootID
  var lastHeard: Instant
  /// Requests that may still be sent before an answer comes back.
  var credits: Int
  var isDraining = false
}

extension GatewayCore {
  /// Sends a request to the leader of its partition, now or when there is one.
  mutating func request(
    _ entity: EntityID, _ operation: Request.Operation, completion: Completion, now: Instant,
    into actions: inout [GatewayAction]
  ) {
    request(
      partition: routing.partition(of: entity.token), token: entity.token, operation,
      completion: completion, now: now, into: &actions)
  }

  mutating func request(
    partition: PartitionID, token: Token? = nil, _ operation: Request.Operation,
    completion: Completion, now: Instant, into actions: inout [GatewayAction]
  ) {
    lastRequestID += 1
    let request = PendingRequest(
      id: lastRequestID, partition: partition, token: token, operation: operation,
      completion: completion, deadline: now + configuration.requestTimeout)
    guard requests.count < configuration.pendingRequestsMax else {
      return complete(
        request, .failed(.overloaded("too many requests wait in this gateway")), now: now,
        into: &actions)
    }
    requests[request.id] = request
    if waiting[partition] != nil, !PlantedBug.isActive(.requestsOvertake) {
      waiting[partition]?.insert(request.id)
    } else {
      dispatch(request, now: now, into: &actions)
    }
  }

  /// Sends a request, or lets it wait.
  private mutating func dispatch(
    _ request: PendingRequest, now: Instant, into actions: inout [GatewayAction]
  ) {
    guard let store = receiver(of: request.partition) else {
      return wait(request, until: now + configuration.retryPause)
    }
    links[store]?.credits -= 1
    request.sentTo = store
    request.wasSent = true
    if request.isCommand { commandsUnderWay[request.partition, default: 0] += 1 }
    actions.append(
      .send(
        store,
        .request(
          Request(id: request.id, partition: request.partition, operation: request.operation))))
  }

  /// Whoever has the request has answered, or is not expected to any more.
  private mutating func takeBack(_ request: PendingRequest) {
    guard let store = request.sentTo else { return }
    request.sentTo = nil
    links[store]?.credits += 1
    if request.isCommand { commandsUnderWay[request.partition, default: 0] -= 1 }
  }

  private mutating func wait(
    _ request: PendingRequest, until retryAt: Instant, wasSentBack: Bool = false
  ) {
    takeBack(request)
    var others = waiting[request.partition] ?? WaitingRequests(retryAt: retryAt)
    others.insert(request.id)
    if wasSentBack { others.wasSentBack = true }
    waiting[request.partition] = others
    nextRetry = min(nextRetry, retryAt)
  }

  /// The store that takes a request to the partition now.
  private func receiver(of partition: PartitionID) -> StoreID? {
    guard let store = routing.leader(of: partition)?.store, let link = links[store],
      link.credits > 0, !link.isDraining
    else { return nil }
    return store
  }

  /// Sends what waits for a partition, oldest first.
  mutating func flush(_ partition: PartitionID, now: Instant, into actions: inout [GatewayAction]) {
    guard receiver(of: partition) != nil else {
      guard waiting[partition] != nil else { return }
      let retryAt = now + configuration.retryPause
      waiting[partition]?.retryAt = retryAt
      return nextRetry = min(nextRetry, retryAt)
    }
    if waiting[partition]?.wasSentBack ?? false, commandsUnderWay[partition, default: 0] > 0 {
      // Looked at again with the next tick.
      return nextRetry = now
    }
    guard let waiting = waiting.removeValue(forKey: partition) else { return }
    var rest = waiting.ids[...]
    while let id = rest.first {
      rest = rest.dropFirst()
      if let request = requests[id] { dispatch(request, now: now, into: &actions) }
      if self.waiting[partition] != nil {
        for id in rest { self.waiting[partition]?.insert(id) }
        return
      }
    }
  }

  /// A request belongs to another partition by now: it waits there under another number, so that
  /// what is still answered to its earlier tries says nothing of the one that is asked now. Those
  /// of a partition are moved oldest first.
  mutating func move(_ request: PendingRequest, to partition: PartitionID, now: Instant) {
    takeBack(request)
    waiting[request.partition]?.remove(request.id)
    if waiting[request.partition]?.ids.isEmpty ?? false { waiting[request.partition] = nil }
    requests[request.id] = nil
    lastRequestID += 1
    request.id = lastRequestID
    requests[request.id] = request
    request.partition = partition
    wait(request, until: now)
  }

  /// What is under way to a former leader is sent to the present one, in order: repeating is
  /// harmless, and a newer request must not overtake it.
  mutating func reroute(_ partition: PartitionID, now: Instant, into actions: inout [GatewayAction])
  {
    let leader = routing.leader(of: partition)?.store
    let moved = requests.values.filter { $0.partition == partition }.sorted { $0.id < $1.id }
    for request in moved {
      guard let sentTo = request.sentTo, sentTo != leader else { continue }
      wait(request, until: now)
    }
    flush(partition, now: now, into: &actions)
  }

  /// The answer of a shard.
  mutating func responseReceived(
    _ response: Response, from store: StoreID, now: Instant, into actions: inout [GatewayAction]
  ) {
    guard let request = requests[response.id], request.sentTo == store else { return }
    takeBack(request)
    switch response.outcome {
    case .applied, .answered:
      complete(request, response.outcome, now: now, into: &actions)
    case .notLeader(let leader, let revision):
      var moved = false
      if let leader { moved = routing.redirect(request.partition, to: leader, revision: revision) }
      wait(
        request, until: moved ? now : now + configuration.retryPause, wasSentBack: true)
      if moved { partitionMoved(request.partition, now: now, into: &actions) }
    case .failed(let error):
      // Unavailable passes by itself; a full queue is the sender's business.
      guard error.retryable, error.code == .unavailable, now < request.deadline else {
        return complete(request, response.outcome, now: now, into: &actions)
      }
      let pause = max(Milliseconds(UInt64(error.retryAfterMilliseconds)), configuration.retryPause)
      wait(request, until: now + pause, wasSentBack: true)
    }
  }

  mutating func complete(
    _ request: PendingRequest, _ outcome: Response.Outcome, now: Instant,
    into actions: inout [GatewayAction]
  ) {
    takeBack(request)
    requests[request.id] = nil
    switch request.completion {
    case .send(let reply, let conversation):
      let began = request.deadline.nanoseconds - configuration.requestTimeout.rawValue * 1_000_000
      sends.add(nanoseconds: now.nanoseconds - min(began, now.nanoseconds))
      sendFinished(reply, conversation, outcome, into: &actions)
    case .call(let body):
      body(&self, outcome, now, &actions)
    }
  }

  /// What was under way on a lost link waits for the next leader.
  mutating func requestsLost(on store: StoreID, now: Instant, into actions: inout [GatewayAction]) {
    let lost = requests.values.filter { $0.sentTo == store }.sorted { $0.id < $1.id }
    for request in lost {
      request.lossCount += 1
      guard request.lossCount < configuration.linkLossesMax else {
        // Perhaps it is this request that ends them: everybody else needs the link.
        complete(request, .failed(Self.lateness(of: request)), now: now, into: &actions)
        continue
      }
      wait(request, until: now + configuration.retryPause)
    }
  }

  /// What was never sent was not done; of anything else that is not known.
  private static func lateness(of request: PendingRequest) -> ServiceError {
    guard request.wasSent else {
      return .unavailable("the partition has had no leader for too long")
    }
    return ServiceError(
      .deadlineExceeded, "no answer in time; it is not known whether it was done",
      retryable: request.isRepeatable)
  }

  /// Sends what waited long enough and gives up what waited too long.
  mutating func tendRequests(now: Instant, into actions: inout [GatewayAction]) {
    if now >= nextRetry {
      nextRetry = .distantFuture
      for partition in waiting.keys.sorted() {
        guard let retryAt = waiting[partition]?.retryAt else { continue }
        if retryAt <= now {
          flush(partition, now: now, into: &actions)
        } else {
          nextRetry = min(nextRetry, retryAt)
        }
      }
    }
    guard now >= nextExpiry else { return }
    nextExpiry = now + 250
    let late = requests.values.filter { $0.deadline <= now }.sorted { $0.id < $1.id }
    for request in late {
      waiting[request.partition]?.remove(request.id)
      complete(request, .failed(Self.lateness(of: request)), now: now, into: &actions)
    }
  }
}
