import ClusterModel
import Foundation
import Logging
import NodeRuntime
import Primitives
import Synchronization
import Testing

/// The cluster that the tests of a suite talk to: one shard, four partitions, three gateways.
struct Serving: Sendable {
  @TaskLocal static var current: Serving?

  let cluster: EmbeddedCluster
  let contract: Contract
  private static let people = Mutex(0)

  /// Whose pages may use gateway 1.
  static let allowedOrigin = "https://other.test"

  /// Number 2 is impatient: its access tokens expire after a second, and a hello is waited for only
  /// `impatientHelloTimeout`.
  static func port(_ gateway: Int) throws -> Int {
    try #require(current).port(gateway)
  }

  func port(_ gateway: Int) -> Int { Int(cluster.gateways[gateway].plainAddress?.port ?? 0) }

  static func api(_ gateway: Int = 0) throws -> API { API(port: try port(gateway)) }

  /// A handle that nobody has, which begins with `name`.
  static func handle(_ name: String) -> String {
    people.withLock {
      $0 += 1
      return "\(name)-\($0)"
    }
  }

  /// Starts a cluster for as long as `body` runs.
  static func run(_ body: () async throws -> Void) async throws {
    let directory = FileManager.default.temporaryDirectory
      .appendingPathComponent("martlet-api-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: directory) }
    var gateways = (1...3).map {
      GatewayOptions(name: "gateway\($0)", plainAddress: NodeAddress(host: "127.0.0.1", port: 0))
    }
    gateways[1].allowedOrigins = [allowedOrigin]
    gateways[2].helloTimeout = 100
    gateways[2].tokenTimes.accessTokenLifetime = 1
    let cluster = try await EmbeddedCluster.start(
      EmbeddedOptions(
        dataDirectory: directory, shardCount: 1, partitionCount: 4, replicaCount: 1,
        gateways: gateways),
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    let outcome: Result<Void, any Error>
    do {
      try await ready(cluster)
      let serving = Serving(cluster: cluster, contract: try await contract(cluster))
      outcome = .success(try await $current.withValue(serving, operation: body))
    } catch {
      outcome = .failure(error)
    }
    await cluster.stop()
    try outcome.get()
  }

  private static func ready(_ cluster: EmbeddedCluster) async throws {
    let deadline = ContinuousClock.now + .seconds(30)
    for gateway in cluster.gateways {
      while !(await gateway.health().isReady) {
        try #require(ContinuousClock.now < deadline, "\(gateway.name) does not become ready")
        try await Task.sleep(for: .milliseconds(10))
      }
    }
  }

  private static func contract(_ cluster: EmbeddedCluster) async throws -> Contract {
    let first = Serving(cluster: cluster, contract: Contract(document: .null))
    return try await $current.withValue(first) {
      Contract(document: try await api().get(200, "/v1/openapi.json"))
    }
  }
}

/// Starts one cluster for all tests of a suite.
struct ServingTrait: SuiteTrait, TestScoping {
  func provideScope(
    for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
  ) async throws {
    try await Serving.run(function)
  }
}

extension Trait where Self == ServingTrait {
  static var serving: Self { Self() }
}

/// Everything that talks to real gateways. One test at a time: a gateway hashes few passwords at a
/// time, and every test makes accounts.
@Suite(.serialized, .serving, .timeLimit(.minutes(3))) enum GatewayTests {}

/// Somebody with an account and a session, on one gateway.
struct Person: Sendable {
  static let password = "correct horse"

  var api: API
  let handle: String
  let id: String
  let device: String
  let refreshToken: String

  var token: String { api.token ?? "" }

  static func join(_ name: String, gateway: Int = 0) async throws -> Person {
    let handle = Serving.handle(name)
    let api = try Serving.api(gateway)
    _ = try await api.post(
      201, "/v1/accounts", ["handle": .string(handle), "password": .string(password)])
    return try await logIn(handle, gateway: gateway)
  }

  static func logIn(
    _ handle: String, device: String = "", gateway: Int = 0
  ) async throws -> Person {
    var api = try Serving.api(gateway)
    let session = try await api.post(
      201, "/v1/sessions",
      [
        "handle": .string(handle), "password": .string(password), "device": .string(device),
      ])
    api.token = session["accessToken"].string
    return Person(
      api: api, handle: handle, id: try #require(session["user"]["id"].string),
      device: try #require(session["device"].string),
      refreshToken: try #require(session["refreshToken"].string))
  }

  /// The same person on another gateway.
  func on(_ gateway: Int) throws -> API {
    var other = try Serving.api(gateway)
    other.token = api.token
    return other
  }

  /// **Returns**: the id of the direct conversation.
  func direct(with other: Person) async throws -> String {
    let answer = try await api.post(
      "/v1/conversations", ["kind": "direct", "members": [.string(other.handle)]])
    return try #require(try answer.json()["id"].string, "\(answer)")
  }

  func send(_ id: String, _ text: String, to conversation: String) async throws -> JSON {
    try await api.post(
      201, "/v1/conversations/\(conversation)/messages",
      ["id": .string(id), "text": .string(text)])
  }
}
