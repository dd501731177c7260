import ClusterModel
import NodeProtocol
import Primitives
import ReplicaCore

/// Something that will happen in a walk. `life` names one replica value: what was meant for an
/// earlier one comes to nothing.
enum Happening {
  case tick(store: Int, life: Int)
  case delivered(ReplicaMessage, connection: Int)
  case synced(store: Int, life: Int, ticket: UInt64)
  case storageFailed(store: Int, life: Int)
  case applied(store: Int, life: Int, through: LogIndex)
  case loaded(store: Int, life: Int, replica: ReplicaID, from: LogIndex, entries: [Entry])
  case chunkRead(store: Int, life: Int, replica: ReplicaID, number: UInt64, SnapshotChunk?)
  case prepared(store: Int, life: Int, InstallationID, Preparation)
  case recordSeen(store: Int, VersionedRecord)
  case recordAsked(store: Int, boot: BootID)
  case changeArrived(Int)
  case changeAnswered(store: Int, life: Int, base: Revision, ChangeOutcome)
  case readArrived(store: Int, life: Int, ticket: UInt64)
  case readAnswered(store: Int, life: Int, ticket: UInt64, VersionedRecord?)
  case reachabilitySeen(store: Int)
  case restartAnnounced(store: Int, of: Int, boot: BootID)
  case linkReset(store: Int, other: Int)
  case barrierDue(store: Int, life: Int)
  case proposed, readRequested, faulted, inspected
  case restarted(store: Int)
  case resumed(store: Int)
  case healed(from: Int, to: Int)
  case coordinatorHealed
  case mayLead(store: Int)
  case rebuilt(store: Int)

  /// What came of a step of preparing a state.
  enum Preparation { case written, ready, failed }

  /// The store that must be running for it to happen, when there is one.
  var store: Int? {
    switch self {
    case .tick(let store, _), .synced(let store, _, _), .storageFailed(let store, _),
      .applied(let store, _, _), .loaded(let store, _, _, _, _),
      .chunkRead(let store, _, _, _, _), .prepared(let store, _, _, _), .recordSeen(let store, _),
      .recordAsked(let store, _), .changeAnswered(let store, _, _, _),
      .readAnswered(let store, _, _, _), .reachabilitySeen(let store),
      .restartAnnounced(let store, _, _), .linkReset(let store, _), .barrierDue(let store, _),
      .mayLead(let store):
      store
    case .delivered(let message, _): RandomWalk.position(of: message.to.store)
    default: nil
    }
  }
}
