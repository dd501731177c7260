import ClusterModel
import NodeProtocol
import Primitives
import ReplicaCore

/// What the walk knows about the whole history and no replica does.
struct WalkKnowledge {
  /// Everything that anybody applied, from index 1.
  var committed: [Entry] = []
  /// The highest index whose client got its acknowledgement.
  var acknowledged: UInt64 = 0
  var acknowledgedCount = 0
  var lastPayload: UInt64 = 0
  var lastRead: UInt64 = 0
  /// Looked up only, never walked through.
  var payloads: [EntryID: [UInt8]] = [:]
  var leaders: [Epoch: (ReplicaID, BootID)] = [:]
}

extension RandomWalk {
  // MARK: After every step

  /// Every acknowledged entry is durable on every in-sync member.
  func checkStep() throws {
    let acknowledged = knowledge.acknowledged
    guard acknowledged > 0 else { return }
    let wanted = knowledge.committed[Int(acknowledged) - 1].id
    for member in coordinator.current.record.inSync {
      let store = Self.position(of: member.store)
      if stores[store].damaged == member || stores[store].givenUp == member { continue }
      guard let disk = stores[store].disk, disk.id == member else {
        throw Violation(kind: .lostAcknowledged, text: "\(store) does not hold \(member)")
      }
      guard disk.entry(at: acknowledged)?.id == wanted else {
        throw Violation(
          kind: .lostAcknowledged,
          text: "\(wanted) was acknowledged; store \(store), in sync, ends with \(disk.last)")
      }
    }
  }

  func checkEverything() throws {
    for member in coordinator.current.record.inSync {
      let store = Self.position(of: member.store)
      guard let disk = stores[store].disk, disk.id == member else {
        throw Violation(kind: .lostAcknowledged, text: "\(store) does not hold \(member)")
      }
      for entry in knowledge.committed where disk.entry(at: entry.index.rawValue) != entry {
        throw Violation(kind: .lostAcknowledged, text: "\(store) does not hold \(entry.id)")
      }
    }
  }

  func checkQuiet() throws {
    guard let idle, network.sentCount == idle.sentCount, tickCount == idle.tickCount else {
      throw Violation(
        kind: .restless,
        text: "\(network.sentCount - (idle?.sentCount ?? 0)) messages and "
          + "\(tickCount - (idle?.tickCount ?? 0)) wake-ups of an idle partition")
    }
    for store in stores where !store.reads.isEmpty {
      throw Violation(kind: .stuck, text: "reads \(store.reads.map(\.read)) wait for ever")
    }
  }

  // MARK: At single actions

  mutating func checkPayload(_ entry: Entry) throws {
    if let known = knowledge.payloads.updateValue(entry.payload, forKey: entry.id) {
      guard known == entry.payload else {
        throw Violation(kind: .twoPayloads, text: "\(entry.id) names two payloads")
      }
    }
  }

  mutating func checkLeader(_ store: Int) throws {
    guard let replica = stores[store].replica, replica.isLeader else { return }
    if let known = knowledge.leaders[replica.epoch] {
      guard known == (replica.id, replica.boot) else {
        throw Violation(kind: .twoLeaders, text: "\(store) leads \(replica.epoch) too")
      }
    } else {
      knowledge.leaders[replica.epoch] = (replica.id, replica.boot)
    }
  }

  mutating func checkApplied(_ entry: Entry, by store: Int) throws {
    let position = Int(entry.index.rawValue) - 1
    if position < knowledge.committed.count {
      guard knowledge.committed[position] == entry else {
        throw Violation(
          kind: .divergence,
          text: "\(store) applies \(entry.id), others \(knowledge.committed[position].id)")
      }
    } else {
      knowledge.committed.append(entry)
    }
  }

  /// Clients of this store whose entries are applied get their answers.
  mutating func acknowledge(of store: Int, through index: LogIndex) throws {
    var waiting: [EntryID] = []
    for id in stores[store].proposed {
      guard id.index <= index else {
        waiting.append(id)
        continue
      }
      guard knowledge.committed[Int(id.index.rawValue) - 1].id == id else { continue }
      knowledge.acknowledged = max(knowledge.acknowledged, id.index.rawValue)
      knowledge.acknowledgedCount += 1
      note("\(store) acknowledges \(id)")
      switch coordinator.current.record.inSync.count {
      case 1: events.count(.commitByOne)
      case 2: events.count(.commitByTwo)
      default: break
      }
      try checkStep()
    }
    stores[store].proposed = waiting
  }

  mutating func checkReads(_ reads: [UInt64], of store: Int) throws {
    guard let applied = stores[store].replica?.appliedIndex.rawValue else { return }
    for read in stores[store].reads where reads.contains(read.read) && read.acknowledged > applied {
      throw Violation(
        kind: .staleRead,
        text: "read \(read.read) at \(store) sees i\(applied); i\(read.acknowledged) "
          + "was acknowledged before it began")
    }
    forget(reads, of: store)
  }

  mutating func forget(_ reads: [UInt64], of store: Int) {
    stores[store].reads.removeAll { reads.contains($0.read) }
  }

  /// Nothing is said under a promise that is not durable, nor under one that was overtaken; nothing
  /// is acknowledged that is not durable.
  func checkSent(_ message: ReplicaMessage, by store: Int) throws {
    guard checksRules, let disk = stores[store].disk, disk.id == message.from else { return }
    switch message.body {
    case .append, .barrier, .appended, .mismatched, .barrierConfirmed:
      guard message.epoch == disk.promise, disk.promise == disk.latestPromise else {
        throw Violation(
          kind: .brokenPromise,
          text: "\(store) speaks under \(message.epoch); durable is \(disk.promise), "
            + "promised \(disk.latestPromise)")
      }
    default: break
    }
    if case .appended(let match, _) = message.body, disk.entry(at: match.rawValue) == nil,
      match > .zero
    {
      throw Violation(kind: .earlyAnswer, text: "\(store) acknowledges \(match), not durable")
    }
  }

  func checkChange(from old: PartitionRecord, to new: PartitionRecord, by author: StoreID?) throws {
    func refuse(_ why: String) -> Violation {
      Violation(kind: .badRecord, text: "\(why): \(Self.text(old)) became \(Self.text(new))")
    }
    let gone = old.inSync.filter { !new.inSync.contains($0) }
    let come = new.inSync.filter { !old.inSync.contains($0) }
    guard new.inSync == new.inSync.sorted(), new.inSync.count >= plan.configuration.minInSync else {
      throw refuse("fewer than minInSync, or unsorted")
    }
    guard let author else {
      guard gone.isEmpty, come.isEmpty, new.epoch == old.epoch else { throw refuse("retarget") }
      return
    }
    guard new.target == old.target, new.nextReplica == old.nextReplica else {
      throw refuse("target")
    }
    if new.epoch > old.epoch {
      guard new.epoch == old.epoch.successor, old.inSync.contains(new.leader),
        new.inSync.contains(new.leader), come.isEmpty, new.leader.store == author
      else { throw refuse("promotion") }
    } else {
      guard new.leader == old.leader, new.leaderBoot == old.leaderBoot, new.epoch == old.epoch,
        gone.count + come.count == 1, !gone.contains(new.leader), author == new.leader.store,
        come.allSatisfy({ old.target.contains($0) })
      else { throw refuse("shrink or expansion") }
    }
  }

  // MARK: At the end

  /// Somebody leads and accepts, and the partition lives where it should.
  var isSettled: Bool {
    let record = coordinator.current.record
    let leader = stores[Self.position(of: record.leader.store)]
    return leader.replica?.acceptsCommands ?? false && leader.replica?.epoch == record.epoch
      && record.target.allSatisfy { record.inSync.contains($0) }
      && record.inSync.allSatisfy { record.target.contains($0) || $0 == record.leader }
  }

  var areEqual: Bool {
    guard isSettled,
      let last = stores[Self.position(of: coordinator.current.record.leader.store)]
        .replica?.lastEntry
    else { return false }
    return coordinator.current.record.inSync.allSatisfy { member in
      let store = stores[Self.position(of: member.store)]
      guard let replica = store.replica else { return false }
      return replica.lastEntry == last && replica.appliedIndex == last.index
        && store.disk?.last == last
    }
  }

  var whatIsMissing: String {
    let record = coordinator.current.record
    let states = stores.indices.map { store in
      guard let replica = stores[store].replica else { return "\(store): none" }
      return "\(store): #\(replica.id.number) leads \(replica.isLeader) accepts "
        + "\(replica.acceptsCommands) log \(replica.lastEntry) applied \(replica.appliedIndex) "
        + "disk \(stores[store].disk?.last.description ?? "-") stop \(replica.stop as Any)"
    }
    return Self.text(record) + "; " + states.joined(separator: "; ")
  }
}
