/// Records of one kind in memory: those that changed since the last written checkpoint, which must
/// stay, and as many clean ones as the cache may hold.
///
/// ```
///            markChanged             freeze                 written
///   clean ──────────────▶ changed ──────────▶ frozen ───────────────────▶ clean ──▶ evicted
///                            ▲                  │ markChanged
///                            └──────────────────┘   (then `written` leaves it changed)
/// ```
///
/// **Invariant**: a record keeps its position while it is in the table; only clean ones leave it.
struct RecordTable<Key: Hashable & Sendable, Value: Sendable>: Sendable {
  struct Slot: Sendable {
    fileprivate(set) var key: Key
    /// Written by the state machine, which calls `markChanged` when the change is one of state.
    var value: Value
    /// The checkpoint that the last change belongs to; zero when clean.
    fileprivate(set) var changedIn: UInt64
    fileprivate(set) var bytes: Int
    fileprivate var isOccupied: Bool
    /// The second chance of the eviction clock.
    fileprivate var isRecentlyUsed: Bool
  }

  var slots: [Slot] = []
  /// What all records weigh, and those of them that cannot be evicted.
  private(set) var bytes = 0
  private(set) var pinnedBytes = 0
  private(set) var pinnedCount = 0
  /// Positions of the records of the checkpoint that is being written.
  private(set) var frozen: [Int] = []

  private var positions: [Key: Int] = [:]
  private var free: [Int] = []
  private var changed: [Int] = []
  private var checkpoint: UInt64 = 1
  private var hand = 0
  /// What an emptied slot holds.
  private let placeholder: Value

  init(placeholder: Value) { self.placeholder = placeholder }

  mutating func position(of key: Key) -> Int? {
    guard let position = positions[key] else { return nil }
    slots[position].isRecentlyUsed = true
    return position
  }

  /// Puts in a record as it is stored.
  mutating func insert(_ key: Key, _ value: Value, bytes weight: Int) -> Int {
    let slot = Slot(
      key: key, value: value, changedIn: 0, bytes: weight, isOccupied: true, isRecentlyUsed: true)
    let position: Int
    if let reused = free.popLast() {
      position = reused
      slots[position] = slot
    } else {
      position = slots.count
      slots.append(slot)
    }
    let former = positions.updateValue(position, forKey: key)
    precondition(former == nil, "a record is in the table once")
    bytes += weight
    return position
  }

  /// **Returns**: whether it is the first change for the next checkpoint.
  @discardableResult
  mutating func markChanged(_ position: Int, bytes weight: Int) -> Bool {
    let growth = weight - slots[position].bytes
    slots[position].bytes = weight
    bytes += growth
    if slots[position].changedIn == checkpoint {
      pinnedBytes += growth
      return false
    }
    if slots[position].changedIn == 0 {
      pinnedBytes += weight
      pinnedCount += 1
    } else {
      pinnedBytes += growth
    }
    slots[position].changedIn = checkpoint
    changed.append(position)
    return true
  }

  /// Begins a checkpoint of what changed.
  ///
  /// **Returns**: the positions of its records.
  mutating func freeze() -> [Int] {
    precondition(frozen.isEmpty, "one checkpoint at a time")
    swap(&frozen, &changed)
    checkpoint += 1
    return frozen
  }

  /// The frozen records are stored; those that did not change again are clean.
  mutating func written() {
    for position in frozen where slots[position].changedIn < checkpoint {
      slots[position].changedIn = 0
      pinnedBytes -= slots[position].bytes
      pinnedCount -= 1
    }
    frozen.removeAll(keepingCapacity: true)
  }

  /// Corrects the weight of a record that became lighter without a change of state.
  mutating func resize(_ position: Int, bytes weight: Int) {
    let growth = weight - slots[position].bytes
    slots[position].bytes = weight
    bytes += growth
    if slots[position].changedIn != 0 { pinnedBytes += growth }
  }

  /// Drops clean records that were not used lately, looking at no more than `stepsMax` slots.
  ///
  /// **Returns**: the bytes that were freed.
  mutating func evict(bytes wanted: Int, stepsMax: Int) -> Int {
    var freed = 0
    var steps = 0
    while freed < wanted, steps < min(stepsMax, 2 * slots.count) {
      steps += 1
      hand = hand + 1 < slots.count ? hand + 1 : 0
      guard slots[hand].isOccupied, slots[hand].changedIn == 0 else { continue }
      if slots[hand].isRecentlyUsed {
        slots[hand].isRecentlyUsed = false
        continue
      }
      freed += slots[hand].bytes
      bytes -= slots[hand].bytes
      positions[slots[hand].key] = nil
      slots[hand].value = placeholder
      slots[hand].bytes = 0
      slots[hand].isOccupied = false
      free.append(hand)
    }
    return freed
  }
}

/// Which records of one parent (members of a conversation, listings of a user) changed since the
/// last written checkpoint: what a scan of stored records must be overlaid with.
struct ChangedChildren<Parent: Hashable & Sendable>: Sendable {
  private var open: [Parent: [Int]] = [:]
  private var frozen: [Parent: [Int]] = [:]

  mutating func insert(_ position: Int, of parent: Parent) {
    open[parent, default: []].append(position)
  }

  mutating func freeze() {
    swap(&open, &frozen)
    open.removeAll(keepingCapacity: true)
  }

  mutating func written() { frozen.removeAll(keepingCapacity: true) }

  /// **Returns**: positions in the table, some perhaps twice.
  func positions(of parent: Parent) -> [Int] { (frozen[parent] ?? []) + (open[parent] ?? []) }
}
