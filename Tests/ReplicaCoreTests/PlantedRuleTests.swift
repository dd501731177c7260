#if MARTLET_PLANTED_BUGS
  import ReplicaCore
  import Testing

  /// A walk that cannot fail proves nothing: with any rule switched off, walks must soon find a
  /// history in which data are lost or a read is stale, with no help from the checks of rules.
  @Suite struct PlantedRuleTests {
    struct Plant: Sendable, CustomTestStringConvertible {
      let name: String
      let rule: BrokenRules
      let walksMax: UInt64
      /// The harm is so rare that the check of the rule itself has to find it.
      var isFoundByRule = false

      var testDescription: String { name }
    }

    static let plants = [
      Plant(name: "1 commit is all", rule: .commitIsAll, walksMax: 100),
      Plant(name: "2 an unknown change may land", rule: .unknownMayLand, walksMax: 600),
      Plant(name: "3 acknowledge what is durable", rule: .acknowledgeDurable, walksMax: 100),
      Plant(name: "3 acknowledge what matches", rule: .acknowledgeMatched, walksMax: 200),
      // A promise is written with every entry, and a restarted process reads the record anew, so
      // data are lost only about once in 3,000 walks.
      Plant(name: "4 promise first", rule: .promiseFirst, walksMax: 100, isFoundByRule: true),
      Plant(name: "5 expand what is caught up", rule: .expandCaughtUp, walksMax: 200),
      Plant(name: "6 leadership of a process", rule: .leadershipOfProcess, walksMax: 300),
      Plant(name: "7 log matching", rule: .logMatching, walksMax: 300),
      Plant(name: "8 refuse lower epochs", rule: .refuseLowerEpochs, walksMax: 300),
      Plant(name: "R1 read barrier", rule: .readBarrier, walksMax: 600),
      // The simulation finds what comes of it, and what comes of rule 12.
      Plant(
        name: "3 acknowledge a durable snapshot", rule: .acknowledgeInstalled, walksMax: 100,
        isFoundByRule: true),
      Plant(name: "2.5 compare after a restart", rule: .compareAfterRestart, walksMax: 600),
    ]

    @Test(arguments: plants)
    func `a rule that is switched off is missed`(plant: Plant) {
      for seed in 1...plant.walksMax {
        var walk = RandomWalk(
          seed: seed, checksRules: plant.isFoundByRule, configure: { $0.brokenRules = plant.rule })
        do {
          try walk.run()
        } catch let violation as Violation where violation.isHarm || plant.isFoundByRule {
          print("rule \(plant.name): seed \(seed): \(violation)")
          return
        } catch {
          continue
        }
      }
      Issue.record("\(plant.walksMax) walks did not miss rule \(plant.name)")
    }
  }
#endif
