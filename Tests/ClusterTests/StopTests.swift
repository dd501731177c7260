import Testing

extension RealProcesses {
  /// SIGTERM while people talk: a node leaves in order and nobody misses anything.
  @Suite struct StopTests {
    /// What a node takes to leave at most, and a margin for a machine that is busy.
    private static let stopMax = Duration.seconds(10)

    private func stopped(
      _ shape: ClusterLayout.Shape = .processes(shards: 3, gateways: 2),
      sourceLocation: SourceLocation = #_sourceLocation,
      _ node: @Sendable (Cluster, Workload) async throws -> String
    ) async throws {
      try await Cluster.with(shape, sourceLocation: sourceLocation) { cluster in
        try await Workload.run(on: cluster) { workload in
          let node = try await node(cluster, workload)
          let start = ContinuousClock.now
          let ending = try await cluster.stop(node, within: Self.stopMax)
          let duration = ContinuousClock.now - start
          try #require(ending == .exited(0))
          if case .processes = shape {
            for conversation in workload.conversations {
              try await workload.progress(by: 20, in: conversation)
            }
          }
          let pause = workload.longestPause(in: workload.conversations[0], since: start)
          print("\(node) stopped in \(duration), and nothing was answered for \(pause)")
          try await cluster.startAll()
          try await workload.progress(by: 40)
        }
      }
    }

    @Test func aGatewayStopsAndItsClientsGoToTheOther() async throws {
      try await stopped { cluster, _ in cluster.layout.gateways[0] }
    }

    @Test func aShardThatLeadsStopsAndTheOthersTakeOver() async throws {
      try await stopped { cluster, workload in
        try await cluster.leader(of: workload.conversations[0])
      }
    }

    @Test func anEmbeddedClusterStopsAndGoesOn() async throws {
      try await stopped(.embedded) { _, _ in "embedded" }
    }
  }
}
