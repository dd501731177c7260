import ChatModel
import ClientProtocol
import ClusterModel
import NodeProtocol
import Primitives
import Routing

/// Partitions that were cut in two: what is here of the upper half goes on at the half.
///
/// Up to the half's origin its positions are those of the partition that it was cut off from, so
/// whoever stood somewhere there stands at the same place in both. The shard has ended the upper
/// half's subscriptions at the origin and takes none of its commands since; nothing that is still
/// under way there can be done behind what is sent to the half.
extension GatewayCore {
  /// The record of a half is seen for the first time.
  mutating func partitionSplit(
    _ whole: PartitionID, half: PartitionID, origin: LogIndex, now: Instant,
    into actions: inout [GatewayAction]
  ) {
    let origin = position(origin)
    if let live = livePositions[whole] {
      livePositions[half] = LivePosition(
        begun: min(live.begun, origin), complete: min(live.complete, origin))
    }
    moveSubscriptions(from: whole, to: half, origin: origin, into: &actions)
    let concerned = sessions.filter { _, session in
      session.partitions[whole] != nil || session.formerPositions[whole] != nil
    }
    for id in concerned.keys.sorted() {
      moveSession(id, from: whole, to: half, origin: origin)
      considerPartition(id, whole, now: now, into: &actions)
    }
    moveRequests(from: whole, to: half, now: now, into: &actions)
  }

  func isIn(_ partition: PartitionID, _ conversation: ConversationID) -> Bool {
    routing.partition(of: EntityID.conversation(conversation).token) == partition
  }

  private mutating func moveSession(
    _ id: SessionID, from whole: PartitionID, to half: PartitionID, origin: LogIndex
  ) {
    guard let session = sessions[id] else { return }
    if let former = session.formerPositions[whole] {
      session.formerPositions[half] = (min(former.index, origin), former.generation)
    }
    guard let state = session.partitions[whole] else { return }
    let (rest, moved) = state.parted(at: origin) { isIn(half, $0) }
    if let moved, moved.conversations.isEmpty {
      // Nothing more comes of what was left: only where it was left counts.
      drop(half, moved, of: session)
    } else if let moved {
      session.partitions[half] = moved
    }
    if rest.conversations.isEmpty, rest.mode != .pulling {
      drop(whole, rest, of: session)
    } else {
      session.partitions[whole] = rest
    }
  }

  /// What waits, or is under way, for the half is asked there, in its order. Questions about
  /// conversations of both come to nothing; whoever asked asks anew.
  private mutating func moveRequests(
    from whole: PartitionID, to half: PartitionID, now: Instant,
    into actions: inout [GatewayAction]
  ) {
    let concerned = requests.values.filter { $0.partition == whole }.sorted { $0.id < $1.id }
    for request in concerned {
      if let token = request.token {
        guard routing.partition(of: token) == half else { continue }
        move(request, to: half, now: now)
      } else if request.conversations.contains(where: { isIn(half, $0) }) {
        waiting[whole]?.remove(request.id)
        complete(
          request, .failed(.unavailable("the partition was split meanwhile")), now: now,
          into: &actions)
      }
    }
  }

  /// Where a session that resumes stood in a partition, or in what that was cut off from since.
  func resumedPosition(
    of session: ClientSession, in partition: PartitionID
  ) -> Cursor.Position? {
    guard let resumed = session.resumed else { return nil }
    var place = partition
    var limit = LogIndex(.max)
    while true {
      // Of halves that are not known here, the one that is furthest behind counts.
      let found = resumed.positions.filter { routing.known($0.partition) == place }
      if let first = found.min(by: { $0.index < $1.index }) {
        return Cursor.Position(
          partition: partition, generation: first.generation, index: min(first.index, limit))
      }
      guard let origin = routing.scheme.origin(of: place),
        let record = routing.record(of: place)?.record
      else { return nil }
      limit = min(limit, position(record.origin))
      place = origin
    }
  }

  /// Whether this gateway has heard of every partition that a session's cursor names. What it says
  /// of the others could only be taken for too much or too little.
  func knowsPartitions(of session: ClientSession) -> Bool {
    guard let resumed = session.resumed, session.listed == nil else { return true }
    return resumed.positions.allSatisfy { routing.knows($0.partition) }
  }

  /// Up to where a half is what it was cut off from.
  private func position(_ origin: LogIndex) -> LogIndex {
    PlantedBug.isActive(.originIgnored) ? LogIndex(.max) : origin
  }
}

extension PendingRequest {
  /// Of a query that names a partition itself.
  fileprivate var conversations: [ConversationID] {
    switch operation {
    case .query(.changes(let query)): query.requests.map(\.conversation)
    case .query(.summaries(_, let conversations)): conversations
    default: []
    }
  }
}

extension SessionPartition {
  /// What stays, and what goes to the half, if anything does.
  fileprivate func parted(
    at origin: LogIndex, isMoved: (ConversationID) -> Bool
  ) -> (rest: SessionPartition, moved: SessionPartition?) {
    var rest = self
    var moved = SessionPartition(
      position: position.map { min($0, origin) }, generation: generation)
    moved.conversations = conversations.filter(isMoved)
    moved.after = after.filter { isMoved($0.key) }
    moved.reread = reread.filter(isMoved)
    moved.leftAhead = leftAhead.filter { isMoved($0.key) }
    moved.frozenAt = frozenAt.map { min($0, origin) }
    moved.isGapless = isGapless
    rest.conversations.removeAll(where: isMoved)
    rest.after = after.filter { !isMoved($0.key) }
    rest.reread = reread.filter { !isMoved($0) }
    rest.leftAhead = leftAhead.filter { !isMoved($0.key) }
    let hasMoved = !moved.conversations.isEmpty || !moved.leftAhead.isEmpty
    return (rest, hasMoved ? moved : nil)
  }
}
