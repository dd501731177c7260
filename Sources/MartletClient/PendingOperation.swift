import ClientProtocol
import DequeModule
import Primitives

/// What the shell asks for, until it is answered.
struct PendingOperation {
  /// Names the operation to the shell, and to the gateway as its `ref`.
  let id: UInt64
  /// Grows with every submission: the order in which sends of a conversation go out.
  var order: UInt64 = 0
  let operation: ClientOperation
  let deadline: Instant
  /// Whether doing it twice is the same as doing it once.
  let isRepeatable: Bool
  /// It is the machine's own: a page of history for a gap.
  var isFill = false
  /// It was written to some connection, so it may have been done.
  var wasWritten = false
  /// It was written to this connection and not answered yet.
  var isInFlight = false
  /// Of a call; a conversation counts those of its sends together.
  var refusals = 0
  var retryAt = Instant.zero

  init(
    id: UInt64, operation: ClientOperation, deadline: Instant, isRepeatable: Bool = true,
    isFill: Bool = false
  ) {
    self.id = id
    self.operation = operation
    self.deadline = deadline
    self.isRepeatable = isRepeatable
    self.isFill = isFill
  }

  /// The conversation of a send.
  var conversation: WireConversation? {
    if case .send(let conversation, _, _) = operation { conversation } else { nil }
  }

  var frame: ClientFrame { ClientFrame(ref: String(id), operation: operation) }
}

/// The sends of one conversation that are not acknowledged, by their ids.
///
/// ```
///              sent             acknowledged
///   pending ─────────▶ inFlight ─────────────▶ (gone)
///      ▲                  │ refused, may be tried again
///      └──── refused ◀────┘     nothing is sent until all others are answered and time has passed
/// ```
/// **Invariant**: each list is in the order of submission; those in flight and refused are older
/// than those pending.
struct Outbox {
  /// Not sent on this connection.
  var pending: Deque<UInt64> = []
  var inFlight: Deque<UInt64> = []
  var refused: [UInt64] = []
  /// Recoveries since the last acknowledgement.
  var refusals = 0
  /// When the refused ones may be sent again.
  var resumeAt = Instant.zero
  /// Whether the conversation stands in the machine's list of those that may send.
  var isListed = false

  var isEmpty: Bool { pending.isEmpty && inFlight.isEmpty && refused.isEmpty }
}
