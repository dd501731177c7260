import ClusterModel
import NodeProtocol
import Primitives
import ReplicaCore

/// Holds a replica, which cannot be copied, where a test's values are copied and looked at.
final class ReplicaBox {
  var value: Replica

  init(
    partition: PartitionID, boot: BootID, recovered: RecoveredReplica,
    configuration: ReplicaConfiguration, seed: UInt64
  ) {
    value = Replica(
      partition: partition, boot: boot, recovered: recovered, configuration: configuration,
      seed: seed)
  }

  var id: ReplicaID { value.id }
  var boot: BootID { value.boot }
  var isLeader: Bool { value.isLeader }
  var stop: ReplicaStop? { value.stop }
  var lastEntry: EntryID { value.lastEntry }
  var durablyPromised: Epoch { value.durablyPromised }
  var record: VersionedRecord? { value.record }
  var epoch: Epoch { value.epoch }
  var acceptsCommands: Bool { value.acceptsCommands }
  var servesReads: Bool { value.servesReads }
  var isClosing: Bool { value.isClosing }
  var commitIndex: LogIndex { value.commitIndex }
  var appliedIndex: LogIndex { value.appliedIndex }
  var wakeAt: Instant { value.wakeAt }

  func entry(at index: LogIndex) -> Entry? { value.entry(at: index) }
}
