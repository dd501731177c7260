import Testing

extension RealProcesses {
  /// Processes that die or stand still while people talk (promises P1, P2 and P5).
  @Suite struct FaultTests {
    /// How long a conversation may be without an answer when its leader is killed.
    private static let pauseMax = Duration.seconds(10)
    /// Long enough for the others to suspect a leader that stands still.
    private static let standstill = Duration.seconds(5)

    /// A cluster and people who talk, for `body`.
    private func underLoad(
      sourceLocation: SourceLocation = #_sourceLocation,
      _ shape: ClusterLayout.Shape = .processes(shards: 3, gateways: 2),
      _ body: (Cluster, Workload) async throws -> Void
    ) async throws {
      try await Cluster.with(shape, sourceLocation: sourceLocation) { cluster in
        try await Workload.run(on: cluster) { workload in try await body(cluster, workload) }
      }
    }

    @Test func eachShardInTurnIsKilledAndComesBack() async throws {
      try await underLoad { cluster, workload in
        for shard in cluster.layout.shards {
          try await cluster.kill(shard)
          try await workload.progress(by: 40)
          try cluster.start(shard)
          try await cluster.waitUntilWhole()
          try await workload.progress(by: 40)
        }
      }
    }

    @Test func aKilledLeaderHoldsItsConversationsUpOnlyBriefly() async throws {
      try await underLoad { cluster, workload in
        let busy = workload.conversations[0]
        let leader = try await cluster.leader(of: busy)
        let fault = ContinuousClock.now
        try await cluster.kill(leader)
        for conversation in workload.conversations {
          try await workload.progress(by: 20, in: conversation)
        }
        let pause = workload.longestPause(in: busy, since: fault)
        print("after the death of \(leader), the leader, nothing was answered for \(pause)")
        try #require(pause < Self.pauseMax)
        let successor = try await cluster.leader(of: busy)
        try #require(successor != leader)
        try cluster.start(leader)
        try await cluster.waitUntilWhole()
      }
    }

    @Test func eachGatewayInTurnIsKilledAndItsClientsGoOnThroughTheOther() async throws {
      try await underLoad { cluster, workload in
        for gateway in cluster.layout.gateways {
          try await cluster.kill(gateway)
          try await workload.progress(by: 60)
          try cluster.start(gateway)
          try await cluster.waitUntilReady(gateway)
          try await workload.progress(by: 40)
        }
      }
    }

    @Test func withoutTheCoordinatorEverybodyGoesOn() async throws {
      try await underLoad { cluster, workload in
        try await cluster.kill("etcd")
        try await workload.progress(by: 200)
        try cluster.start("etcd")
        try await cluster.waitUntilReady("etcd")
        try await cluster.waitUntilWhole()
        // What needs the coordinator works again.
        let leader = try await cluster.leader(of: workload.conversations[0])
        try await cluster.kill(leader)
        try await workload.progress(by: 20, in: workload.conversations[0])
        try cluster.start(leader)
        try await cluster.waitUntilWhole()
      }
    }

    @Test func everythingIsKilledAtOnceAndComesBack() async throws {
      try await underLoad { cluster, workload in
        try await cluster.kill(cluster.layout.nodes)
        try await cluster.startAll()
        try await workload.progress(by: 100)
      }
    }

    /// It must not take anything for its own any more when it wakes up.
    @Test func aLeaderThatStandsStillForAWhileBreaksNothing() async throws {
      try await underLoad { cluster, workload in
        let busy = workload.conversations[0]
        let leader = try await cluster.leader(of: busy)
        let fault = ContinuousClock.now
        try cluster.pause(leader)
        try await workload.progress(by: 20, in: busy)
        let pause = workload.longestPause(in: busy, since: fault)
        print("after \(leader), the leader, stood still, nothing was answered for \(pause)")
        try await Task.sleep(until: fault + Self.standstill)
        try cluster.resume(leader)
        try await workload.progress(by: 20, in: busy)
        try await cluster.waitUntilWhole()
        try await workload.progress(by: 40)
      }
    }

    @Test func anEmbeddedClusterIsKilledAndKeepsWhatItHasAcknowledged() async throws {
      try await underLoad(.embedded) { cluster, workload in
        try await cluster.kill("embedded")
        try await cluster.startAll()
        try await workload.progress(by: 60)
      }
    }
  }
}
