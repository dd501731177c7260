import Primitives
import Testing

@Suite struct InstantTests {
  @Test func millisecondsAreAddedAndCounted() {
    let start = Instant(nanoseconds: 1_500_000)
    let later = start + 250
    #expect(later.nanoseconds == 251_500_000)
    #expect(later.milliseconds(since: start) == 250)
    #expect(start.milliseconds(since: later) == 0)
    #expect(Instant(nanoseconds: 2_499_999).milliseconds(since: start) == 0)
    #expect(start < later && later < .distantFuture)
  }
}

@Suite struct IdentifierTests {
  @Test func entriesAreOrderedByEpochThenByIndex() {
    let entries = [
      EntryID(epoch: Epoch(1), index: LogIndex(9)), EntryID(epoch: Epoch(2), index: LogIndex(1)),
      EntryID(epoch: Epoch(2), index: LogIndex(3)),
    ]
    #expect(entries.reversed().sorted() == entries)
    #expect(EntryID.zero < entries[0])
  }

  @Test func replicasAreOrderedByStoreThenByNumber() {
    let replicas = [
      ReplicaID(store: StoreID(1), number: 7), ReplicaID(store: StoreID(2), number: 1),
      ReplicaID(store: StoreID(2), number: 2),
    ]
    #expect(replicas.reversed().sorted() == replicas)
  }

  @Test func indexesCountEntries() {
    #expect(LogIndex.zero.successor == LogIndex(1))
    #expect(LogIndex(5) + 3 == LogIndex(8))
    #expect(LogIndex(8) - LogIndex(5) == 3)
    #expect(LogIndex(5) - LogIndex(8) == -3)
    #expect(LogIndex(8).predecessor == LogIndex(7))
  }

  @Test func aStoresTextIsItsIdentifier() {
    let store = StoreID(0x0123_4567_89ab_cdef)
    #expect(Base32.decode64(store.description) == store.rawValue)
  }
}
