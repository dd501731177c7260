package import Primitives

/// Counters of a committer since its start.
package struct CommitterMetrics: Sendable {
  /// Synced writes: each is one fsync of the WAL.
  package internal(set) var syncedWrites = DurationHistogram()
  package internal(set) var unsyncedWriteCount: UInt64 = 0
  package internal(set) var submissionCount: UInt64 = 0
  package internal(set) var entryCount: UInt64 = 0
  /// Keys in synced writes that are no log entries, each in a place of its own. A message needs
  /// none: what is not the log is for checkpoints.
  package internal(set) var syncedOtherKeyCount: UInt64 = 0
  package internal(set) var writtenBytes: UInt64 = 0
  package internal(set) var sweptKeyCount: UInt64 = 0
  /// Submissions of the largest synced write.
  package internal(set) var batchSubmissionsMax = 0
  package internal(set) var queuedBytes = 0
  package internal(set) var queuedSubmissionCount = 0
  /// How long the write that is going on has been going on; zero when there is none. A stalled
  /// engine shows here first.
  package internal(set) var currentWriteNanoseconds: UInt64 = 0
}
