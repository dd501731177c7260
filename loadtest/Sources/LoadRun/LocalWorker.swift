package import LoadModel
import NIOCore
import NIOPosix

/// A worker in this process.
package actor LocalWorker: LoadWorker {
  /// For what is under way when nothing new is sent, and for listeners to hear it.
  private static let drainTimeout = Duration.seconds(20)
  private static let pollInterval = Duration.milliseconds(20)

  private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
  private var engine: TrafficEngine?

  package init() {}

  package func ask(_ request: WorkerRequest) async throws -> WorkerAnswer {
    switch request {
    case .connect(let plan):
      try FileDescriptors.check(sessions: plan.seats.count, workers: 1)
      let engine = try TrafficEngine(plan, on: group.next())
      self.engine = engine
      try await engine.connect()
      return .done
    case .start:
      try await on { $0.start() }
      return .done
    case .measure(let isOn):
      try await on { $0.measure(isOn) }
      return .done
    case .progress:
      let (counts, slice, failure) = try await on { ($0.counts, $0.lastSlice, $0.failure) }
      if let failure { return .failed(failure) }
      return .progress(counts, slice)
    case .stop:
      try await on { $0.stop() }
      let pending = try await wait { $0.pendingCount == 0 }
      return .stopped(
        try await on { engine in
          if !pending { engine.findings.unanswered += engine.pendingCount }
          return engine.acknowledgedTallies
        })
    case .settle(let expected):
      _ = try await wait { $0.hasHeard(expected) }
      let (heard, findings) = try await on { ($0.heard(), $0.findings) }
      return .settled(heard, findings)
    case .figures: return .figures(try await on { $0.takeFigures() })
    case .end:
      try await on { $0.end() }
      engine = nil
      return .done
    }
  }

  /// Ends the worker's thread.
  package func shutDown() async throws { try await group.shutdownGracefully() }

  private func on<Value: Sendable>(
    _ body: @escaping @Sendable (TrafficEngine) -> Value
  ) async throws -> Value {
    guard let engine else { throw LoadError("the worker has no sessions yet") }
    return try await engine.loop.submit { body(engine) }.get()
  }

  /// **Returns**: whether it became so in time.
  private func wait(
    until isReached: @escaping @Sendable (TrafficEngine) -> Bool
  ) async throws -> Bool {
    let end = ContinuousClock.now + Self.drainTimeout
    while ContinuousClock.now < end {
      if try await on(isReached) { return true }
      try await Task.sleep(for: Self.pollInterval)
    }
    return false
  }
}
