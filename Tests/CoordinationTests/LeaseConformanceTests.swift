import Coordination
import NIOCore
import Primitives
import Testing

/// What every `Coordinator` promises about leases.
@Suite(.serialized, .timeLimit(.minutes(2)))
struct LeaseConformanceTests {
  private var now: Instant { Instant(nanoseconds: NIODeadline.now().uptimeNanoseconds) }

  @Test(arguments: Implementation.allCases)
  func `A lease is renewed for as long as its holder lives`(
    _ implementation: Implementation
  ) async throws {
    try await withService(implementation) { _, coordinator in
      let lease = try await coordinator.grantLease(ttlSeconds: 1)
      #expect(lease.ttlSeconds >= 1)
      #expect(lease.isAlive(at: now))
      try await coordinator.put("l/a", [1], lease: lease.id)
      #expect(try await coordinator.get("l/a").item?.lease == lease.id)
      guard case .alive(let first) = lease.state else {
        Issue.record("\(lease.state)")
        return
      }
      // Two lives of the lease later it still holds.
      let target = first + Milliseconds(UInt64(lease.ttlSeconds) * 2_000)
      #expect(await eventually { lease.isAlive(at: target) && target < now + 10_000 })
      #expect(lease.isAlive(at: now))
      #expect(try await coordinator.value("l/a") == [1])
    }
  }

  @Test(arguments: Implementation.allCases)
  func `A lease whose holder is gone takes its keys with it, together`(
    _ implementation: Implementation
  ) async throws {
    try await withService(implementation) { service, coordinator in
      let holder = try service.client()
      let lease = try await holder.grantLease(ttlSeconds: 1)
      for key in ["l/b", "l/a"] { try await holder.put(key, [1], lease: lease.id) }
      // A key that was written anew without the lease stays.
      try await holder.put("l/c", [1], lease: lease.id)
      try await holder.put("l/c", [2])
      let stream = try await coordinator.watch("l/", after: nil)
      await holder.shutDown()
      let changes = try await stream.changes(2)
      #expect(changes.compactMap(\.changedKey).sorted() == ["l/a", "l/b"])
      #expect(!changes.contains { if case .put = $0 { true } else { false } })
      #expect(Set(changes.map(\.revision)).count == 1)
      #expect(try await coordinator.list("l/").items.map(\.key) == ["l/c"])
      await #expect(throws: CoordinationError.leaseNotFound) {
        try await coordinator.put("l/d", [], lease: lease.id)
      }
    }
  }

  @Test(arguments: Implementation.allCases)
  func `Revoking ends a lease at once`(_ implementation: Implementation) async throws {
    try await withService(implementation) { _, coordinator in
      let lease = try await coordinator.grantLease(ttlSeconds: 60)
      try await coordinator.put("l/a", [1], lease: lease.id)
      async let lost: Void = lease.waitUntilLost()
      try await coordinator.revoke(lease)
      await lost
      #expect(lease.state == .lost)
      #expect(try await coordinator.get("l/a").item == nil)
      // A second time is no error.
      try await coordinator.revoke(lease)
      #expect(lease.state == .lost)
    }
  }

  @Test(arguments: Implementation.allCases)
  func `A lease that the service ended is lost for its holder`(
    _ implementation: Implementation
  ) async throws {
    try await withService(implementation) { service, coordinator in
      let lease = try await coordinator.grantLease(ttlSeconds: 1)
      let other = try service.client()
      let same = try await other.resumeLease(lease.id)
      try await other.revoke(same)
      await lease.waitUntilLost()
      #expect(lease.state == .lost)
      await other.shutDown()
    }
  }

  @Test(arguments: Implementation.allCases)
  func `A put under an unknown lease changes nothing`(
    _ implementation: Implementation
  ) async throws {
    try await withService(implementation) { _, coordinator in
      let before = try await coordinator.put("l/a", [1])
      await #expect(throws: CoordinationError.leaseNotFound) {
        try await coordinator.transact(
          Transaction(
            conditions: [],
            success: [
              .put(key: "l/a", value: [2], lease: nil),
              .put(key: "l/b", value: [2], lease: LeaseID(12_345)),
            ]))
      }
      #expect(try await coordinator.value("l/a") == [1])
      #expect(try await coordinator.get("l/b").position.revision == before)
    }
  }

  @Test(arguments: Implementation.allCases)
  func `A lease can be taken over`(_ implementation: Implementation) async throws {
    try await withService(implementation) { service, coordinator in
      let first = try service.client()
      let lease = try await first.grantLease(ttlSeconds: 1)
      try await first.put("l/a", [1], lease: lease.id)
      let taken = try await coordinator.resumeLease(lease.id)
      #expect(taken.id == lease.id)
      #expect(taken.ttlSeconds == lease.ttlSeconds)
      await first.shutDown()
      let target = now + Milliseconds(UInt64(lease.ttlSeconds) * 3_000)
      #expect(await eventually { taken.isAlive(at: target) })
      #expect(try await coordinator.value("l/a") == [1])
      await #expect(throws: CoordinationError.leaseNotFound) {
        try await coordinator.resumeLease(LeaseID(54_321))
      }
    }
  }

  @Test(arguments: Implementation.allCases)
  func `A cancelled task does not wait for the end of a lease`(
    _ implementation: Implementation
  ) async throws {
    try await withService(implementation) { _, coordinator in
      let lease = try await coordinator.grantLease(ttlSeconds: 60)
      await withTaskGroup(of: Void.self) { group in
        group.addTask { await lease.waitUntilLost() }
        group.cancelAll()
      }
      #expect(lease.state != .lost)
    }
  }
}
