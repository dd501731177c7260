import ChatCore
import ChatModel
import NodeProtocol
import Primitives

/// Holds a partition, which cannot be copied, where a test's values are copied and looked at.
final class PartitionBox {
  private var value: ChatPartition

  init(
    cacheBytesMax: Int = ChatCoreLimits.cacheBytesDefault, state: MemoryState
  ) throws(StateReadError) {
    value = try ChatPartition(
      partition: PartitionID(7), cacheBytesMax: cacheBytesMax, state: state)
  }

  var appliedIndex: LogIndex { value.appliedIndex }
  var generation: UInt32 { value.generation }
  var level: UInt32 { value.level }
  var splitPosition: LogIndex { value.splitPosition }
  var position: LogIndex { value.position }
  var rollingHash: UInt64 { value.rollingHash }
  var lastStamp: WallTime { value.lastStamp }
  var outbox: Outbox { value.outbox }
  var entriesSinceCheckpoint: Int { value.entriesSinceCheckpoint }
  var overlayBytes: Int { value.overlayBytes }
  var cacheBytes: Int { value.cacheBytes }

  func apply(
    index: LogIndex, payload: [UInt8], state: MemoryState, into output: inout ApplyOutput
  ) throws(ApplyError) {
    try value.apply(index: index, payload: payload, state: state, into: &output)
  }

  func answer(_ query: Query, state: MemoryState) throws(StateReadError) -> QueryAnswer {
    try value.answer(query, state: state)
  }

  func lastChange(of entity: EntityID, state: MemoryState) throws(StateReadError) -> LogIndex? {
    try value.lastChange(of: entity, state: state)
  }

  func beginCheckpoint() -> Checkpoint { value.beginCheckpoint() }

  func beginSplit(upper: ClosedRange<Token>) -> (lower: Checkpoint, upper: Checkpoint) {
    value.beginSplit(upper: upper)
  }

  func checkpointWritten() { value.checkpointWritten() }
}
