import Primitives
import ReplicaCore

#if MARTLET_PLANTED_BUGS
  extension PlantedBug {
    /// The rule that each replica shall not keep, where it is one of a single replica.
    static var brokenRules: BrokenRules {
      switch active {
      case .commitIsNotAll?: .commitIsAll
      case .unknownChangeForgotten?: .unknownMayLand
      case .changeNotAskedAgain?: .askAgain
      case .undurableAcknowledged?: .acknowledgeDurable
      case .unmatchedAcknowledged?: .acknowledgeMatched
      case .promiseNotWritten?: .promiseFirst
      case .learnerJoinsAtOnce?: .expandCaughtUp
      case .leadershipResumed?: .leadershipOfProcess
      case .bootsIgnored?: .bootsMatter
      case .logNotMatched?: .logMatching
      case .lowerEpochFollowed?: .refuseLowerEpochs
      case .minimumIgnored?: .commandsNeedMinimum
      case .shrinksBelowMinimum?: .neverBelowMinimum
      case .barrierSkipped?: .readBarrier
      case .restartNotCompared?: .compareAfterRestart
      case .replicaIDsIgnored?: .replicaIDsMatter
      case .snapshotAlwaysTaken?: .keepWhatIsHeld
      case .snapshotUndurable?: .acknowledgeInstalled
      default: []
      }
    }
  }
#endif
