package import ChatModel
package import Primitives

/// The chat state of one partition: a pure function of its log (DESIGN, rule 11). It reads no
/// clock and draws no lots; time comes with the entries, ids with the commands.
///
/// The log is the write-ahead log. Applied state lives in an overlay in memory, through which
/// reads and the next `apply` go, and becomes durable by checkpoints that its owner writes:
/// ```
///  open ─▶ apply … apply ─▶ beginCheckpoint ─▶ (apply, answer go on; the batch is written) ─▶
///          checkpointWritten ─▶ apply …           replay starts at the last written appliedIndex
/// ```
/// Budget per message of 100 bytes, in CPU of one core of a small virtual machine: 0.7 µs to
/// decode the command, 0.6 µs to apply it in a busy conversation (2.2 µs when 4,000 devices in
/// 1,000 conversations take turns and every lookup misses the processor's caches), 0.3 µs (2 µs)
/// for its part of a checkpoint; 115 to 340 bytes and 0.03 to 1.2 records written.
///
/// Not copyable: a look at one field through its owner must not retain all tables.
///
/// **Isolation**: one owner; every method is synchronous.
package struct ChatPartition: ~Copyable, Sendable {
  package let partition: PartitionID
  /// In which positions are told to others; a command raises it.
  package private(set) var generation: UInt32
  /// How often the partition's range was cut in two, by commands; see `PartitionScheme`.
  package var level: UInt32 { lastSplit?.level ?? 0 }
  /// The command that cut it last, whichever half this is.
  package private(set) var lastSplit: PartitionSplit?
  /// Of that command's entry; zero when there was none.
  package private(set) var splitPosition: LogIndex
  /// Bound of what is kept in memory beyond what changed since the last checkpoint.
  package var cacheBytesMax: Int
  /// The last entry that was applied.
  package private(set) var appliedIndex: LogIndex
  /// The same as others are told.
  package var position: LogIndex { appliedIndex.inGeneration(generation) }
  /// What this partition must tell others. Entries leave it when `OutboxConfirmed` is applied.
  package internal(set) var outbox: Outbox

  #if MARTLET_PLANTED_BUGS
    // Safety: used by a planted bug alone, in programs of one thread.
    private nonisolated(unsafe) static var applyCount: UInt64 = 0
  #else
    private static var applyCount: UInt64 {
      get { 0 }
      set {}
    }
  #endif

  var hash: RollingHash
  /// The greatest stamp so far, so that the time of events never goes back.
  var time: WallTime
  var checkpointedIndex: LogIndex
  var lastCheckpointWrites = 0
  var isCheckpointOpen = false
  /// Applying an entry failed half way; nothing but a fresh start makes the state whole again.
  var isBroken = false

  var conversations = RecordTable<ConversationID, Conversation>(placeholder: .placeholder)
  var members = RecordTable<MemberKey, MemberRecord?>(placeholder: nil)
  var changedMembers = ChangedChildren<ConversationID>()
  var windows = RecordTable<WindowKey, IdempotencyWindow>(placeholder: IdempotencyWindow())
  var accounts = RecordTable<UserID, Account?>(placeholder: nil)
  var sessions = RecordTable<UserID, Sessions>(placeholder: Sessions())
  var listings = RecordTable<ListingKey, Listing?>(placeholder: nil)
  var changedListings = ChangedChildren<UserID>()
  var listingCounts = RecordTable<UserID, ListingCount>(placeholder: ListingCount())
  var handles = RecordTable<Handle, HandleOwner?>(placeholder: nil)

  /// Opens the partition as it was checkpointed; an empty state is a partition without entries.
  /// The owner then applies the log from `appliedIndex` on.
  ///
  /// **Throws**: `StateReadError` when the partition's own records cannot be read.
  package init(
    partition: PartitionID,
    cacheBytesMax: Int = ChatCoreLimits.cacheBytesDefault, state: some StateReader
  ) throws(StateReadError) {
    let markKey = KeyLayout.appliedMark
    let mark =
      try state.record(AppliedMark.self, markKey)
      ?? AppliedMark(appliedIndex: .zero, rollingHash: 0, time: .zero, generation: 0)
    let outbox = try Outbox(stored: Self.storedOutbox(state, markKey: markKey))
    self.partition = partition
    generation = mark.generation
    lastSplit = mark.split
    splitPosition = mark.splitPosition
    self.cacheBytesMax = cacheBytesMax
    appliedIndex = mark.appliedIndex
    checkpointedIndex = mark.appliedIndex
    hash = RollingHash(mark.rollingHash)
    time = mark.time
    self.outbox = outbox
  }

  private static func storedOutbox(
    _ state: some StateReader, markKey: [UInt8]
  ) throws(StateReadError) -> [(key: [UInt8], value: [UInt8])] {
    var stored: [(key: [UInt8], value: [UInt8])] = []
    var (from, upTo) = KeyLayout.partitionRange
    while true {
      let countMax = ChatCoreLimits.recordsPerScan
      let page = try state.scan(from: from, upTo: upTo, reverse: false, countMax: countMax)
      for record in page where record.key != markKey { stored.append(record) }
      guard page.count == countMax, let last = page.last else { return stored }
      from = last.key + [0]
    }
  }

  // MARK: figures for the owner's checkpoint policy

  /// Entries that the last checkpoint (or the one being written) does not cover.
  package var entriesSinceCheckpoint: Int { appliedIndex - checkpointedIndex }

  /// Roughly what changed since the last written checkpoint. A window counts as the segment that a
  /// checkpoint writes of it, not as all that it keeps in memory.
  package var overlayBytes: Int {
    conversations.pinnedBytes + members.pinnedBytes
      + windows.pinnedCount * IdempotencyWindow.changeBytes + accounts.pinnedBytes
      + sessions.pinnedBytes + listings.pinnedBytes + listingCounts.pinnedBytes
      + handles.pinnedBytes + outbox.changedBytes
  }

  /// What all records in memory weigh, the changed ones included.
  package var cacheBytes: Int {
    conversations.bytes + members.bytes + windows.bytes + accounts.bytes + sessions.bytes
      + listings.bytes + listingCounts.bytes + handles.bytes
  }

  /// Equal on two replicas exactly when they applied the same writes (see `RollingHash`).
  package var rollingHash: UInt64 { hash.value }

  // MARK: apply

  /// Applies one entry of the log: an `EntryPayload`, or nothing at the start of an epoch. A
  /// refusal of a command is a result like any other.
  ///
  /// **Throws**: `ApplyError`; the replica stops, and this value is of no more use.
  package mutating func apply(
    index: LogIndex, payload: [UInt8], state: some StateReader, into output: inout ApplyOutput
  ) throws(ApplyError) {
    precondition(index == appliedIndex.successor, "applied \(appliedIndex), then \(index)")
    precondition(!isBroken, "a partition whose apply failed is of no more use")
    isBroken = true
    hash.fold(.entry)
    hash.fold(index.rawValue)
    if !payload.isEmpty {
      let entry: EntryPayload
      do {
        entry = try EntryPayload(decoding: payload)
      } catch {
        throw .malformedEntry(index, error)
      }
      time = max(time, entry.time)
      if PlantedBug.isActive(.applyDiffers) {
        // As a clock would: different at each replica.
        Self.applyCount &+= 1
        time = WallTime(milliseconds: time.milliseconds + Self.applyCount % 2)
      }
      outbox.entryBegan()
      for bytes in entry.commands {
        let command: Command
        do {
          command = try Command(decoding: bytes)
        } catch {
          throw error == .unknownVariant ? .unknownCommand(index) : .malformedEntry(index, error)
        }
        do {
          let position = index.inGeneration(generation)
          output.results.append(try apply(command, position, state, &output))
        } catch {
          throw .state(error)
        }
      }
    }
    appliedIndex = index
    isBroken = false
    evict(stepsMax: ChatCoreLimits.evictionStepsMax)
  }

  private mutating func apply(
    _ command: Command, _ index: LogIndex, _ state: some StateReader, _ output: inout ApplyOutput
  ) throws(StateReadError) -> CommandResult {
    switch command {
    case .sendMessage(let send): try apply(send, index, state, &output)
    case .createConversation(let create): try apply(create, index, state, &output)
    case .changeMembers(let change): try apply(change, index, state, &output)
    case .createUser(let create): try apply(create, index, state)
    case .openSession(let open): try apply(open, index, state, &output)
    case .rotateRefreshToken(let rotate): try apply(rotate, index, state, &output)
    case .closeSession(let close): try apply(close, state, &output)
    case .claimHandle(let claim): try apply(claim, index, state)
    case .handleResolved(let resolved): try apply(resolved, state)
    case .conversationListed(let listed): try apply(listed, index, state, &output)
    case .outboxConfirmed(let confirmed): apply(confirmed)
    case .generationBegan(let generation): begin(generation, &output)
    case .partitionSplit(let split): apply(split, index, &output)
    }
  }

  private mutating func begin(_ generation: UInt32, _ output: inout ApplyOutput) -> CommandResult {
    guard generation > self.generation else { return .done }
    self.generation = generation
    output.hasNewGeneration = true
    hash.fold(.generation)
    hash.fold(UInt64(generation))
    return .done
  }

  /// What lies in the upper half stays until `beginSplit`; the owner applies nothing before.
  private mutating func apply(
    _ split: PartitionSplit, _ index: LogIndex, _ output: inout ApplyOutput
  ) -> CommandResult {
    // One that was cut off and began empty knows of none of the cuts before.
    guard split.level > level else { return .done }
    lastSplit = split
    splitPosition = index
    output.split = split
    hash.fold(.split)
    hash.fold(UInt64(level))
    return .done
  }

  private mutating func apply(_ confirmed: OutboxConfirmed) -> CommandResult {
    for id in confirmed.entries where outbox.confirm(id) {
      hash.fold(.outboxConfirmed)
      hash.fold(id.index.rawValue)
      hash.fold(UInt64(id.ordinal))
    }
    return .done
  }

  /// Puts a command for another partition into the outbox.
  mutating func emit(
    _ command: Command, to target: EntityID, from source: EntityID, at index: LogIndex
  ) {
    let entry = outbox.append(
      command, target: target, index: index, sourceHash: source.token.rawValue)
    hash.fold(.outboxEntry)
    hash.fold(UInt64(entry.id.ordinal))
    hash.fold(entry.command)
  }

  func origin(_ index: LogIndex) -> OutboxOrigin {
    OutboxOrigin(partition: partition, index: index)
  }
}
