import ChatModel
import NodeProtocol
import Primitives
import WalkSupport

/// What the shards hold, as naively as it can be said: per partition a log that only counts, and
/// on top of it conversations, members, lists and events. Leaders come and go; this stays.
struct ChatWorld {
  struct Conversation {
    var kind: ConversationKind
    var title: String
    var members: [UserID: Member]
    var events: [Event] = []
    /// Every entry with which somebody joined, or left.
    var joins: [UserID: [LogIndex]] = [:]
    var leaves: [UserID: [LogIndex]] = [:]
  }

  struct Listing {
    var origin: LogIndex
    var joined: LogIndex
    var listed: LogIndex
    var isRemoved: Bool
  }

  /// What applying one entry gave.
  struct Output {
    var results: [CommandResult] = []
    var deliveries: [(entity: EntityID, content: Delivery.Content)] = []
    /// For other partitions.
    var outbox: [Command] = []
  }

  let partitionCount: UInt32
  private(set) var applied: [LogIndex]
  private(set) var conversations: [ConversationID: Conversation] = [:]
  private(set) var lists: [UserID: [ConversationID: Listing]] = [:]
  private var accounts: [UserID: UserProfile] = [:]
  private var handles: [Handle: UserID] = [:]
  private var sent: [String: (sequence: Sequence, time: WallTime)] = [:]

  init(partitionCount: UInt32) {
    self.partitionCount = partitionCount
    applied = Array(repeating: .zero, count: Int(partitionCount))
  }

  func partition(of entity: EntityID) -> PartitionID { home(of: entity, partitionCount) }
  func applied(_ partition: PartitionID) -> LogIndex { applied[Int(partition.rawValue)] }

  mutating func register(_ profile: UserProfile) {
    accounts[profile.user] = profile
    handles[profile.handle] = profile.user
  }

  // MARK: Applying

  /// One entry: these commands, or the start of an epoch.
  mutating func apply(_ commands: [Command], to partition: PartitionID) -> Output {
    let index = applied(partition).successor
    applied[Int(partition.rawValue)] = index
    var output = Output()
    for command in commands {
      let result = apply(command, at: index, into: &output)
      output.results.append(result)
    }
    return output
  }

  private mutating func apply(
    _ command: Command, at index: LogIndex, into output: inout Output
  ) -> CommandResult {
    switch command {
    case .createConversation(let create):
      if conversations[create.conversation] != nil {
        return .conversationCreated(conversation: create.conversation, existed: true)
      }
      var made = Conversation(kind: create.kind, title: create.title, members: [:])
      for member in create.members {
        made.members[member.user] = member
        made.joins[member.user] = [index]
      }
      conversations[create.conversation] = made
      append(
        .created(kind: create.kind, title: create.title, members: create.members),
        by: create.creator, to: create.conversation, index, &output)
      for member in create.members {
        list(create.conversation, member.user, removed: false, index, &output)
      }
      return .conversationCreated(conversation: create.conversation, existed: false)
    case .sendMessage(let send):
      let key = "\(send.conversation) \(send.sender) \(send.device) \(send.clientID)"
      if let earlier = sent[key] {
        return .messageSent(sequence: earlier.sequence, time: earlier.time, repeated: true)
      }
      guard conversations[send.conversation]?.members[send.sender] != nil else {
        return .refused(ServiceError(.notFound, "no such conversation"))
      }
      let event = append(
        .message(text: send.text), by: send.sender, to: send.conversation, index, &output)
      sent[key] = (event.sequence, event.time)
      return .messageSent(sequence: event.sequence, time: event.time, repeated: false)
    case .changeMembers(let change):
      return apply(change, at: index, into: &output)
    case .conversationListed(let listed):
      return apply(listed, at: index, into: &output)
    case .closeSession(let close):
      output.deliveries.append(
        (.user(close.user), .sessionClosed(user: close.user, device: close.device)))
      return .sessionClosed
    case .openSession: return .sessionOpened
    case .rotateRefreshToken: return .refreshTokenRotated
    case .createUser(let create):
      guard handles[create.handle] == nil else {
        return .refused(ServiceError(.alreadyExists, "the handle is taken"))
      }
      register(
        UserProfile(
          user: create.user, handle: create.handle, displayName: create.displayName))
      return .userActive(create.user)
    case .claimHandle, .handleResolved, .outboxConfirmed, .generationBegan, .partitionSplit:
      return .done
    }
  }

  private mutating func apply(
    _ change: ChangeMembers, at index: LogIndex, into output: inout Output
  ) -> CommandResult {
    guard let found = conversations[change.conversation], found.members[change.author] != nil
    else { return .refused(ServiceError(.notFound, "no such conversation")) }
    let joining = change.added.filter { found.members[$0.user] == nil }
    let leaving = change.removed.filter { found.members[$0] != nil }
    guard !joining.isEmpty || !leaving.isEmpty else {
      return .membersChanged(sequence: found.events.last?.sequence ?? .zero)
    }
    for member in joining {
      conversations[change.conversation]?.members[member.user] = member
      conversations[change.conversation]?.joins[member.user, default: []].append(index)
    }
    for user in leaving {
      conversations[change.conversation]?.members[user] = nil
      conversations[change.conversation]?.leaves[user, default: []].append(index)
    }
    let event = append(
      .membersChanged(added: joining, removed: leaving), by: change.author,
      to: change.conversation, index, &output)
    for member in joining {
      list(change.conversation, member.user, removed: false, index, &output)
    }
    for user in leaving { list(change.conversation, user, removed: true, index, &output) }
    return .membersChanged(sequence: event.sequence)
  }

  private mutating func apply(
    _ command: ConversationListed, at index: LogIndex, into output: inout Output
  ) -> CommandResult {
    let earlier = lists[command.user]?[command.conversation]
    if let earlier, command.origin.index <= earlier.origin { return .done }
    let listing = Listing(
      origin: command.origin.index,
      joined: command.removed ? earlier?.joined ?? .zero : command.origin.index, listed: index,
      isRemoved: command.removed)
    lists[command.user, default: [:]][command.conversation] = listing
    output.deliveries.append(
      (
        .user(command.user),
        .listed(
          user: command.user,
          conversation: ListedConversation(
            conversation: command.conversation, joined: listing.joined, listed: index),
          removed: command.removed)
      ))
    return .done
  }

  @discardableResult
  private mutating func append(
    _ content: EventContent, by author: UserID, to conversation: ConversationID,
    _ index: LogIndex, _ output: inout Output
  ) -> Event {
    let last = conversations[conversation]?.events.last?.sequence ?? .zero
    let event = Event(
      conversation: conversation, sequence: last.successor,
      time: WallTime(milliseconds: index.rawValue), author: author, index: index,
      content: content)
    conversations[conversation]?.events.append(event)
    output.deliveries.append((.conversation(conversation), .event(event)))
    return event
  }

  private func list(
    _ conversation: ConversationID, _ user: UserID, removed: Bool, _ index: LogIndex,
    _ output: inout Output
  ) {
    let source = partition(of: .conversation(conversation))
    output.outbox.append(
      .conversationListed(
        ConversationListed(
          user: user, conversation: conversation, removed: removed,
          origin: OutboxOrigin(partition: source, index: index))))
  }

  // MARK: Answering

  func answer(_ query: Query, in partition: PartitionID) -> QueryAnswer {
    switch query {
    case .handle(let handle): return .handle(handles[handle])
    case .user(let user): return .user(accounts[user])
    case .credentials(let user):
      return .credentials(
        accounts[user].map { UserCredentials(profile: $0, passwordHash: "hash of \($0.handle)") })
    case .conversationList(let user, let after, let limit):
      let all = (lists[user] ?? [:]).filter { id, listing in
        !listing.isRemoved && (after.map { id > $0 } ?? true)
      }
      let page = all.sorted { $0.key < $1.key }.prefix(limit).map {
        ListedConversation(
          conversation: $0.key, joined: $0.value.joined, listed: $0.value.listed)
      }
      return .conversationList(
        ConversationListPage(
          conversations: page, applied: applied(partition), generation: 0,
          more: all.count > page.count))
    case .summaries(let reader, let ids):
      return .summaries(ids.compactMap { summary(of: $0, for: reader) })
    case .history(let history):
      guard let found = conversations[history.conversation],
        found.members[history.reader] != nil
      else { return .refused(ServiceError(.notFound, "no such conversation")) }
      return .history(
        HistoryPage(
          events: Array(found.events.suffix(history.limit)),
          head: found.events.last?.sequence ?? .zero))
    case .changes(let changes):
      return .changes(page(of: changes, in: partition))
    }
  }

  private func summary(of id: ConversationID, for reader: UserID) -> ConversationSummary? {
    guard let found = conversations[id], found.members[reader] != nil else { return nil }
    return ConversationSummary(
      conversation: id, kind: found.kind, title: found.title,
      members: found.members.values.sorted { $0.user < $1.user },
      memberCount: found.members.count, head: found.events.last?.sequence ?? .zero,
      last: found.events.last)
  }

  /// Whole entries only, so that `through` can be said.
  private func page(of query: ChangesQuery, in partition: PartitionID) -> ChangesPage {
    var events: [Event] = []
    for request in query.requests {
      guard let found = conversations[request.conversation], found.members[query.reader] != nil
      else { continue }
      let joined = joining(of: query.reader, in: found.events)
      events += found.events.filter { $0.index > request.after && $0.sequence >= joined }
    }
    events.sort { ($0.index, $0.conversation) < ($1.index, $1.conversation) }
    let refused = query.requests.map(\.conversation).filter {
      conversations[$0].map { $0.members[query.reader] == nil } ?? false
    }
    var page: [Event] = []
    for (position, event) in events.enumerated() {
      let beginsEntry = position == 0 || events[position - 1].index != event.index
      if beginsEntry, page.count >= query.limit, let last = page.last {
        return ChangesPage(
          events: page, through: last.index, more: true, generation: 0, refused: refused)
      }
      page.append(event)
    }
    return ChangesPage(
      events: page, through: applied(partition), more: false, generation: 0, refused: refused)
  }

  /// The entry that last changed what subscribers of an entity see; `nil` when it is not known.
  func lastChange(of entity: EntityID) -> LogIndex? {
    guard case .conversation(let id) = entity else { return nil }
    return conversations[id]?.events.last?.index ?? .zero
  }
}
