import Logging
import Primitives
import ReplicaCore
import ShardCore

extension ShardLane {
  /// Writes a line for operators.
  func write(_ note: ShardNote) {
    switch note {
    case .becameLeader(let partition, let epoch):
      logger.info("leads", metadata: ["partition": "\(partition)", "epoch": "\(epoch)"])
    case .steppedDown(let partition, let epoch):
      logger.info("leads no more", metadata: ["partition": "\(partition)", "epoch": "\(epoch)"])
    case .replicaStopped(let partition, let why):
      if case .damaged = why { noteDamage() }
      if case .stateDiffers = why {
        logger.critical(
          "the state differs from the leader's: one of the two is wrong, and this one stops",
          metadata: ["partition": "\(partition)"])
      }
      logger.log(
        level: why == .removed ? .info : .error, "a replica stopped",
        metadata: ["partition": "\(partition)", "why": "\(why)"])
    case .peerSuspected(let store):
      logger.warning("a peer is silent or gone", metadata: ["store": "\(store)"])
    case .peerReachable(let store):
      logger.info("a peer is back", metadata: ["store": "\(store)"])
    case .storageStalled:
      logger.error("the store takes too long to write; others are asked to lead")
    case .storageRecovered:
      logger.info("the store writes again")
    case .clockDisagrees(let milliseconds):
      logger.error(
        "the clock differs from those of most peers; this store does not lead",
        metadata: ["milliseconds": "\(milliseconds)"])
    case .pausedFor(let pause):
      logger.warning("the process stood still", metadata: ["milliseconds": "\(pause.rawValue)"])
    case .snapshotBegun(let partition, let replica, let through):
      logger.info(
        "sends a snapshot",
        metadata: ["partition": "\(partition)", "to": "\(replica)", "through": "\(through)"])
    case .snapshotInstalled(let partition, let through):
      logger.info(
        "installed a snapshot",
        metadata: ["partition": "\(partition)", "through": "\(through)"])
    case .snapshotNotInstalled(let partition):
      logger.error("a snapshot was not installed", metadata: ["partition": "\(partition)"])
    case .partitionCut(let partition, let half, let through):
      logger.info(
        "cut a partition in two",
        metadata: [
          "partition": "\(partition)", "half": "\(half)", "through": "\(through)",
        ])
    case .replicaSetAside(let partition, let replica):
      logger.warning(
        "a leader was forced; what this store has of the partition from before is set aside",
        metadata: ["partition": "\(partition)", "replica": "\(replica)"])
    case .replicaReplaced(let partition, let old, let new):
      logger.warning(
        "a fresh replica takes the place of an earlier one",
        metadata: ["partition": "\(partition)", "old": "\(old)", "new": "\(new)"])
    case .replicaNotCreated(let partition, let error):
      logger.error(
        "no replica was made", metadata: ["partition": "\(partition)", "why": "\(error)"])
    }
  }
}
