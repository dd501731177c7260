import ChatCore
import ChatModel
import Primitives
import WalkSupport

/// The rules of the chat written down as simply as possible: everything in dictionaries, nothing
/// stored, searched from end to end. What `ChatPartition` is compared with.
struct NaiveChat {
  struct Room {
    var kind: ConversationKind
    var title: String
    var members: [UserID: Member]
    var events: [Event] = []
    var sends: [Sender: [(id: ClientMessageID, sequence: Sequence, time: WallTime)]] = [:]

    var sorted: [Member] { members.values.sorted { $0.user < $1.user } }
  }

  struct Sender: Hashable {
    var user: UserID
    var device: DeviceID
  }

  struct Person {
    enum Standing { case pending, active, deleted }
    var standing = Standing.pending
    var handle: Handle
    var displayName: String
    var passwordHash: String
  }

  struct Login {
    var current: [UInt8]
    var former: [UInt8] = []
    var expires: WallTime
    var used: LogIndex
  }

  struct Listed {
    var origin: LogIndex
    var joined: LogIndex
    var listed: LogIndex
    var removed: Bool
  }

  var rooms: [ConversationID: Room] = [:]
  var people: [UserID: Person] = [:]
  var owners: [Handle: UserID] = [:]
  var logins: [UserID: [DeviceID: Login]] = [:]
  var lists: [UserID: [ConversationID: Listed]] = [:]
  var outbox: [(id: OutboxEntryID, command: Command)] = []
  /// With its generation.
  var applied = LogIndex.zero
  private var generation: UInt32 = 0
  private var index = LogIndex.zero
  private var time = WallTime.zero
  private var ordinal: UInt32 = 0

  mutating func apply(_ commands: [Command], index: LogIndex, at time: UInt64) -> [CommandResult] {
    self.time = max(self.time, WallTime(milliseconds: time))
    self.index = index
    applied = index.inGeneration(generation)
    ordinal = 0
    return commands.map { apply($0) }
  }

  private func refused(_ code: ServiceErrorCode) -> CommandResult {
    .refused(ServiceError(code, ""))
  }

  private mutating func tell(_ command: Command) {
    if case .conversationListed(let new) = command {
      outbox.removeAll { entry in
        guard case .conversationListed(let old) = entry.command else { return false }
        return entry.id.index == applied && old.user == new.user
          && old.conversation == new.conversation
      }
    }
    outbox.append((OutboxEntryID(index: applied, ordinal: ordinal), command))
    ordinal += 1
  }

  private mutating func tellListed(_ room: ConversationID, _ user: UserID, removed: Bool) {
    tell(
      .conversationListed(
        ConversationListed(user: user, conversation: room, removed: removed, origin: origin)))
  }

  private var origin: OutboxOrigin { OutboxOrigin(partition: PartitionID(7), index: applied) }

  private mutating func append(
    _ content: EventContent, to room: ConversationID, by author: UserID
  ) -> Sequence {
    let sequence = Sequence(UInt64((rooms[room]?.events.count ?? 0) + 1))
    rooms[room]?.events.append(
      Event(
        conversation: room, sequence: sequence, time: time, author: author, index: applied,
        content: content))
    return sequence
  }

  private mutating func apply(_ command: Command) -> CommandResult {
    switch command {
    case .createConversation(let create): return apply(create)
    case .sendMessage(let send): return apply(send)
    case .changeMembers(let change): return apply(change)
    case .createUser(let create): return apply(create)
    case .openSession(let open): return apply(open)
    case .rotateRefreshToken(let rotate): return apply(rotate)
    case .closeSession(let close):
      logins[close.user]?[close.device] = nil
      return .sessionClosed
    case .claimHandle(let claim):
      let owner = owners[claim.handle] ?? claim.user
      owners[claim.handle] = owner
      tell(
        .handleResolved(
          HandleResolved(
            user: claim.user, handle: claim.handle, granted: owner == claim.user, origin: origin)))
      return .done
    case .handleResolved(let resolved):
      if let person = people[resolved.user], person.standing == .pending,
        person.handle == resolved.handle
      {
        people[resolved.user]?.standing = resolved.granted ? .active : .deleted
      }
      return .done
    case .conversationListed(let listed):
      let old = lists[listed.user]?[listed.conversation]
      if let old, old.origin >= listed.origin.index { return .done }
      lists[listed.user, default: [:]][listed.conversation] = Listed(
        origin: listed.origin.index,
        joined: listed.removed ? old?.joined ?? .zero : listed.origin.index, listed: applied,
        removed: listed.removed)
      return .done
    case .outboxConfirmed(let confirmed):
      outbox.removeAll { confirmed.entries.contains($0.id) }
      return .done
    case .partitionSplit: return .done
    case .generationBegan(let number):
      generation = max(generation, number)
      applied = index.inGeneration(generation)
      return .done
    }
  }

  private mutating func apply(_ create: CreateConversation) -> CommandResult {
    if let room = rooms[create.conversation] {
      return room.members[create.creator] != nil && room.kind == create.kind
        ? .conversationCreated(conversation: create.conversation, existed: true)
        : refused(.alreadyExists)
    }
    let members = create.members.map { member in
      var member = member
      if create.kind == .direct { member.role = .member }
      if create.kind == .group, member.user == create.creator { member.role = .admin }
      return member
    }
    rooms[create.conversation] = Room(
      kind: create.kind, title: create.title,
      members: Dictionary(uniqueKeysWithValues: members.map { ($0.user, $0) }))
    _ = append(
      .created(kind: create.kind, title: create.title, members: members), to: create.conversation,
      by: create.creator)
    for member in members { tellListed(create.conversation, member.user, removed: false) }
    return .conversationCreated(conversation: create.conversation, existed: false)
  }

  private mutating func apply(_ send: SendMessage) -> CommandResult {
    if send.text.isEmpty { return refused(.invalidArgument) }
    guard let room = rooms[send.conversation] else { return refused(.notFound) }
    let sender = Sender(user: send.sender, device: send.device)
    let known = room.sends[sender, default: []].suffix(ChatLimits.idempotencyWindowCount)
    if let earlier = known.first(where: { $0.id == send.clientID }) {
      return .messageSent(sequence: earlier.sequence, time: earlier.time, repeated: true)
    }
    guard room.members[send.sender] != nil else { return refused(.notFound) }
    let sequence = append(.message(text: send.text), to: send.conversation, by: send.sender)
    rooms[send.conversation]?.sends[sender, default: []].append((send.clientID, sequence, time))
    return .messageSent(sequence: sequence, time: time, repeated: false)
  }

  private mutating func apply(_ change: ChangeMembers) -> CommandResult {
    guard let room = rooms[change.conversation], let author = room.members[change.author] else {
      return refused(.notFound)
    }
    if room.kind == .direct { return refused(.failedPrecondition) }
    let named = change.added.map(\.user) + change.removed
    if named.isEmpty || Set(named).count < named.count { return refused(.invalidArgument) }
    if author.role != .admin, !(change.added.isEmpty && change.removed == [change.author]) {
      return refused(.permissionDenied)
    }
    let joining = change.added.filter { room.members[$0.user] == nil }
    let raised = change.added.compactMap { member -> Member? in
      guard var present = room.members[member.user], present.role == .member,
        member.role == .admin
      else { return nil }
      present.role = .admin
      return present
    }
    let leaving = change.removed.filter { room.members[$0] != nil }
    if joining.isEmpty, raised.isEmpty, leaving.isEmpty {
      return .membersChanged(sequence: Sequence(UInt64(room.events.count)))
    }
    var members = room.members
    for user in leaving { members[user] = nil }
    for member in joining + raised { members[member.user] = member }
    var heir: [Member] = []
    if !members.values.contains(where: { $0.role == .admin }),
      var lowest = members.values.min(by: { $0.user < $1.user })
    {
      lowest.role = .admin
      members[lowest.user] = lowest
      heir = [lowest]
    }
    rooms[change.conversation]?.members = members
    let sequence = append(
      .membersChanged(added: joining + raised + heir, removed: leaving), to: change.conversation,
      by: change.author)
    for member in joining { tellListed(change.conversation, member.user, removed: false) }
    for user in leaving { tellListed(change.conversation, user, removed: true) }
    return .membersChanged(sequence: sequence)
  }

  private mutating func apply(_ create: CreateUser) -> CommandResult {
    if let person = people[create.user] {
      if person.handle != create.handle { return refused(.alreadyExists) }
      switch person.standing {
      case .pending: return .userPending
      case .active: return .userActive(create.user)
      case .deleted: return refused(.alreadyExists)
      }
    }
    people[create.user] = Person(
      handle: create.handle, displayName: create.displayName, passwordHash: create.passwordHash)
    tell(.claimHandle(ClaimHandle(handle: create.handle, user: create.user, origin: origin)))
    return .userPending
  }

  private mutating func apply(_ open: OpenSession) -> CommandResult {
    switch people[open.user]?.standing {
    case .active: break
    case .pending: return refused(.failedPrecondition)
    case .deleted, nil: return refused(.notFound)
    }
    var all = logins[open.user] ?? [:]
    if all[open.device]?.current == open.refreshTokenHash { return .sessionOpened }
    if all[open.device] == nil, all.count == ChatLimits.devicesPerUserMax,
      let oldest = all.min(by: { ($0.value.used, $0.key) < ($1.value.used, $1.key) })
    {
      all[oldest.key] = nil
    }
    all[open.device] = Login(
      current: open.refreshTokenHash, expires: open.expires, used: applied)
    logins[open.user] = all
    return .sessionOpened
  }

  private mutating func apply(_ rotate: RotateRefreshToken) -> CommandResult {
    guard let login = logins[rotate.user]?[rotate.device] else { return refused(.unauthenticated) }
    if rotate.presentedHash == login.current, time < login.expires {
      logins[rotate.user]?[rotate.device] = Login(
        current: rotate.newHash, former: login.current, expires: rotate.expires, used: applied)
      return .refreshTokenRotated
    }
    if rotate.presentedHash == login.former, rotate.newHash == login.current {
      return .refreshTokenRotated
    }
    if [login.current, login.former].contains(rotate.presentedHash) {
      logins[rotate.user]?[rotate.device] = nil
    }
    return refused(.unauthenticated)
  }
}

// MARK: answers

extension NaiveChat {
  func answer(_ query: Query) -> QueryAnswer {
    switch query {
    case .handle(let handle): return .handle(owners[handle])
    case .user(let user): return .user(profile(user))
    case .credentials(let user):
      return .credentials(
        profile(user).map {
          UserCredentials(profile: $0, passwordHash: people[user]?.passwordHash ?? "")
        })
    case .conversationList(let user, let after, let limit):
      let all = (lists[user] ?? [:]).filter { !$0.value.removed }.sorted { $0.key < $1.key }
        .filter { entry in after.map { entry.key > $0 } ?? true }
      return .conversationList(
        ConversationListPage(
          conversations: all.prefix(limit).map {
            ListedConversation(
              conversation: $0.key, joined: $0.value.joined, listed: $0.value.listed)
          }, applied: applied, generation: generation, more: all.count > limit))
    case .summaries(let reader, let ids):
      return .summaries(ids.compactMap { summary($0, reader: reader) })
    case .history(let query): return history(query)
    case .changes(let query): return .changes(changes(query))
    }
  }

  private func profile(_ user: UserID) -> UserProfile? {
    guard let person = people[user], person.standing == .active else { return nil }
    return UserProfile(user: user, handle: person.handle, displayName: person.displayName)
  }

  private func summary(_ id: ConversationID, reader: UserID) -> ConversationSummary? {
    guard let room = rooms[id], room.members[reader] != nil else { return nil }
    return ConversationSummary(
      conversation: id, kind: room.kind, title: room.title,
      members: Array(room.sorted.prefix(ConversationSummary.membersShownMax)),
      memberCount: room.members.count, head: Sequence(UInt64(room.events.count)),
      last: room.events.last)
  }

  private func history(_ query: HistoryQuery) -> QueryAnswer {
    guard let room = rooms[query.conversation], room.members[query.reader] != nil else {
      return .refused(ServiceError(.notFound, ""))
    }
    let events =
      switch query.range {
      case .after(let sequence):
        Array(room.events.filter { $0.sequence > sequence }.prefix(query.limit))
      case .before(let sequence):
        Array(room.events.filter { $0.sequence < sequence }.suffix(query.limit))
      case .latest: Array(room.events.suffix(query.limit))
      }
    return .history(HistoryPage(events: events, head: Sequence(UInt64(room.events.count))))
  }

  private func changes(_ query: ChangesQuery) -> ChangesPage {
    var events: [Event] = []
    for request in query.requests {
      guard let room = rooms[request.conversation], room.members[query.reader] != nil else {
        continue
      }
      let joined = joining(of: query.reader, in: room.events)
      events += room.events.filter { $0.index > request.after && $0.sequence >= joined }
    }
    events.sort {
      ($0.index, $0.conversation, $0.sequence) < ($1.index, $1.conversation, $1.sequence)
    }
    var page: [Event] = []
    var through = LogIndex.zero
    for index in Set(events.map(\.index)).sorted() {
      let entry = events.filter { $0.index == index }
      if !page.isEmpty, page.count + entry.count > query.limit { break }
      page += entry
      through = index
    }
    let more = page.count < events.count
    let refused = query.requests.map(\.conversation).filter {
      rooms[$0].map { $0.members[query.reader] == nil } ?? false
    }
    return ChangesPage(
      events: page, through: more ? through : applied, more: more, generation: generation,
      refused: refused)
  }
}
