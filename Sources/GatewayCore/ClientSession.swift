package import ChatModel
package import ClientProtocol
import NodeProtocol
package import Primitives
import Routing

/// One connection of a client that was authenticated.
///
/// Per partition with conversations of the user, it stands in one of these modes:
///
/// ```
///              all subscriptions active        answer with more to come
///   waiting ───────────────────────────▶ due ──────▶ pulling ──┐
///     ▲  ▲                                ▲             │ └────┘
///     │  └── a subscription was lost ─────┼── live ◀────┘ nothing was missed
///     └───────────────────────────────────┘
///               the client's queue was full and has drained
/// ```
///
/// A class, so that looking at one field does not copy the others; `GatewayCore` alone refers to
/// it.
///
/// **Invariant**: per conversation, sequence numbers are pushed without gaps and without
/// repetition.
final class ClientSession {
  let id: SessionID
  let user: UserID
  let device: DeviceID
  /// Whether it gets events at all.
  let wantsEvents: Bool
  /// Where it says it stopped; `nil` starts with what happens from now on.
  let resumed: Cursor?

  /// The list of conversations as of this position of the user's partition; `nil` until it was
  /// loaded once.
  var listed: LogIndex?
  var userGeneration: UInt32 = 0
  /// Something of the list may have been missed since the last load of it began.
  var needsList = true
  /// The list as it is being read.
  var loading: ListLoading?
  /// What a cursor may say of the list: not beyond a conversation that is still caught up with.
  var safeListed: LogIndex
  var wasToldCursor = false

  /// The conversations of the list.
  var conversations: [ConversationID: ConversationPlace] = [:]
  /// The last sequence numbers of conversations that left the list: they may come back.
  var departed: [ConversationID: Sequence] = [:]
  /// Conversations that were read once more from their beginning, because events were missing.
  var reread: Set<ConversationID> = []
  var partitions: [PartitionID: SessionPartition] = [:]
  /// Where the session stood in partitions of which it has no conversation any more.
  var formerPositions: [PartitionID: (index: LogIndex, generation: UInt32?)] = [:]
  var pullCount = 0
  var isCongested = false
  var cursorDueAt: Instant?
  /// Requests of this session that wait for an answer.
  var pendingCount = 0

  /// Until then it waits for records of partitions that its cursor names.
  let patientUntil: Instant

  init(
    id: SessionID, user: UserID, device: DeviceID, wantsEvents: Bool, resumed: Cursor?,
    patientUntil: Instant
  ) {
    self.id = id
    self.user = user
    self.device = device
    self.wantsEvents = wantsEvents
    self.resumed = resumed
    self.patientUntil = patientUntil
    safeListed = resumed?.user.index ?? .zero
  }
}

/// Where a session stands in one conversation.
struct ConversationPlace {
  /// The last sequence number pushed; zero when none was.
  var last: Sequence
  /// The entry with which the user joined.
  let joined: LogIndex
}

/// Where a session stands in one partition.
struct SessionPartition {
  enum Mode: Equatable {
    case waiting
    case due
    case pulling
    case live
  }

  var mode = Mode.waiting
  /// Every event of this session's conversations up to here was pushed; `nil` while it is not known
  /// yet where the session begins, which is wherever its first pull ends.
  var position: LogIndex?
  /// In which that is; `nil` while it is not known.
  var generation: UInt32?
  /// Conversations that were read up to elsewhere than `position`: those that were just joined.
  var after: [ConversationID: LogIndex] = [:]
  /// Those of `after` that are read again from their beginning, although the list shows them.
  var reread: Set<ConversationID> = []
  /// In the order of their ids.
  var conversations: [ConversationID] = []
  /// Conversations that the user was taken out of and that the list still shows, and up to where
  /// they were read: if the user comes back before the list tells, a session that resumes reads on
  /// there.
  var leftAhead: [ConversationID: LogIndex] = [:]
  /// The live position of the event loop when this stopped being live, if it was.
  var frozenAt: LogIndex?
  /// No subscription that came back was missing anything.
  var isGapless = true

  /// Whether `position` says too much.
  var isRereading: Bool { reread.contains { after[$0] != nil } }

  /// What is asked of each conversation next. After the greatest index there is nothing: that asks
  /// only where the log ends.
  var requests: [ChangesQuery.Request] {
    conversations.map {
      ChangesQuery.Request(conversation: $0, after: after[$0] ?? position ?? LogIndex(.max))
    }
  }

  /// A page with everything of the conversations that were asked for, up to `through`. One that was
  /// left and joined again meanwhile keeps its own start.
  mutating func read(_ asked: [ChangesQuery.Request], through: LogIndex, more: Bool) {
    let starts = Dictionary(asked.map { ($0.conversation, $0.after) }) { $1 }
    let unchanged = requests.filter { starts[$0.conversation] == $0.after }
    guard more else {
      for request in unchanged { after[request.conversation] = nil }
      let reached = PlantedBug.isActive(.positionTooFar) ? through.successor : through
      position = max(position ?? .zero, reached)
      return
    }
    for request in unchanged where request.after < LogIndex(.max) {
      after[request.conversation] = max(request.after, through)
    }
    guard let start = position, conversations.allSatisfy({ starts[$0] != nil }) else { return }
    let reached = max(start, conversations.map { after[$0] ?? start }.min() ?? start)
    position = reached
    after = after.filter { $0.value != reached }
  }

  mutating func insert(_ conversation: ConversationID) {
    let place = conversations.firstIndex { $0 >= conversation } ?? conversations.endIndex
    if place == conversations.endIndex || conversations[place] != conversation {
      conversations.insert(conversation, at: place)
    }
  }
}

extension GatewayCore {
  /// A client was authenticated and wants to talk. `ref` names its hello.
  package mutating func sessionOpened(
    _ id: SessionID, user: UserID, device: DeviceID, hello: Hello, ref: String, now: Instant,
    into actions: inout [GatewayAction]
  ) {
    sessions[id] = ClientSession(
      id: id, user: user, device: device, wantsEvents: hello.events, resumed: hello.cursor,
      patientUntil: now + configuration.recordPatience)
    request(
      .user(user), .query(.user(user)),
      completion: .call { core, outcome, _, actions in
        core.welcome(id, outcome, ref: ref, into: &actions)
      }, now: now, into: &actions)
    guard hello.events else { return }
    attach(id, to: .user(user), now: now, into: &actions)
    // Another session may have subscribed before.
    if subscriptions[.user(user)]?.isActive ?? false { loadList(id, now: now, into: &actions) }
  }

  package mutating func sessionClosed(_ id: SessionID, into actions: inout [GatewayAction]) {
    guard let session = sessions.removeValue(forKey: id) else { return }
    restless.remove(id)
    detach(id, from: .user(session.user), into: &actions)
    for conversation in session.conversations.keys.sorted() {
      detach(id, from: .conversation(conversation), into: &actions)
    }
  }

  /// The client's queue is full, or has drained: it is never skipped silently, it pulls instead.
  package mutating func congestionChanged(
    _ id: SessionID, isCongested: Bool, now: Instant, into actions: inout [GatewayAction]
  ) {
    guard let session = sessions[id], session.isCongested != isCongested else { return }
    session.isCongested = isCongested
    guard session.wantsEvents else { return }
    if isCongested {
      for (partition, state) in session.partitions where state.mode == .live {
        session.partitions[partition]?.position = cursorIndex(partition, state)
        session.partitions[partition]?.mode = .due
      }
      actions.append(.answer(id, ServerFrame(ref: "", body: .behind)))
    } else {
      restless.insert(id)
      pullDue(id, now: now, into: &actions)
    }
  }

  /// Everything up to here was pushed to the session; `nil` until it is known where it began.
  package func cursor(of id: SessionID) -> Cursor? {
    guard let session = sessions[id], session.listed != nil,
      session.partitions.values.allSatisfy({ $0.position != nil && !$0.isRereading })
    else { return nil }
    let user = Cursor.Position(
      partition: routing.partition(of: EntityID.user(session.user).token),
      generation: session.userGeneration, index: listIndex(session))
    let positions = session.partitions.keys.sorted().compactMap { partition in
      session.partitions[partition].flatMap { state in
        cursorIndex(partition, state).map {
          Cursor.Position(
            partition: partition, generation: state.generation ?? 0,
            index: min($0, state.leftAhead.values.min() ?? $0))
        }
      }
    }
    return Cursor(user: user, positions: positions)
  }

  /// How far the session has everything of a partition.
  func cursorIndex(_ partition: PartitionID, _ state: SessionPartition) -> LogIndex? {
    guard let live = livePositions[partition] else { return state.position }
    if PlantedBug.isActive(.cursorTooEarly) { return live.complete }
    guard state.mode == .live, let position = state.position else { return state.position }
    return max(position, live.complete)
  }

  /// The list is complete as far as its own partition was delivered, unless a conversation in it
  /// is still read from before.
  func listIndex(_ session: ClientSession) -> LogIndex {
    guard let listed = session.listed,
      session.partitions.values.allSatisfy({ $0.after.isEmpty })
    else { return session.safeListed }
    let entity = EntityID.user(session.user)
    guard !session.needsList, session.loading == nil, subscriptions[entity]?.isActive ?? false,
      let live = livePositions[routing.partition(of: entity.token)]
    else { return max(session.safeListed, listed) }
    return max(session.safeListed, listed, live.complete)
  }

  /// Keeps how far the list is complete, before something makes that unknown.
  func noteListIndex(_ id: SessionID) {
    guard let session = sessions[id] else { return }
    session.safeListed = listIndex(session)
  }

  // MARK: Starting

  mutating func welcome(
    _ id: SessionID, _ outcome: Response.Outcome, ref: String, into actions: inout [GatewayAction]
  ) {
    guard let session = sessions[id] else { return }
    switch outcome {
    case .answered(.user(let profile?)):
      let body = ServerBody.welcome(user: profile, device: session.device)
      actions.append(.answer(id, ServerFrame(ref: ref, body: body)))
    case .answered(.user(nil)):
      actions.append(.endSession(id, ServiceError(.unauthenticated, "the account does not exist")))
    default:
      actions.append(
        .answer(id, ServerFrame(ref: ref, body: .error(Self.error(of: outcome)))))
    }
  }

  mutating func settleIntoWaiting(_ id: SessionID, _ partition: PartitionID) {
    guard let session = sessions[id], let state = session.partitions[partition] else { return }
    session.partitions[partition]?.position = cursorIndex(partition, state)
    session.partitions[partition]?.frozenAt = nil
    if state.mode != .pulling { session.partitions[partition]?.mode = .waiting }
  }

  // MARK: Subscriptions of a session

  mutating func subscriptionReady(
    _ id: SessionID, _ entity: EntityID, _ partition: PartitionID, isGapless: Bool, now: Instant,
    into actions: inout [GatewayAction]
  ) {
    guard let session = sessions[id] else { return }
    if case .user = entity {
      if !isGapless { session.needsList = true }
      if session.needsList { loadList(id, now: now, into: &actions) }
      return
    }
    if !isGapless { session.partitions[partition]?.isGapless = false }
    considerPartition(id, partition, now: now, into: &actions)
  }

  /// Once all subscriptions of a partition are active, the session pulls, or goes on where
  /// nothing can have been missed.
  mutating func considerPartition(
    _ id: SessionID, _ partition: PartitionID, now: Instant, into actions: inout [GatewayAction]
  ) {
    guard let session = sessions[id], let state = session.partitions[partition],
      state.mode == .waiting
    else { return }
    let isComplete = state.conversations.allSatisfy {
      subscriptions[.conversation($0)]?.isActive ?? false
    }
    guard isComplete else { return }
    if let frozenAt = state.frozenAt, state.isGapless, state.after.isEmpty, !session.isCongested,
      livePositions[partition]?.begun == frozenAt
    {
      session.partitions[partition]?.mode = .live
      tellFirstCursor(id, into: &actions)
    } else {
      session.partitions[partition]?.mode = .due
      pullDue(id, now: now, into: &actions)
    }
  }

  /// A subscription was lost: the session stands still in that partition until it is back.
  mutating func interrupted(_ id: SessionID, _ partition: PartitionID, _ entity: EntityID) {
    guard case .conversation = entity, let session = sessions[id],
      let state = session.partitions[partition]
    else { return }
    if state.mode == .live {
      session.partitions[partition]?.position = cursorIndex(partition, state)
      session.partitions[partition]?.frozenAt = livePositions[partition]?.begun
      session.partitions[partition]?.isGapless = true
    }
    if state.mode != .pulling { session.partitions[partition]?.mode = .waiting }
  }
}
