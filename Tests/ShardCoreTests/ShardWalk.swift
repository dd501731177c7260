import ChatCore
import ChatModel
import ClusterModel
import NodeProtocol
import Primitives
import ReplicaCore

@testable import ShardCore
import Simulation
import WalkSupport

/// Something that must not happen.
struct Violation: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }
}

/// Three shards whose processes die, pause and lose their links, and writers that repeat what was
/// not acknowledged. At the end every replica must hold every acknowledged message once, where it
/// was acknowledged, and in its writer's order.
struct ShardWalk {
  /// Sends one message after the other in one conversation, each until it is acknowledged.
  private struct Writer {
    let room: ConversationID
    let user: UserID
    var number = 0
    var command: Command?
    var request: UInt64?
    var askedAt: UInt64 = 0
    /// What was acknowledged: text and number.
    var acknowledged: [(text: String, sequence: UInt64)] = []
  }

  private(set) var rig: ShardRig
  private(set) var counts: [String: Int] = [:]
  private var dice: Dice
  private var writers: [Writer] = []
  /// By store: the gateway with a link to its present process.
  private var gateways: [Int?]
  private let partitions: Int
  private let rooms: [ConversationID]

  init(seed: UInt64) {
    var dice = Dice(seed: seed)
    partitions = dice.between(1...3)
    let isLarge = dice.chance(permille: 300)
    let checkpointEntries = dice.pick([3, 20, 4_096])
    rig = ShardRig(stores: 3, partitions: partitions, seed: dice.number()) {
      $0.heartbeatInterval = 50
      $0.silenceMax = 400
      $0.pauseMax = 100
      $0.outboxRetry = 100
      $0.checkpointEntries = checkpointEntries
      $0.checkpointInterval = 200
      $0.replica.lagMax = 500
      $0.replica.resend = 150
      $0.replica.windowEntriesMax = isLarge ? 1_024 : 4
      $0.replica.tailEntriesMax = isLarge ? 4_096 : 8
    }
    rig.delays.tick = 20_000
    rig.delays.link = 100...dice.pick([1_000, 5_000, 20_000])
    rig.delays.sync = 100...dice.pick([1_000, 10_000])
    rig.delays.coordinator = 500...dice.pick([2_000, 30_000])
    gateways = [nil, nil, nil]
    let ring = rig.ring
    rooms = (0..<partitions).map { ring.conversation($0 + 1, in: $0) }
    for (number, room) in rooms.enumerated() {
      for other in 0..<2 {
        let place = (number + other) % partitions
        writers.append(Writer(room: room, user: ring.user(10 + writers.count, in: place)))
      }
    }
    self.dice = dice
  }

  mutating func run(milliseconds: Int = 2_500) throws(Violation) {
    rig.run(milliseconds: 300)
    let end = rig.now + UInt64(milliseconds) * 1_000
    var nextFault = rig.now + 100_000
    while rig.now < end {
      work()
      if rig.now >= nextFault {
        breakSomething()
        nextFault = rig.now + UInt64(dice.between(50_000...500_000))
      }
      rig.run(milliseconds: 10)
    }
    try settle()
  }

  // MARK: Writers

  private mutating func work() {
    for store in rig.stores.indices {
      if !rig.stores[store].isRunning {
        gateways[store] = nil
      } else if gateways[store] == nil {
        gateways[store] = rig.openGateway(to: store)
      }
    }
    for writer in writers.indices { work(writer) }
  }

  private mutating func work(_ writer: Int) {
    if let request = writers[writer].request {
      switch rig.outcome(request) {
      case .applied(.messageSent(let sequence, _, _))?:
        writers[writer].acknowledged.append(("\(text(writer))", sequence.rawValue))
        writers[writer].command = nil
      case .applied(.conversationCreated)?:
        writers[writer].command = nil
      case nil where rig.now < writers[writer].askedAt + 400_000:
        return
      default: break
      }
      writers[writer].request = nil
    }
    if writers[writer].command == nil {
      if writers[writer].number > 0 || rig.now > 0 { writers[writer].number += 1 }
      writers[writer].command = nextCommand(writer)
    }
    guard let command = writers[writer].command, let gateway = gateway(for: writer) else { return }
    writers[writer].request = rig.command(command, through: gateway)
    writers[writer].askedAt = rig.now
  }

  private func text(_ writer: Int) -> String { "w\(writer)-\(writers[writer].number)" }

  /// The first command of everybody makes the conversation, so that it exists whoever is first.
  private func nextCommand(_ writer: Int) -> Command {
    guard writers[writer].number > 1 else {
      let users = writers.filter { $0.room == writers[writer].room }.map(\.user)
      return group(
        writers[writer].room, creator: writers[writer].user,
        members: users.filter { $0 != writers[writer].user })
    }
    return send(
      text(writer), to: writers[writer].room, by: writers[writer].user, device: writer + 1)
  }

  /// Mostly the leader's; sometimes somebody else's, who must say so.
  private mutating func gateway(for writer: Int) -> Int? {
    let partition = rig.ring.partition(.conversation(writers[writer].room))
    let leader = rig.leader(of: Int(partition.rawValue))
    let store = dice.chance(permille: 100) ? dice.below(3) : leader ?? dice.below(3)
    return gateways[store]
  }

  // MARK: Faults

  private mutating func breakSomething() {
    let store = dice.below(3)
    let other = (store + dice.between(1...2)) % 3
    switch dice.below(6) {
    case 0 where rig.stores.count(where: { !$0.isRunning }) == 0:
      counts["kills", default: 0] += 1
      rig.kill(store)
    case 1:
      if let down = rig.stores.indices.first(where: { rig.stores[$0].core == nil }) {
        rig.start(down)
      } else {
        counts["restarts", default: 0] += 1
        rig.restart(store)
        gateways[store] = nil
      }
    case 2, 3:
      counts["resets", default: 0] += 1
      rig.resetLinks(store, other, pause: dice.between(0...100))
    case 4:
      if rig.stores[store].isPaused {
        rig.resume(store)
      } else if rig.stores.allSatisfy({ !$0.isPaused }) {
        counts["pauses", default: 0] += 1
        rig.pause(store)
      }
    default:
      if rig.cut.isEmpty {
        counts["cuts", default: 0] += 1
        rig.cut =
          dice.chance(permille: 500) ? [[store, other]] : [[store, other], [other, store]]
      } else {
        heal()
      }
    }
  }

  private mutating func heal() {
    let pairs = rig.cut
    rig.cut = []
    // A connection that lost frames is dead.
    for pair in pairs { rig.resetLinks(pair[0], pair[1]) }
  }

  // MARK: At the end

  private mutating func settle() throws(Violation) {
    heal()
    for store in rig.stores.indices {
      rig.resume(store)
      rig.start(store)
    }
    let end = rig.now + 6_000_000
    while rig.now < end {
      work()
      rig.run(milliseconds: 20)
      let isCalm = (0..<partitions).allSatisfy { rig.leader(of: $0) != nil }
      if isCalm, rig.now > end - 4_500_000 { break }
    }
    for number in 0..<partitions where rig.leader(of: number) == nil {
      throw Violation("partition \(number) has no leader that takes commands")
    }
    // What is under way ends.
    let last = rig.now + 3_000_000
    while writers.contains(where: { $0.request != nil }), rig.now < last {
      rig.run(milliseconds: 20)
      for writer in writers.indices where writers[writer].request != nil {
        let request = writers[writer].request ?? 0
        guard let outcome = rig.outcome(request) else { continue }
        if let sequence = outcome.sequence {
          writers[writer].acknowledged.append((text(writer), sequence))
        }
        writers[writer].request = nil
      }
    }
    guard !writers.contains(where: { $0.request != nil }) else {
      throw Violation("a request is never answered")
    }
    rig.run(milliseconds: 1_500)
    // A leadership may have been handed on just now.
    _ = rig.run(upTo: 3_000) { [partitions] in Self.isEven($0, partitions) }
    try check()
    counts["leader changes"] = rig.coordinator.changeCount
    counts["acknowledged"] = writers.reduce(0) { $0 + $1.acknowledged.count }
    counts["checkpoints"] = rig.checkpoints.count
  }

  /// Whether all replicas of each partition have applied equally much.
  private static func isEven(_ rig: ShardRig, _ partitions: Int) -> Bool {
    (0..<partitions).allSatisfy { number in
      Set(rig.stores.indices.map { rig.status($0, number)?.appliedIndex }).count == 1
    }
  }

  private mutating func check() throws(Violation) {
    for (number, room) in rooms.enumerated() {
      let partition = PartitionID(UInt32(number))
      var hashes: [UInt64] = []
      for store in rig.stores.indices {
        guard let host = rig.stores[store].hosts.first(where: { $0.partition == partition })
        else { throw Violation("store \(store + 1) has no replica of \(partition)") }
        if let stop = host.replica.stop {
          throw Violation("store \(store + 1) stopped \(partition): \(stop)")
        }
        hashes.append(host.chat.rollingHash)
        try check(room, of: host, at: store)
      }
      guard Set(hashes).count == 1 else {
        throw Violation("the replicas of \(partition) differ: \(hashes)")
      }
    }
  }

  private func check(
    _ room: ConversationID, of host: PartitionHost, at store: Int
  ) throws(Violation) {
    let writers = writers.filter { $0.room == room }
    let texts = history(of: room, at: host, by: writers[0].user)
    for writer in writers {
      for message in writer.acknowledged {
        let places = texts.indices.filter { texts[$0] == message.text }.map { UInt64($0) + 1 }
        guard places == [message.sequence] else {
          throw Violation(
            "store \(store + 1): \(message.text) was acknowledged as \(message.sequence), is at \(places)"
          )
        }
      }
      let sequences = writer.acknowledged.map(\.sequence)
      guard sequences == sequences.sorted() else {
        throw Violation("the order of a writer was not kept: \(sequences)")
      }
    }
  }

  private func history(
    of room: ConversationID, at host: PartitionHost, by reader: UserID
  ) -> [String] {
    var texts: [String] = []
    while true {
      let query = Query.history(
        HistoryQuery(
          conversation: room, reader: reader, range: .after(Sequence(UInt64(texts.count))),
          limit: 200))
      guard let answer = try? host.chat.answer(query, state: host.reader), let page = answer.texts,
        !page.isEmpty
      else { return texts }
      texts += page
    }
  }
}
