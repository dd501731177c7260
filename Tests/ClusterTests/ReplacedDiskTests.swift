import Foundation
import Testing

extension RealProcesses {
  /// Disks that are gone for good, and shards that take their place.
  @Suite struct ReplacedDiskTests {
    private func replace(
      _ shard: String, _ cluster: Cluster, _ more: [String] = []
    ) async throws -> Program.Outcome {
      try await Program.martlet(
        ["ring", "replace", "--shard", shard] + more + cluster.layout.ringSource)
    }

    /// Kills shards, deletes what they held, and starts them anew.
    private func loseDisks(of shards: [String], _ cluster: Cluster) async throws {
      try await cluster.kill(shards)
      for shard in shards {
        try FileManager.default.removeItem(atPath: cluster.layout.data(shard))
      }
      try await cluster.waitUntilUnregistered(shards)
      try cluster.start(shards)
      try await eventually("the registration of \(shards)") {
        let names = try await cluster.ring().nodes.map(\.name)
        return shards.allSatisfy { names.contains($0) }
      }
    }

    @Test func aShardWithANewDiskLearnsEverythingWhilePeopleTalk() async throws {
      try await Cluster.with { cluster in
        try await Workload.run(on: cluster) { workload in
          try await workload.progress(by: 40)
          let nothing = try await replace("shard2", cluster)
          #expect(nothing.ending == .exited(78))
          #expect(nothing.error.contains("nothing to replace"), "\(nothing)")
          try await loseDisks(of: ["shard2"], cluster)
          try await workload.progress(by: 40)
          let unknown = try await replace("shard9", cluster)
          #expect(unknown.error.contains("allowed is a shard that is registered: shard1"))
          let replaced = try await replace("shard2", cluster)
          try #require(replaced.ending == .exited(0), "\(replaced)")
          #expect(replaced.output.hasSuffix(" in \(ClusterLayout.partitionCount) partitions\n"))
          try await cluster.waitUntilWhole()
          try await workload.progress(by: 40)
        }
      }
    }

    /// The one that is left has everything and cannot be in sync alone.
    @Test func twoOfThreeDisksMayGoWhenTheThirdWasInSync() async throws {
      try await Cluster.with { cluster in
        try await Workload.run(on: cluster) { workload in
          try await workload.progress(by: 40)
          try await loseDisks(of: ["shard2", "shard3"], cluster)
          let unclear = try await replace("shard2", cluster)
          #expect(unclear.ending == .exited(78))
          #expect(
            unclear.error.contains("--store is missing; allowed is one that is not registered"))
          let nodes = Set(cluster.layout.shards)
          let owners = Set(try await cluster.ring().partitions.flatMap(\.target))
          let gone = owners.subtracting(nodes).sorted()
          try #require(gone.count == 2)
          for (shard, store) in zip(["shard2", "shard3"], gone) {
            let replaced = try await replace(shard, cluster, ["--store", store])
            try #require(replaced.ending == .exited(0), "\(replaced)")
          }
          try await cluster.waitUntilWhole()
          try await workload.progress(by: 40)
        }
      }
    }
  }
}
