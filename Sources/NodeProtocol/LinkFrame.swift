package import ChatModel
package import ClusterModel
package import Primitives

/// What travels on a link: the one long-lived bidirectional stream between an event loop of one
/// node and an event loop of another.
///
/// Order of service on a side that has more to say than the connection takes: control (`hello`,
/// `heartbeat`, most replica messages), then requests, responses and appends, then deliveries, then
/// parts of snapshots.
package enum LinkFrame: Equatable, Sendable {
  /// The first frame of both sides.
  case hello(LinkHello)
  case heartbeat(Heartbeat)
  case replica(ReplicaMessage)
  case request(Request)
  case response(Response)
  case subscribe(Subscribe)
  case unsubscribe(Unsubscribe)
  case subscribed(Subscribed)
  case subscriptionEnded(SubscriptionEnded)
  case delivery(Delivery)
  /// The sender is about to stop: ask somebody else from now on.
  case draining

  /// Order of service; lower goes first.
  package enum Priority: Int, Comparable, Sendable, CaseIterable {
    case control = 0
    case request = 1
    case delivery = 2
    case bulk = 3

    package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
  }

  /// Where the frame stands in that order.
  package var priority: Priority {
    switch self {
    case .hello, .heartbeat, .draining: .control
    case .replica(let message):
      switch message.body {
      case .append(_, let entries, _) where !entries.isEmpty: .request
      case .snapshotChunk: .bulk
      default: .control
      }
    case .request, .response, .subscribe, .unsubscribe: .request
    // A subscription's beginning and end must not overtake its deliveries.
    case .subscribed, .subscriptionEnded, .delivery: .delivery
    }
  }
}

/// Who the sender is and how it speaks. Each side checks the other's before anything else.
package struct LinkHello: Equatable, Sendable {
  package var clusterID: UInt128
  /// The node's name, which its certificate must carry.
  package var node: String
  package var role: NodeRole
  /// `nil` for a gateway.
  package var store: StoreID?
  /// The sender's process.
  package var boot: BootID
  /// Which of the process's event loops it is: between two of them there is one link at a time.
  package var lane: UInt32
  /// The versions that the sender knows. Sides that know none in common do not talk.
  package var versions: ClosedRange<UInt32>
  /// Requests that the sender of this frame accepts on this link before it has answered one: the
  /// other side's credits. An answer gives its credit back.
  package var requestCredits: UInt32

  package init(
    clusterID: UInt128, node: String, role: NodeRole, store: StoreID?, boot: BootID,
    lane: UInt32 = 0, versions: ClosedRange<UInt32> = ProtocolVersion.known, requestCredits: UInt32
  ) {
    self.clusterID = clusterID
    self.node = node
    self.role = role
    self.store = store
    self.boot = boot
    self.lane = lane
    self.versions = versions
    self.requestCredits = requestCredits
  }
}

/// "I am alive", every 250 ms in both directions, and what time it is here.
package struct Heartbeat: Equatable, Sendable {
  /// What the sender says of itself.
  package enum Condition: UInt32, Sendable {
    case fit = 0
    /// Its clock differs from those of most peers: it should not lead.
    case wrongClock = 1
    /// Its store takes too long to write: it should neither lead nor be waited for.
    case stalled = 2
  }

  package var boot: BootID
  /// By the sender's clock.
  package var wallTime: WallTime
  package var condition: Condition
  /// The sender has not heard the receiver for longer than it should: the link works one way.
  package var isDeaf: Bool

  package init(
    boot: BootID, wallTime: WallTime, condition: Condition = .fit, isDeaf: Bool = false
  ) {
    self.boot = boot
    self.wallTime = wallTime
    self.condition = condition
    self.isDeaf = isDeaf
  }
}

/// One operation of a client, or one delivery from an outbox, for the leader of a partition.
package struct Request: Equatable, Sendable {
  /// Unique among the unanswered requests of this link's sender.
  package var id: UInt64
  package var partition: PartitionID
  package var operation: Operation

  /// What is to be done.
  package enum Operation: Equatable, Sendable {
    /// An encoded `Command`; it is stored as it is.
    case command([UInt8])
    case query(Query)
  }

  package init(id: UInt64, partition: PartitionID, operation: Operation) {
    self.id = id
    self.partition = partition
    self.operation = operation
  }
}

/// The answer to a `Request`.
package struct Response: Equatable, Sendable {
  /// The request's.
  package var id: UInt64
  package var outcome: Outcome

  /// How it ended.
  package enum Outcome: Equatable, Sendable {
    case applied(CommandResult)
    case answered(QueryAnswer)
    /// The partition is led by somebody else, as far as the sender's record at `revision` says.
    case notLeader(leader: ReplicaID?, revision: Revision)
    /// Nothing was done, or (for a command) it is not known; the same request may be sent again.
    case failed(ServiceError)
  }

  package init(id: UInt64, outcome: Outcome) {
    self.id = id
    self.outcome = outcome
  }
}

/// Gateway → leader: send what happens to this entity from now on, or, when `after` is given and is
/// not too long ago, from that position on.
package struct Subscribe: Equatable, Sendable {
  package var partition: PartitionID
  package var entity: EntityID
  /// `nil`: from now on.
  package var after: LogIndex?

  package init(partition: PartitionID, entity: EntityID, after: LogIndex?) {
    self.partition = partition
    self.entity = entity
    self.after = after
  }
}

/// Gateway → leader: nobody listens to this entity any more.
package struct Unsubscribe: Equatable, Sendable {
  package var partition: PartitionID
  package var entity: EntityID

  package init(partition: PartitionID, entity: EntityID) {
    self.partition = partition
    self.entity = entity
  }
}

/// Leader → gateway: from `from` on (exclusively) every event of the entity follows on this link,
/// in the order of the log.
package struct Subscribed: Equatable, Sendable {
  package var partition: PartitionID
  package var entity: EntityID
  /// Equals the `after` that was asked for when nothing is missing; later otherwise.
  package var from: LogIndex
  /// Of the partition's record.
  package var generation: UInt32

  package init(partition: PartitionID, entity: EntityID, from: LogIndex, generation: UInt32) {
    self.partition = partition
    self.entity = entity
    self.from = from
    self.generation = generation
  }
}

/// Leader → gateway: nothing follows for this entity until it is subscribed again.
package struct SubscriptionEnded: Equatable, Sendable {
  /// Why.
  package enum Reason: UInt32, Sendable {
    /// The sender does not lead the partition (any more).
    case notLeader = 1
    /// More was waiting for this gateway than its bound: pull, then subscribe again.
    case behind = 2
  }

  package var partition: PartitionID
  package var entity: EntityID
  package var reason: Reason

  package init(partition: PartitionID, entity: EntityID, reason: Reason) {
    self.partition = partition
    self.entity = entity
    self.reason = reason
  }
}

/// Leader → gateway: something happened to a subscribed entity.
package struct Delivery: Equatable, Sendable {
  package var partition: PartitionID
  /// The entry that made it.
  package var index: LogIndex
  package var content: Content
  /// Nothing more of this entry follows on this link: the receiver has all that it subscribed to up
  /// to here.
  package var isLastOfEntry: Bool

  /// What happened.
  package enum Content: Equatable, Sendable {
    case event(Event)
    /// To a user's entity: the list of conversations changed.
    case listed(user: UserID, conversation: ListedConversation, removed: Bool)
    /// To a user's entity: this device was logged out.
    case sessionClosed(user: UserID, device: DeviceID)
  }

  package init(
    partition: PartitionID, index: LogIndex, content: Content, isLastOfEntry: Bool = false
  ) {
    self.partition = partition
    self.index = index
    self.content = content
    self.isLastOfEntry = isLastOfEntry
  }
}
