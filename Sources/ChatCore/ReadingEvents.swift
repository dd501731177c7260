import ChatModel
import Primitives

/// Reads of a conversation's events across stored blocks and the newest ones in memory.
extension ChatPartition {
  mutating func history(
    _ query: HistoryQuery, _ state: some StateReader
  ) throws(StateReadError) -> QueryAnswer {
    guard (1...ChatLimits.historyPageMax).contains(query.limit) else {
      return .refused(ServiceError(.invalidArgument, "a page has 1 to 200 events"))
    }
    guard let position = try readablePosition(query.conversation, reader: query.reader, state)
    else { return .refused(.conversationNotFound) }
    let head = conversations.slots[position].value.head.sequence
    let limit = UInt64(query.limit)
    let events: [Event]
    switch query.range {
    case .after(let sequence) where sequence >= head:
      events = []
    case .after(let sequence):
      let last = sequence.rawValue + min(limit, head.rawValue - sequence.rawValue)
      events = try self.events(
        of: position, from: sequence.rawValue + 1, through: last,
        bytesMax: ChatCoreLimits.answerBytesMax, state)
    case .before(let sequence):
      let below = sequence.rawValue == 0 ? 0 : sequence.rawValue - 1
      events = try self.events(
        of: position, latest: limit, through: min(below, head.rawValue), state)
    case .latest:
      events = try self.events(of: position, latest: limit, through: head.rawValue, state)
    }
    return .history(HistoryPage(events: events, head: head))
  }

  /// Reads forward; at least one event, then as many as fit into `bytesMax`.
  ///
  /// **Invariant**: `first` is at least 1 and `last` at most the head.
  func events(
    of position: Int, from first: UInt64, through last: UInt64, bytesMax: Int,
    _ state: some StateReader
  ) throws(StateReadError) -> [Event] {
    var collected = EventPage(bytesMax: bytesMax)
    var next = first
    let firstRecent = conversations.slots[position].value.firstRecent
    let lastStored = min(last, firstRecent - 1)
    if next <= lastStored {
      let wanted = next...lastStored
      guard let block = try block(containing: next, of: position, state) else {
        throw .damaged(key: blockKey(position, before: next))
      }
      next = try take(block, wanted: wanted, of: position, into: &collected, next: next)
      while next <= lastStored, !collected.isFull {
        let page = try state.scan(
          from: blockKey(position, before: next), upTo: blockKey(position, before: lastStored + 1),
          reverse: false, countMax: ChatCoreLimits.blocksPerScan)
        guard !page.isEmpty else { throw .damaged(key: blockKey(position, before: next)) }
        for block in page where !collected.isFull {
          next = try take(block, wanted: wanted, of: position, into: &collected, next: next)
        }
      }
    }
    while next <= last, !collected.isFull {
      collected.append(conversations.slots[position].value.recentEvent(next))
      next += 1
    }
    return collected.events
  }

  /// Adds what a block holds from `next` on, as far as it is wanted: its last events may be in
  /// memory too.
  ///
  /// **Returns**: the number after the last that was taken.
  private func take(
    _ block: (key: [UInt8], value: [UInt8]), wanted: ClosedRange<UInt64>, of position: Int,
    into page: inout EventPage, next: UInt64
  ) throws(StateReadError) -> UInt64 {
    let decoded = try decode(block, wanted: next...max(next, wanted.upperBound), of: position)
    guard decoded.events.first?.sequence.rawValue == next else { throw .damaged(key: block.key) }
    for event in decoded.events { page.append(event) }
    return min(decoded.last, wanted.upperBound) + 1
  }

  /// Reads the last `count` events through a number, or as many of them as fit into an answer.
  ///
  /// **Returns**: the events, ascending.
  func events(
    of position: Int, latest count: UInt64, through last: UInt64, _ state: some StateReader
  ) throws(StateReadError) -> [Event] {
    guard last > 0 else { return [] }
    let first = last > count ? last - count + 1 : 1
    var collected = EventPage(bytesMax: ChatCoreLimits.answerBytesMax)
    var next = last
    let firstRecent = conversations.slots[position].value.firstRecent
    while next >= max(first, firstRecent), !collected.isFull {
      collected.append(conversations.slots[position].value.recentEvent(next))
      next -= 1
    }
    while next >= first, !collected.isFull {
      let page = try blocks(
        endingWith: next, of: position, countMax: Int(clamping: next - first + 1), state)
      guard !page.isEmpty else { throw .damaged(key: blockKey(position, before: next)) }
      for block in page where next >= first && !collected.isFull {
        let decoded = try decode(block, wanted: first...next, of: position)
        guard decoded.last >= next, let lowest = decoded.events.first?.sequence.rawValue else {
          throw .damaged(key: block.key)
        }
        for event in decoded.events.reversed() { collected.append(event) }
        next = lowest - 1
      }
    }
    return collected.events.reversed()
  }

  /// **Returns**: blocks that begin at or before a number, the latest first. The newest block of
  /// all is where the head says, which costs no search.
  private func blocks(
    endingWith last: UInt64, of position: Int, countMax: Int, _ state: some StateReader
  ) throws(StateReadError) -> [(key: [UInt8], value: [UInt8])] {
    let conversation = conversations.slots[position].value
    if countMax == 1, last == conversation.durableThrough,
      conversation.head.lastBlock.rawValue <= last, conversation.head.lastBlock != .zero
    {
      let key = KeyLayout.block(
        conversations.slots[position].key, hash: conversation.hash,
        first: conversation.head.lastBlock, index: conversation.head.lastBlockIndex)
      if let value = try state.value(key) { return [(key, value)] }
    }
    return try state.scan(
      from: KeyLayout.blocks(conversations.slots[position].key, hash: conversation.hash),
      upTo: blockKey(position, before: last + 1), reverse: true,
      countMax: min(countMax, ChatCoreLimits.blocksPerScan))
  }

  /// **Returns**: the block with the greatest start at or before a number.
  func block(
    containing sequence: UInt64, of position: Int, _ state: some StateReader
  ) throws(StateReadError) -> (key: [UInt8], value: [UInt8])? {
    let conversation = conversations.slots[position].value
    return try state.scan(
      from: KeyLayout.blocks(conversations.slots[position].key, hash: conversation.hash),
      upTo: blockKey(position, before: sequence + 1), reverse: true, countMax: 1
    ).first
  }

  func decode(
    _ block: (key: [UInt8], value: [UInt8]), wanted: ClosedRange<UInt64>, of position: Int
  ) throws(StateReadError) -> (events: [Event], last: UInt64) {
    do {
      return try EventBlock.decode(
        block.value, conversation: conversations.slots[position].key,
        start: KeyLayout.blockStart(of: block.key), wanted: wanted)
    } catch {
      throw .damaged(key: block.key)
    }
  }

  /// **Returns**: the lower bound of keys of blocks that begin with a number or a greater one.
  func blockKey(_ position: Int, before sequence: UInt64) -> [UInt8] {
    KeyLayout.block(
      conversations.slots[position].key, hash: conversations.slots[position].value.hash,
      first: Sequence(sequence), index: .zero)
  }
}

/// Events of an answer, until their texts exceed its bound; never empty because of the bound.
private struct EventPage {
  private(set) var events: [Event] = []
  private var bytes = 0
  private let bytesMax: Int
  private(set) var isFull = false

  init(bytesMax: Int) { self.bytesMax = bytesMax }

  mutating func append(_ event: Event) {
    guard !isFull else { return }
    bytes += event.memoryBytes
    if bytes > bytesMax, !events.isEmpty {
      isFull = true
      return
    }
    events.append(event)
  }
}
