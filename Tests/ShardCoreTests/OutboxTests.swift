import ChatCore
import ChatModel
import ClusterModel
import NodeProtocol
import Primitives
import ReplicaCore
import Testing

@testable import ShardCore
import WalkSupport

/// What one partition must tell another arrives once, whatever happens on the way.
@Suite struct OutboxTests {
  private static let partitions = 4
  private let ring = Ring(count: UInt32(partitions))
  private var room: ConversationID { ring.conversation(1, in: 0) }
  private var users: [UserID] { (0..<Self.partitions).map { ring.user($0 + 1, in: $0) } }

  private func rig(stores: Int, owners: [Int: [Int]] = [:]) -> ShardRig {
    var rig = ShardRig(stores: stores, partitions: Self.partitions, owners: owners)
    rig.run(milliseconds: 500)
    for store in 0..<stores { _ = rig.openGateway(to: store) }
    rig.run(milliseconds: 10)
    return rig
  }

  private func gateway(_ rig: ShardRig, to partition: Int) -> Int { rig.leader(of: partition) ?? 0 }

  private func subscribeToUsers(_ rig: inout ShardRig) {
    for (partition, user) in users.enumerated() {
      rig.tell(
        .subscribe(
          Subscribe(
            partition: PartitionID(UInt32(partition)), entity: .user(user), after: nil)),
        through: gateway(rig, to: partition))
    }
    rig.run(milliseconds: 10)
  }

  /// How often each user was told that the conversation is listed.
  private func listings(_ rig: ShardRig) -> [Int] {
    users.map { user in
      rig.received.indices.reduce(0) { count, gateway in
        count
          + rig.deliveries(gateway).count {
            if case .listed(user, let item, removed: false) = $0.content {
              item.conversation == room
            } else {
              false
            }
          }
      }
    }
  }

  private func lists(_ rig: inout ShardRig) -> [[ConversationID]?] {
    let asked = users.enumerated().map { partition, user in
      rig.query(
        .conversationList(user: user, after: nil, limit: 10),
        through: gateway(rig, to: partition))
    }
    rig.run(milliseconds: 500)
    return asked.map { rig.outcome($0)?.answer?.listed }
  }

  private func outboxCounts(_ rig: ShardRig) -> [Int] {
    rig.stores.flatMap { store in
      store.hosts.map { $0.chat.outbox.count }
    }
  }

  @Test(arguments: [1, 2, 3])
  func `a new group reaches the lists of its members, once`(stores: Int) {
    var rig = rig(stores: stores)
    subscribeToUsers(&rig)
    rig.command(
      group(room, creator: users[0], members: Array(users.dropFirst())),
      through: gateway(rig, to: 0))
    rig.run(milliseconds: 1_500)
    #expect(listings(rig) == [1, 1, 1, 1])
    #expect(lists(&rig) == Array(repeating: [room], count: 4))
    #expect(outboxCounts(rig).allSatisfy { $0 == 0 }, "what was confirmed is taken out")
  }

  @Test func `an answer that is lost changes nothing`() {
    var rig = rig(stores: 2)
    subscribeToUsers(&rig)
    rig.command(
      group(room, creator: users[0], members: Array(users.dropFirst())),
      through: gateway(rig, to: 0))
    // The request has arrived, its answer has not.
    let isAsked = rig.run(upTo: 100) { !$0.requestsBetweenShards.isEmpty }
    #expect(isAsked)
    rig.run(milliseconds: 1)
    rig.resetLinks(0, 1, pause: 100)
    rig.run(milliseconds: 3_000)
    #expect(listings(rig) == [1, 1, 1, 1])
    #expect(lists(&rig) == Array(repeating: [room], count: 4))
    #expect(outboxCounts(rig).allSatisfy { $0 == 0 })
  }

  @Test func `a confirmation that was not taken is taken when there is room`() {
    var rig = rig(stores: 3)
    rig.command(group(room, creator: users[0], members: [users[1]]), through: 0)
    func isTold() -> Bool {
      rig.stores.contains { $0.hosts.contains { !$0.courier.confirmed.isEmpty } }
    }
    for _ in 0..<500 where !isTold() { rig.run(milliseconds: 1) }
    #expect(isTold())
    for store in 0..<3 {
      rig.input(store) {
        $0.storageChanged(isStalled: false, isFull: true, now: $1, into: &$2)
      }
    }
    rig.run(milliseconds: 300)
    #expect(outboxCounts(rig).contains { $0 > 0 })
    for store in 0..<3 {
      rig.input(store) {
        $0.storageChanged(isStalled: false, isFull: false, now: $1, into: &$2)
      }
    }
    rig.run(milliseconds: 2_000)
    #expect(outboxCounts(rig).allSatisfy { $0 == 0 })
  }

  @Test func `a target that moved is found`() {
    // The first store has no part in the second partition.
    var rig = rig(stores: 3, owners: [1: [1, 2]])
    #expect(rig.leader(of: 1) == 1)
    // It does not hear that that partition has another leader now.
    rig.stores[0].hearsRecords = false
    rig.kill(1)
    rig.run(milliseconds: 1_000)
    rig.start(1)
    rig.run(milliseconds: 1_500)
    #expect(rig.leader(of: 1) == 2)
    #expect(rig.leader(of: 0) == 0)
    rig.command(group(room, creator: users[0], members: [users[1]]), through: 0)
    rig.run(milliseconds: 5_000)
    let gateway = rig.openGateway(to: rig.leader(of: 1) ?? 0)
    let asked = rig.query(
      .conversationList(user: users[1], after: nil, limit: 10), through: gateway)
    rig.run(milliseconds: 200)
    #expect(rig.outcome(asked)?.answer?.listed == [room])
  }

  @Test func `a leader that dies before it told the others is replaced by one that does`() {
    var rig = rig(stores: 3)
    #expect(rig.leader(of: 0) == 0)
    // Nothing gets out of the first store but what its followers must have.
    let asked = rig.command(
      group(room, creator: users[0], members: Array(users.dropFirst())), through: 0)
    let isAnswered = rig.run(upTo: 200) { $0.outcome(asked) != nil }
    #expect(isAnswered)
    rig.kill(0)
    let isReplaced = rig.run(upTo: 5_000) { ($0.leader(of: 0) ?? 0) != 0 }
    #expect(isReplaced)
    rig.run(milliseconds: 3_000)
    #expect(lists(&rig) == Array(repeating: [room], count: 4))
  }

  @Test func `listings follow joins and leaves in their order`() {
    var rig = rig(stores: 2)
    let host = gateway(rig, to: 0)
    rig.command(group(room, creator: users[0], members: []), through: host)
    rig.run(milliseconds: 100)
    for isAdding in [true, false, true, false, true] {
      rig.command(
        .changeMembers(
          ChangeMembers(
            conversation: room, author: users[0],
            added: isAdding
              ? [Member(user: users[1], handle: handle("someone"), role: .member)] : [],
            removed: isAdding ? [] : [users[1]])), through: host)
      rig.run(milliseconds: 2)
    }
    rig.run(milliseconds: 2_000)
    #expect(lists(&rig)[1] == [room])
  }

  // MARK: Accounts

  @Test(arguments: [1, 2, 3])
  func `an account waits for its handle's partition`(stores: Int) {
    var rig = rig(stores: stores)
    let name = ring.handle(1, in: 1)
    let asked = rig.command(createUser(users[0], name), through: gateway(rig, to: 0))
    rig.run(milliseconds: 1)
    #expect(rig.outcome(asked) == nil)
    rig.run(milliseconds: 1_000)
    #expect(rig.responses[asked] == [.applied(.userActive(users[0]))])
    let found = rig.query(.handle(name), through: gateway(rig, to: 1))
    let profile = rig.query(.user(users[0]), through: gateway(rig, to: 0))
    rig.run(milliseconds: 100)
    #expect(rig.outcome(found)?.answer == .handle(users[0]))
    guard case .user(.some)? = rig.outcome(profile)?.answer else {
      Issue.record("the account is not active")
      return
    }
  }

  @Test func `of two who claim a handle one gets it and the other is refused`() {
    var rig = rig(stores: 2)
    let name = ring.handle(1, in: 1)
    let asked = [0, 2].map { partition in
      rig.command(createUser(users[partition], name), through: gateway(rig, to: partition))
    }
    rig.run(milliseconds: 1_500)
    let results = asked.map { rig.outcome($0)?.result }
    #expect(results.count { if case .userActive? = $0 { true } else { false } } == 1)
    let refusals = results.compactMap { result in
      if case .refused(let error)? = result { error } else { nil }
    }
    #expect(refusals.map(\.code) == [.alreadyExists])
  }

  @Test func `a repeated creation waits with the first and gets the same answer`() {
    var rig = rig(stores: 1)
    let command = createUser(users[0], ring.handle(1, in: 1))
    let asked = (0..<2).map { _ in rig.command(command, through: 0) }
    rig.run(milliseconds: 1_000)
    let later = rig.command(command, through: 0)
    rig.run(milliseconds: 100)
    for request in asked + [later] {
      #expect(rig.responses[request] == [.applied(.userActive(users[0]))])
    }
  }

  @Test func `who waits for an account is told when the leader is lost`() {
    var rig = rig(stores: 3)
    let name = ring.handle(1, in: 1)
    // The handle's partition cannot be reached.
    rig.stores[1].holdsSync = true
    let asked = rig.command(createUser(users[0], name), through: 0)
    rig.run(milliseconds: 100)
    rig.releaseSyncs(1)
    rig.run(milliseconds: 1_500)
    #expect(rig.outcome(asked)?.result == .userActive(users[0]))
  }

  @Test func `while a backup is made nothing that was delivered is taken out`() {
    var rig = rig(stores: 3)
    rig.command(group(room, creator: users[0], members: Array(users[1...])), through: 0)
    rig.run(milliseconds: 2_000)
    for store in 0..<3 {
      rig.input(store) { core, _, _ in core.holdConfirmations(true) }
    }
    rig.run(milliseconds: 100)
    for store in rig.stores { #expect(store.core?.isConfirming == false) }
    // More than a partition delivers at a time.
    for number in 2...60 {
      rig.command(
        group(
          ring.conversation(number, in: 0), creator: users[0], members: Array(users[1...])),
        through: gateway(rig, to: 0))
    }
    rig.run(milliseconds: 5_000)
    let asked = users.enumerated().map { partition, user in
      rig.query(
        .conversationList(user: user, after: nil, limit: 100),
        through: gateway(rig, to: partition))
    }
    rig.run(milliseconds: 100)
    let listed = asked.map { rig.outcome($0)?.answer?.listed?.count }
    #expect(listed.allSatisfy { $0 == 60 }, "it is delivered all the same: \(listed)")
    let waiting = { (rig: ShardRig) in
      rig.stores.flatMap(\.hosts).filter { $0.standing.isLeader }
        .reduce(0) { $0 + $1.visitChat { $0.outbox.entries(after: nil, countMax: 999).count } }
    }
    #expect(waiting(rig) == 59 * users.count)
    for store in 0..<3 {
      rig.input(store) { core, _, _ in core.holdConfirmations(false) }
    }
    rig.run(milliseconds: 2_000)
    #expect(waiting(rig) == 0)
  }
}
