import NIOCore
import NIOPosix
import Synchronization

@testable import MartletClient

/// A fake cluster with its gateways, for the length of one test.
struct TestCluster: Sendable {
  let fake: FakeCluster
  var gateways: [FakeGateway]
  private let group: MultiThreadedEventLoopGroup

  static func with<Value: Sendable>(
    gateways count: Int = 2, seed: UInt64 = 1,
    _ body: @Sendable (TestCluster) async throws -> Value
  ) async throws -> Value {
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let fake = FakeCluster(eventLoop: group.next(), seed: seed)
    var cluster = TestCluster(fake: fake, gateways: [], group: group)
    for _ in 0..<count { cluster.gateways.append(try await FakeGateway.start(fake)) }
    let result: Result<Value, any Error>
    do {
      result = .success(try await body(cluster))
    } catch {
      result = .failure(error)
    }
    try await group.shutdownGracefully()
    return try result.get()
  }

  var urls: [String] { gateways.map(\.url) }

  static var configuration: ClientConfiguration {
    var configuration = ClientConfiguration()
    configuration.backoffBaseMilliseconds = 4
    configuration.backoffMaxMilliseconds = 60
    configuration.connectTimeoutMilliseconds = 3_000
    configuration.callTimeoutMilliseconds = 60_000
    return configuration
  }

  func client(
    _ name: String = "one", resumeFrom: ResumePoint? = nil,
    _ change: @Sendable (inout ClientConfiguration) -> Void = { _ in }
  ) async throws -> MartletClient {
    var configuration = Self.configuration
    change(&configuration)
    return try MartletClient(
      gateways: urls, credentials: await fake.credentials(device: name),
      configuration: configuration, resumeFrom: resumeFrom)
  }
}

/// Gathers what one consumer sees, and waits for conditions on it.
final class Collector: Sendable {
  private let shared = SharedEvents()
  private let task: Task<Void, any Error>

  init(_ client: MartletClient) {
    let (seen, events) = (shared, client.events)
    task = Task { for try await event in events { seen.append(event) } }
  }

  var events: [Event] { shared.all }

  func wait(for count: Int) async throws {
    try await eventually("\(count) events, not \(events.count)") { self.events.count >= count }
  }

  /// Waits until the client's events have ended.
  func finish() async throws -> [Event] {
    try await task.value
    return events
  }
}

private final class SharedEvents: Sendable {
  private let events = Mutex<[Event]>([])
  var all: [Event] { events.withLock { $0 } }
  func append(_ event: Event) { events.withLock { $0.append(event) } }
}

struct TookTooLong: Error { let what: String }

/// Waits for a condition, two minutes at most.
func eventually(
  _ what: @autoclosure () -> String, _ condition: () async throws -> Bool
) async throws {
  for _ in 0..<24_000 {
    if try await condition() { return }
    try await Task.sleep(nanoseconds: 5_000_000)
  }
  throw TookTooLong(what: what())
}

/// The client's own words, where those of `ChatModel` are in sight too.
typealias SeenConversation = ConversationID
typealias SeenEvent = Event
