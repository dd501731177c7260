import ChatModel
import NodeProtocol
import Primitives

// MARK: accounts and their handles

extension ChatPartition {
  /// ```
  ///            createUser            handleResolved(granted)
  ///   (none) ─────────────▶ pending ─────────────────────────▶ active
  ///                            │ handleResolved(refused)
  ///                            └─────────────────────────────▶ deleted
  /// ```
  mutating func apply(
    _ create: CreateUser, _ index: LogIndex, _ state: some StateReader
  ) throws(StateReadError) -> CommandResult {
    guard create.displayName.utf8.count <= ChatLimits.displayNameBytesMax else {
      return .refused(ServiceError(.invalidArgument, "a display name has at most 128 bytes"))
    }
    guard (1...ChatLimits.passwordHashBytesMax).contains(create.passwordHash.utf8.count) else {
      return .refused(ServiceError(.invalidArgument, "a password hash has 1 to 256 bytes"))
    }
    let position = try accountPosition(create.user, state)
    if let account = accounts.slots[position].value {
      return Self.result(of: create, existing: account)
    }
    guard outbox.hasRoom(for: 1) else { return .refused(.outboxFull) }
    let account = Account(
      standing: .pending, handle: create.handle, displayName: create.displayName,
      passwordHash: create.passwordHash)
    setAccount(account, at: position)
    fold(account, of: create.user)
    let claim = ClaimHandle(handle: create.handle, user: create.user, origin: origin(index))
    emit(.claimHandle(claim), to: .handle(create.handle), from: .user(create.user), at: index)
    return .userPending
  }

  private static func result(of create: CreateUser, existing account: Account) -> CommandResult {
    guard account.handle == create.handle else {
      return .refused(ServiceError(.alreadyExists, "the id is taken"))
    }
    switch account.standing {
    case .pending: return .userPending
    case .active: return .userActive(create.user)
    case .deleted: return .refused(ServiceError(.alreadyExists, "the handle is taken"))
    }
  }

  private mutating func fold(_ account: Account, of user: UserID) {
    hash.fold(.account)
    hash.fold(user.rawValue)
    hash.fold(UInt64(account.standing.rawValue))
    hash.fold(account.handle.text)
    hash.fold(account.displayName)
    hash.fold(account.passwordHash)
  }

  /// The first claim wins; a repeated one is answered alike.
  mutating func apply(
    _ claim: ClaimHandle, _ index: LogIndex, _ state: some StateReader
  ) throws(StateReadError) -> CommandResult {
    guard outbox.hasRoom(for: 1) else { return .refused(.outboxFull) }
    let position = try handlePosition(claim.handle, state)
    if handles.slots[position].value == nil {
      handles.slots[position].value = HandleOwner(user: claim.user)
      handles.markChanged(position, bytes: handles.slots[position].bytes)
      hash.fold(.handle)
      hash.fold(claim.handle.text)
      hash.fold(claim.user.rawValue)
    }
    let resolved = HandleResolved(
      user: claim.user, handle: claim.handle,
      granted: handles.slots[position].value?.user == claim.user, origin: origin(index))
    emit(
      .handleResolved(resolved), to: .user(claim.user), from: .handle(claim.handle), at: index)
    return .done
  }

  mutating func apply(
    _ resolved: HandleResolved, _ state: some StateReader
  ) throws(StateReadError) -> CommandResult {
    let position = try accountPosition(resolved.user, state)
    guard var account = accounts.slots[position].value, account.standing == .pending,
      account.handle == resolved.handle
    else { return .done }
    if resolved.granted {
      account.standing = .active
    } else {
      account.standing = .deleted
      account.displayName = ""
      account.passwordHash = ""
    }
    setAccount(account, at: position)
    fold(account, of: resolved.user)
    return .done
  }
}

// MARK: sessions

extension ServiceError {
  /// The same whatever was wrong with a token.
  static var sessionEnded: Self { ServiceError(.unauthenticated, "log in again") }
}

extension ChatPartition {
  mutating func apply(
    _ open: OpenSession, _ index: LogIndex, _ state: some StateReader, _ output: inout ApplyOutput
  ) throws(StateReadError) -> CommandResult {
    guard open.deviceName.utf8.count <= ChatLimits.deviceNameBytesMax else {
      return .refused(ServiceError(.invalidArgument, "a device name has at most 64 bytes"))
    }
    let account = try accountPosition(open.user, state)
    switch accounts.slots[account].value?.standing {
    case .active: break
    case .pending:
      return .refused(
        ServiceError(
          .failedPrecondition, "the account waits for its handle", retryable: true,
          retryAfterMilliseconds: 100))
    case .deleted, nil: return .refused(ServiceError(.notFound, "no such user"))
    }
    let position = try sessionsPosition(open.user, state)
    let existing = sessions.slots[position].value.position(of: open.device)
    if let existing {
      let session = sessions.slots[position].value.all[existing]
      if session.refreshTokenHash == open.refreshTokenHash { return .sessionOpened }
      sessions.slots[position].value.all.remove(at: existing)
    } else if sessions.slots[position].value.all.count >= ChatLimits.devicesPerUserMax,
      let oldest = sessions.slots[position].value.leastRecentlyUsed
    {
      close(oldest, of: open.user, at: position, &output)
    }
    sessions.slots[position].value.insert(
      Session(
        device: open.device, deviceName: open.deviceName, refreshTokenHash: open.refreshTokenHash,
        replacedHash: [], expires: open.expires, lastUsed: index))
    sessionsChanged(open.user, open.device, open.refreshTokenHash, at: position)
    return .sessionOpened
  }

  /// | presented | answer |
  /// |---|---|
  /// | the current hash, not expired | rotated |
  /// | the replaced hash, with the current as the new one | rotated: the same rotation again |
  /// | the current hash, expired | the session ends |
  /// | the replaced hash, with another new one | the session ends: somebody holds a stolen token |
  /// | anything else | refused, the session stays |
  mutating func apply(
    _ rotate: RotateRefreshToken, _ index: LogIndex, _ state: some StateReader,
    _ output: inout ApplyOutput
  ) throws(StateReadError) -> CommandResult {
    let position = try sessionsPosition(rotate.user, state)
    guard let found = sessions.slots[position].value.position(of: rotate.device) else {
      return .refused(.sessionEnded)
    }
    let session = sessions.slots[position].value.all[found]
    if rotate.presentedHash == session.refreshTokenHash, time < session.expires {
      sessions.slots[position].value.all[found].replacedHash = session.refreshTokenHash
      sessions.slots[position].value.all[found].refreshTokenHash = rotate.newHash
      sessions.slots[position].value.all[found].expires = rotate.expires
      sessions.slots[position].value.all[found].lastUsed = index
      sessionsChanged(rotate.user, rotate.device, rotate.newHash, at: position)
      return .refreshTokenRotated
    }
    let isReplaced = rotate.presentedHash == session.replacedHash
    // Every rotation sets the same lifetime, so the difference is the time since the last one.
    let elapsed = rotate.expires.milliseconds.subtractingReportingOverflow(
      session.expires.milliseconds)
    if isReplaced, rotate.newHash == session.refreshTokenHash,
      elapsed.overflow || elapsed.partialValue <= ChatLimits.refreshRepeatTime
    {
      return .refreshTokenRotated
    }
    if isReplaced || rotate.presentedHash == session.refreshTokenHash {
      close(found, of: rotate.user, at: position, &output)
    }
    return .refused(.sessionEnded)
  }

  mutating func apply(
    _ command: CloseSession, _ state: some StateReader, _ output: inout ApplyOutput
  ) throws(StateReadError) -> CommandResult {
    let position = try sessionsPosition(command.user, state)
    if let found = sessions.slots[position].value.position(of: command.device) {
      close(found, of: command.user, at: position, &output)
    }
    return .sessionClosed
  }

  private mutating func close(
    _ found: Int, of user: UserID, at position: Int, _ output: inout ApplyOutput
  ) {
    let session = sessions.slots[position].value.all.remove(at: found)
    sessionsChanged(user, session.device, [], at: position)
    output.deliver(.sessionClosed(user: user, device: session.device), to: .user(user))
  }

  private mutating func sessionsChanged(
    _ user: UserID, _ device: DeviceID, _ tokenHash: [UInt8], at position: Int
  ) {
    sessions.markChanged(position, bytes: sessions.slots[position].value.bytes)
    hash.fold(.sessions)
    hash.fold(user.rawValue)
    hash.fold(device.rawValue)
    hash.fold(tokenHash)
  }
}

// MARK: the list of conversations

extension ChatPartition {
  /// Applied only when it is newer than what is known: a late `added` does not undo a `removed`,
  /// for a removal leaves a tombstone even where nothing was listed.
  mutating func apply(
    _ command: ConversationListed, _ index: LogIndex, _ state: some StateReader,
    _ output: inout ApplyOutput
  ) throws(StateReadError) -> CommandResult {
    let key = ListingKey(user: command.user, conversation: command.conversation)
    let position = try listingPosition(key, state)
    let stored = listings.slots[position].value
    if let stored, command.origin.index <= stored.originIndex,
      !PlantedBug.isActive(.outboxOutOfOrder)
    {
      return .done
    }
    let wasListed = stored.map { !$0.isRemoved } ?? false
    let growth = (command.removed ? 0 : 1) - (wasListed ? 1 : 0)
    if growth != 0 {
      let count = try listingCountPosition(command.user, state)
      let current = listingCounts.slots[count].value.count
      guard growth < 0 || current < ChatLimits.conversationsPerUserMax else {
        return .refused(ServiceError(.resourceExhausted, "the user's list is full"))
      }
      listingCounts.slots[count].value.count = current + growth
      listingCounts.markChanged(count, bytes: listingCounts.slots[count].bytes)
    }
    let listing = Listing(
      originIndex: command.origin.index,
      joined: command.removed ? stored?.joined ?? .zero : command.origin.index, listed: index,
      isRemoved: command.removed)
    setListing(listing, at: position)
    fold(listing, key)
    if wasListed || !command.removed {
      output.deliver(
        .listed(
          user: command.user, conversation: listing.listedConversation(command.conversation),
          removed: command.removed),
        to: .user(command.user))
    }
    return .done
  }

  private mutating func fold(_ listing: Listing, _ key: ListingKey) {
    hash.fold(.listing)
    hash.fold(key.user.rawValue)
    hash.fold(key.conversation.rawValue)
    hash.fold(listing.originIndex.rawValue)
    hash.fold(listing.joined.rawValue)
    hash.fold(listing.listed.rawValue)
    hash.fold(UInt64(listing.isRemoved ? 1 : 0))
  }
}
