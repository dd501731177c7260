package import ChatModel
import Primitives

extension ChatPartition {
  /// Answers a read of the applied state. What it loads stays in the cache, as far as that goes.
  ///
  /// A conversation that does not exist and one that the reader is no member of look the same:
  /// history is refused with `notFound`, summaries and changes leave it out.
  ///
  /// **Throws**: `StateReadError` when stored state cannot be used; the replica stops.
  package mutating func answer(
    _ query: Query, state: some StateReader
  ) throws(StateReadError) -> QueryAnswer {
    defer { evict(stepsMax: ChatCoreLimits.evictionStepsMax) }
    precondition(!isBroken, "a partition whose apply failed is of no more use")
    switch query {
    case .handle(let handle):
      let position = try handlePosition(handle, state)
      return .handle(handles.slots[position].value?.user)
    case .user(let user):
      return .user(try activeAccount(user, state)?.profile(user))
    case .credentials(let user):
      let account = try activeAccount(user, state)
      return .credentials(
        account.map {
          UserCredentials(profile: $0.profile(user), passwordHash: $0.passwordHash)
        })
    case .conversationList(let user, let after, let limit):
      return try conversationList(user, after: after, limit: limit, state)
    case .summaries(let reader, let conversations):
      return try summaries(reader, conversations, state)
    case .history(let query):
      return try history(query, state)
    case .changes(let query):
      return try changes(query, state)
    }
  }

  private mutating func activeAccount(
    _ user: UserID, _ state: some StateReader
  ) throws(StateReadError) -> Account? {
    let position = try accountPosition(user, state)
    guard let account = accounts.slots[position].value, account.standing == .active else {
      return nil
    }
    return account
  }

  /// **Returns**: the conversation's position, or `nil` when there is none that the reader may
  /// read.
  mutating func readablePosition(
    _ id: ConversationID, reader: UserID, _ state: some StateReader
  ) throws(StateReadError) -> Int? {
    guard let position = try conversationPosition(id, state) else { return nil }
    let hash = conversations.slots[position].value.hash
    guard try member(reader, of: id, hash: hash, state) != nil else { return nil }
    return position
  }

  // MARK: lists and summaries

  private mutating func conversationList(
    _ user: UserID, after: ConversationID?, limit: Int, _ state: some StateReader
  ) throws(StateReadError) -> QueryAnswer {
    guard (1...ChatCoreLimits.conversationListPageMax).contains(limit) else {
      return .refused(ServiceError(.invalidArgument, "a page has 1 to 1,000 conversations"))
    }
    let changed = changedListings.positions(of: user).map {
      (id: listings.slots[$0].key.conversation.rawValue, record: listings.slots[$0].value)
    }
    let overlaid = OverlaidRecords(
      prefix: KeyLayout.listings(user), after: after?.rawValue, changed: changed)
    var page: [ListedConversation] = []
    try overlaid.forEach(in: state) { id, listing in
      if !listing.isRemoved { page.append(listing.listedConversation(ConversationID(id))) }
      return page.count <= limit
    }
    let more = page.count > limit
    if more { page.removeLast() }
    return .conversationList(
      ConversationListPage(
        conversations: page, applied: position, generation: generation, more: more))
  }

  private mutating func summaries(
    _ reader: UserID, _ ids: [ConversationID], _ state: some StateReader
  ) throws(StateReadError) -> QueryAnswer {
    guard ids.count <= ChatCoreLimits.summariesMax else {
      return .refused(ServiceError(.invalidArgument, "at most 256 conversations at a time"))
    }
    var summaries: [ConversationSummary] = []
    for id in ids {
      guard let position = try readablePosition(id, reader: reader, state) else { continue }
      let head = conversations.slots[position].value.head
      summaries.append(
        ConversationSummary(
          conversation: id, kind: head.kind, title: head.title,
          members: try firstMembers(
            of: position, countMax: ConversationSummary.membersShownMax, state),
          memberCount: head.memberCount, head: head.sequence,
          last: try events(of: position, latest: 1, through: head.sequence.rawValue, state).first))
    }
    return .summaries(summaries)
  }

  /// **Returns**: members in the order of their ids.
  func firstMembers(
    of position: Int, countMax: Int, _ state: some StateReader
  ) throws(StateReadError) -> [Member] {
    let id = conversations.slots[position].key
    let hash = conversations.slots[position].value.hash
    let changed = changedMembers.positions(of: id).map {
      (id: members.slots[$0].key.user.rawValue, record: members.slots[$0].value)
    }
    let overlaid = OverlaidRecords(
      prefix: KeyLayout.members(id, hash: hash), after: nil, changed: changed)
    var found: [Member] = []
    try overlaid.forEach(in: state) { user, record in
      found.append(record.member(UserID(user)))
      return found.count < countMax
    }
    return found
  }
}

/// The records of one parent in the order of their ids: those that are stored, overlaid with those
/// that changed since.
struct OverlaidRecords<Record: StoredRecord> {
  private let prefix: [UInt8]
  private let after: UInt128?
  /// Ascending, each id once; `nil` for a record that was removed.
  private let changed: [(id: UInt128, record: Record?)]

  init(prefix: [UInt8], after: UInt128?, changed: [(id: UInt128, record: Record?)]) {
    self.prefix = prefix
    self.after = after
    var sorted = changed.filter { entry in after.map { entry.id > $0 } ?? true }
    sorted.sort { $0.id < $1.id }
    var unique: [(id: UInt128, record: Record?)] = []
    for entry in sorted where unique.last?.id != entry.id { unique.append(entry) }
    self.changed = unique
  }

  /// Visits records until the visitor says that it has enough.
  func forEach(
    in state: some StateReader, _ visit: (UInt128, Record) -> Bool
  ) throws(StateReadError) {
    var next = 0
    /// Visits changed records below `id`; says whether to go on.
    func visitChanged(below id: UInt128?) -> Bool {
      while next < changed.count, id.map({ changed[next].id < $0 }) ?? true {
        let entry = changed[next]
        next += 1
        if let record = entry.record, !visit(entry.id, record) { return false }
      }
      return true
    }
    var from = prefix
    if let after {
      guard after < .max else { return }
      from.append(bigEndian: after + 1)
    }
    let end = KeyLayout.end(of: prefix)
    let countMax = ChatCoreLimits.recordsPerScan
    while true {
      let page = try state.scan(from: from, upTo: end, reverse: false, countMax: countMax)
      for (key, value) in page {
        guard key.count == prefix.count + 16 else { throw .damaged(key: key) }
        let id = KeyLayout.lastIdentifier(of: key)
        guard visitChanged(below: id) else { return }
        if next < changed.count, changed[next].id == id { continue }
        guard visit(id, try state.decode(Record.self, key, value)) else { return }
      }
      guard page.count == countMax, let last = page.last else { break }
      from = last.key + [0]
    }
    _ = visitChanged(below: nil)
  }
}
