import Foundation
import Testing

extension RealProcesses {
  /// etcd comes back with what it was some time ago: what was decided since would be undone.
  @Suite struct CoordinatorBackupTests {
    @Test func nobodyFollowsAnEtcdThatWasRestoredFromAnOldBackup() async throws {
      try await Cluster.with { cluster in
        try await Workload.run(on: cluster) { workload in
          try await workload.progress(by: 40)
          try await exchange(cluster, backup: "-old", restoring: nil)
          try await workload.progress(by: 40)
          // Something is decided that the backup does not know.
          try await cluster.kill("shard3")
          try await eventually("a ring without shard3", within: .seconds(60)) {
            try await cluster.ring().partitions.allSatisfy { $0.inSync.count == 2 }
          }
          try await workload.progress(by: 40)

          try await exchange(cluster, backup: "-new", restoring: "-old")
          for node in ["shard1", "shard2", "gateway1", "gateway2"] {
            let ending = try await cluster.waitUntilEnded(node)
            #expect(ending == .exited(78), "\(node)")
            let said = try Program.text(cluster.layout.log(node))
            #expect(said.contains("not the service seen before, or it has forgotten"), "\(node)")
          }
          // Nor does one that starts now; the one that was left out least of all.
          try cluster.start("shard1")
          #expect(try await cluster.waitUntilEnded("shard1") == .exited(78))

          try await exchange(cluster, backup: "-old", restoring: "-new")
          try await cluster.startAll()
          try await workload.progress(by: 40)
        }
      }
    }

    /// Stops etcd, keeps its data under one name, and starts it with what is kept under another, or
    /// with what it has.
    private func exchange(_ cluster: Cluster, backup: String, restoring other: String?) async throws
    {
      let (files, data) = (FileManager.default, cluster.layout.data("etcd"))
      try await cluster.kill("etcd")
      if let other {
        try files.moveItem(atPath: data, toPath: data + backup)
        try files.moveItem(atPath: data + other, toPath: data)
      } else {
        try files.copyItem(atPath: data, toPath: data + backup)
      }
      try cluster.start("etcd")
      try await cluster.waitUntilReady("etcd")
    }
  }
}
