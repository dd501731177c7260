/// Mistakes that a test build can make on purpose, one at a time, to show that its tests would
/// notice. The rules are those of ARCHITECTURE.md, section "Rules of safety"; rules that a single
/// replica keeps are switched in its configuration, too.
///
/// No other build has any of this: there, `isActive` is the constant `false`.
package enum PlantedBug: String, CaseIterable, Sendable {
  /// Rule 1: an entry counts as committed as soon as it is durable on the leader.
  case commitIsNotAll
  /// Rule 2: a change whose answer is lost counts as not made.
  case unknownChangeForgotten
  /// Rule 2: a change whose answer is lost is never asked for again.
  case changeNotAskedAgain
  /// Rule 3: entries are acknowledged before they are durable.
  case undurableAcknowledged
  /// Rule 3: the end of the own log is acknowledged, whether or not it equals the leader's.
  case unmatchedAcknowledged
  /// Rule 4: no promise is ever written.
  case promiseNotWritten
  /// Rule 5: a learner joins at once.
  case learnerJoinsAtOnce
  /// Rule 6: a restarted process resumes the leadership of the one before.
  case leadershipResumed
  /// Rules 6 and 8: another process of a leader counts as the one that won its epoch.
  case bootsIgnored
  /// Rule 7: entries are taken whatever precedes them.
  case logNotMatched
  /// Rule 8: a leader of an earlier epoch is followed.
  case lowerEpochFollowed
  /// Rule 9: a write that failed counts as done.
  case failureIgnored
  /// Rule 10: commands are taken with fewer than `minInSync` members.
  case minimumIgnored
  /// T1 and T2: the in-sync set shrinks below `minInSync`.
  case shrinksBelowMinimum
  /// Rule 11: applying the same entry gives another state elsewhere.
  case applyDiffers
  /// R1: the leader serves reads without asking anybody.
  case barrierSkipped
  /// R2: a follower answers reads that need a barrier from what it has applied.
  case followerAnswers
  /// Section 2.5: a restarted replica promotes itself without comparing logs.
  case restartNotCompared
  /// What one replica of a store acknowledged counts for the next.
  case replicaIDsIgnored

  /// Rule 12: a snapshot takes the place of a log that holds its last entry.
  case snapshotAlwaysTaken
  /// Rule 3: a snapshot is acknowledged before it is durable.
  case snapshotUndurable
  /// Section 7: a log gives up entries that no checkpoint covers.
  case logCutTooFar

  /// Split: the half begins before those that are to be in sync with it have cut.
  case halfNotAwaited
  /// Split: the upper half is still served by what it was cut off from.
  case halfServedTwice
  /// Split: a position of before counts for the half beyond where that was cut off.
  case originIgnored

  /// Idempotency: a repeated send is not recognised.
  case repeatNotRecognised
  /// Idempotency: what is known of sends does not survive a restart.
  case windowNotStored
  /// Outbox: an entry is forgotten once it was sent.
  case outboxSentOnce
  /// Outbox: the target does an older entry after a newer one.
  case outboxOutOfOrder
  /// Subscription: it resumes one entry after the last that was delivered.
  case resumesTooLate
  /// Subscription: one that came back counts as having missed nothing.
  case gapNotSuspected
  /// Subscription: an event goes to the first gateway that wants it, and to no other.
  case subscribersForgotten
  /// Subscription: what a full link cannot take is left out silently.
  case deliveriesDropped
  /// Session resume: a cursor is told although a conversation was not read up to it.
  case cursorTooEarly
  /// Session resume: a conversation that came while the client was away is read from now on.
  case newcomerReadFromNow
  /// Catch-up: the first page counts as all of them.
  case laterPagesForgotten
  /// Catch-up: a session stands one entry beyond what it was told.
  case positionTooFar
  /// Sending: a newer request overtakes those that wait.
  case requestsOvertake

  #if MARTLET_PLANTED_BUGS
    // Safety: written only by programs and tests of one thread, before they run anything.
    package nonisolated(unsafe) static var active: PlantedBug?
  #endif

  /// Whether this build makes the mistake now.
  @inline(__always)
  package static func isActive(_ bug: PlantedBug) -> Bool {
    #if MARTLET_PLANTED_BUGS
      active == bug
    #else
      false
    #endif
  }
}
