import ChatModel
package import Primitives

/// One record of a checkpoint: a value to be stored, or (`nil`) a key to be deleted.
package struct StateWrite: Equatable, Sendable {
  package let key: [UInt8]
  /// `nil` removes the key.
  package let value: [UInt8]?

  init(key: [UInt8], value: [UInt8]?) {
    self.key = key
    self.value = value
  }
}

/// All that changed between two positions of the log, to be written in one batch.
package struct Checkpoint: Sendable {
  /// The entry up to which the state is written; replay begins after it.
  package let appliedIndex: LogIndex
  /// `ChatPartition.rollingHash` at that index.
  package let rollingHash: UInt64
  /// In the order of keys, each key once.
  package let writes: [StateWrite]

  /// Keys and values together. **Units**: bytes.
  package var bytes: Int { writes.reduce(0) { $0 + $1.key.count + ($1.value?.count ?? 0) } }
}

extension ChatPartition {
  /// Freezes what changed since the last checkpoint. Applying and reading go on at once; what was
  /// frozen stays in memory until `checkpointWritten`.
  ///
  /// **Invariant**: one checkpoint at a time. When it cannot be written the replica stops.
  package mutating func beginCheckpoint() -> Checkpoint {
    precondition(!isCheckpointOpen, "a checkpoint is being written")
    precondition(!isBroken, "a partition whose apply failed has no consistent state")
    isCheckpointOpen = true
    var writes: [StateWrite] = []
    writes.reserveCapacity(lastCheckpointWrites + lastCheckpointWrites / 4 + 16)
    freezeConversations(into: &writes)
    freezeUsers(into: &writes)
    outbox.freeze(into: &writes)
    writes.append(appliedMark)
    lastCheckpointWrites = writes.count
    checkpointedIndex = appliedIndex
    return Checkpoint(
      appliedIndex: appliedIndex, rollingHash: hash.value, writes: Self.sorted(writes))
  }

  private var appliedMark: StateWrite {
    let mark = AppliedMark(
      appliedIndex: appliedIndex, rollingHash: hash.value, time: time, generation: generation,
      split: lastSplit, splitPosition: splitPosition)
    return StateWrite(key: KeyLayout.appliedMark, value: mark.encoded())
  }

  /// The checkpoint with which the partition is cut in two, and that of the one that its upper
  /// half becomes: only what is of the partition itself, for the rest lies where it will be read.
  /// This value is of no more use then; both are opened anew from what is written.
  package mutating func beginSplit(
    upper: ClosedRange<Token>
  ) -> (lower: Checkpoint, upper: Checkpoint) {
    var own = [appliedMark]
    for entry in outbox.removeAll(from: upper) { own.append(entry) }
    let lower = beginCheckpoint()
    let half = Checkpoint(
      appliedIndex: appliedIndex, rollingHash: hash.value, writes: Self.sorted(own))
    return (lower, half)
  }

  private mutating func freezeConversations(into writes: inout [StateWrite]) {
    for position in conversations.freeze() {
      let id = conversations.slots[position].key
      conversations.slots[position].value.freeze(id, into: &writes)
    }
    for position in members.freeze() {
      let key = members.slots[position].key
      let hash = EntityID.conversation(key.conversation).token.rawValue
      writes.append(
        StateWrite(
          key: KeyLayout.member(key.conversation, hash: hash, user: key.user),
          value: members.slots[position].value?.encoded()))
    }
    changedMembers.freeze()
    for position in windows.freeze() {
      let key = windows.slots[position].key
      let hash = EntityID.conversation(key.conversation).token.rawValue
      if PlantedBug.isActive(.windowNotStored) { continue }
      windows.slots[position].value.freeze(key: key, hash: hash, into: &writes)
    }
  }

  private mutating func freezeUsers(into writes: inout [StateWrite]) {
    for position in accounts.freeze() {
      let slot = accounts.slots[position]
      writes.append(StateWrite(key: KeyLayout.account(slot.key), value: slot.value?.encoded()))
    }
    for position in sessions.freeze() {
      let slot = sessions.slots[position]
      let value = slot.value.all.isEmpty ? nil : slot.value.encoded()
      writes.append(StateWrite(key: KeyLayout.sessions(slot.key), value: value))
    }
    for position in listings.freeze() {
      let slot = listings.slots[position]
      writes.append(
        StateWrite(
          key: KeyLayout.listing(slot.key.user, slot.key.conversation),
          value: slot.value?.encoded()))
    }
    changedListings.freeze()
    for position in listingCounts.freeze() {
      let slot = listingCounts.slots[position]
      writes.append(
        StateWrite(key: KeyLayout.listingCount(slot.key), value: slot.value.encoded()))
    }
    for position in handles.freeze() {
      let slot = handles.slots[position]
      writes.append(StateWrite(key: KeyLayout.handleOwner(slot.key), value: slot.value?.encoded()))
    }
  }

  /// Most comparisons end at the entity hash, which is at hand as a number.
  private static func sorted(_ writes: [StateWrite]) -> [StateWrite] {
    var order = writes.indices.map { (hash: KeyLayout.hash(of: writes[$0].key), position: $0) }
    order.sort {
      $0.hash != $1.hash
        ? $0.hash < $1.hash
        : writes[$0.position].key.lexicographicallyPrecedes(writes[$1.position].key)
    }
    return order.map { writes[$0.position] }
  }

  /// The checkpoint that was begun is durable: its records may leave memory.
  package mutating func checkpointWritten() {
    precondition(isCheckpointOpen, "no checkpoint was begun")
    isCheckpointOpen = false
    for position in conversations.frozen {
      conversations.slots[position].value.written()
      conversations.resize(position, bytes: conversations.slots[position].value.bytes)
    }
    conversations.written()
    members.written()
    changedMembers.written()
    windows.written()
    accounts.written()
    sessions.written()
    listings.written()
    changedListings.written()
    listingCounts.written()
    handles.written()
    evict(stepsMax: .max)
  }

  /// Drops clean records while the partition holds more than `cacheBytesMax`: windows first, for
  /// they are the largest.
  mutating func evict(stepsMax: Int) {
    var excess = cacheBytes - cacheBytesMax
    guard excess > 0 else { return }
    excess -= windows.evict(bytes: excess, stepsMax: stepsMax)
    excess -= conversations.evict(bytes: excess, stepsMax: stepsMax)
    excess -= members.evict(bytes: excess, stepsMax: stepsMax)
    excess -= listings.evict(bytes: excess, stepsMax: stepsMax)
    excess -= sessions.evict(bytes: excess, stepsMax: stepsMax)
    excess -= accounts.evict(bytes: excess, stepsMax: stepsMax)
    excess -= listingCounts.evict(bytes: excess, stepsMax: stepsMax)
    excess -= handles.evict(bytes: excess, stepsMax: stepsMax)
  }
}
