import Foundation
package import LoadModel

/// Runs of a scenario, one after the other, at one system.
package struct Measurement: Sendable {
  /// The closed loop of which an open one is a part.
  ///
  /// **Units**: seconds.
  private static let ceilingSeconds = 3.0

  private let target: any Target
  private let workers: [any LoadWorker]
  private let cluster: LocalCluster?
  private let sharesClock: Bool
  private let tell: @Sendable (String) -> Void
  private let isInterrupted: @Sendable () -> Bool

  package init(
    at target: any Target, workers: [any LoadWorker], cluster: LocalCluster?, sharesClock: Bool,
    tell: @escaping @Sendable (String) -> Void, isInterrupted: @escaping @Sendable () -> Bool
  ) {
    self.target = target
    self.workers = workers
    self.cluster = cluster
    self.sharesClock = sharesClock
    self.tell = tell
    self.isInterrupted = isInterrupted
  }

  /// **Throws**: `LoadError` when it cannot be run.
  package func measure(_ run: Run, of scenario: String) async throws -> RunResult {
    switch run.workload {
    case .traffic(let traffic):
      return try await trafficRun(run, traffic, scenario)
        .measure(ceiling: try await ceiling(for: traffic, run, scenario))
    case .quiet:
      var traffic = Traffic()
      traffic.sessions = 0
      traffic.conversations = 0
      traffic.senders = 0
      return try await trafficRun(run, traffic, scenario).measure(ceiling: nil)
    case .paging(let paging):
      return try await PagingRun(context: context(run, scenario), paging: paging).measure()
    case .syncing(let syncing):
      return try await SyncingRun(context: context(run, scenario), syncing: syncing).measure()
    }
  }

  private func context(_ run: Run, _ scenario: String) -> RunContext {
    RunContext(
      run: run, scenario: scenario, target: target, tell: tell, isInterrupted: isInterrupted)
  }

  private func trafficRun(
    _ run: Run, _ traffic: Traffic, _ scenario: String
  ) throws -> TrafficRun {
    try TrafficRun(
      context(run, scenario), traffic, workers: workers, cluster: cluster,
      sharesClock: sharesClock)
  }

  /// What 64 senders reach in a closed loop at this system.
  private func ceiling(
    for traffic: Traffic, _ run: Run, _ scenario: String
  ) async throws -> Double? {
    guard case .ofCeiling = traffic.pace else { return nil }
    var closed = Traffic()
    closed.users = 16
    var before = run
    before.name += ": the ceiling"
    before.actions = []
    before.warmupSeconds = 1
    before.seconds = Self.ceilingSeconds
    before.workload = .traffic(closed)
    let result = try await trafficRun(before, closed, scenario).measure(ceiling: nil)
    tell("64 senders reach \(Int(result.acknowledgedPerSecond)) acknowledged/s")
    return result.acknowledgedPerSecond
  }
}
