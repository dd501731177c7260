import ClusterModel
import HashRing
import Primitives
import RingControl

func store(_ number: Int) -> StoreID { StoreID(UInt64(number)) }

func member(_ number: Int, weight: UInt32 = 1, zone: String = "") -> RingMember {
  RingMember(store: store(number), name: "shard\(number)", weight: weight, zone: zone)
}

func node(_ number: Int, weight: UInt32 = 1, zone: String = "") -> NodeRecord {
  NodeRecord(
    name: "shard\(number)", role: .shard, store: store(number), boot: BootID(1),
    laneAddresses: [], operatorAddress: nil, publicURLs: [], zone: zone, weight: weight,
    protocolVersion: 1)
}

/// A ring with the coordinator played by the test.
struct RingFixture {
  let scheme: PartitionScheme
  var ring: RingRecord
  var records: [PartitionRecord]
  var revisions: [Int64]
  var ringRevision: Int64 = 1
  var lastRevision: Int64 = 1
  var registered: [NodeRecord]

  init(members: Int, partitions: UInt32 = 256, replicas: Int = 3, registered: Int? = nil) {
    scheme = PartitionScheme(rootCount: partitions)
    ring = RingRecord(members: (1...members).map { member($0) })
    let nodes = ring.members.map { RingNode(store: $0.store, name: $0.name) }
    guard
      let placement = try? Ring(nodes: nodes).placement(partitions: partitions, replicas: replicas)
    else { preconditionFailure("no ring of \(members) members") }
    records = placement.map { set in
      var record = PartitionRecord(initialOwners: set.stores)
      record.epoch = Epoch(1)
      record.leaderBoot = BootID(1)
      return record
    }
    revisions = Array(repeating: 1, count: records.count)
    self.registered = (1...(registered ?? members)).map { node($0) }
  }

  var targets: [[StoreID]] { records.map { $0.target.map(\.store) } }

  func plan(_ edit: RingEdit, minInSync: Int = 2) throws(RingEditError) -> RingPlan {
    try RingPlan(
      edit, of: ring, scheme: scheme, targets: targets, replicaCount: min(3, ring.members.count),
      minInSync: minInSync, registered: registered, now: WallTime(milliseconds: 7))
  }

  mutating func apply(_ edit: RingEdit) throws(RingEditError) {
    write(try plan(edit).record)
  }

  mutating func write(_ record: RingRecord) {
    ring = record
    lastRevision += 1
    ringRevision = lastRevision
  }

  func show(_ controller: inout RingController) {
    controller.registeredStores(Set(registered.compactMap(\.store)))
    controller.ringObserved(ring, revision: Revision(ringRevision))
    for (number, record) in records.enumerated() {
      controller.recordObserved(
        PartitionID(UInt32(number)),
        VersionedRecord(record: record, revision: Revision(revisions[number])))
    }
  }

  /// **Returns**: whether it was written.
  @discardableResult
  mutating func carryOut(_ action: RingControlAction) -> Bool {
    switch action {
    case .retarget(let partition, let record, let base, let wantedIn):
      guard wantedIn == Revision(ringRevision) else { return false }
      let number = Int(partition.rawValue)
      guard Revision(revisions[number]) == base else { return false }
      change(number) { $0 = record }
    case .finish(let record, let base):
      guard Revision(ringRevision) == base else { return false }
      write(record)
    }
    return true
  }

  mutating func change(_ number: Int, _ body: (inout PartitionRecord) -> Void) {
    body(&records[number])
    lastRevision += 1
    revisions[number] = lastRevision
  }

  /// Makes the record of the half that is cut off next, as its leader does.
  func half(of number: Int) -> (partition: PartitionID, record: PartitionRecord) {
    let record = records[number]
    return (
      scheme.half(of: PartitionID(UInt32(number)), level: ring.wantedLevel),
      record.cutOff(after: LogIndex(9), holders: record.inSync, limit: 0)
    )
  }

  /// What a leader does with its partition, one step.
  mutating func lead(_ number: Int) {
    let present = Set(registered.compactMap(\.store))
    let record = records[number]
    let learner = record.target.first {
      !record.inSync.contains($0) && present.contains($0.store)
    }
    if let learner {
      return change(number) { $0.inSync = ($0.inSync + [learner]).sorted() }
    }
    guard record.target.allSatisfy({ record.inSync.contains($0) }) else { return }
    if record.leader != record.target[0] {
      return change(number) {
        $0.leader = $0.target[0]
        $0.epoch = $0.epoch.successor
      }
    }
    if let leaving = record.inSync.first(where: { !record.target.contains($0) }) {
      change(number) { $0.inSync.removeAll { $0 == leaving } }
    }
  }
}
