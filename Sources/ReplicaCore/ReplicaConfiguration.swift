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
  /// Bytes of keys and values in one part of a snapshot.
  package var chunkBytesMax = 256 << 10
  /// Parts of a snapshot that a receiver has and has not written.
  package var chunksUnwrittenMax = 2
  /// A snapshot of which nobody asked for anything for so long is given up.
  package var snapshotPatience: Milliseconds = 30_000
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
  /// How much longer the others wait where nobody has led yet: the first owner is starting, too.
  package var firstOwnerPatience: Milliseconds = 1_000
  /// First pause after a promotion that failed; doubles up to `promotionBackoffMax`, with jitter.
  package var promotionBackoff: Milliseconds = 100
  package var promotionBackoffMax: Milliseconds = 2_000
  /// A leader that asked another replica to lead goes on when nothing has come of it by then.
  package var handoffMax: Milliseconds = 500
  /// After a handoff that came to nothing, before the next; doubles up to `handoffPauseMax`.
  package var handoffPause: Milliseconds = 5_000
  package var handoffPauseMax: Milliseconds = 60_000
  /// Between two inquiries of a restarted replica.
  package var inquiryInterval: Milliseconds = 200

  #if MARTLET_PLANTED_BUGS
    /// Rules that this replica shall not keep, so that tests can show that they would notice.
    package var brokenRules: BrokenRules = []
  #endif

  package init(minInSync: Int) { self.minInSync = minInSync }

  /// Fewest members that a change of the in-sync set leaves.
  var leastInSync: Int { breaks(.neverBelowMinimum) ? 1 : minInSync }

  /// Whether the test build was told not to keep `rule`. Always false in any other build.
  @inline(__always)
  func breaks(_ rule: BrokenRules) -> Bool {
    #if MARTLET_PLANTED_BUGS
      brokenRules.contains(rule)
    #else
      false
    #endif
  }
}

/// The rules of safety that a test build can switch off, one by one.
package struct BrokenRules: OptionSet, Sendable {
  package let rawValue: UInt32

  package init(rawValue: UInt32) { self.rawValue = rawValue }

  /// Rule 1: an entry counts as committed as soon as it is durable on the leader.
  package static let commitIsAll = BrokenRules(rawValue: 1 << 0)
  /// Rule 2: a change whose answer is lost counts as not made.
  package static let unknownMayLand = BrokenRules(rawValue: 1 << 1)
  /// Rule 3: entries are acknowledged before they are durable.
  package static let acknowledgeDurable = BrokenRules(rawValue: 1 << 2)
  /// Rule 3: the end of the own log is acknowledged, whether or not it equals the leader's.
  package static let acknowledgeMatched = BrokenRules(rawValue: 1 << 3)
  /// Rule 4: no promise is ever written.
  package static let promiseFirst = BrokenRules(rawValue: 1 << 4)
  /// Rule 5: a learner joins at once.
  package static let expandCaughtUp = BrokenRules(rawValue: 1 << 5)
  /// Rule 6: a restarted process resumes the leadership of the one before.
  package static let leadershipOfProcess = BrokenRules(rawValue: 1 << 6)
  /// Rule 7: entries are taken whatever precedes them.
  package static let logMatching = BrokenRules(rawValue: 1 << 7)
  /// Rule 8: a leader of an earlier epoch is followed.
  package static let refuseLowerEpochs = BrokenRules(rawValue: 1 << 8)
  /// R1: the leader serves reads without asking anybody.
  package static let readBarrier = BrokenRules(rawValue: 1 << 9)
  /// Section 2.5: a restarted replica promotes itself without comparing logs.
  package static let compareAfterRestart = BrokenRules(rawValue: 1 << 10)
  /// Rule 2: a change whose answer is lost is never asked for again.
  package static let askAgain = BrokenRules(rawValue: 1 << 11)
  /// Rules 6 and 8: another process of a leader counts as the one that won its epoch.
  package static let bootsMatter = BrokenRules(rawValue: 1 << 12)
  /// Rule 10: commands are taken with fewer than `minInSync` members.
  package static let commandsNeedMinimum = BrokenRules(rawValue: 1 << 13)
  /// T1 and T2: the in-sync set shrinks below `minInSync`.
  package static let neverBelowMinimum = BrokenRules(rawValue: 1 << 14)
  /// What one replica of a store acknowledged counts for the next.
  package static let replicaIDsMatter = BrokenRules(rawValue: 1 << 15)
  /// Rule 12: a snapshot takes the place of a log that holds its last entry.
  package static let keepWhatIsHeld = BrokenRules(rawValue: 1 << 16)
  /// Rule 3: a snapshot is acknowledged before it is durable.
  package static let acknowledgeInstalled = BrokenRules(rawValue: 1 << 17)
}
