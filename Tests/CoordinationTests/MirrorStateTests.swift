import Coordination
import Primitives
import Testing

/// The mirror's rules as values.
@Suite struct MirrorStateTests {
  private func item(_ key: String, _ revision: Int64) -> KeyValue {
    KeyValue(key: key, value: [UInt8(revision)], modRevision: Revision(revision), lease: nil)
  }

  private func listing(_ revision: Int64, _ items: [KeyValue], service: UInt64 = 1) -> Listing {
    Listing(
      items: items,
      position: CoordinationPosition(serviceID: service, revision: Revision(revision)))
  }

  @Test func `The first listing is told even when it is empty`() throws {
    var state = MirrorState()
    let update = try state.listed(listing(5, []))
    #expect(update == MirrorUpdate(revision: Revision(5), changes: [], isListing: true))
    #expect(try state.listed(listing(6, [])) == nil)
    #expect(state.position?.revision == Revision(6))
  }

  @Test func `A later listing is told as its difference`() throws {
    var state = MirrorState()
    _ = try state.listed(listing(5, [item("a", 1), item("b", 2), item("c", 3)]))
    let update = try state.listed(listing(9, [item("a", 1), item("c", 8), item("d", 9)]))
    #expect(
      update?.changes == [
        .put(item("c", 8)), .put(item("d", 9)), .delete(key: "b", revision: Revision(9)),
      ])
    #expect(state.items.keys.sorted() == ["a", "c", "d"])
  }

  @Test func `Changes are told when their revision is complete`() throws {
    var state = MirrorState()
    _ = try state.listed(listing(5, [item("a", 1)]))
    #expect(state.received(.put(item("b", 6))) == .none)
    #expect(state.received(.delete(key: "a", revision: Revision(6))) == .none)
    // Somebody else's key under a lease may be deleted that this mirror never saw.
    #expect(state.received(.delete(key: "z", revision: Revision(6))) == .none)
    #expect(state.items.keys.sorted() == ["a"])
    #expect(
      state.received(.progress(Revision(6)))
        == .update(
          MirrorUpdate(
            revision: Revision(6),
            changes: [.put(item("b", 6)), .delete(key: "a", revision: Revision(6))],
            isListing: false)))
    #expect(state.items == ["b": item("b", 6)])
    #expect(state.received(.progress(Revision(7))) == .none)
    #expect(state.position?.revision == Revision(7))
  }

  @Test func `What is not newer changes nothing`() throws {
    var state = MirrorState()
    _ = try state.listed(listing(5, [item("a", 4)]))
    _ = state.received(.put(item("a", 3)))
    #expect(state.received(.progress(Revision(3))) == .none)
    #expect(state.items == ["a": item("a", 4)])
    #expect(state.position?.revision == Revision(5))
  }

  @Test func `A compaction drops half a revision and asks for a listing`() throws {
    var state = MirrorState()
    _ = try state.listed(listing(5, [item("a", 1)]))
    _ = state.received(.put(item("b", 6)))
    #expect(state.received(.compacted(at: Revision(8))) == .list)
    let update = try state.listed(listing(9, [item("a", 1)]))
    #expect(update == nil)
    #expect(state.items == ["a": item("a", 1)])
  }

  @Test func `An older listing or another service's is refused`() throws {
    var state = MirrorState()
    _ = try state.listed(listing(5, [item("a", 1)]))
    let known = CoordinationPosition(serviceID: 1, revision: Revision(5))
    for stale in [listing(4, []), listing(9, [], service: 2)] {
      #expect(throws: CoordinationError.wentBackInTime(known: known, found: stale.position)) {
        try state.listed(stale)
      }
      #expect(state.items == ["a": item("a", 1)])
    }
  }
}
