package import Primitives

/// Bounds and times of one replica. The times are those of the architecture's section on suspicion.
package struct ReplicaConfiguration: Sendable {
  /// Fewest in-sync replicas with which commands are accepted and below which no change goes.
  package var minInSync: Int
  /// Unacknowledged entries on their way to one follower.
  package var windowEntriesMax = 1_024
  /// Unacknowledged bytes on their way to one follower.
  package var windowBytesMax = 8 << 20
  /// Bytes of entries in one append.
  package var appendBytesMax = 512 << 10
  /// Entries kept in memory for followers, and always those that are not applied yet.
  package var tailEntriesMax = 4_096
  package var tailBytesMax = 4 << 20
  /// Messages kept while the record is read anew (rule 8).
  package var heldMessagesMax = 64
  /// Reads that wait for a barrier.
  package var waitingReadsMax = 65_536
  /// Appended but not yet committed bytes beyond which no further command is taken.
  package var uncommittedBytesMax = 16 << 20
  /// How long an idle leader may keep the commit index from its followers.
  package var commitNotice: Milliseconds = 50
  /// An in-sync follower that owes an acknowledgement for this long is taken out.
  package var lagMax: Milliseconds = 3_000
  /// Without an answer for this long an append is sent again.
  package var resend: Milliseconds = 1_000
  /// Between two tries of one compare-and-set whose outcome is unknown.
  package var changeRetry: Milliseconds = 200
  /// A barrier that is not confirmed by then asks the coordinator instead.
  package var barrierTimeout: Milliseconds = 150
  /// Each place in the order of succession waits this much longer before it promotes itself.
  package var promotionStagger: Milliseconds = 150
  /// First pause after a promotion that failed; doubles up to `promotionBackoffMax`, with jitter.
  package var promotionBackoff: Milliseconds = 100
  package var promotionBackoffMax: Milliseconds = 2_000
  /// Between two inquiries of a restarted replica.
  package var inquiryInterval: Milliseconds = 200

  package init(minInSync: Int) { self.minInSync = minInSync }
}
