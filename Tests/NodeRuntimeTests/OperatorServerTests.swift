import ClusterModel
import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
import NodeRuntime
import Primitives
import Synchronization
import Telemetry
import Testing

@Suite struct OperatorServerTests {
  private static let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

  private func withServer(_ body: (OperatorServer) async throws -> Void) async throws {
    let server = try await OperatorServer.start(
      NodeAddress(host: "127.0.0.1", port: 0), logger: Self.logger)
    do { try await body(server) } catch {
      await server.stop()
      throw error
    }
    await server.stop()
  }

  /// **Returns**: everything that the server says until it closes.
  private func exchange(_ request: String, with server: OperatorServer) async throws -> String {
    let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .connect(host: "127.0.0.1", port: Int(server.address.port)) { channel in
        channel.eventLoop.makeCompletedFuture {
          try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
        }
      }
    return try await channel.executeThenClose { inbound, outbound in
      try await outbound.write(ByteBuffer(string: request))
      var answer = ""
      for try await bytes in inbound { answer += String(buffer: bytes) }
      return answer
    }
  }

  private func get(_ target: String, from server: OperatorServer) async throws -> String {
    try await exchange("GET \(target) HTTP/1.0\r\n\r\n", with: server)
  }

  private func source(isReady: Bool, name: String = "shard1") -> OperatorSource {
    OperatorSource(
      nodes: [name],
      isReady: { isReady },
      collect: { $0.gauge("martlet_links", "Links.", 3) },
      ring: { nil })
  }

  @Test func `A process that starts is alive and not ready`() async throws {
    try await withServer { server in
      let health = try await get("/healthz", from: server)
      #expect(health.hasPrefix("HTTP/1.1 200 "))
      let readiness = try await get("/readyz", from: server)
      #expect(readiness.hasPrefix("HTTP/1.1 503 "))
      let metrics = try await get("/metrics", from: server)
      #expect(metrics.contains("process_open_fds "))
    }
  }

  @Test func `Readiness is asked for, and ends with draining`() async throws {
    try await withServer { server in
      server.serve(source(isReady: false))
      let unready = try await get("/readyz", from: server)
      #expect(unready.hasPrefix("HTTP/1.1 503 "))
      server.serve(source(isReady: true))
      let ready = try await get("/readyz", from: server)
      #expect(ready.hasPrefix("HTTP/1.1 200 "))
      server.drain()
      let draining = try await get("/readyz", from: server)
      #expect(draining.hasSuffix("stopping\n"))
      let health = try await get("/healthz", from: server)
      #expect(health.hasPrefix("HTTP/1.1 200 "))
    }
  }

  @Test func `Metrics are Prometheus text with what the node adds`() async throws {
    try await withServer { server in
      server.serve(source(isReady: true))
      let answer = try await get("/metrics", from: server)
      #expect(answer.contains("content-type: text/plain; version=0.0.4"))
      #expect(answer.contains("\nmartlet_links 3\n"))
    }
  }

  @Test func `A ring that is not known is no error of the server`() async throws {
    try await withServer { server in
      server.serve(source(isReady: true))
      let ring = try await get("/ring", from: server)
      #expect(ring.hasPrefix("HTTP/1.1 503 "))
    }
  }

  @Test func `Other paths and methods are refused`() async throws {
    try await withServer { server in
      let root = try await get("/", from: server)
      #expect(root.hasPrefix("HTTP/1.1 404 "))
      let deeper = try await get("/metrics/x", from: server)
      #expect(deeper.hasPrefix("HTTP/1.1 404 "))
      let post = try await exchange(
        "POST /healthz HTTP/1.0\r\ncontent-length: 3\r\n\r\nabc", with: server)
      #expect(post.hasPrefix("HTTP/1.1 405 "))
    }
  }

  @Test func `The console and all that it loads are there before anything else is`() async throws {
    try await withServer { server in
      let page = try await get("/console", from: server)
      #expect(page.hasPrefix("HTTP/1.1 200 "))
      #expect(page.contains("content-security-policy: default-src 'none'; script-src 'self'"))
      let files = page.matches(of: /(?:src|href)="(\/console\/[^"]+)"/).map { String($0.1) }
      #expect(files.count >= 2)
      for file in files {
        #expect(try await get(file, from: server).hasPrefix("HTTP/1.1 200 "), "\(file)")
      }
      let other = try await get("/console/index.htm", from: server)
      #expect(other.hasPrefix("HTTP/1.1 404 "))
    }
  }

  @Test func `Another node is asked for what it measures`() async throws {
    try await withServer { other in
      other.serve(source(isReady: true, name: "shard2"))
      try await withServer { server in
        var source = source(isReady: true)
        let address = other.address
        source.registered = {
          [
            Self.node("shard2", at: address), Self.node("shard3", at: nil),
            Self.node("shard4", at: NodeAddress(host: "127.0.0.1", port: 1)),
          ]
        }
        server.serve(source)
        for name in ["shard1", "shard2"] {
          let metrics = try await get("/nodes/\(name)/metrics", from: server)
          #expect(metrics.hasPrefix("HTTP/1.1 200 ") && metrics.contains("martlet_links 3\n"))
          let history = try await get("/nodes/\(name)/history", from: server)
          #expect(history.contains(#"{"intervalSeconds":10,"samples":["#), "\(history)")
        }
        let unnamed = try await get("/nodes/shard3/metrics", from: server)
        #expect(unnamed.hasPrefix("HTTP/1.1 502 ") && unnamed.contains("no operator address"))
        let silent = try await get("/nodes/shard4/history", from: server)
        #expect(silent.hasPrefix("HTTP/1.1 502 ") && silent.contains("connection refused"))
        #expect(try await get("/nodes/shard9/metrics", from: server).hasPrefix("HTTP/1.1 404 "))
        #expect(try await get("/nodes/shard2/ring", from: server).hasPrefix("HTTP/1.1 404 "))
      }
    }
  }

  private static func node(_ name: String, at address: NodeAddress?) -> NodeRecord {
    NodeRecord(
      name: name, role: .shard, store: StoreID(2), boot: BootID(3), laneAddresses: [],
      operatorAddress: address, publicURLs: [], zone: "", weight: 100, protocolVersion: 1)
  }

  @Test func `Bytes that are no HTTP end the connection and nothing else`() async throws {
    try await withServer { server in
      _ = try await exchange("\u{0}\u{1}\u{2} nonsense\r\n\r\n", with: server)
      let health = try await get("/healthz", from: server)
      #expect(health.hasPrefix("HTTP/1.1 200 "))
    }
  }

  @Test func `Several requests on one connection are answered in order`() async throws {
    try await withServer { server in
      let answer = try await exchange(
        "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n"
          + "GET /nothing HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", with: server)
      #expect(answer.hasPrefix("HTTP/1.1 200 "))
      #expect(answer.contains("HTTP/1.1 404 "))
    }
  }

  @Test func `An address in use is refused by its setting's name`() async throws {
    try await withServer { server in
      let error = await #expect(throws: StartError.self) {
        try await OperatorServer.start(server.address, logger: Self.logger)
      }
      #expect(error?.description.hasPrefix("--operator-address") == true)
    }
  }
}
