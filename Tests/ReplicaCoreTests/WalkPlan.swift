import Primitives
import ReplicaCore
import WalkSupport

/// What can go wrong in a walk.
enum Fault: Int, CaseIterable {
  case crash, pause, cutOneWay, isolate, resetLink, suspectWrongly, stallWatch, coordinatorOutage
  case retarget, forbidLeading, failStorage, damage
}

/// Which faults one walk draws, and how harsh they are. Each walk leaves some out altogether, so
/// that what the others need long to reach is reached in some.
struct WalkPlan {
  let storeCount: Int
  let ownerCount: Int
  let configuration: ReplicaConfiguration
  let faultingMicroseconds: Int
  let faultEveryMicrosecondsMax: Int
  let proposeEveryMicrosecondsMax: Int
  let delayMicrosecondsMax: Int
  let syncMicrosecondsMax: Int
  /// Of 1,000 checkpoints, after how many the log is shortened.
  let shorteningPermille: Int
  let isOrdered: Bool
  let lossPermille: Int
  let repeatPermille: Int
  let longDelayPermille: Int
  let coordinatorFaultPermille: Int
  let leftoverPermille: Int
  /// One element per unit of weight.
  let faults: [Fault]

  init(
    dice: inout Dice, configure: (inout ReplicaConfiguration) -> Void
  ) {
    let owners = dice.pick([1, 2, 2, 3, 3, 3, 3])
    ownerCount = owners
    storeCount = max(3, dice.between(owners...5))
    var configuration = ReplicaConfiguration(
      minInSync: dice.chance(permille: 150) ? 1 : min(2, owners))
    configuration.windowEntriesMax = dice.between(1...12)
    configuration.windowBytesMax = dice.between(60...1_000)
    configuration.appendBytesMax = dice.between(40...400)
    configuration.tailEntriesMax = dice.between(1...12)
    configuration.tailBytesMax = dice.between(40...600)
    configuration.heldMessagesMax = dice.between(8...64)
    configuration.uncommittedBytesMax = dice.between(100...2_000)
    configuration.commitNotice = 20
    configuration.lagMax = 250
    configuration.resend = 60
    configuration.changeRetry = 30
    configuration.barrierTimeout = 25
    configuration.promotionStagger = 20
    configuration.promotionBackoff = 10
    configuration.promotionBackoffMax = 150
    configuration.inquiryInterval = 30
    configuration.chunkBytesMax = dice.between(20...400)
    configuration.chunksUnwrittenMax = dice.between(1...3)
    configuration.snapshotPatience = 200
    configure(&configuration)
    self.configuration = configuration
    faultingMicroseconds = dice.between(500...3_000) * 1_000
    faultEveryMicrosecondsMax = dice.pick([40, 100, 200, 400]) * 1_000
    proposeEveryMicrosecondsMax = dice.pick([10, 30, 60]) * 1_000
    delayMicrosecondsMax = dice.pick([500, 2_000, 8_000, 30_000])
    syncMicrosecondsMax = dice.pick([500, 3_000, 20_000])
    shorteningPermille = dice.pick([0, 300, 1_000])
    isOrdered = dice.chance(permille: 400)
    lossPermille = dice.pick([0, 0, 10, 80])
    repeatPermille = dice.pick([0, 20, 150])
    longDelayPermille = dice.pick([0, 0, 20])
    coordinatorFaultPermille = dice.pick([0, 100, 400])
    leftoverPermille = dice.pick([0, 500])
    var faults: [Fault] = []
    for fault in Fault.allCases {
      let weight = dice.chance(permille: 400) ? 0 : dice.between(1...4)
      // What an earlier connection still delivers may speak for a disk as it was before.
      if fault == .damage, leftoverPermille > 0 { continue }
      faults += [Fault](repeating: fault, count: weight)
    }
    self.faults = faults.isEmpty ? [.crash] : faults
  }
}

/// Something that a correct history never shows.
struct Violation: Error, CustomStringConvertible {
  enum Kind: String {
    case lostAcknowledged, divergence, staleRead, twoPayloads, twoLeaders, badRecord, stopped
    /// The outcome may still be right, but a rule was not kept on the way.
    case earlyAnswer, brokenPromise
    /// Nothing is wrong, but nothing goes on either.
    case stuck, restless
  }

  let kind: Kind
  let text: String

  var description: String { "\(kind.rawValue): \(text)" }
  /// Whether data are lost, changed or read stale, not just late or out of order.
  var isHarm: Bool {
    switch kind {
    case .earlyAnswer, .brokenPromise, .stuck, .restless: false
    default: true
    }
  }
}

/// What a campaign must have met at least once, or it proves little.
enum RareEvent: Int, CaseIterable {
  case promotion, promotionDuringShrink, truncation, commitByTwo, commitByOne, expansion, shrink
  case expansionOfUncommitted, lateChange, refusal, heldMessage, barrierByRecord, barrierByMembers
  case fenced, removed, retargetFinished, loadFromStorage, recoveredCheckpoint, lostWrites, rebuilt
  case logShortened, snapshotBegun, snapshotInstalled, snapshotAbandoned, snapshotLost
}

struct RareEvents {
  private(set) var counts = [Int](repeating: 0, count: RareEvent.allCases.count)

  subscript(event: RareEvent) -> Int { counts[event.rawValue] }
  var missing: [RareEvent] { RareEvent.allCases.filter { self[$0] == 0 } }

  mutating func count(_ event: RareEvent) { counts[event.rawValue] += 1 }

  mutating func add(_ other: RareEvents) {
    for position in counts.indices { counts[position] += other.counts[position] }
  }

  var description: String {
    RareEvent.allCases.map { "\($0) \(self[$0])" }.joined(separator: ", ")
  }
}
