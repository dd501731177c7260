import ChatModel
import ClusterModel
import NodeProtocol
import Primitives
import ReplicaCore
import Simulation
import Testing
import WalkSupport

@testable import ShardCore

/// Shards whose logs are kept short, and replicas that come when most of it is gone.
@Suite struct SnapshotTests {
  private let partition = PartitionID(0)

  /// Stores 1 and 2 hold the partition, store 3 does not; 400 messages in 40 conversations.
  private func rig(configure: @escaping (inout ShardConfiguration) -> Void = { _ in }) -> ShardRig {
    var rig = ShardRig(stores: 3, partitions: 1, owners: [0: [0, 1]]) {
      $0.checkpointEntries = 10
      $0.checkpointInterval = 100
      $0.logEntriesMax = 40
      $0.replica.chunkBytesMax = 500
      configure(&$0)
    }
    let gateway = rig.openGateway(to: 0)
    let ada = rig.ring.user(1, in: 0)
    rig.run(milliseconds: 300)
    for number in 1...40 {
      rig.command(
        group(rig.ring.conversation(number, in: 0), creator: ada, members: []), through: gateway)
    }
    rig.run(milliseconds: 100)
    for turn in 0..<100 {
      for number in 1...4 {
        let room = rig.ring.conversation(1 + (turn + number) % 40, in: 0)
        rig.command(send("\(turn) \(number)", to: room, by: ada), through: gateway)
      }
      rig.run(milliseconds: 10)
    }
    rig.run(milliseconds: 500)
    return rig
  }

  /// The partition is to live on all three.
  private func retarget(_ rig: inout ShardRig) {
    guard let known = rig.coordinator.records[partition] else { return }
    var record = known.record
    record.target.append(ReplicaID(store: store(3), number: record.nextReplica))
    record.nextReplica += 1
    _ = rig.coordinator.compareAndSet(partition, record, base: known.revision)
    for store in rig.stores.indices { rig.announceRecords(to: store) }
  }

  private func isInSync(_ rig: ShardRig) -> Bool {
    let record = rig.coordinator.records[partition]?.record
    return record?.inSync.contains { $0.store == store(3) } ?? false
  }

  private func joins(
    _ rig: inout ShardRig, within milliseconds: Int,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let hasJoined = rig.run(upTo: milliseconds) { isInSync($0) }
    #expect(hasJoined, sourceLocation: sourceLocation)
  }

  private func installed(_ rig: ShardRig, on store: Int) -> Int {
    rig.notes.count { note in
      if case .snapshotInstalled = note.note { note.store == store } else { false }
    }
  }

  private func begun(_ rig: ShardRig) -> Int {
    rig.notes.count { if case .snapshotBegun = $0.note { true } else { false } }
  }

  private func checkEqual(_ rig: ShardRig) {
    let hosts = rig.stores.flatMap(\.hosts)
    #expect(hosts.count == 3)
    #expect(Set(hosts.map(\.standing.appliedIndex)).count == 1)
    #expect(Set(hosts.map(\.rollingHash)).count == 1)
    for store in rig.stores { #expect(store.disk.violation == nil) }
  }

  @Test func `a log is kept short, on the leader and on its followers`() {
    let rig = rig()
    for store in rig.stores.prefix(2) {
      let host = store.hosts[0]
      let last = host.visit { $0.lastEntry.index }
      let base = host.visit { $0.baseEntry.index }
      #expect(last.rawValue > 100 && last - base <= 50, "\(base) to \(last)")
    }
  }

  @Test func `while a node may not know snapshots, logs keep their beginning`() {
    var rig = rig { $0.activeVersion = ProtocolVersion.snapshots - 1 }
    let host = rig.stores[0].hosts[0]
    let begins = { host.visit { $0.baseEntry.index } }
    #expect(begins() == .zero)
    retarget(&rig)
    joins(&rig, within: 5_000)
    #expect(begun(rig) == 0)
    for store in rig.stores.indices {
      rig.input(store) { core, _, _ in core.versionActivated(ProtocolVersion.snapshots) }
    }
    let gateway = rig.openGateway(to: 0)
    for number in 0..<20 {
      let room = rig.ring.conversation(7, in: 0)
      rig.command(send("m\(number)", to: room, by: rig.ring.user(1, in: 0)), through: gateway)
      rig.run(milliseconds: 50)
    }
    #expect(begins() > LogIndex(40))
  }

  @Test func `a replica that comes late gets the state, then the log, and joins`() {
    var rig = rig()
    retarget(&rig)
    joins(&rig, within: 5_000)
    rig.run(milliseconds: 200)
    #expect(installed(rig, on: 2) == 1 && begun(rig) == 1)
    checkEqual(rig)
    #expect(rig.stores[0].core?.snapshots.isEmpty ?? false, "the frozen state is let go of")
    let gateway = rig.openGateway(to: 0)
    let room = rig.ring.conversation(7, in: 0)
    rig.command(send("after", to: room, by: rig.ring.user(1, in: 0)), through: gateway)
    rig.run(milliseconds: 300)
    checkEqual(rig)
  }

  @Test func `it goes on where it broke off when the link breaks`() {
    var rig = rig { $0.replica.chunkBytesMax = 60 }
    rig.delays.link = 5_000...5_000
    retarget(&rig)
    rig.run(milliseconds: 500)
    for _ in 0..<3 {
      #expect(!isInSync(rig))
      rig.resetLinks(0, 2)
      rig.run(milliseconds: 100)
    }
    joins(&rig, within: 20_000)
    #expect(begun(rig) == 1 && installed(rig, on: 2) == 1)
    rig.run(milliseconds: 200)
    checkEqual(rig)
  }

  @Test func `when its source dies the next leader gives it another`() {
    var rig = rig { $0.replica.chunkBytesMax = 60 }
    rig.delays.link = 5_000...5_000
    retarget(&rig)
    rig.run(milliseconds: 500)
    #expect(!isInSync(rig))
    rig.kill(0)
    rig.run(milliseconds: 3_000)
    rig.start(0)
    joins(&rig, within: 20_000)
    rig.run(milliseconds: 1_000)
    #expect(begun(rig) >= 2 && installed(rig, on: 2) == 1)
    checkEqual(rig)
  }

  @Test func `when the receiver dies before it has gone over it begins anew`() {
    var rig = rig { $0.replica.chunkBytesMax = 60 }
    rig.delays.link = 5_000...5_000
    retarget(&rig)
    rig.run(milliseconds: 500)
    rig.restart(2)
    joins(&rig, within: 20_000)
    rig.run(milliseconds: 200)
    #expect(installed(rig, on: 2) == 1)
    checkEqual(rig)
    // What it installed is there after a restart, too.
    rig.restart(2)
    rig.run(milliseconds: 2_000)
    checkEqual(rig)
  }

  @Test func `no more states than the bound are frozen at a time`() {
    var rig = rig { $0.snapshotsMax = 0 }
    retarget(&rig)
    rig.run(milliseconds: 3_000)
    #expect(!isInSync(rig) && begun(rig) == 0)
    #expect(rig.stores[0].core?.snapshots.isEmpty ?? false)
  }

  @Test func `the rate of learning holds for snapshots, too`() {
    var rig = rig { $0.replica.chunkBytesMax = 500 }
    for store in rig.stores.indices {
      rig.input(store) { core, _, _ in core.learning.bytesPerSecond = 4_000 }
    }
    let begunAt = rig.now
    retarget(&rig)
    joins(&rig, within: 60_000)
    let seconds = Double(rig.now - begunAt) / 1_000_000
    #expect(seconds > 1, "\(seconds) s")
  }

  @Test func `one that was away for long gets a snapshot under the id that it has`() {
    var rig = rig()
    retarget(&rig)
    joins(&rig, within: 5_000)
    rig.kill(2)
    rig.run(milliseconds: 5_000)
    #expect(!isInSync(rig))
    let gateway = rig.openGateway(to: 0)
    for turn in 0..<100 {
      let room = rig.ring.conversation(1 + turn % 40, in: 0)
      rig.command(send("away \(turn)", to: room, by: rig.ring.user(1, in: 0)), through: gateway)
      rig.run(milliseconds: 20)
    }
    rig.start(2)
    joins(&rig, within: 5_000)
    rig.run(milliseconds: 200)
    #expect(installed(rig, on: 2) == 2)
    checkEqual(rig)
  }
}
