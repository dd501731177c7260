import ClusterModel
import Coordination
import Logging
import NIOPosix
import NodeRuntime
import Primitives
import Testing

@Suite(.timeLimit(.minutes(1))) struct NodeRegistrationTests {
  private let coordinator: EmbeddedCoordinator
  private let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

  init() throws {
    coordinator = try EmbeddedCoordinator.inMemory()
  }

  private func record(
    store: UInt64?, boot: UInt64, role: NodeRole = .shard, urls: [String] = []
  ) -> NodeRecord {
    NodeRecord(
      name: "one", role: role, store: store.map { StoreID($0) }, boot: BootID(boot),
      laneAddresses: [], operatorAddress: nil, publicURLs: urls, zone: "", weight: 100,
      protocolVersion: 1)
  }

  private func registration(_ record: NodeRecord) -> NodeRegistration {
    NodeRegistration(record, in: coordinator, logger: logger)
  }

  private func registered() async throws -> NodeRecord? {
    try await coordinator.get(CoordinationKey.node("one")).item
      .map { try NodeRecord(decoding: $0.value) }
  }

  /// A node that went without a word: its lease lives on for a while.
  private func leaveBehind(_ record: NodeRecord) async throws {
    let lease = try await coordinator.grantLease(ttlSeconds: 60)
    _ = try await coordinator.transact(
      .compareAndSet(
        CoordinationKey.node("one"), at: .zero, to: record.encoded(), lease: lease.id))
  }

  @Test func `A name is kept for as long as its node runs`() async throws {
    let record = record(store: 1, boot: 1)
    let coordinator = coordinator
    let seen = try await registration(record).during {
      try await coordinator.get(CoordinationKey.node("one")).item?.value
    }
    #expect(seen == record.encoded())
    #expect(try await registered() == nil)
  }

  @Test func `Another process of the same store takes the name over at once`() async throws {
    try await leaveBehind(record(store: 1, boot: 1))
    let again = record(store: 1, boot: 2)
    let coordinator = coordinator
    let seen = try await registration(again).during {
      try await coordinator.get(CoordinationKey.node("one")).item?.value
    }
    #expect(seen == again.encoded())
  }

  @Test(arguments: [
    (NodeRole.shard, UInt64(2) as UInt64?, "a shard with another data directory"),
    (.gateway, nil, "the gateway at "),
  ])
  func `A name that another node has is refused in one line, and stays with it`(
    role: NodeRole, store: UInt64?, owner: String
  ) async throws {
    let other = record(store: store, boot: 1, role: role)
    try await leaveBehind(other)
    let mine = registration(record(store: 1, boot: 2))
    for attempt in [mine.check, { try await mine.run() }, { try await mine.during {} }] {
      let error = await #expect(throws: StartError.self) { try await attempt() }
      let line = error?.description ?? ""
      #expect(line.hasPrefix("--name 'one': taken by \(owner)"))
      #expect(line.contains("allowed is a name that no other node has"))
      #expect(!line.contains("\n"))
    }
    #expect(try await registered() == other)
  }

  @Test func `A gateway's next process takes its name over, another gateway does not`()
    async throws
  {
    let first = record(store: nil, boot: 1, role: .gateway, urls: ["http://127.0.0.1:8080"])
    try await leaveBehind(first)
    let other = record(store: nil, boot: 2, role: .gateway, urls: ["http://127.0.0.1:8081"])
    let error = await #expect(throws: StartError.self) { try await registration(other).run() }
    #expect(error?.description.contains("taken by the gateway at http://127.0.0.1:8080") == true)
    #expect(try await registered() == first)
    let again = record(store: nil, boot: 3, role: .gateway, urls: ["http://127.0.0.1:8080"])
    let coordinator = coordinator
    let seen = try await registration(again).during {
      try await coordinator.get(CoordinationKey.node("one")).item?.value
    }
    #expect(seen == again.encoded())
  }

  @Test func `Of two that start at once one gets the name, and the other is refused`()
    async throws
  {
    let both = [registration(record(store: 1, boot: 1)), registration(record(store: 2, boot: 2))]
    let refused = await withTaskGroup(of: Bool.self) { group in
      for one in both {
        group.addTask {
          do { try await one.run() } catch { return error is StartError }
          return false
        }
      }
      // The winner runs until it is cancelled.
      let first = await group.next()
      group.cancelAll()
      let second = await group.next()
      return [first, second]
    }
    #expect(refused == [true, false])
    #expect(try await registered() == nil)
  }

  /// It was away for longer than its lease, and somebody else came.
  @Test func `A node that finds its name taken when it comes back ends`() async throws {
    let mine = record(store: 1, boot: 1)
    let running = Task { try await registration(mine).run() }
    while try await registered() != mine { try await Task.sleep(for: .milliseconds(2)) }
    let item = try #require(try await coordinator.get(CoordinationKey.node("one")).item)
    let other = record(store: 2, boot: 2)
    _ = try await coordinator.transact(
      .compareAndSet(
        CoordinationKey.node("one"), at: item.modRevision, to: other.encoded()))
    let lease = try await coordinator.resumeLease(try #require(item.lease))
    try await coordinator.revoke(lease)
    await #expect(throws: StartError.self) { try await running.value }
    #expect(try await registered() == other)
  }

  @Test func `Gateways of one name replace each other`() async throws {
    try await leaveBehind(record(store: nil, boot: 1, role: .gateway))
    let again = record(store: nil, boot: 2, role: .gateway)
    try await registration(again).check()
    let coordinator = coordinator
    let seen = try await registration(again).during {
      try await coordinator.get(CoordinationKey.node("one")).item?.value
    }
    #expect(seen == again.encoded())
  }
}
