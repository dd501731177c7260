import Coordination
import Credentials
import Dispatch
import Glibc
import Logging
import NIOCore
import NIOPosix
import NodeConfiguration
import Synchronization

/// Runs something until SIGTERM, SIGINT, or its own failure.
enum Service {
  /// - Parameters:
  ///   - start: is cancelled by the first signal when it has not returned yet.
  ///   - watch: throws when there is no point in going on.
  static func run<Running: Sendable>(
    _ logger: Logger, start: @escaping @Sendable () async throws -> Running,
    watch: @escaping @Sendable (Running) async throws -> Void,
    stop: @Sendable (Running) async -> Void
  ) async throws {
    let signals = StopSignals()
    let starting = Task { try await start() }
    let first = Task {
      let name = await signals.first()
      logger.info("stopping", metadata: ["signal": .string(name)])
      starting.cancel()
    }
    let running: Running
    do {
      running = try await starting.value
    } catch {
      // A start that a signal has cancelled ends as it was asked to.
      if signals.hasCome { return }
      throw error
    }
    let (ends, continuation) = AsyncStream.makeStream(of: (any Error)?.self)
    Task {
      await first.value
      continuation.yield(nil)
    }
    Task {
      do { try await watch(running) } catch { continuation.yield(error) }
    }
    for await failure in ends {
      if let failure { logger.error("cannot go on", metadata: ["why": "\(failure)"]) }
      await stop(running)
      if let failure { throw failure }
      return
    }
  }
}

/// SIGTERM and SIGINT: the first is told to whoever waits, the second ends the process at once.
private final class StopSignals: @unchecked Sendable {
  // Safety: nothing changes after `init`; the sources are only kept alive.

  private let names: AsyncStream<String>
  private let sources: [any DispatchSourceSignal]
  private let count: SignalCount

  init() {
    let (names, continuation) = AsyncStream.makeStream(of: String.self)
    let count = SignalCount()
    self.names = names
    self.count = count
    let queue = DispatchQueue(label: "signals")
    sources = [(SIGTERM, "SIGTERM"), (SIGINT, "SIGINT")].map { number, name in
      signal(number, SIG_IGN)
      let source = DispatchSource.makeSignalSource(signal: number, queue: queue)
      source.setEventHandler {
        if count.add() > 1 { _exit(128 + number) }
        continuation.yield(name)
      }
      source.resume()
      return source
    }
  }

  var hasCome: Bool { count.value > 0 }

  func first() async -> String {
    for await name in names { return name }
    return ""
  }
}

private final class SignalCount: Sendable {
  private let count = Mutex(0)

  var value: Int { count.withLock { $0 } }

  func add() -> Int {
    count.withLock {
      $0 += 1
      return $0
    }
  }
}

/// A connection to etcd for as long as something uses it.
enum EtcdConnection {
  static func use<Result: Sendable>(
    _ source: SettingSource, logger: Logger,
    _ body: (any Coordinator) async throws -> Result
  ) async throws -> Result {
    let configuration = try CoordinatorSettings(source)
      .configuration(jitterSeed: SecureRandom.uint64())
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let coordinator = try EtcdCoordinator(configuration, eventLoop: group.next(), logger: logger)
    do {
      let result = try await body(coordinator)
      await coordinator.shutDown()
      try? await group.shutdownGracefully()
      return result
    } catch {
      await coordinator.shutDown()
      try? await group.shutdownGracefully()
      throw error
    }
  }
}
