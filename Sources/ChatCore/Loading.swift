import ChatModel
import Primitives

/// Brings records into memory. Positions stay valid until the end of the entry or query: only then
/// is anything evicted.
extension ChatPartition {
  /// **Returns**: the conversation's position, or `nil` when there is none.
  mutating func conversationPosition(
    _ id: ConversationID, _ state: some StateReader
  ) throws(StateReadError) -> Int? {
    if let position = conversations.position(of: id) { return position }
    let hash = EntityID.conversation(id).token.rawValue
    let key = KeyLayout.conversationHead(id, hash: hash)
    guard let head = try state.record(ConversationHead.self, key) else { return nil }
    let conversation = Conversation(hash: hash, head: head)
    return conversations.insert(id, conversation, bytes: conversation.bytes)
  }

  mutating func memberPosition(
    _ user: UserID, of id: ConversationID, hash: UInt64, _ state: some StateReader
  ) throws(StateReadError) -> Int {
    let key = MemberKey(conversation: id, user: user)
    if let position = members.position(of: key) { return position }
    let record = try state.record(
      MemberRecord.self, KeyLayout.member(id, hash: hash, user: user))
    return members.insert(key, record, bytes: Self.memberBytes)
  }

  mutating func member(
    _ user: UserID, of id: ConversationID, hash: UInt64, _ state: some StateReader
  ) throws(StateReadError) -> MemberRecord? {
    let position = try memberPosition(user, of: id, hash: hash, state)
    return members.slots[position].value
  }

  mutating func setMember(_ record: MemberRecord?, at position: Int) {
    members.slots[position].value = record
    if members.markChanged(position, bytes: Self.memberBytes) {
      changedMembers.insert(position, of: members.slots[position].key.conversation)
    }
  }

  /// Room for a handle of 32 characters and the table's own.
  static var memberBytes: Int { 208 }

  mutating func windowPosition(
    _ key: WindowKey, hash: UInt64, _ state: some StateReader
  ) throws(StateReadError) -> Int {
    if let position = windows.position(of: key) { return position }
    let prefix = KeyLayout.window(key, hash: hash)
    let segmentsMax = IdempotencyWindow.capacity / ChatCoreLimits.windowSegmentEntries + 2
    var end = prefix
    end.append(bigEndian: UInt64.max)
    let segments = try state.scan(from: prefix, upTo: end, reverse: false, countMax: segmentsMax)
    let window = try IdempotencyWindow(segments: segments)
    return windows.insert(key, window, bytes: window.bytes)
  }

  mutating func accountPosition(
    _ user: UserID, _ state: some StateReader
  ) throws(StateReadError) -> Int {
    if let position = accounts.position(of: user) { return position }
    let account = try state.record(Account.self, KeyLayout.account(user))
    return accounts.insert(user, account, bytes: Self.bytes(account))
  }

  mutating func setAccount(_ account: Account, at position: Int) {
    accounts.slots[position].value = account
    accounts.markChanged(position, bytes: Self.bytes(account))
  }

  private static func bytes(_ account: Account?) -> Int {
    256 + (account.map { $0.displayName.utf8.count + $0.passwordHash.utf8.count } ?? 0)
  }

  mutating func sessionsPosition(
    _ user: UserID, _ state: some StateReader
  ) throws(StateReadError) -> Int {
    if let position = sessions.position(of: user) { return position }
    let stored = try state.record(Sessions.self, KeyLayout.sessions(user)) ?? Sessions()
    return sessions.insert(user, stored, bytes: stored.bytes)
  }

  mutating func listingPosition(
    _ key: ListingKey, _ state: some StateReader
  ) throws(StateReadError) -> Int {
    if let position = listings.position(of: key) { return position }
    let stored = try state.record(Listing.self, KeyLayout.listing(key.user, key.conversation))
    return listings.insert(key, stored, bytes: Self.listingBytes)
  }

  mutating func setListing(_ listing: Listing, at position: Int) {
    listings.slots[position].value = listing
    if listings.markChanged(position, bytes: Self.listingBytes) {
      changedListings.insert(position, of: listings.slots[position].key.user)
    }
  }

  static var listingBytes: Int { 192 }

  mutating func listingCountPosition(
    _ user: UserID, _ state: some StateReader
  ) throws(StateReadError) -> Int {
    if let position = listingCounts.position(of: user) { return position }
    let stored =
      try state.record(ListingCount.self, KeyLayout.listingCount(user)) ?? ListingCount()
    return listingCounts.insert(user, stored, bytes: 96)
  }

  mutating func handlePosition(
    _ handle: Handle, _ state: some StateReader
  ) throws(StateReadError) -> Int {
    if let position = handles.position(of: handle) { return position }
    let stored = try state.record(HandleOwner.self, KeyLayout.handleOwner(handle))
    return handles.insert(handle, stored, bytes: 192)
  }
}
