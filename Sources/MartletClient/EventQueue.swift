import ChatModel
import ClientProtocol
import DequeModule
import Synchronization
import Wire

/// Between the client's event loop, which fills it, and the one consumer of events, which empties
/// it. Bounded by the machine, which is told what was consumed.
///
/// **Isolation**: any thread.
final class EventQueue: Sendable {
  private typealias Continuation = CheckedContinuation<Result<Event?, MartletError>, Never>

  private struct State {
    var items: Deque<Delivery> = []
    /// Consumed and not told to the machine yet.
    var untoldCount = 0
    var cursor: Cursor?
    var sequences: [WireConversation: ChatModel.Sequence]
    var consumer: Continuation?
    var end: MartletError?
  }

  private let state: Mutex<State>
  /// Consumed deliveries that are told at once: a hop to the event loop for each would be a waste.
  private let toldCount: Int
  private let onConsumed: @Sendable (Int) -> Void

  init(
    resuming cursor: Cursor?, sequences: [WireConversation: ChatModel.Sequence], toldCount: Int,
    onConsumed: @escaping @Sendable (Int) -> Void
  ) {
    state = Mutex(State(cursor: cursor, sequences: sequences))
    self.toldCount = max(1, toldCount)
    self.onConsumed = onConsumed
  }

  /// What the consumer has seen.
  var resumePoint: ResumePoint {
    let (cursor, sequences) = state.withLock { state in
      // Behind everything that the consumer was given, and before the next event.
      while case .cursor(let cursor)? = state.items.first {
        state.items.removeFirst()
        state.untoldCount += 1
        state.cursor = cursor
      }
      return (state.cursor, state.sequences)
    }
    tellConsumed()
    var point = ResumePoint(cursor: cursor.map { CursorCodec.encode($0) } ?? "")
    point.sequences.reserveCapacity(sequences.count)
    for (conversation, sequence) in sequences {
      point.sequences[ConversationID(conversation)] = sequence.rawValue
    }
    return point
  }

  func append(_ deliveries: [Delivery]) {
    let woken = state.withLock { state in
      state.items.append(contentsOf: deliveries)
      return Self.wake(&state)
    }
    if let woken { woken.0.resume(returning: woken.1) }
    tellConsumed()
  }

  func finish(_ error: MartletError) {
    let woken = state.withLock { state in
      if state.end == nil { state.end = error }
      return Self.wake(&state)
    }
    if let woken { woken.0.resume(returning: woken.1) }
  }

  func next() async throws(MartletError) -> Event? {
    let result = await withTaskCancellationHandler {
      await withCheckedContinuation { (continuation: Continuation) in
        let result = state.withLock { state -> Result<Event?, MartletError>? in
          if state.consumer != nil {
            return .failure(.invalidArgument("events have one consumer at a time"))
          }
          if let taken = Self.take(&state) { return taken }
          if Task.isCancelled { return .success(nil) }
          state.consumer = continuation
          return nil
        }
        if let result { continuation.resume(returning: result) }
      }
    } onCancel: {
      let consumer = state.withLock { $0.consumer.take() }
      consumer?.resume(returning: .success(nil))
    }
    tellConsumed()
    return try result.get()
  }

  private static func wake(
    _ state: inout State
  ) -> (Continuation, Result<Event?, MartletError>)? {
    guard state.consumer != nil, let taken = take(&state), let consumer = state.consumer.take()
    else { return nil }
    return (consumer, taken)
  }

  /// **Returns**: `nil` when the consumer has to wait.
  private static func take(_ state: inout State) -> Result<Event?, MartletError>? {
    while let delivery = state.items.popFirst() {
      state.untoldCount += 1
      switch delivery {
      case .cursor(let cursor): state.cursor = cursor
      case .event(let event):
        state.sequences[event.conversation] = event.sequence
        return .success(Event(event))
      case .cut(let conversation, let last):
        state.sequences[conversation] = nil
        return .success(
          Event(
            conversation: ConversationID(conversation), sequence: last.rawValue,
            timeMilliseconds: 0, author: nil, content: .historyCut))
      }
    }
    switch state.end {
    case nil: return nil
    case .closed?: return .success(nil)
    case let error?: return .failure(error)
    }
  }

  private func tellConsumed() {
    let count = state.withLock { state in
      guard state.untoldCount >= toldCount else { return 0 }
      defer { state.untoldCount = 0 }
      return state.untoldCount
    }
    if count > 0 { onConsumed(count) }
  }
}
