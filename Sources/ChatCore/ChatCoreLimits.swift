import ChatModel

/// Bounds of the state machine itself; those of what a client may ask are in `ChatLimits`.
package enum ChatCoreLimits {
  /// What one partition keeps in memory of clean records, unless its owner says otherwise. Records
  /// that changed since the last checkpoint stay beyond it: the checkpoint policy bounds those.
  package static let cacheBytesDefault = 8 << 20
  /// Slots looked at per table for something to evict after one entry or query.
  static let evictionStepsMax = 64

  /// Undelivered outbox entries; beyond, commands that would add some are refused for a while.
  package static let outboxEntriesMax = 65_536

  /// A block of events is closed when its texts reach this size…
  static let blockBytesMax = 64 << 10
  /// … or it holds this many events.
  static let blockEventsMax = 1_024
  /// Authors that one block names once and refers to by position.
  static let blockAuthorsSearchedMax = 16
  /// Blocks fetched by one scan.
  static let blocksPerScan = 8

  /// Newest events of a conversation that stay in memory after a checkpoint, unless evicted.
  static let recentEventsKept = 8
  static let recentBytesKept = 4 << 10
  /// Room for events that a conversation keeps after a burst.
  static let recentCapacityMax = 64

  /// Entries of one stored segment of an idempotency window.
  static let windowSegmentEntries = 16

  /// Texts of one answer; an answer holds at least one event however large.
  package static let answerBytesMax = 1 << 20
  /// Conversations of one page of a user's list.
  package static let conversationListPageMax = 1_000
  /// Conversations in one query for summaries.
  package static let summariesMax = 256
  /// Conversations in one query for changes.
  package static let changesRequestsMax = ChatLimits.conversationsPerUserMax
  /// Events of one page of changes.
  package static let changesPageMax = 1_000
  /// Events fetched at a time from each conversation while changes are merged.
  static let changesChunkCount = 32
  /// Records of members or listings fetched by one scan.
  static let recordsPerScan = 128
}
