import ChatCore
import ClusterModel
import GatewayCore
import NodeProtocol
import Primitives
import ReplicaCore
import ShardCore

/// A process of the cluster.
enum Node: Hashable {
  case shard(Int)
  case gateway(Int)
}

/// A direction between two processes, each by its number: gateways count from 100.
struct NodePair: Hashable, Comparable {
  let from: Int
  let to: Int

  static func < (left: Self, right: Self) -> Bool { (left.from, left.to) < (right.from, right.to) }
}

/// What the committer was given and has not finished.
enum PendingSync {
  case writes([DiskWrite])
  case checkpoint(PartitionID, ReplicaID, Checkpoint, commitIndex: LogIndex)
  case cut(ShardCut)
  case truncation(PartitionID, ReplicaID, base: EntryID)
  case forgetting(PartitionID, ReplicaID)
}

/// A shard: a process that comes and goes, and a disk that stays until it is wiped.
final class SimulatedShard {
  let number: Int
  var id: StoreID
  var disk = SimulatedDisk()
  var process: ShardProcess?
  var isRunning: Bool { process != nil }
  var boot = BootID.none
  /// Counts processes: what was meant for an earlier one comes to nothing.
  var life = 0
  var wasMadeAnew = false

  /// As far as it knows, it controls the ring.
  var role: SimulatedRole?

  var isPaused = false
  /// What happened while the process was paused.
  var deferred: [SimulatedCluster.Happening] = []
  /// What its clock says beyond virtual time: milliseconds, and how many parts per million fast.
  var clockOffset: Int64 = 0
  var clockDrift: Int64 = 0
  /// The same of all its clocks, from the beginning to the end.
  var ownDrift: Int64 = 0

  var batch: [DiskWrite] = []
  var isTurnScheduled = false
  var syncs: [(sync: PendingSync, since: UInt64)] = []
  var lastSyncAt: UInt64 = 0
  /// No sync ends before then.
  var stalledUntil: UInt64 = 0
  var failsNextSync = false
  /// Which connection, and which end of it, link n is: at n - 1.
  var linkEnds: [(connection: Int, end: Int)] = []

  init(number: Int, id: StoreID) {
    self.number = number
    self.id = id
  }
}

extension SimulatedShard {
  /// Its partitions, where they lie.
  var hosts: [PartitionHost] { process?.core.inspected ?? [] }
}

/// What a shard's process has in memory: an object, so that it is changed where it lies.
final class ShardProcess {
  var core: ShardCore

  init(_ core: consuming ShardCore) { self.core = core }
}

final class SimulatedGateway {
  let number: Int
  var core: GatewayCore?
  var isRunning = false
  var life = 0
  var isPaused = false
  var isDraining = false
  var deferred: [SimulatedCluster.Happening] = []
  /// Which client an open session or call belongs to, and which of its connections.
  var sessions: [SessionID: (client: Int, connection: Int)] = [:]
  var calls: [CallID: Int] = [:]
  var lastSession: UInt64 = 0
  var links: [StoreID: Int] = [:]
  /// How many parts per million its clock is fast.
  var ownDrift: Int64 = 0

  init(number: Int) { self.number = number }
}

/// A stream between two processes: ordered by priority, reliable until it breaks.
struct Connection {
  /// Who dialed; a shard's end has a link id, a gateway knows the store.
  let ends: [Node]
  let links: [LinkID]
  var isOpen = true
  /// By direction and priority: a frame is never before one of the same or a higher priority.
  var lastArrivals: [UInt64] = Array(repeating: 0, count: 2 * LinkFrame.Priority.allCases.count)
  /// What is held up by a cut, by direction.
  var held: [[LinkFrame]] = [[], []]
  /// Added to the delay of each frame. Microseconds.
  var slowness = 0
}
