import ChatModel
import NodeProtocol
import Primitives

extension ServiceError {
  /// The same whether the conversation does not exist or is somebody else's.
  static var conversationNotFound: Self { ServiceError(.notFound, "no such conversation") }
  static var outboxFull: Self { .overloaded("too much waits for other partitions") }
}

// MARK: sending

extension ChatPartition {
  mutating func apply(
    _ send: SendMessage, _ index: LogIndex, _ state: some StateReader, _ output: inout ApplyOutput
  ) throws(StateReadError) -> CommandResult {
    if let refusal = ServiceError.refusal(ofText: send.text) { return .refused(refusal) }
    guard let position = try conversationPosition(send.conversation, state) else {
      return .refused(.conversationNotFound)
    }
    let hash = conversations.slots[position].value.hash
    let member = try member(send.sender, of: send.conversation, hash: hash, state)
    let key = WindowKey(
      conversation: send.conversation, user: send.sender, device: send.device)
    let window = try windowPosition(key, hash: hash, state)
    let digest = send.clientID.digest
    // Before the membership: a send that was stored is answered alike after its author has left.
    if let earlier = windows.slots[window].value.entry(digest),
      !PlantedBug.isActive(.repeatNotRecognised)
    {
      return .messageSent(sequence: earlier.sequence, time: earlier.time, repeated: true)
    }
    guard member != nil else { return .refused(.conversationNotFound) }
    let sequence = append(
      .message(text: send.text), by: send.sender, to: position, index, &output)
    windows.slots[window].value.record(
      IdempotencyWindow.Entry(digest: digest, sequence: sequence, time: time))
    windows.markChanged(window, bytes: windows.slots[window].value.bytes)
    self.hash.fold(.message)
    self.hash.fold(digest)
    self.hash.fold(send.device.rawValue)
    return .messageSent(sequence: sequence, time: time, repeated: false)
  }

  /// Gives an event the next sequence number of its conversation, and tells those who listen.
  private mutating func append(
    _ content: EventContent, by author: UserID, to position: Int, _ index: LogIndex,
    _ output: inout ApplyOutput
  ) -> Sequence {
    let id = conversations.slots[position].key
    let event = Event(
      conversation: id, sequence: conversations.slots[position].value.head.sequence.successor,
      time: time, author: author, index: index, content: content)
    conversations.slots[position].value.append(event)
    conversations.markChanged(position, bytes: conversations.slots[position].value.bytes)
    fold(event)
    output.deliver(.event(event), to: .conversation(id))
    return event.sequence
  }

  private mutating func fold(_ event: Event) {
    hash.fold(.event)
    hash.fold(event.conversation.rawValue)
    hash.fold(event.sequence.rawValue)
    hash.fold(event.time.milliseconds)
    hash.fold(event.author.rawValue)
    if case .message(let text) = event.content {
      hash.fold(text)
    } else {
      hash.fold(event.encoded())
    }
  }
}

// MARK: creating

extension ChatPartition {
  mutating func apply(
    _ create: CreateConversation, _ index: LogIndex, _ state: some StateReader,
    _ output: inout ApplyOutput
  ) throws(StateReadError) -> CommandResult {
    if let refusal = Self.refusal(of: create) { return .refused(refusal) }
    if let position = try conversationPosition(create.conversation, state) {
      return try existing(create, at: position, state)
    }
    guard outbox.hasRoom(for: create.members.count) else { return .refused(.outboxFull) }
    let roles = create.members.map { Self.initialRole(of: $0, in: create) }
    var head = ConversationHead(
      kind: create.kind, title: create.title, created: time, creator: create.creator)
    head.memberCount = roles.count
    head.adminCount = roles.count { $0.role == .admin }
    let hash = EntityID.conversation(create.conversation).token.rawValue
    let conversation = Conversation(hash: hash, head: head)
    let position = conversations.insert(
      create.conversation, conversation, bytes: conversation.bytes)
    for member in roles {
      let place = try memberPosition(member.user, of: create.conversation, hash: hash, state)
      setMember(
        MemberRecord(handle: member.handle, role: member.role, joined: Sequence(1)), at: place)
    }
    _ = append(
      .created(kind: create.kind, title: create.title, members: roles), by: create.creator,
      to: position, index, &output)
    for member in roles {
      list(create.conversation, for: member.user, removed: false, index)
    }
    return .conversationCreated(conversation: create.conversation, existed: false)
  }

  private mutating func existing(
    _ create: CreateConversation, at position: Int, _ state: some StateReader
  ) throws(StateReadError) -> CommandResult {
    let hash = conversations.slots[position].value.hash
    let member = try member(create.creator, of: create.conversation, hash: hash, state)
    guard member != nil, conversations.slots[position].value.head.kind == create.kind else {
      return .refused(ServiceError(.alreadyExists, "the id is taken"))
    }
    return .conversationCreated(conversation: create.conversation, existed: true)
  }

  private static func initialRole(of member: Member, in create: CreateConversation) -> Member {
    var member = member
    switch create.kind {
    case .direct: member.role = .member
    case .group: if member.user == create.creator { member.role = .admin }
    }
    return member
  }

  private static func refusal(of create: CreateConversation) -> ServiceError? {
    let users = create.members.map(\.user)
    guard (1...ChatLimits.membersPerCommandMax).contains(users.count) else {
      return ServiceError(.invalidArgument, "a conversation begins with 1 to 256 members")
    }
    guard Set(users).count == users.count, users.contains(create.creator) else {
      return ServiceError(.invalidArgument, "members are named once, the creator among them")
    }
    guard create.title.utf8.count <= ChatLimits.titleBytesMax else {
      return ServiceError(.invalidArgument, "a title has at most 256 bytes")
    }
    guard create.kind == .direct else { return nil }
    guard users.count <= 2, create.title.isEmpty,
      create.conversation == ConversationID(directBetween: users[0], and: users[users.count - 1])
    else {
      return ServiceError(
        .invalidArgument, "a direct conversation is of two people, untitled, under their id")
    }
    return nil
  }

  private mutating func list(
    _ conversation: ConversationID, for user: UserID, removed: Bool, _ index: LogIndex
  ) {
    let command = ConversationListed(
      user: user, conversation: conversation, removed: removed, origin: origin(index))
    emit(
      .conversationListed(command), to: .user(user), from: .conversation(conversation), at: index)
  }
}

// MARK: members

extension ChatPartition {
  mutating func apply(
    _ change: ChangeMembers, _ index: LogIndex, _ state: some StateReader,
    _ output: inout ApplyOutput
  ) throws(StateReadError) -> CommandResult {
    guard let position = try conversationPosition(change.conversation, state) else {
      return .refused(.conversationNotFound)
    }
    let hash = conversations.slots[position].value.hash
    let head = conversations.slots[position].value.head
    guard let author = try member(change.author, of: change.conversation, hash: hash, state) else {
      return .refused(.conversationNotFound)
    }
    if let refusal = Self.refusal(of: change, by: author, in: head) {
      return .refused(refusal)
    }
    let plan = try plan(change, at: head.sequence.successor, hash: hash, state)
    if plan.isEmpty { return .membersChanged(sequence: head.sequence) }
    let memberCount = head.memberCount + plan.joining.count - plan.leaving.count
    guard memberCount <= ChatLimits.membersMax else {
      return .refused(ServiceError(.resourceExhausted, "a group has at most 10,000 members"))
    }
    guard outbox.hasRoom(for: plan.joining.count + plan.leaving.count) else {
      return .refused(.outboxFull)
    }
    let promoted = try carryOut(plan, at: position, state)
    let sequence = append(
      .membersChanged(
        added: plan.joining.map(\.member) + plan.promoted.map(\.member) + promoted,
        removed: plan.leaving.map(\.member.user)),
      by: change.author, to: position, index, &output)
    for place in plan.joining {
      list(change.conversation, for: place.member.user, removed: false, index)
    }
    for place in plan.leaving {
      list(change.conversation, for: place.member.user, removed: true, index)
    }
    return .membersChanged(sequence: sequence)
  }

  private static func refusal(
    of change: ChangeMembers, by author: MemberRecord, in head: ConversationHead
  ) -> ServiceError? {
    guard head.kind == .group else {
      return ServiceError(.failedPrecondition, "the members of a direct conversation are fixed")
    }
    let named = change.added.map(\.user) + change.removed
    guard (1...ChatLimits.membersPerCommandMax).contains(named.count) else {
      return ServiceError(.invalidArgument, "a change names 1 to 256 members")
    }
    guard Set(named).count == named.count else {
      return ServiceError(.invalidArgument, "a change names a member once")
    }
    let isLeaving = change.added.isEmpty && change.removed == [change.author]
    guard author.role == .admin || isLeaving else {
      return ServiceError(.permissionDenied, "only admins change the members")
    }
    return nil
  }

  /// What of a change is not so already.
  private struct MembershipPlan {
    struct Place {
      /// In the table of members.
      var position: Int
      var member: Member
      var joined: Sequence
    }

    var joining: [Place] = []
    /// Members who become admins: naming a member as admin promotes, naming an admin as member
    /// does nothing, so that a careless invitation takes no rights away.
    var promoted: [Place] = []
    var leaving: [Place] = []

    var isEmpty: Bool { joining.isEmpty && promoted.isEmpty && leaving.isEmpty }
  }

  /// - Parameter sequence: of the event that the change will be.
  private mutating func plan(
    _ change: ChangeMembers, at sequence: Sequence, hash: UInt64, _ state: some StateReader
  ) throws(StateReadError) -> MembershipPlan {
    var plan = MembershipPlan()
    for member in change.added {
      let position = try memberPosition(
        member.user, of: change.conversation, hash: hash, state)
      guard var record = members.slots[position].value else {
        plan.joining.append(
          MembershipPlan.Place(position: position, member: member, joined: sequence))
        continue
      }
      guard record.role == .member, member.role == .admin else { continue }
      record.role = .admin
      plan.promoted.append(
        MembershipPlan.Place(
          position: position, member: record.member(member.user), joined: record.joined))
    }
    for user in change.removed {
      let position = try memberPosition(user, of: change.conversation, hash: hash, state)
      guard let record = members.slots[position].value else { continue }
      plan.leaving.append(
        MembershipPlan.Place(
          position: position, member: record.member(user), joined: record.joined))
    }
    return plan
  }

  /// Changes the member records and the head's counts.
  ///
  /// **Returns**: who became admin because the last one left: the member with the lowest id.
  private mutating func carryOut(
    _ plan: MembershipPlan, at position: Int, _ state: some StateReader
  ) throws(StateReadError) -> [Member] {
    var head = conversations.slots[position].value.head
    for place in plan.leaving {
      setMember(nil, at: place.position)
      if place.member.role == .admin { head.adminCount -= 1 }
    }
    for place in plan.joining + plan.promoted {
      setMember(
        MemberRecord(
          handle: place.member.handle, role: place.member.role, joined: place.joined),
        at: place.position)
      if place.member.role == .admin { head.adminCount += 1 }
    }
    head.memberCount += plan.joining.count - plan.leaving.count
    var promoted: [Member] = []
    if head.adminCount <= 0, head.memberCount > 0 {
      promoted = try firstMembers(of: position, countMax: 1, state)
      for index in promoted.indices {
        promoted[index].role = .admin
        let key = conversations.slots[position].key
        let place = try memberPosition(
          promoted[index].user, of: key, hash: conversations.slots[position].value.hash, state)
        let joined = members.slots[place].value?.joined ?? Sequence(1)
        setMember(
          MemberRecord(handle: promoted[index].handle, role: .admin, joined: joined), at: place)
        head.adminCount += 1
      }
    }
    conversations.slots[position].value.head = head
    return promoted
  }
}
