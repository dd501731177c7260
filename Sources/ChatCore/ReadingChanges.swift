import ChatModel
import Primitives

/// What happened in several conversations after positions of the log, merged into the log's order.
extension ChatPartition {
  mutating func changes(
    _ query: ChangesQuery, _ state: some StateReader
  ) throws(StateReadError) -> QueryAnswer {
    guard query.limit > 0, query.requests.count <= ChatCoreLimits.changesRequestsMax else {
      let most = ChatCoreLimits.changesRequestsMax
      return .refused(ServiceError(.invalidArgument, "at most \(most) conversations at a time"))
    }
    var merge = ChangesMerge()
    var refused: [ConversationID] = []
    for request in query.requests {
      guard let position = try conversationPosition(request.conversation, state) else { continue }
      // Of one that has not changed, too: who was taken out may not have heard of it yet.
      let hash = conversations.slots[position].value.hash
      let member = try member(query.reader, of: request.conversation, hash: hash, state)
      guard let member else {
        refused.append(request.conversation)
        continue
      }
      if let cursor = try changesCursor(request, at: position, from: member.joined, state) {
        merge.insert(cursor)
      }
    }
    var page = ChangesPageBuilder(
      countMax: min(query.limit, ChatCoreLimits.changesPageMax),
      bytesMax: ChatCoreLimits.answerBytesMax)
    while let event = merge.first {
      guard page.append(event) else { break }
      if let cursor = merge.advance() {
        let events = try self.events(
          of: cursor.position, from: cursor.next,
          through: min(cursor.head, cursor.next + UInt64(ChatCoreLimits.changesChunkCount) - 1),
          bytesMax: ChatCoreLimits.answerBytesMax, state)
        merge.refill(events)
      }
    }
    var changes = page.finish(
      isComplete: merge.first == nil, applied: position, generation: generation)
    changes.refused = refused
    return .changes(changes)
  }

  /// **Returns**: where the changes of one conversation begin, or `nil` when there are none. An
  /// unchanged conversation costs its head and the reader's membership.
  ///
  /// - Parameter joined: where the reader's present membership began: who was away and came back is
  ///   told from there on, and finds what was before in the history.
  private mutating func changesCursor(
    _ request: ChangesQuery.Request, at position: Int, from joined: Sequence,
    _ state: some StateReader
  ) throws(StateReadError) -> ChangesCursor? {
    guard request.after < self.position,
      request.after < conversations.slots[position].value.head.lastIndex
    else { return nil }
    let head = conversations.slots[position].value.head.sequence.rawValue
    let first = max(
      joined.rawValue, try firstSequence(of: position, above: request.after, state))
    let events = try self.events(
      of: position, from: first,
      through: min(head, first + UInt64(ChatCoreLimits.changesChunkCount) - 1),
      bytesMax: ChatCoreLimits.answerBytesMax, state)
    return ChangesCursor(
      conversation: request.conversation, position: position, head: head, events: events)
  }

  /// Searches outwards from the newest block, in growing steps and then by halves: a reader who
  /// missed little is served near the end.
  ///
  /// **Returns**: the number of the first event above `index`; one exists.
  private func firstSequence(
    of position: Int, above index: LogIndex, _ state: some StateReader
  ) throws(StateReadError) -> UInt64 {
    let conversation = conversations.slots[position].value
    var high = conversation.firstRecent(above: index)
    guard high == conversation.firstRecent, high > 1 else { return high }
    // `high` is a number whose event is above `index`, or the head's successor. `low` is the
    // latest known block that begins at or below `index`; blocks from `probe` on are open.
    var low: (key: [UInt8], value: [UInt8])?
    var probe: UInt64 = 1
    var step: UInt64 = 1
    while low == nil, high > 1 {
      let sequence = high > step ? high - step : 1
      let block = try storedBlock(sequence, of: position, state)
      let start = KeyLayout.blockStart(of: block.key)
      if start.index > index {
        high = start.first.rawValue
        step = min(step * 8, high)
      } else {
        low = block
        probe = sequence + 1
      }
    }
    guard var low else { return 1 }
    while probe < high {
      let middle = probe + (high - probe) / 2
      let block = try storedBlock(middle, of: position, state)
      let start = KeyLayout.blockStart(of: block.key)
      if start.index > index {
        high = start.first.rawValue
      } else {
        low = block
        probe = middle + 1
      }
    }
    let start = KeyLayout.blockStart(of: low.key).first.rawValue
    let decoded = try decode(low, wanted: start...max(start, high - 1), of: position)
    return decoded.events.first { $0.index > index }?.sequence.rawValue ?? high
  }

  private func storedBlock(
    _ sequence: UInt64, of position: Int, _ state: some StateReader
  ) throws(StateReadError) -> (key: [UInt8], value: [UInt8]) {
    guard let block = try block(containing: sequence, of: position, state),
      (1...sequence).contains(KeyLayout.blockStart(of: block.key).first.rawValue)
    else { throw .damaged(key: blockKey(position, before: sequence)) }
    return block
  }
}

/// How far the merge has come in one conversation.
private struct ChangesCursor {
  let conversation: ConversationID
  /// In the table of conversations.
  let position: Int
  let head: UInt64
  var events: [Event]
  var offset = 0

  init(conversation: ConversationID, position: Int, head: UInt64, events: [Event]) {
    self.conversation = conversation
    self.position = position
    self.head = head
    self.events = events
  }

  var current: Event { events[offset] }
  /// The number after the last fetched event.
  var next: UInt64 { (events.last?.sequence.rawValue ?? head) + 1 }

  /// Entries first; within one entry the conversations by their ids, for the order of its commands
  /// is not kept.
  static func precedes(_ left: Self, _ right: Self) -> Bool {
    (left.current.index, left.conversation) < (right.current.index, right.conversation)
  }
}

/// A binary heap of cursors, the one with the earliest event on top.
private struct ChangesMerge {
  private var heap: [ChangesCursor] = []

  var first: Event? { heap.first?.current }

  mutating func insert(_ cursor: ChangesCursor) {
    guard !cursor.events.isEmpty else { return }
    heap.append(cursor)
    var child = heap.count - 1
    while child > 0 {
      let parent = (child - 1) / 2
      guard ChangesCursor.precedes(heap[child], heap[parent]) else { return }
      heap.swapAt(child, parent)
      child = parent
    }
  }

  /// Goes on to the next event of the top cursor.
  ///
  /// **Returns**: the cursor when its next events must be fetched first, by `refill`.
  mutating func advance() -> ChangesCursor? {
    heap[0].offset += 1
    guard heap[0].offset == heap[0].events.count else {
      sink()
      return nil
    }
    if heap[0].next <= heap[0].head { return heap[0] }
    heap.swapAt(0, heap.count - 1)
    heap.removeLast()
    sink()
    return nil
  }

  mutating func refill(_ events: [Event]) {
    heap[0].events = events
    heap[0].offset = 0
    sink()
  }

  private mutating func sink() {
    var parent = 0
    while true {
      var least = parent
      for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count {
        if ChangesCursor.precedes(heap[child], heap[least]) { least = child }
      }
      guard least != parent else { return }
      heap.swapAt(parent, least)
      parent = least
    }
  }
}

/// Collects a page that ends between two entries, so that `through` can be said.
private struct ChangesPageBuilder {
  private let countMax: Int
  private let bytesMax: Int
  private var events: [Event] = []
  private var bytes = 0
  /// Events of entries that are wholly in `events`, and the last of those entries.
  private var wholeCount = 0
  private var wholeIndex = LogIndex.zero

  init(countMax: Int, bytesMax: Int) {
    self.countMax = countMax
    self.bytesMax = bytesMax
  }

  /// **Returns**: whether the event was taken. It is when the page has room, and also while the
  /// page holds no whole entry: a single entry may exceed the bounds, or nobody would get past it.
  mutating func append(_ event: Event) -> Bool {
    if let last = events.last, last.index != event.index {
      wholeCount = events.count
      wholeIndex = last.index
    }
    let isFull = events.count >= countMax || bytes + event.memoryBytes > bytesMax
    if isFull, wholeCount > 0 { return false }
    events.append(event)
    bytes += event.memoryBytes
    return true
  }

  consuming func finish(
    isComplete: Bool, applied: LogIndex, generation: UInt32
  ) -> ChangesPage {
    if isComplete {
      return ChangesPage(events: events, through: applied, more: false, generation: generation)
    }
    return ChangesPage(
      events: Array(events.prefix(wholeCount)), through: wholeIndex, more: true,
      generation: generation)
  }
}
