import ClusterModel
import NodeRuntime
import Primitives
import Testing

@Suite struct RingStatusTests {
  private let stores = [StoreID(1), StoreID(2), StoreID(3)]

  private func node(_ number: Int, boot: UInt64 = 7) -> NodeRecord {
    NodeRecord(
      name: "shard\(number)", role: .shard, store: stores[number - 1], boot: BootID(boot),
      laneAddresses: [NodeAddress(host: "127.0.0.1", port: UInt16(7_100 + number))],
      operatorAddress: nil, publicURLs: [], zone: "", weight: 100, protocolVersion: 1)
  }

  /// Led by the first store, all in sync.
  private var record: PartitionRecord {
    var record = PartitionRecord(initialOwners: stores)
    record.epoch = Epoch(1)
    record.leaderBoot = BootID(7)
    return record
  }

  private func status(
    _ records: [PartitionRecord], nodes: [NodeRecord]? = nil, partitionCount: UInt32? = nil
  ) -> RingStatus {
    RingStatus(
      cluster: ClusterRecord(
        clusterID: 1, partitionCount: partitionCount ?? UInt32(records.count), replicaCount: 3),
      nodes: nodes ?? [node(1), node(2), node(3)],
      records: records.enumerated().map { (PartitionID(UInt32($0)), $1) })
  }

  @Test func `A led partition whose target is in sync is whole`() {
    let status = status([record, record])
    #expect(status.partitions.map(\.state) == [.whole, .whole])
    #expect(status.isWhole)
  }

  @Test func `Nobody leads before the first promotion`() {
    let status = status([PartitionRecord(initialOwners: stores)])
    #expect(status.partitions.map(\.state) == [.leaderless])
    #expect(!status.isWhole)
  }

  @Test func `A leader that is another process now, or not registered, does not lead`() {
    #expect(status([record], nodes: [node(1, boot: 8), node(2), node(3)]).count(.leaderless) == 1)
    #expect(status([record], nodes: [node(2), node(3)]).count(.leaderless) == 1)
  }

  @Test func `A target that is not in sync, or not registered, makes it incomplete`() {
    var shrunk = record
    shrunk.inSync.removeLast()
    #expect(status([shrunk]).count(.incomplete) == 1)
    #expect(status([record], nodes: [node(1), node(2)]).count(.incomplete) == 1)
  }

  @Test func `With fewer in sync than commands need it is below the minimum`() {
    var lonely = record
    lonely.inSync = [lonely.leader]
    #expect(status([lonely]).count(.belowMinimum) == 1)
  }

  @Test func `A missing record is no whole ring`() {
    let status = status([record], partitionCount: 2)
    #expect(!status.isWhole)
    #expect(status.table().contains("records missing: 1"))
  }

  @Test func `The table shows partitions that are alike in one line`() {
    var other = record
    other.epoch = Epoch(4)
    let table = status([record, other]).table()
    #expect(table.contains("partitions: 2 whole"))
    #expect(
      table.hasSuffix(
        """
        PARTITIONS  LEADER  EPOCH  IN SYNC               TARGET                STATE
        2           shard1  e1-e4  shard1 shard2 shard3  shard1 shard2 shard3  whole

        """))
    #expect(status([record, other]).table(listsAll: true).contains("p1          shard1  e4"))
  }

  @Test func `The JSON names nodes, and gives ids to stores that are gone`() {
    let json = status([record], nodes: [node(1), node(2)]).json
    #expect(json.hasPrefix("{\"whole\":false,"))
    #expect(json.contains("\"state\":\"incomplete\",\"leader\":\"shard1\",\"epoch\":\"1\""))
    #expect(json.contains("\"target\":[\"shard1\",\"shard2\",\"\(stores[2])\"]"))
  }
}
