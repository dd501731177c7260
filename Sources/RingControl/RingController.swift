package import ClusterModel
package import Primitives

/// What the controller wants to be written. Each is conditioned on the revision that it names and
/// on still holding the controller's key.
package enum RingControlAction: Equatable, Sendable {
  /// A partition should be elsewhere (T4).
  /// `ring` is the revision of the ring's record in which that is wanted.
  case retarget(PartitionID, PartitionRecord, base: Revision, ring: Revision)
  /// The change is carried out.
  case finish(RingRecord, base: Revision)
}

/// How far a change is.
package struct RingProgress: Equatable, Sendable {
  /// Partitions that are where they should be.
  package var done: Int
  /// Those that learn, or hand over.
  package var underWay: Int
  package var total: Int

  package init(done: Int, underWay: Int, total: Int) {
    self.done = done
    self.underWay = underWay
    self.total = total
  }
}

/// The ring controller: compares where partitions are with where the change under way wants them,
/// and retargets a few at a time. Everything else the partitions' leaders do. It keeps nothing that
/// the records do not say, so any process can go on where another one stopped.
///
/// ```
///  waiting ──retarget──▶ learning ──(T3)──▶ leaving ──(handoff, T2)──▶ done
///          movesMax at a time
/// ```
///
/// A partition whose newcomers are not registered cannot go on; it takes nobody's place, and when
/// they are gone for long it does not keep the change from being over.
///
/// **Isolation**: a value of whoever holds the controller's key.
package struct RingController: Sendable {
  /// A store that is not registered for so long is not waited for: else nothing could be done about
  /// it while the change is under way.
  package static let goneMax: Milliseconds = 60_000
  /// A change of a record that is not answered.
  private static let answerMax: Milliseconds = 2_000

  private var ring: (record: RingRecord, revision: Revision)?
  private var records: [PartitionID: VersionedRecord] = [:]
  private var registered: Set<StoreID> = []
  /// Since when stores that changes are about have not been registered.
  private var goneSince: [StoreID: Instant] = [:]
  /// Asked for, and when: not asked again before it is answered or too old.
  private var asked: [PartitionID: Instant] = [:]
  private var finishing: Instant?

  private let scheme: PartitionScheme

  package init(_ scheme: PartitionScheme) { self.scheme = scheme }

  // MARK: What is seen

  package mutating func ringObserved(_ record: RingRecord, revision: Revision) {
    if let ring, ring.revision >= revision { return }
    ring = (record, revision)
    finishing = nil
  }

  package mutating func recordObserved(_ partition: PartitionID, _ observed: VersionedRecord) {
    if let known = records[partition], known.revision >= observed.revision { return }
    records[partition] = observed
    asked[partition] = nil
  }

  package mutating func registeredStores(_ stores: Set<StoreID>) { registered = stores }

  /// Whether there is anything to do.
  package var hasChange: Bool { ring?.record.change != nil }

  // MARK: What is done

  /// What to write now.
  package mutating func step(now: Instant) -> [RingControlAction] {
    guard let ring, let change = ring.record.change else { return [] }
    if change.kind == .split { return stepOfSplit(ring.record, ring.revision, now) }
    var actions: [RingControlAction] = []
    var room = Int(ring.record.movesMax) - learningCount(change, now)
    var isDone = true
    noteGone(change, now)
    for move in change.moves {
      guard let known = records[move.partition] else {
        isDone = false
        continue
      }
      if Self.isSettled(known.record, on: move.after) { continue }
      if !waitsForTheGone(known.record, move, now) { isDone = false }
      guard let changed = Self.retargeted(known.record, move) else { continue }
      let learns = changed.target.contains { !known.record.inSync.contains($0) }
      guard !learns || room > 0, !isAsked(move.partition, now) else { continue }
      if learns { room -= 1 }
      asked[move.partition] = now
      actions.append(.retarget(move.partition, changed, base: known.revision, ring: ring.revision))
    }
    if isDone { finish(ring.record, ring.revision, now, into: &actions) }
    return actions
  }

  private mutating func finish(
    _ record: RingRecord, _ revision: Revision, _ now: Instant,
    into actions: inout [RingControlAction]
  ) {
    guard finishing.map({ now >= $0 + Self.answerMax }) ?? true else { return }
    finishing = now
    actions.append(.finish(Self.finished(record), base: revision))
  }

  /// Partitions are cut by their leaders, which see the ring, too. It is over when every half has a
  /// record.
  private mutating func stepOfSplit(
    _ record: RingRecord, _ revision: Revision, _ now: Instant
  ) -> [RingControlAction] {
    let progress = Self.progress(of: record, scheme) { records[$0]?.record }
    var actions: [RingControlAction] = []
    if let progress, progress.done == progress.total {
      finish(record, revision, now, into: &actions)
    }
    return actions
  }

  /// Nothing came of it, or nobody knows: look again.
  package mutating func failed(_ partition: PartitionID?) {
    guard let partition else { return finishing = nil }
    asked[partition] = nil
  }

  package var progress: RingProgress? {
    guard let ring else { return nil }
    return Self.progress(of: ring.record, scheme) { records[$0]?.record }
  }

  /// How far the change under way is, as the partitions' records say; `nil` when there is none.
  package static func progress(
    of ring: RingRecord, _ scheme: PartitionScheme, _ record: (PartitionID) -> PartitionRecord?
  ) -> RingProgress? {
    guard let change = ring.change else { return nil }
    if change.kind == .split {
      let total = scheme.count(level: ring.level)
      let done = (0..<UInt32(total)).count { number in
        record(scheme.half(of: PartitionID(number), level: ring.wantedLevel)) != nil
      }
      return RingProgress(done: done, underWay: 0, total: total)
    }
    var progress = RingProgress(done: 0, underWay: 0, total: change.moves.count)
    for move in change.moves {
      guard let record = record(move.partition) else { continue }
      if isSettled(record, on: move.after) {
        progress.done += 1
      } else if record.target.map(\.store) == move.after {
        progress.underWay += 1
      }
    }
    return progress
  }

  private mutating func noteGone(_ change: RingChange, _ now: Instant) {
    for store in Set(change.moves.flatMap(\.after)) {
      if registered.contains(store) {
        goneSince[store] = nil
      } else if goneSince[store] == nil {
        goneSince[store] = now
      }
    }
  }

  /// Whether all that is missing are stores that have been gone for long.
  private func waitsForTheGone(
    _ record: PartitionRecord, _ move: RingMove, _ now: Instant
  ) -> Bool {
    guard record.target.map(\.store) == move.after else { return false }
    let missing = record.target.filter { !record.inSync.contains($0) }
    return !missing.isEmpty
      && missing.allSatisfy { member in
        goneSince[member.store].map { now >= $0 + Self.goneMax } ?? false
      }
  }

  private func isAsked(_ partition: PartitionID, _ now: Instant) -> Bool {
    asked[partition].map { now < $0 + Self.answerMax } ?? false
  }

  /// Partitions that learn a new replica on a store that runs, or are about to.
  private func learningCount(_ change: RingChange, _ now: Instant) -> Int {
    change.moves.count { move in
      guard let record = records[move.partition]?.record else { return false }
      let newcomers = move.newcomers.filter { registered.contains($0) }
      if isAsked(move.partition, now) { return !newcomers.isEmpty }
      return record.target.contains { member in
        !record.inSync.contains(member) && newcomers.contains(member.store)
      }
    }
  }

  /// Whether a partition is on these stores and nowhere else, in this order of preference.
  package static func isSettled(_ record: PartitionRecord, on stores: [StoreID]) -> Bool {
    record.target.map(\.store) == stores && record.inSync == record.target.sorted()
  }

  /// **Returns**: `nil` when it is asked to be there already.
  private static func retargeted(
    _ record: PartitionRecord, _ move: RingMove
  ) -> PartitionRecord? {
    guard record.target.map(\.store) != move.after else { return nil }
    return record.retargeted(to: move.after)
  }

  /// The ring when the change is over.
  private static func finished(_ record: RingRecord) -> RingRecord {
    var finished = record
    finished.level = record.wantedLevel
    finished.change = nil
    return finished
  }
}

extension RingRecord {
  /// The ring with the change under way turned back. To turn back twice is to go on.
  ///
  /// **Returns**: `nil` when none is under way that could be: halves are not joined again.
  package func turnedBack() -> RingRecord? {
    guard var change, change.kind != .split else { return nil }
    var record = self
    swap(&record.members, &change.formerMembers)
    change.moves = change.moves.map(\.reversed)
    change.isTurnedBack.toggle()
    record.change = change
    return record
  }

  /// The ring after another store took a gone one's place.
  package func replacing(_ gone: StoreID, by store: StoreID, name: String) -> RingRecord {
    func replaced(_ members: [RingMember]) -> [RingMember] {
      // A member has its own weight and zone.
      if members.contains(where: { $0.store == store }) {
        return members.filter { $0.store != gone }
      }
      return members.map { member in
        guard member.store == gone else { return member }
        var member = member
        (member.store, member.name) = (store, name)
        return member
      }.sorted { $0.store < $1.store }
    }
    func replaced(_ stores: [StoreID]) -> [StoreID] {
      stores.contains(store) ? stores.filter { $0 != gone } : stores.map { $0 == gone ? store : $0 }
    }
    var record = self
    record.members = replaced(members)
    if var change {
      change.formerMembers = replaced(change.formerMembers)
      change.moves = change.moves.map {
        RingMove(
          partition: $0.partition, before: replaced($0.before), after: replaced($0.after))
      }
      record.change = change
    }
    return record
  }
}
