import ClusterModel
import Coordination
import Foundation
import Logging
import NIOCore
import NIOPosix
import Primitives
import Testing

/// The implementations that the conformance suite runs against.
enum Implementation: String, CaseIterable, CustomTestStringConvertible {
  case embedded, etcd

  var testDescription: String { rawValue }
}

/// A running service of either kind, private to one test.
final class TestService: Sendable {
  private enum Kind {
    case embedded(EmbeddedService)
    case etcd(EtcdServer)
  }

  /// Changes that the embedded service remembers here.
  static let historyEventsMax = 2_048

  private let kind: Kind

  init(_ implementation: Implementation) throws {
    switch implementation {
    case .embedded:
      kind = .embedded(
        try EmbeddedService(
          storage: MemoryStorage(), newServiceID: 7, historyEventsMax: Self.historyEventsMax,
          eventLoop: MultiThreadedEventLoopGroup.singleton.next()))
    case .etcd:
      kind = .etcd(try EtcdServer())
    }
  }

  func client() throws -> any Coordinator {
    switch kind {
    case .embedded(let service): EmbeddedCoordinator(service: service)
    case .etcd(let server): try EtcdCoordinator.make([server.endpoint])
    }
  }

  /// Makes the service drop its history up to `revision`, and perhaps more.
  func compact(at revision: Revision, _ coordinator: any Coordinator) async throws {
    switch kind {
    case .embedded:
      for index in 0..<Self.historyEventsMax / 64 + 1 {
        let puts = (0..<64).map {
          Transaction.Operation.put(key: "filler/\(index)/\($0)", value: [], lease: nil)
        }
        _ = try await coordinator.transact(Transaction(conditions: [], success: puts))
      }
    case .etcd(let server):
      try server.control(["compact", "\(revision.rawValue)"])
    }
  }
}

extension EtcdCoordinator {
  static func make(
    _ endpoints: [String], known: CoordinationPosition? = nil, log: (any LogHandler)? = nil,
    _ change: (inout EtcdConfiguration) -> Void = { _ in }
  ) throws -> EtcdCoordinator {
    var configuration = EtcdConfiguration(
      endpoints: try endpoints.map { try #require(EtcdEndpoint($0)) }, known: known, jitterSeed: 0)
    // Starting etcd takes a while on a busy machine.
    configuration.requestTimeout = 10_000
    change(&configuration)
    let logger = Logger(label: "test") { _ in log ?? SwiftLogNoOpLogHandler() }
    return try EtcdCoordinator(
      configuration, eventLoop: MultiThreadedEventLoopGroup.singleton.next(), logger: logger)
  }
}

/// Runs `body` with a fresh service of the given kind and one client of it.
func withService(
  _ implementation: Implementation,
  _ body: (TestService, any Coordinator) async throws -> Void
) async throws {
  let service = try TestService(implementation)
  let coordinator = try service.client()
  do { try await body(service, coordinator) } catch {
    await coordinator.shutDown()
    throw error
  }
  await coordinator.shutDown()
}

/// Waits for a condition, not for a time; `false` when it does not come true within the limit.
func eventually(
  within limit: Duration = .seconds(20), _ condition: () async throws -> Bool
) async rethrows -> Bool {
  let end = ContinuousClock.now + limit
  while ContinuousClock.now < end {
    if try await condition() { return true }
    try? await Task.sleep(for: .milliseconds(5))
  }
  return try await condition()
}

extension WatchStream {
  /// The changes, without `progress`, until `count` have come, the stream ends or the time is up.
  func changes(_ count: Int, within limit: Duration = .seconds(20)) async throws -> [WatchEvent] {
    try await take(within: limit) { events in
      events.count(where: \.isChange) >= count
    }.filter(\.isChange)
  }

  /// All events until `isComplete`, the end of the stream, or the end of the time.
  func take(
    within limit: Duration = .seconds(20),
    until isComplete: @escaping @Sendable ([WatchEvent]) -> Bool
  ) async throws -> [WatchEvent] {
    let stream = self
    return try await withThrowingTaskGroup(of: [WatchEvent]?.self) { group in
      group.addTask {
        var events: [WatchEvent] = []
        for try await event in stream {
          events.append(event)
          if isComplete(events) { break }
        }
        return events
      }
      group.addTask {
        try? await Task.sleep(for: limit)
        return nil
      }
      var result: [WatchEvent] = []
      for try await finished in group {
        if let finished {
          result = finished
          group.cancelAll()
          break
        }
        // Time is up: the reader ends, with what it has, because its task is cancelled.
        group.cancelAll()
      }
      return result
    }
  }
}

extension WatchEvent {
  var isChange: Bool {
    switch self {
    case .put, .delete: true
    case .progress, .compacted: false
    }
  }

  var changedKey: String? {
    switch self {
    case .put(let item): item.key
    case .delete(let key, _): key
    case .progress, .compacted: nil
    }
  }

  var revision: Revision {
    switch self {
    case .put(let item): item.modRevision
    case .delete(_, let revision), .progress(let revision), .compacted(let revision): revision
    }
  }
}

extension Coordinator {
  @discardableResult
  func put(_ key: String, _ value: [UInt8], lease: LeaseID? = nil) async throws -> Revision {
    let put = Transaction.Operation.put(key: key, value: value, lease: lease)
    return try await transact(Transaction(conditions: [], success: [put])).revision
  }

  @discardableResult
  func delete(_ key: String) async throws -> TransactionResult {
    try await transact(Transaction(conditions: [], success: [.delete(key)]))
  }

  func value(_ key: String) async throws -> [UInt8]? { try await get(key).item?.value }
}
