import ClusterModel
import Coordination
import HashRing
import NIOPosix
import Primitives
import Testing

@testable import NodeRuntime

/// What makes a backup one: the copies of stores that held everything, while nobody who mattered
/// was replaced. The shards are played.
@Suite(.timeLimit(.minutes(1))) struct BackupTakingTests {
  private let coordinator: EmbeddedCoordinator
  private let stores = (1...4).map { StoreID($0) }

  init() throws {
    coordinator = try EmbeddedCoordinator.inMemory()
  }

  private func put(_ key: String, _ value: [UInt8]) async throws {
    _ = try await coordinator.transact(
      Transaction(conditions: [], success: [.put(key: key, value: value, lease: nil)]))
  }

  private func record(_ members: [Int], inSync: [Int]? = nil) -> PartitionRecord {
    var record = PartitionRecord(initialOwners: members.map { stores[$0 - 1] })
    record.epoch = Epoch(4)
    record.leaderBoot = BootID(UInt64(70 + members[0]))
    guard let inSync else { return record }
    record.inSync = record.target.filter { inSync.contains(Int($0.store.rawValue)) }
    return record
  }

  private func node(_ number: Int, boot: UInt64? = nil) -> NodeRecord {
    NodeRecord(
      name: "shard\(number)", role: .shard, store: stores[number - 1],
      boot: BootID(boot ?? UInt64(70 + number)), laneAddresses: [], operatorAddress: nil,
      publicURLs: [], zone: "", weight: 100, protocolVersion: 1)
  }

  /// Two partitions, one on shards 1 to 3 and one on 2 to 4.
  private func ring() async throws {
    try await put(
      CoordinationKey.cluster,
      ClusterRecord(clusterID: 1, partitionCount: 2, replicaCount: 3).encoded())
    try await put(CoordinationKey.partition(PartitionID(0)), record([1, 2, 3]).encoded())
    try await put(CoordinationKey.partition(PartitionID(1)), record([2, 3, 4]).encoded())
    for number in 1...4 {
      try await put(CoordinationKey.node("shard\(number)"), node(number).encoded())
    }
    try await put(CoordinationKey.refreshSecret, [1, 2, 3])
  }

  /// Answers for the shards until the backup is over.
  ///
  /// - Parameter between: what happens before the copies are reported.
  private func playShards(
    failing: Int?, silent: Int?,
    between: @escaping @Sendable (EmbeddedCoordinator) async throws -> Void
  ) -> Task<Void, any Error> {
    Task { [coordinator, stores] in
      var told: BackupRequest.Phase?
      while !Task.isCancelled {
        try await Task.sleep(for: .milliseconds(10))
        guard let item = try await coordinator.get(CoordinationKey.backup).item else { continue }
        let request = try BackupRequest(decoding: item.value)
        if told == request.phase { continue }
        told = request.phase
        if request.phase == .take { try await between(coordinator) }
        for number in 1...4 where number != silent || request.phase == .hold {
          var report = BackupReport(
            id: request.id, phase: request.phase, store: stores[number - 1],
            boot: BootID(UInt64(70 + number)))
          if number == failing, request.phase == .take { report.failure = "its disk is full" }
          report.number = 9
          report.directory = "/copies/\(number)"
          report.time = 77
          _ = try await coordinator.transact(
            Transaction(
              conditions: [],
              success: [
                .put(
                  key: CoordinationKey.backupReports + "shard\(number)", value: report.encoded(),
                  lease: nil)
              ]))
        }
      }
    }
  }

  private func outcome(
    failing: Int? = nil, silent: Int? = nil,
    between: @escaping @Sendable (EmbeddedCoordinator) async throws -> Void = { _ in }
  ) async throws -> Result<BackupManifest, BackupRefusal> {
    try await ring()
    let shards = playShards(failing: failing, silent: silent, between: between)
    defer { shards.cancel() }
    do {
      let taking = BackupTaking(in: coordinator, timeout: 5_000)
      return .success(try await taking.run { _ in })
    } catch let error as BackupRefusal {
      return .failure(error)
    }
  }

  private func refusal(_ outcome: Result<BackupManifest, BackupRefusal>) -> String {
    if case .failure(let error) = outcome { error.description } else { "" }
  }

  @Test func `as few stores as hold everything are copied, and what the coordinator knows is kept`()
    async throws
  {
    let manifest = try await outcome().get()
    #expect(manifest.copies.map(\.node) == ["shard2"])
    #expect(manifest.copies.map(\.directory) == ["/copies/2"])
    #expect(manifest.partitions.map(\.replica.store) == [stores[1], stores[1]])
    #expect(manifest.secrets.map(\.value) == [[1, 2, 3]])
    #expect(try BackupManifest(decoding: manifest.encoded()) == manifest)
    #expect(try await coordinator.get(CoordinationKey.backup).item == nil, "it is over")
  }

  @Test func `a store that left the in-sync set meanwhile is no backup`() async throws {
    let changed = record([1, 2, 3], inSync: [1, 3]).encoded()
    let outcome = try await outcome {
      _ = try await $0.transact(
        Transaction(
          conditions: [],
          success: [
            .put(key: CoordinationKey.partition(PartitionID(0)), value: changed, lease: nil)
          ]))
    }
    #expect(refusal(outcome).contains("the in-sync set of p0 has changed meanwhile"))
  }

  @Test func `a replica that has given itself up is no copy, although it is still in sync`()
    async throws
  {
    try await ring()
    // On both partitions the store that would do for both has nothing any more.
    let given = [record([1, 2, 3]), record([2, 3, 4])].map { record in
      record.giving(up: record.target.first { $0.store == stores[1] }!)!
    }
    for (number, record) in given.enumerated() {
      try await put(CoordinationKey.partition(PartitionID(UInt32(number))), record.encoded())
    }
    let status = try #require(try await RingStatus.read(coordinator))
    #expect(try BackupTaking.takers(of: status) == [stores[2]])
  }

  @Test func `a shard that was restarted meanwhile is not waited for`() async throws {
    let bytes = node(4, boot: 999).encoded()
    let outcome = try await outcome(silent: 4) {
      _ = try await $0.transact(
        Transaction(
          conditions: [],
          success: [.put(key: CoordinationKey.node("shard4"), value: bytes, lease: nil)]))
    }
    #expect(refusal(outcome) == "shard4 went away or was restarted meanwhile; try again")
  }

  @Test func `a leader that has not kept its outbox spoils it`() async throws {
    var changed = record([2, 3, 4])
    changed.leaderBoot = BootID(999)
    let bytes = changed.encoded()
    let outcome = try await outcome {
      _ = try await $0.transact(
        Transaction(
          conditions: [],
          success: [
            .put(key: CoordinationKey.partition(PartitionID(1)), value: bytes, lease: nil)
          ]))
    }
    #expect(refusal(outcome).contains("p1 is led by nobody who has answered"))
  }

  @Test func `nothing is copied while the partitions are being split`() async throws {
    try await put(
      CoordinationKey.ring,
      RingRecord(
        members: [],
        change: RingChange(
          number: 1, kind: .split, subject: "every partition", startedAt: .zero,
          formerMembers: [], moves: [])
      ).encoded())
    let outcome = try await outcome { _ in Issue.record("a shard was asked for a copy") }
    #expect(refusal(outcome).contains("are being split"))
  }

  @Test func `what a shard says went wrong is said`() async throws {
    #expect(
      refusal(try await outcome(failing: 2)) == "shard2 was not copied: its disk is full")
    #expect(try await coordinator.get(CoordinationKey.backup).item == nil)
  }

  @Test func `one backup at a time`() async throws {
    try await put(
      CoordinationKey.backup, BackupRequest(id: 1, phase: .hold).encoded())
    #expect(refusal(try await outcome()).contains("another backup is being made"))
  }

  @Test func `a manifest that was changed is refused`() async throws {
    let bytes = try await outcome().get().encoded()
    #expect(try BackupManifest(decoding: bytes).copies.map(\.time) == [77])
    for place in stride(from: 0, to: bytes.count, by: 7) {
      var changed = bytes
      changed[place] ^= 0x40
      #expect(throws: StartError.self) { try BackupManifest(decoding: changed) }
      #expect(throws: StartError.self) { try BackupManifest(decoding: Array(bytes[..<place])) }
    }
  }

  // MARK: Restoring

  private let now = WallTime(milliseconds: 1_800_000_000_000)

  private func ringNodes(_ numbers: [UInt64]) -> [RingNode] {
    numbers.map { RingNode(store: StoreID($0), name: "s\($0)", weight: 100, zone: "") }
  }

  @Test func `the restored replicas alone are in sync, in a new generation`() async throws {
    let manifest = try await outcome().get()
    let records = try Restoring.records(manifest, on: ringNodes([2, 8, 9, 10, 11]), at: now)
    for (record, known) in zip(records, manifest.partitions) {
      #expect(record.inSync == [known.replica] && record.leader == known.replica)
      #expect(record.isLeaderless && record.epoch == known.record.epoch.successor)
      #expect(record.generation == 3_000_000 && record.generation > known.record.generation)
      #expect(Set(record.target.map(\.store)).count == 3)
      #expect(record.target.allSatisfy { $0 == known.replica || !known.record.hasMember($0) })
      #expect(try PartitionRecord(decoding: record.encoded()) == record)
    }
  }

  @Test func `a copy that nobody has, and too few shards, are refused`() async throws {
    let manifest = try await outcome().get()
    #expect(throws: StartError.self) {
      try Restoring.records(manifest, on: ringNodes([7, 8, 9]), at: now)
    }
    #expect(throws: StartError.self) {
      try Restoring.records(manifest, on: ringNodes([2, 8]), at: now)
    }
    do {
      _ = try await Restoring.restore(manifest, shardCount: 4, in: coordinator)
      Issue.record("there is a ring")
    } catch let error as StartError {
      #expect(error.description.contains("has a ring already"))
    }
  }
}
