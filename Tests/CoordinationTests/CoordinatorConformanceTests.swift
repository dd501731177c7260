import Coordination
import Primitives
import Testing

/// What every `Coordinator` promises of keys and transactions. Watches and leases have own suites.
@Suite(.serialized, .timeLimit(.minutes(2)))
struct CoordinatorConformanceTests {
  @Test(arguments: Implementation.allCases)
  func `What was put is read back with its revision`(_ implementation: Implementation) async throws
  {
    try await withService(implementation) { _, coordinator in
      let revision = try await coordinator.put("a/1", [1, 2, 3])
      let reading = try await coordinator.get("a/1")
      #expect(
        reading.item == KeyValue(key: "a/1", value: [1, 2, 3], modRevision: revision, lease: nil))
      #expect(reading.modRevision == revision)
      #expect(reading.position.revision == revision)
      #expect(reading.position.serviceID != 0)

      let missing = try await coordinator.get("a/2")
      #expect(missing.item == nil)
      #expect(missing.modRevision == .zero)
    }
  }

  @Test(arguments: Implementation.allCases)
  func `A value may be empty or large`(_ implementation: Implementation) async throws {
    try await withService(implementation) { _, coordinator in
      let large = (0..<200_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
      try await coordinator.put("empty", [])
      try await coordinator.put("large", large)
      #expect(try await coordinator.value("empty") == [])
      #expect(try await coordinator.value("large") == large)
    }
  }

  @Test(arguments: Implementation.allCases)
  func `A listing holds the keys of its prefix in order`(
    _ implementation: Implementation
  ) async throws {
    try await withService(implementation) { _, coordinator in
      for key in ["p/b", "p/a", "q/a", "p", "p/", "p/a/c", "p0"] {
        try await coordinator.put(key, [])
      }
      let last = try await coordinator.put("o", [])
      let listing = try await coordinator.list("p/")
      #expect(listing.items.map(\.key) == ["p/", "p/a", "p/a/c", "p/b"])
      #expect(listing.revision == last)
      #expect(try await coordinator.list("nothing/").items.isEmpty)
    }
  }

  @Test(arguments: Implementation.allCases)
  func `A listing of thousands of keys is complete and of one revision`(
    _ implementation: Implementation
  ) async throws {
    try await withService(implementation) { _, coordinator in
      var expected: [String] = []
      for batch in 0..<20 {
        let keys = (0..<128).map { "k/\(10_000 + batch * 128 + $0)" }
        let puts = keys.map { Transaction.Operation.put(key: $0, value: [7], lease: nil) }
        _ = try await coordinator.transact(Transaction(conditions: [], success: puts))
        expected += keys
      }
      // While others write, a listing in pages must not mix revisions.
      async let writes: Void = {
        for index in 0..<200 { try await coordinator.put("k/z\(index)", []) }
      }()
      for _ in 0..<5 {
        let listing = try await coordinator.list("k/")
        #expect(listing.items.prefix(expected.count).map(\.key) == expected)
        let newest = listing.items.map(\.modRevision).max() ?? .zero
        #expect(newest <= listing.revision)
        let extras = listing.items.count - expected.count
        let numbers = Set(listing.items.suffix(extras).map(\.key))
        #expect(numbers == Set((0..<extras).map { "k/z\($0)" }))
      }
      try await writes
    }
  }

  @Test(arguments: Implementation.allCases)
  func `A compare-and-set is done only at the revision it names`(
    _ implementation: Implementation
  ) async throws {
    try await withService(implementation) { _, coordinator in
      let created = try await coordinator.transact(.compareAndSet("k", at: .zero, to: [1]))
      #expect(created.succeeded)
      #expect(created.responses == [.put])

      let again = try await coordinator.transact(.compareAndSet("k", at: .zero, to: [2]))
      #expect(!again.succeeded)
      #expect(again.revision == created.revision)
      #expect(
        again.responses == [
          .get(KeyValue(key: "k", value: [1], modRevision: created.revision, lease: nil))
        ])

      let changed = try await coordinator.transact(
        .compareAndSet("k", at: created.revision, to: [3]))
      #expect(changed.succeeded)
      #expect(changed.revision > created.revision)
      #expect(try await coordinator.value("k") == [3])
      let late = try await coordinator.transact(.compareAndSet("k", at: created.revision, to: [4]))
      #expect(!late.succeeded)
    }
  }

  @Test(arguments: Implementation.allCases)
  func `All conditions must hold`(_ implementation: Implementation) async throws {
    try await withService(implementation) { _, coordinator in
      try await coordinator.put("a", [1])
      func holds(_ conditions: Transaction.Condition...) async throws -> Bool {
        try await coordinator.transact(Transaction(conditions: conditions, success: [])).succeeded
      }
      #expect(try await holds())
      #expect(try await holds(.exists("a")))
      #expect(try await !holds(.exists("b")))
      #expect(try await holds(.value(of: "a", equals: [1])))
      #expect(try await !holds(.value(of: "a", equals: [])))
      #expect(try await !holds(.value(of: "b", equals: [])))
      #expect(try await holds(.modRevision(of: "b", equals: .zero)))
      #expect(try await !holds(.modRevision(of: "a", equals: .zero)))
      #expect(try await holds(.exists("a"), .modRevision(of: "b", equals: .zero)))
      #expect(try await !holds(.exists("a"), .exists("b")))
    }
  }

  @Test(arguments: Implementation.allCases)
  func `Only a change moves the revision`(_ implementation: Implementation) async throws {
    try await withService(implementation) { _, coordinator in
      let first = try await coordinator.put("a", [1])
      #expect(try await coordinator.get("a").position.revision == first)
      let nothing = try await coordinator.delete("b")
      #expect(nothing.revision == first)
      #expect(nothing.responses == [.delete(didExist: false)])
      // The same value again is a change: it wins against whoever had read the key before.
      let second = try await coordinator.put("a", [1])
      #expect(second.rawValue == first.rawValue + 1)
      let deleted = try await coordinator.delete("a")
      #expect(deleted.responses == [.delete(didExist: true)])
      #expect(deleted.revision.rawValue == second.rawValue + 1)
      #expect(try await coordinator.get("a").item == nil)
    }
  }

  @Test(arguments: Implementation.allCases)
  func `Operations of a transaction share a revision and see each other`(
    _ implementation: Implementation
  ) async throws {
    try await withService(implementation) { _, coordinator in
      try await coordinator.put("c", [9])
      let result = try await coordinator.transact(
        Transaction(
          conditions: [],
          success: [
            .get("a"), .put(key: "a", value: [1], lease: nil), .get("a"), .delete("c"), .get("c"),
            .put(key: "b", value: [2], lease: nil),
          ]))
      let stored = KeyValue(key: "a", value: [1], modRevision: result.revision, lease: nil)
      #expect(
        result.responses == [
          .get(nil), .put, .get(stored), .delete(didExist: true), .get(nil), .put,
        ])
      #expect(try await coordinator.get("a").modRevision == result.revision)
      #expect(try await coordinator.get("b").modRevision == result.revision)
    }
  }

  @Test(arguments: Implementation.allCases)
  func `128 operations are done, 129 are refused before sending`(
    _ implementation: Implementation
  ) async throws {
    try await withService(implementation) { _, coordinator in
      func puts(_ count: Int) -> [Transaction.Operation] {
        (0..<count).map { .put(key: "k\($0)", value: [1], lease: nil) }
      }
      func conditions(_ count: Int) -> [Transaction.Condition] {
        (0..<count).map { .modRevision(of: "k\($0)", equals: .zero) }
      }
      let result = try await coordinator.transact(
        Transaction(conditions: conditions(128), success: puts(128)))
      #expect(result.succeeded)
      #expect(try await coordinator.list("k").items.count == 128)

      let error = CoordinationError.invalidRequest(.tooManyOperations(129))
      await #expect(throws: error) {
        try await coordinator.transact(Transaction(conditions: [], success: puts(129)))
      }
      await #expect(throws: error) {
        try await coordinator.transact(
          Transaction(conditions: [], success: [], failure: puts(129)))
      }
      await #expect(throws: error) {
        try await coordinator.transact(Transaction(conditions: conditions(129), success: []))
      }
    }
  }

  @Test(arguments: Implementation.allCases)
  func `Requests that cannot be right are refused before sending`(
    _ implementation: Implementation
  ) async throws {
    try await withService(implementation) { _, coordinator in
      func expect(
        _ reason: CoordinationError.InvalidRequest, _ operations: Transaction.Operation...
      ) async {
        await #expect(throws: CoordinationError.invalidRequest(reason)) {
          try await coordinator.transact(Transaction(conditions: [], success: operations))
        }
      }
      let long = String(repeating: "k", count: CoordinationLimits.keyBytesMax + 1)
      await expect(.key(""), .get(""))
      await expect(.key("ä"), .put(key: "ä", value: [], lease: nil))
      await expect(.key("a\n"), .delete("a\n"))
      await expect(.key(long), .delete(long))
      await expect(.duplicateKey("a"), .put(key: "a", value: [], lease: nil), .delete("a"))
      let value = [UInt8](repeating: 0, count: CoordinationLimits.requestBytesMax)
      await expect(
        .tooLarge(bytes: value.count + 1), .put(key: "a", value: value, lease: nil))
      await #expect(throws: CoordinationError.invalidRequest(.key(""))) {
        try await coordinator.list("")
      }
      await #expect(throws: CoordinationError.invalidRequest(.key(""))) {
        try await coordinator.watch("", after: nil)
      }
      await #expect(throws: CoordinationError.invalidRequest(.leaseSeconds(0))) {
        try await coordinator.grantLease(ttlSeconds: 0)
      }
      // The largest request that is allowed here is small enough for the service.
      try await coordinator.put("a", Array(value.dropLast()))
    }
  }

  @Test(arguments: Implementation.allCases)
  func `Of 64 concurrent compare-and-sets exactly one wins each revision`(
    _ implementation: Implementation
  ) async throws {
    try await withService(implementation) { _, coordinator in
      let key = "contested"
      var revision = Revision.zero
      for round in 0..<10 {
        let start = revision
        let winners = try await withThrowingTaskGroup(of: (UInt8, TransactionResult).self) {
          group in
          for contender in 0..<UInt8(64) {
            group.addTask {
              let transaction = Transaction.compareAndSet(
                key, at: start, to: [UInt8(round), contender])
              return (contender, try await coordinator.transact(transaction))
            }
          }
          var winners: [(UInt8, Revision)] = []
          for try await (contender, result) in group where result.succeeded {
            winners.append((contender, result.revision))
          }
          return winners
        }
        try #require(winners.count == 1)
        let reading = try await coordinator.get(key)
        #expect(reading.item?.value == [UInt8(round), winners[0].0])
        #expect(reading.modRevision == winners[0].1)
        revision = reading.modRevision
      }
    }
  }

  @Test(arguments: Implementation.allCases)
  func `The position only grows`(_ implementation: Implementation) async throws {
    try await withService(implementation) { _, coordinator in
      var before = try await coordinator.get("a").position
      for index in 0..<20 {
        let revision = try await coordinator.put("a", [UInt8(index)])
        let position = try #require(coordinator.position)
        #expect(position.serviceID == before.serviceID)
        #expect(position.revision == revision)
        #expect(position.revision > before.revision)
        before = position
      }
    }
  }

  @Test(arguments: Implementation.allCases)
  func `After a shutdown calls are refused and watches end`(
    _ implementation: Implementation
  ) async throws {
    try await withService(implementation) { _, coordinator in
      try await coordinator.put("a", [1])
      let stream = try await coordinator.watch("a", after: nil)
      async let events = stream.take { _ in false }
      await coordinator.shutDown()
      #expect(try await events.isEmpty)
      await #expect(throws: CoordinationError.shutDown) { try await coordinator.get("a") }
      await #expect(throws: CoordinationError.shutDown) { try await coordinator.put("a", []) }
      await #expect(throws: CoordinationError.shutDown) {
        try await coordinator.grantLease(ttlSeconds: 5)
      }
    }
  }
}
