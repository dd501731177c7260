import Coordination
import LogSupport
import Logging
import NIOCore
import Primitives
import Synchronization
import TLSEngine
import Testing

/// What only the client of a real etcd has to do: lose connections, find them again, and notice
/// that it talks to somebody else.
@Suite(.serialized, .timeLimit(.minutes(2)))
struct EtcdCoordinatorTests {
  private var now: Instant { Instant(nanoseconds: NIODeadline.now().uptimeNanoseconds) }

  @Test func `Everything goes on over a kill and restart of etcd`() async throws {
    let server = try EtcdServer()
    let coordinator = try EtcdCoordinator.make([server.endpoint])
    let lease = try await coordinator.grantLease(ttlSeconds: 3)
    let leased = try await coordinator.put("n/leased", [1], lease: lease.id)
    let stream = try await coordinator.watch("n/", after: leased)
    async let seen = stream.changes(60)
    var written: [Revision] = []
    for round in 0..<3 {
      for index in 0..<20 {
        written.append(try await write([UInt8(round), UInt8(index)], to: "n/a", coordinator))
      }
      server.kill()
      try server.start()
    }
    #expect(try await seen.map(\.revision) == written)
    // The lease is renewed on the last connection too, and its key was never deleted.
    let target = now + Milliseconds(UInt64(lease.ttlSeconds) * 1_500)
    #expect(await eventually { lease.isAlive(at: target) })
    #expect(try await coordinator.get("n/leased").modRevision == leased)
    await coordinator.shutDown()
  }

  /// Writes once, although the answer may be lost with the connection.
  private func write(
    _ value: [UInt8], to key: String, _ coordinator: any Coordinator
  ) async throws -> Revision {
    while true {
      let before = try await coordinator.get(key)
      if before.item?.value == value { return before.modRevision }
      do throws(CoordinationError) {
        let change = Transaction.compareAndSet(key, at: before.modRevision, to: value)
        let result = try await coordinator.transact(change)
        if result.succeeded { return result.revision }
      } catch {
        guard error.isRetryable else { throw error }
      }
    }
  }

  @Test func `While etcd is away calls fail as retryable when their time is up`() async throws {
    let server = try EtcdServer()
    let coordinator = try EtcdCoordinator.make([server.endpoint]) { $0.requestTimeout = 2_000 }
    #expect(await eventually { (try? await coordinator.put("a", [1])) != nil })
    server.kill()
    let error = await failure { try await coordinator.put("a", [2]) }
    #expect(error?.isRetryable == true)
    await #expect(throws: CoordinationError.self) { try await coordinator.get("a") }
    try server.start()
    #expect(await eventually { (try? await coordinator.value("a")) != nil })
    await coordinator.shutDown()
  }

  @Test func `An outage of many attempts is told in one line`() async throws {
    let lines = RecordedLog()
    let dead = "127.0.0.1:\(try EtcdServer.freePort())"
    let coordinator = try EtcdCoordinator.make([dead], log: lines) { $0.requestTimeout = 2_000 }
    let error = await failure { _ = try await coordinator.get("a") }
    #expect("\(error.map { "\($0)" } ?? "")".hasSuffix("connection refused"))
    let told = lines.events.map { "\($0.message) \($0.metadata?["reason"] ?? "")" }
    #expect(told.count == 1, "\(told)")
    #expect(told.first?.hasPrefix("etcd not connected") == true)
    #expect(told.first?.hasSuffix("connection refused") == true)
    await coordinator.shutDown()
  }

  @Test func `Of two endpoints one may be dead`() async throws {
    let server = try EtcdServer()
    let dead = "127.0.0.1:\(try EtcdServer.freePort())"
    for endpoints in [[dead, server.endpoint], [server.endpoint, dead]] {
      let coordinator = try EtcdCoordinator.make(endpoints)
      try await coordinator.put("a", [1])
      #expect(try await coordinator.value("a") == [1])
      await coordinator.shutDown()
    }
  }

  @Test func `An endpoint that falls silent is left for another`() async throws {
    let server = try EtcdServer()
    let other = try EtcdCoordinator.make([server.endpoint])
    try await other.put("ready", [])
    let proxy = try await FaultyProxy.start(to: server.clientPort)
    let coordinator = try EtcdCoordinator.make(["127.0.0.1:\(proxy.port)", server.endpoint]) {
      // Only the renewals shall find out.
      $0.livenessInterval = 600_000
    }
    let lease = try await coordinator.grantLease(ttlSeconds: 2)
    let revision = try await coordinator.put("a", [1], lease: lease.id)
    // Through the proxy at first, so that there is something to leave.
    try #require(proxy.connectionCount == 1)
    let stream = try await coordinator.watch("a", after: revision)
    proxy.setMode(.blackHole)
    // No call of anybody's is needed, and the lease lives.
    let target = now + Milliseconds(UInt64(lease.ttlSeconds) * 2_000)
    #expect(await eventually { lease.isAlive(at: target) })
    #expect(try await coordinator.get("a").modRevision == revision)
    let next = try await coordinator.put("a", [2])
    #expect(try await stream.changes(1).map(\.revision) == [next])
    await coordinator.shutDown()
    await other.shutDown()
    try await proxy.stop()
  }

  @Test func `A watch alone notices a silent endpoint too`() async throws {
    let server = try EtcdServer()
    let proxy = try await FaultyProxy.start(to: server.clientPort)
    let other = try EtcdCoordinator.make([server.endpoint])
    try await other.put("ready", [])
    let coordinator = try EtcdCoordinator.make(["127.0.0.1:\(proxy.port)", server.endpoint]) {
      $0.livenessInterval = 200
      $0.probeTimeout = 300
    }
    let stream = try await coordinator.watch("a", after: nil)
    try #require(proxy.connectionCount == 1)
    proxy.setMode(.blackHole)
    let revision = try await other.put("a", [1])
    #expect(try await stream.changes(1).map(\.revision) == [revision])
    await coordinator.shutDown()
    await other.shutDown()
    try await proxy.stop()
  }

  @Test func `A lost answer to a transaction is an unknown outcome`() async throws {
    let server = try EtcdServer()
    let proxy = try await FaultyProxy.start(to: server.clientPort)
    let direct = try EtcdCoordinator.make([server.endpoint])
    let coordinator = try EtcdCoordinator.make(["127.0.0.1:\(proxy.port)"]) {
      $0.requestTimeout = 1_000
    }
    #expect(await eventually { (try? await coordinator.put("a", [0])) != nil })
    // The time is up.
    proxy.setMode(.swallowAnswers)
    await expectUnknownOutcome { try await coordinator.put("a", [1]) }
    #expect(try await direct.value("a") == [1])
    // The connection is lost while the answer is awaited.
    proxy.setMode(.pass)
    #expect(await eventually { (try? await coordinator.put("a", [2])) != nil })
    proxy.setMode(.swallowAnswers)
    async let unknown: Void = expectUnknownOutcome { try await coordinator.put("a", [3]) }
    #expect(try await eventually { try await direct.value("a") == [3] })
    proxy.cut()
    await unknown
    // Read-only transactions have no outcome to be unknown.
    let error = await failure {
      _ = try await coordinator.transact(Transaction(conditions: [], success: [.get("a")]))
    }
    #expect(error.map(isUnavailable) == true)
    await coordinator.shutDown()
    await direct.shutDown()
    try await proxy.stop()
  }

  private func isUnavailable(_ error: CoordinationError) -> Bool {
    if case .unavailable = error { true } else { false }
  }

  private func failure(_ body: () async throws -> Void) async -> CoordinationError? {
    do { try await body() } catch { return error as? CoordinationError }
    return nil
  }

  private func expectUnknownOutcome(_ body: () async throws -> Void) async {
    let error = await failure(body)
    var isUnknown = false
    if case .outcomeUnknown? = error { isUnknown = true }
    #expect(isUnknown, "\(String(describing: error))")
  }

  /// Every worker adds its own tokens to one list by compare-and-set, through a connection that is
  /// cut again and again. Whoever was told "done" is in the list once; nobody is in it twice.
  @Test func `Compare-and-sets over cut connections are done once or not at all`() async throws {
    let server = try EtcdServer()
    let proxy = try await FaultyProxy.start(to: server.clientPort)
    let coordinator = try EtcdCoordinator.make(["127.0.0.1:\(proxy.port)"])
    try await coordinator.put("list", [])
    let tokens = try await withThrowingTaskGroup(of: [UInt8].self) { group in
      for worker in 0..<UInt8(4) {
        group.addTask { try await Self.append(worker, to: "list", coordinator) }
      }
      let cutter = Task {
        while !Task.isCancelled {
          try? await Task.sleep(for: .milliseconds(40))
          proxy.cut()
        }
      }
      var told: [UInt8] = []
      for try await confirmed in group { told += confirmed }
      cutter.cancel()
      return told
    }
    let list = try #require(try await coordinator.value("list"))
    #expect(Set(list).count == list.count)
    #expect(Set(tokens).isSubset(of: list))
    #expect(tokens.count == 4 * 30)
    #expect(proxy.connectionCount > 3)
    await coordinator.shutDown()
    try await proxy.stop()
  }

  /// **Returns**: the tokens that are known to be in the list.
  private static func append(
    _ worker: UInt8, to key: String, _ coordinator: any Coordinator
  ) async throws -> [UInt8] {
    var confirmed: [UInt8] = []
    for index in 0..<UInt8(30) {
      let token = worker * 30 + index
      while true {
        do {
          let reading = try await coordinator.get(key)
          let value = reading.item?.value ?? []
          // An attempt with an unknown outcome may have been done.
          if value.contains(token) { break }
          let change = Transaction.compareAndSet(key, at: reading.modRevision, to: value + [token])
          if try await coordinator.transact(change).succeeded { break }
        } catch {
          guard error.isRetryable else { throw error }
        }
      }
      confirmed.append(token)
    }
    return confirmed
  }

  @Test func `A mirror lists anew when history is gone while it was cut off`() async throws {
    let server = try EtcdServer()
    let proxy = try await FaultyProxy.start(to: server.clientPort)
    let direct = try EtcdCoordinator.make([server.endpoint])
    let coordinator = try EtcdCoordinator.make(["127.0.0.1:\(proxy.port)"])
    try await direct.put("m/gone", [1])
    try await direct.put("m/kept", [1])
    var mirror = Mirror(of: "m/", in: coordinator)
    let first = try #require(try await mirror.next())
    #expect(first.isListing)
    #expect(first.changes.map(\.key) == ["m/gone", "m/kept"])

    proxy.setMode(.refuse)
    proxy.cut()
    try await direct.delete("m/gone")
    let last = try await direct.put("m/new", [2])
    try server.control(["compact", "\(last.rawValue)"])
    proxy.setMode(.pass)

    let second = try #require(try await mirror.next())
    #expect(second.isListing)
    #expect(second.changes.map(\.key) == ["m/new", "m/gone"])
    #expect(second.revision >= last)
    let next = try await direct.put("m/kept", [3])
    let third = try #require(try await mirror.next())
    #expect(!third.isListing)
    #expect(third.revision == next)
    await coordinator.shutDown()
    await direct.shutDown()
    try await proxy.stop()
  }

  @Test func `A listing in pages goes on over compactions`() async throws {
    let server = try EtcdServer()
    let coordinator = try EtcdCoordinator.make([server.endpoint])
    for batch in 0..<40 {
      let puts = (0..<128).map {
        Transaction.Operation.put(key: "p/\(batch)/\($0)", value: [1], lease: nil)
      }
      _ = try await coordinator.transact(Transaction(conditions: [], success: puts))
    }
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        for _ in 0..<20 {
          let revision = try await coordinator.put("other", [])
          try server.control(["compact", "\(revision.rawValue)"])
        }
      }
      for _ in 0..<30 {
        let count = try await coordinator.list("p/").items.count
        #expect(count == 40 * 128)
      }
      try await group.waitForAll()
    }
    await coordinator.shutDown()
  }

  @Test func `An etcd that lost its memory is refused`() async throws {
    let server = try EtcdServer()
    let coordinator = try EtcdCoordinator.make([server.endpoint])
    var known = CoordinationPosition(serviceID: 1, revision: .zero)
    for index in 0..<10 {
      try await coordinator.put("a", [UInt8(index)])
      known = try #require(coordinator.position)
    }
    let stream = try await coordinator.watch("a", after: nil)
    try server.startEmpty()
    // The same name and addresses give the same cluster id; its revision tells.
    await expectWentBack(known) {
      while true {
        let error = await failure { try await coordinator.put("a", [99]) }
        // The first one may still meet the end of the old connection.
        guard let error, error.isRetryable else { return try error.map { throw $0 } ?? () }
      }
    }
    await #expect(throws: CoordinationError.self) { try await stream.changes(1) }
    #expect(coordinator.position == known)
    await coordinator.shutDown()
  }

  @Test func `What an earlier process has seen counts`() async throws {
    let server = try EtcdServer()
    let first = try EtcdCoordinator.make([server.endpoint])
    try await first.put("a", [1])
    let position = try #require(first.position)
    await first.shutDown()

    let same = try EtcdCoordinator.make([server.endpoint], known: position)
    #expect(try await same.value("a") == [1])
    await same.shutDown()

    let ahead = CoordinationPosition(
      serviceID: position.serviceID, revision: Revision(position.revision.rawValue + 1))
    let other = CoordinationPosition(
      serviceID: position.serviceID ^ 1, revision: position.revision)
    for known in [ahead, other] {
      let coordinator = try EtcdCoordinator.make([server.endpoint], known: known)
      await expectWentBack(known) { _ = try await coordinator.get("a") }
      await coordinator.shutDown()
    }
  }

  private func expectWentBack(
    _ expected: CoordinationPosition, _ body: () async throws -> Void
  ) async {
    let error = await failure(body)
    var found: CoordinationPosition?
    if case .wentBackInTime(let known, _)? = error { found = known }
    #expect(found == expected, "\(String(describing: error))")
  }

  @Test func `With TLS both ends show certificates`() async throws {
    let certificate = try LoopbackCertificate()
    defer { certificate.remove() }
    let server = try EtcdServer(
      scheme: "https",
      extraArguments: [
        "--cert-file", certificate.chain, "--key-file", certificate.key,
        "--trusted-ca-file", certificate.chain, "--client-cert-auth",
      ])
    let tls = try TLSContext(
      configuration: TLSConfiguration(
        role: .client, certificateChainFile: certificate.chain, privateKeyFile: certificate.key,
        trustRootsFile: certificate.chain, alpnProtocols: ["h2"]))
    let coordinator = try EtcdCoordinator.make([server.endpoint]) { $0.tls = tls }
    let lease = try await coordinator.grantLease(ttlSeconds: 5)
    let stream = try await coordinator.watch("t/", after: nil)
    var written: [Revision] = []
    for index in 0..<100 {
      let value = [UInt8](repeating: UInt8(index), count: index * 500)
      written.append(try await coordinator.put("t/a", value, lease: lease.id))
    }
    #expect(try await stream.changes(100).map(\.revision) == written)
    await coordinator.shutDown()

    let anonymous = try TLSContext(
      configuration: TLSConfiguration(
        role: .client, trustRootsFile: certificate.chain, alpnProtocols: ["h2"]))
    let refused = try EtcdCoordinator.make([server.endpoint]) {
      $0.tls = anonymous
      $0.requestTimeout = 500
    }
    let error = await failure { _ = try await refused.get("t/a") }
    #expect(error.map(isUnavailable) == true)
    await refused.shutDown()
  }

  @Test func `A configuration that cannot work is refused`() throws {
    #expect(throws: CoordinationError.self) { try EtcdCoordinator.make([]) }
    #expect(throws: CoordinationError.self) { try EtcdCoordinator.make(["https://127.0.0.1:1"]) }
    #expect(EtcdEndpoint("http://etcd1:2379")?.description == "http://etcd1:2379")
    #expect(EtcdEndpoint("https://[::1]:2379/")?.description == "https://[::1]:2379")
    #expect(EtcdEndpoint("etcd1:2379")?.usesTLS == false)
    for text in ["", "http://", "etcd1", "http://etcd1", "ftp://etcd1:1", "http://a:1/b", "a:0"] {
      #expect(EtcdEndpoint(text) == nil, "\(text)")
    }
  }
}
