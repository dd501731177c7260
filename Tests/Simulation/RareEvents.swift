/// What a search must have met to be worth anything.
package enum RareEvent: Int, CaseIterable, Sendable {
  case promotion, returnOfLeader, shrinking, expansion, truncation, twoMemberCommit
  case lateChange, retarget, fencing, givingUp, replacement, failedSync
  case zombieAppend, mismatch, leaderReadsRecord, inquiry, catchUpFromDisk
  case resumeAcrossLeaders, behind, redirection, repeatedSend, lostAnswer, promotionDuringShrink
  case rejoinedConversation, listedWhileAway, outboxRepeated, stateCompared
  case handoff, ringChanged, ringTurnedBack, leaseEndedEarly, formerController
  case readableWithoutHealing
  case logShortened, snapshotInstalled, snapshotAbandoned, snapshotRepeated
  case cut, cutWithoutHalf, halfBegun, halfBegunWithoutAll, ringSplit
}

/// How often each of them came.
package struct RareEventCounts: Sendable {
  private var counts = [Int](repeating: 0, count: RareEvent.allCases.count)

  package init() {}

  package subscript(event: RareEvent) -> Int { counts[event.rawValue] }

  mutating func note(_ event: RareEvent) { counts[event.rawValue] += 1 }

  package mutating func add(_ other: RareEventCounts) {
    for place in counts.indices { counts[place] += other.counts[place] }
  }

  package var missing: [RareEvent] { RareEvent.allCases.filter { self[$0] == 0 } }
}
