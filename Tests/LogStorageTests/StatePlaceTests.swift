import Foundation
import Primitives
import Testing

@testable import LogStorage

/// States that several replicas share, each its own range of tokens.
@Suite(.timeLimit(.minutes(1))) struct StatePlaceTests {
  private static let middle: UInt64 = 1 << 63
  private static let lower = Token(0)...Token(middle - 1)
  private static let upper = Token(middle)...Token(.max)

  private let directory = TestDirectory()
  private let whole = StatePlace(prefix: 7)
  private let low = StatePlace(
    prefix: 7, shared: StatePlace.Shared(prefix: 7, tokens: Self.lower))
  private let high = StatePlace(
    prefix: 9, shared: StatePlace.Shared(prefix: 7, tokens: Self.upper))

  private func key(_ token: UInt64, _ more: [UInt8] = [2, 5]) -> [UInt8] {
    withUnsafeBytes(of: token.bigEndian) { Array($0) } + more
  }

  private let own: [UInt8] = [UInt8](repeating: 0, count: 9) + [1]

  /// Five keys of entities on each side of the middle, those at the edges among them.
  private var entities: [[UInt8]] {
    let tokens: [UInt64] = [
      0, 1, 77, Self.middle - 2, Self.middle - 1, Self.middle, Self.middle + 1, .max - 77, .max - 1,
      .max,
    ]
    return tokens.map { key($0) }
  }

  private func write(_ store: Store, _ fill: (inout StorageBatch) -> Void) throws {
    let committer = try Committer(store: store)
    defer { committer.stop() }
    var batch = StorageBatch(needsSync: true)
    fill(&batch)
    let sink = RecordingSink()
    _ = committer.submit(batch, ticket: StorageTicket(1), sink: sink)
    #expect(sink.wait(forCount: 1))
  }

  private func fill(_ store: Store) throws {
    try write(store) { batch in
      batch.setState(whole, own, [1])
      for key in entities { batch.setState(whole, key, Array(key.prefix(8))) }
      batch.setState(high, own, [2])
      batch.append(7, index: LogIndex(1), epoch: Epoch(1), payload: [1])
      batch.append(9, index: LogIndex(2), epoch: Epoch(1), payload: [1])
    }
  }

  private func keys(
    _ store: Store, _ place: StatePlace, _ range: StateRange = StateRange(), reversed: Bool = false,
    countMax: Int = .max, bytesMax: Int = .max
  ) throws -> [[UInt8]] {
    try store.scan(place, range, reversed: reversed, countMax: countMax, bytesMax: bytesMax)
      .records.map(\.key)
  }

  @Test func eachHalfSeesItsOwnAndItsEntities() throws {
    let store = try directory.open()
    try fill(store)
    #expect(try keys(store, low) == [own] + entities.prefix(5))
    #expect(try keys(store, high) == [own] + entities.suffix(5))
    #expect(try store.get(low, own) == [1] && store.get(high, own) == [2])
    for (place, others) in [(low, entities.suffix(5)), (high, entities.prefix(5))] {
      for key in others { #expect(try store.get(place, key) == nil) }
    }
    for key in entities.prefix(5) { #expect(try store.get(low, key) == Array(key.prefix(8))) }
  }

  @Test func scansAreBoundedAndGoOnAcrossBothParts() throws {
    let store = try directory.open()
    try fill(store)
    for place in [low, high] {
      let all = try keys(store, place)
      #expect(try keys(store, place, reversed: true) == all.reversed())
      for reversed in [false, true] {
        for bytesMax in [1, 30, 1_000] {
          var found: [[UInt8]] = []
          var range = StateRange()
          while true {
            let page = try store.scan(
              place, range, reversed: reversed, countMax: 2, bytesMax: bytesMax)
            found += page.records.map(\.key)
            guard !page.isComplete, let last = found.last else { break }
            range = reversed ? StateRange(from: [], upTo: last) : StateRange(from: last + [0])
          }
          #expect(found == (reversed ? all.reversed() : all))
        }
      }
    }
    #expect(try keys(store, high, StateRange(from: [], upTo: entities[5])) == [own])
    #expect(try keys(store, low, StateRange(from: entities[5])) == [])
    #expect(try keys(store, low, StateRange(from: entities[1], upTo: entities[3])).count == 2)
  }

  @Test func aHalfIsDroppedWithoutTheOther() throws {
    for (gone, left, rest) in [(low, high, entities.suffix(5)), (high, low, entities.prefix(5))] {
      let directory = TestDirectory()
      let store = try directory.open()
      try fill(store)
      try write(store) { batch in
        // As if the meta of the one that stays named it.
        batch.setMeta(
          of: PartitionID(1),
          PartitionMeta(
            replica: ReplicaID(store: StoreID(1), number: 1), prefix: left.prefix,
            shared: left.shared))
        batch.drop(gone)
      }
      try waitUntilSwept(store, gone, leaves: 0)
      #expect(try keys(store, left) == [own] + rest)
      #expect(try store.lastEntry(gone.prefix, firstIndex: LogIndex(1)) == nil)
      #expect(try store.lastEntry(left.prefix, firstIndex: LogIndex(1)) != nil)
    }
  }

  private func waitUntilSwept(_ store: Store, _ place: StatePlace, leaves count: Int) throws {
    let committer = try Committer(store: store, dropsOrphans: true)
    defer { committer.stop() }
    let deadline = Date(timeIntervalSinceNow: 30)
    while try keys(store, place).count > count, Date() < deadline { usleep(1_000) }
    #expect(try keys(store, place).count == count)
  }

  @Test func aStartDeletesWhatNoHalfCovers() throws {
    let store = try directory.open()
    try fill(store)
    // Only the upper half has a meta: a crash left the rest.
    try write(store) { batch in
      batch.setMeta(
        of: PartitionID(1),
        PartitionMeta(
          replica: ReplicaID(store: StoreID(1), number: 1), prefix: high.prefix,
          shared: high.shared))
    }
    #expect(try store.orphanPrefixes().isEmpty, "the prefix is in use")
    #expect(
      try store.orphanStretches() == [
        .range(.log, prefix: 7, from: [], upTo: nil),
        .range(.state, prefix: 7, from: [], upTo: Array(key(Self.middle).prefix(8))),
      ])
    try waitUntilSwept(store, low, leaves: 0)
    #expect(try keys(store, high) == [own] + entities.suffix(5))
    #expect(try store.lastEntry(7, firstIndex: LogIndex(1)) == nil)
  }

  @Test func aPlaceIsPartOfTheMeta() throws {
    let former = FormerReplica(
      replica: ReplicaID(store: StoreID(1), number: 1), prefix: low.prefix, shared: low.shared)
    var meta = PartitionMeta(
      replica: ReplicaID(store: StoreID(1), number: 4), prefix: high.prefix, shared: high.shared)
    meta.former = [former]
    let store = try directory.open()
    try write(store) { $0.setMeta(of: PartitionID(3), meta) }
    let found = try #require(try store.meta(of: PartitionID(3)))
    #expect(found == meta && found.place == high && found.former[0].place == low)
  }

  @Test func halvesOfHalvesShareTheSamePrefix() {
    let quarter = Token(Self.middle)...Token(Self.middle + (1 << 62) - 1)
    let place = high.half(quarter, prefix: 12)
    #expect(place == StatePlace(prefix: 12, shared: StatePlace.Shared(prefix: 7, tokens: quarter)))
  }
}
