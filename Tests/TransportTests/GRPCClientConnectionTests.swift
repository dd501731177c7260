import ClusterModel
import HTTP2Engine
import NIOCore
import NIOPosix
import Primitives
import Synchronization
import TLSEngine
import Testing

@testable import Transport

@Suite(.timeLimit(.minutes(1)))
struct GRPCClientConnectionTests {
  private func connect(
    _ port: UInt16, tls: TLSContext? = nil, _ configuration: GRPCClientConfiguration = .init()
  ) async throws -> GRPCClientConnection {
    try await GRPCClientConnection.connect(
      to: GRPCClientTarget(address: NodeAddress(host: "127.0.0.1", port: port), tls: tls),
      configuration: configuration, on: MultiThreadedEventLoopGroup.singleton.next()
    ).get()
  }

  private func close(_ connection: GRPCClientConnection) async throws {
    try await connection.eventLoop.submit { connection.close() }.get()
  }

  /// Connects to a fresh server, runs the body, and closes both.
  private func withConnection(
    _ configuration: GRPCClientConfiguration = .init(),
    _ body: (GRPCClientConnection) async throws -> Void
  ) async throws {
    let server = try await GRPCClientTestServer.start()
    let connection = try await connect(server.port, configuration)
    try await body(connection)
    try await close(connection)
    try await server.stop()
  }

  private func ask(
    _ connection: GRPCClientConnection, _ path: String, _ message: [UInt8],
    timeout: Milliseconds = 5_000
  ) async throws -> [UInt8] {
    try await connection.unary(path, message, timeout: timeout)
  }

  private func failure(
    _ connection: GRPCClientConnection, _ path: String, timeout: Milliseconds = 5_000
  ) async -> GRPCCallFailure? {
    do throws(GRPCCallFailure) {
      _ = try await connection.unary(path, [1, 2, 3], timeout: timeout)
    } catch {
      return error
    }
    return nil
  }

  // MARK: Unary calls

  @Test func `A call is answered with the server's message`() async throws {
    try await withConnection { connection async throws in
      #expect(try await ask(connection, "/t/echo", [1, 2, 3]) == [1, 2, 3])
      #expect(try await ask(connection, "/t/echo", []) == [])
      let large = (0..<1_000_000).map { UInt8(truncatingIfNeeded: $0) }
      #expect(try await ask(connection, "/t/echo", large) == large)
    }
  }

  @Test func `A thousand calls at once are each answered with their own message`() async throws {
    try await withConnection { connection async throws in
      try await withThrowingTaskGroup(of: Bool.self) { group in
        for index in 0..<1_000 {
          let message = [UInt8(index / 256), UInt8(index % 256)]
          group.addTask {
            try await ask(connection, "/t/echo", message, timeout: 20_000) == message
          }
        }
        for try await isRight in group { #expect(isRight) }
      }
    }
  }

  @Test func `The server learns of the timeout`() async throws {
    try await withConnection { connection async throws in
      let text = try await ask(connection, "/t/timeout", [], timeout: 1_234)
      #expect(String(decoding: text, as: UTF8.self) == "1234m")
    }
  }

  @Test func `The server's status is the failure`() async throws {
    try await withConnection { connection async throws in
      #expect(
        await failure(connection, "/t/fail")
          == GRPCCallFailure(
            GRPCStatus(.failedPrecondition, "not now, später"), mayHaveRun: true))
      #expect(
        await failure(connection, "/t/late-fail")
          == GRPCCallFailure(GRPCStatus(.aborted, "after all"), mayHaveRun: true))
      #expect(await failure(connection, "/t/503")?.status.code == .unavailable)
      // None of it harms the connection.
      #expect(try await ask(connection, "/t/echo", [1]) == [1])
    }
  }

  @Test(arguments: ["/t/two", "/t/none", "/t/cut", "/t/no-status", "/t/compressed", "/t/reset"])
  func `An answer that is not gRPC's is an internal error`(_ path: String) async throws {
    try await withConnection { connection async throws in
      let failure = await failure(connection, path)
      #expect(failure?.status.code == .internal)
      #expect(failure?.mayHaveRun == true)
      #expect(try await ask(connection, "/t/echo", [1]) == [1])
    }
  }

  @Test func `A message beyond the limit is refused`() async throws {
    var configuration = GRPCClientConfiguration()
    configuration.messageBytesMax = 1 << 20
    try await withConnection(configuration) { connection async throws in
      #expect(await failure(connection, "/t/large")?.status.code == .internal)
      #expect(try await ask(connection, "/t/echo", [1]) == [1])
    }
    try await withConnection { connection async throws in
      #expect(try await ask(connection, "/t/large", [1]).count == 3 << 20)
    }
  }

  @Test func `When the time is up the call fails and the connection lives`() async throws {
    try await withConnection { connection async throws in
      let failure = await failure(connection, "/t/silent", timeout: 50)
      #expect(failure == GRPCCallFailure(GRPCStatus(.deadlineExceeded), mayHaveRun: true))
      #expect(try await ask(connection, "/t/echo", [1]) == [1])
      #expect(try await connection.eventLoop.submit { connection.openCallCount }.get() == 0)
    }
  }

  @Test func `A refused stream has certainly not run`() async throws {
    try await withConnection { connection async throws in
      let failure = await failure(connection, "/t/refuse")
      #expect(failure?.status.code == .unavailable)
      #expect(failure?.mayHaveRun == false)
    }
  }

  @Test func `More calls than allowed are refused unsent`() async throws {
    var configuration = GRPCClientConfiguration()
    configuration.callsMax = 3
    try await withConnection(configuration) { connection async throws in
      async let first = failure(connection, "/t/silent", timeout: 300)
      async let second = failure(connection, "/t/silent", timeout: 300)
      async let third = failure(connection, "/t/silent", timeout: 300)
      while try await connection.eventLoop.submit({ connection.openCallCount }).get() < 3 {
        await Task.yield()
      }
      let fourth = await failure(connection, "/t/echo")
      #expect(fourth?.status.code == .resourceExhausted)
      #expect(fourth?.mayHaveRun == false)
      for failure in await [first, second, third] {
        #expect(failure?.status.code == .deadlineExceeded)
      }
      #expect(try await ask(connection, "/t/echo", [1]) == [1])
    }
  }

  // MARK: Ends of a connection

  @Test func `A lost connection fails its calls and tells its owner once`() async throws {
    try await withConnection { connection async throws in
      let closeCount = Mutex(0)
      try await connection.eventLoop.submit {
        connection.onClose = { _ in closeCount.withLock { $0 += 1 } }
      }.get()
      async let other = failure(connection, "/t/silent")
      let failure = await failure(connection, "/t/die")
      #expect(failure?.status.code == .unavailable)
      #expect(failure?.mayHaveRun == true)
      #expect(await other?.status.code == .unavailable)
      let late = await self.failure(connection, "/t/echo")
      #expect(late?.status.code == .unavailable)
      #expect(late?.mayHaveRun == false)
      #expect(closeCount.withLock { $0 } == 1)
    }
  }

  @Test func `After a GOAWAY calls in flight are answered and new ones are not sent`() async throws
  {
    try await withConnection { connection async throws in
      let events = Mutex<[String]>([])
      try await connection.eventLoop.submit {
        connection.onDraining = { events.withLock { $0.append("draining") } }
        connection.onClose = { _ in events.withLock { $0.append("closed") } }
      }.get()
      async let slow = ask(connection, "/t/slow", [5])
      #expect(try await ask(connection, "/t/drain", [6]) == [6])
      #expect(try await slow == [5])
      let failure = await failure(connection, "/t/echo")
      #expect(failure?.mayHaveRun == false)
      while events.withLock({ $0.count }) < 2 { try await Task.sleep(for: .milliseconds(5)) }
      #expect(events.withLock { $0 } == ["draining", "closed"])
    }
  }

  @Test func `Closing ends everything`() async throws {
    try await withConnection { connection async throws in
      async let pending = failure(connection, "/t/silent")
      while try await connection.eventLoop.submit({ connection.openCallCount }).get() < 1 {
        await Task.yield()
      }
      try await close(connection)
      #expect(await pending?.status.code == .cancelled)
      #expect(await failure(connection, "/t/echo")?.mayHaveRun == false)
    }
  }

  @Test func `Nobody there, nobody answering and nobody of ours are found in time`() async throws {
    var configuration = GRPCClientConfiguration()
    configuration.connectTimeout = 300
    let silent = try await GRPCClientTestServer.startSaying([])
    let garbage = try await GRPCClientTestServer.startSaying(Array("HTTP/1.1 400 no\r\n\r\n".utf8))
    let gone = try await GRPCClientTestServer.start()
    try await gone.stop()
    for port in [silent.port, garbage.port, gone.port] {
      let error = await #expect(throws: GRPCCallFailure.self) {
        try await connect(port, configuration)
      }
      #expect(error?.status.code == .unavailable)
      #expect(error?.mayHaveRun == false)
    }
    try await silent.stop()
    try await garbage.stop()
  }

  // MARK: Streams

  private enum Seen: Equatable {
    case message([UInt8])
    case ended(GRPCStatus)
  }

  private func open(
    _ connection: GRPCClientConnection, _ seen: AsyncStream<Seen>.Continuation
  ) async throws -> GRPCClientStream {
    try await connection.eventLoop.submit {
      try connection.openStream("/t/stream") { event in
        switch event {
        case .message(let bytes): seen.yield(.message(Array(bytes)))
        case .ended(let failure): seen.yield(.ended(failure.status))
        }
      }
    }.get()
  }

  @Test func `A stream carries messages both ways until the server ends it`() async throws {
    try await withConnection { connection async throws in
      let (events, seen) = AsyncStream.makeStream(of: Seen.self)
      let stream = try await open(connection, seen)
      let loop = connection.eventLoop
      try await loop.submit {
        for index in 0..<100 { stream.send([UInt8(index)]) }
        stream.send(Array("end".utf8))
      }.get()
      var expected = (0..<100).map { Seen.message([UInt8($0)]) }
      expected.append(.ended(GRPCStatus(.outOfRange, "enough")))
      var iterator = events.makeAsyncIterator()
      for event in expected { #expect(await iterator.next() == event) }
      #expect(try await loop.submit { stream.send([1]) }.get() == .closed)
      #expect(try await ask(connection, "/t/echo", [1]) == [1])
    }
  }

  @Test func `A cancelled stream is silent, a lost one is not`() async throws {
    try await withConnection { connection async throws in
      let (events, seen) = AsyncStream.makeStream(of: Seen.self)
      let cancelled = try await open(connection, seen)
      let lost = try await open(connection, seen)
      try await connection.eventLoop.submit {
        cancelled.send([1])
        cancelled.cancel()
        lost.send([2])
      }.get()
      var iterator = events.makeAsyncIterator()
      #expect(await iterator.next() == .message([2]))
      _ = await failure(connection, "/t/die")
      guard case .ended(let status)? = await iterator.next() else {
        Issue.record("the stream must end with its connection")
        return
      }
      #expect(status.code == .unavailable)
    }
  }

  // MARK: TLS

  @Test func `TLS needs a trusted certificate and h2`() async throws {
    let certificate = try GRPCClientTestCertificate()
    defer { certificate.remove() }
    func server(_ protocols: [String]) throws -> TLSContext {
      try TLSContext(
        configuration: TLSConfiguration(
          role: .server, certificateChainFile: certificate.chain, privateKeyFile: certificate.key,
          alpnProtocols: protocols))
    }
    let trusting = try TLSContext(
      configuration: TLSConfiguration(
        role: .client, trustRootsFile: certificate.chain, alpnProtocols: ["h2"]))
    let strict = try TLSContext(
      configuration: TLSConfiguration(role: .client, alpnProtocols: ["h2"]))

    let good = try await GRPCClientTestServer.start(tls: try server(["h2"]))
    let connection = try await connect(good.port, tls: trusting)
    let large = [UInt8](repeating: 9, count: 500_000)
    #expect(try await ask(connection, "/t/echo", large, timeout: 10_000) == large)
    try await close(connection)
    await #expect(throws: GRPCCallFailure.self) { try await connect(good.port, tls: strict) }
    await #expect(throws: GRPCCallFailure.self) { try await connect(good.port) }
    try await good.stop()

    let plain = try await GRPCClientTestServer.start(tls: try server([]))
    await #expect(throws: GRPCCallFailure.self) { try await connect(plain.port, tls: trusting) }
    try await plain.stop()
  }
}
