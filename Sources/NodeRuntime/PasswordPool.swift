import Credentials
import NIOCore
import NIOPosix
import Synchronization

/// Hashes and checks passwords on threads of its own, a bounded number at a time, so that logins
/// are no denial of service.
///
/// **Isolation**: any event loop.
final class PasswordPool: Sendable {
  /// Logins and registrations that wait. At 30 ms each on one thread, the last waits about 2 s.
  static let waitingMax = 64

  private let pool: NIOThreadPool
  private let waiting = Atomic<Int>(0)

  init(threads: Int) {
    pool = NIOThreadPool(numberOfThreads: threads)
    pool.start()
  }

  func stop() async { try? await pool.shutdownGracefully() }

  /// **Returns**: `nil` when too many wait.
  func hash(_ password: String, on eventLoop: any EventLoop) -> EventLoopFuture<String>? {
    run(on: eventLoop) {
      try PasswordHash.hash(password, salt: SecureRandom.bytes(PasswordHash.saltBytes))
    }
  }

  /// Checks against `stored`, or takes the same time for nothing when there is no account.
  /// **Returns**: `nil` when too many wait.
  func verify(
    _ password: String, stored: String?, on eventLoop: any EventLoop
  ) -> EventLoopFuture<Bool>? {
    run(on: eventLoop) {
      guard let stored else {
        try PasswordHash.verifyDummy(password)
        return false
      }
      return try PasswordHash.verify(password, stored)
    }
  }

  private func run<Value: Sendable>(
    on eventLoop: any EventLoop, _ work: @escaping @Sendable () throws -> Value
  ) -> EventLoopFuture<Value>? {
    guard waiting.add(1, ordering: .relaxed).newValue <= Self.waitingMax else {
      waiting.subtract(1, ordering: .relaxed)
      return nil
    }
    return pool.runIfActive(eventLoop: eventLoop) {
      defer { self.waiting.subtract(1, ordering: .relaxed) }
      return try work()
    }
  }
}
