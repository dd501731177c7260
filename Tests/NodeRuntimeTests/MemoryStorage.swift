import Coordination
import NIOPosix
import Synchronization

/// Keeps everything while it lives.
final class MemoryStorage: DurableKeyValue {
  private let items = Mutex<[[UInt8]: [UInt8]]>([:])

  func load() throws -> [(key: [UInt8], value: [UInt8])] {
    items.withLock { $0.map { (key: $0.key, value: $0.value) } }
  }

  func write(_ changes: [(key: [UInt8], value: [UInt8]?)]) throws {
    items.withLock { for (key, value) in changes { $0[key] = value } }
  }
}

extension EmbeddedCoordinator {
  /// One that forgets everything with the test.
  static func inMemory() throws -> EmbeddedCoordinator {
    EmbeddedCoordinator(
      service: try EmbeddedService(
        storage: MemoryStorage(), newServiceID: 1,
        eventLoop: MultiThreadedEventLoopGroup.singleton.next()))
  }
}
