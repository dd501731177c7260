import ChatModel
import ClientProtocol
import ClusterModel
import GatewayCore
import NodeProtocol
import Primitives
import WalkSupport

/// What rarely happens, and must happen in some walk.
struct RareEvents {
  var counts: [String: Int] = [:]

  mutating func count(_ name: String, _ number: Int = 1) { counts[name, default: 0] += number }
  mutating func add(_ other: RareEvents) {
    for (name, number) in other.counts { count(name, number) }
  }
  var description: String {
    counts.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
  }
}

/// Clients, conversations and faults drawn from a seed; `FakeClient` holds what the gateway says
/// against what happened.
struct SessionWalk {
  private(set) var rig: GatewayRig
  private(set) var events = RareEvents()
  private var dice: Dice
  private let users: [UserID]
  private let conversations: [ConversationID]
  /// Never leaves a conversation.
  private let host: UserID
  private let partitionCount: Int
  private let stepMicrosecondsMax: Int
  private var lastText = 0
  private var sends: [(client: Int, ref: String)] = []
  private var isFaulting = true

  init(seed: UInt64, isTracing: Bool = false) {
    var dice = Dice(seed: seed)
    partitionCount = dice.between(1...4)
    stepMicrosecondsMax = dice.pick([3_000, 8_000, 20_000])
    let (listPage, changesPage) = (dice.pick([1, 2, 5, 100]), dice.pick([1, 2, 5, 100]))
    let pulls = dice.pick([1, 2, 8])
    let interval = dice.pick([10, 50, 200])
    rig = GatewayRig(
      partitionCount: UInt32(partitionCount), storeCount: dice.between(1...3),
      seed: dice.number()
    ) {
      $0.listPageMax = listPage
      $0.changesPageMax = changesPage
      $0.pullsPerSessionMax = pulls
      $0.cursorInterval = Milliseconds(UInt64(interval))
      $0.requestTimeout = 400
    }
    if isTracing { rig.trace = [] }
    host = user(9)
    users = (1...dice.between(1...3)).map { user($0) }
    conversations = (1...dice.between(2...6)).map { ConversationID(UInt128($0) << 64 | 0xc0) }
    self.dice = dice
    setFaults()
  }

  private mutating func setFaults() {
    rig.shards.faults.latency = 100...dice.pick([300, 2_000, 15_000])
    rig.shards.faults.reading = 0...dice.pick([200, 5_000, 30_000])
    rig.shards.faults.gathering = 0...dice.pick([0, 3_000, 10_000])
    rig.shards.faults.listing = 500...dice.pick([2_000, 30_000])
    // A leader does not change faster than a frame crosses its link.
    rig.shards.faults.announcing = 100...dice.pick([1_000, 30_000])
    rig.shards.faults.behind = dice.pick([0, 0, 30, 150])
    rig.shards.faults.refused = dice.pick([0, 0, 50])
    rig.shards.faults.dropped = dice.pick([0, 0, 20])
  }

  /// Runs the walk to its end. **Throws**: the first violation.
  mutating func run(milliseconds: Int = 800) throws(Violation) {
    for conversation in conversations where dice.chance(permille: 700) {
      let members = users.filter { _ in dice.chance(permille: 700) }
      rig.create(conversation, members: members, creator: host)
    }
    try rig.run(milliseconds: dice.between(1...60))
    for (number, user) in users.enumerated() { rig.addClient(user, device: number + 1) }
    rig.addClient(users[0], device: 50)
    try walk(milliseconds: milliseconds)
    try settle()
    try rig.checkNothingLeaks()
  }

  private mutating func walk(milliseconds: Int) throws(Violation) {
    let end = rig.shards.now + UInt64(milliseconds) * 1_000
    while rig.shards.now < end {
      try rig.run(milliseconds: 0)
      step()
      try rig.run(milliseconds: dice.between(0...stepMicrosecondsMax) / 1_000)
    }
  }

  /// Everything is mended; then everybody must have everything.
  private mutating func settle() throws(Violation) {
    isFaulting = false
    rig.shards.faults = FakeShards.Faults()
    for client in rig.clients.indices {
      rig.setCongested(client, false)
      rig.connect(client)
    }
    try rig.run(milliseconds: 1_500)
    for client in rig.clients { try client.checkComplete(in: rig.world) }
    // Nobody only seems to listen: one more message in every conversation reaches everybody.
    for conversation in conversations where rig.world.conversations[conversation] != nil {
      say(in: conversation)
    }
    try rig.run(milliseconds: 500)
    for client in rig.clients { try client.checkComplete(in: rig.world) }
    events.count("events", rig.clients.reduce(0) { $0 + $1.eventCount })
    events.count("cursors", rig.clients.reduce(0) { $0 + $1.cursorCount })
    events.count("behind told", rig.clients.reduce(0) { $0 + $1.behindCount })
    events.count("subscriptions ended", rig.shards.behindCount)
    let answers = sends.compactMap { rig.clients[$0.client].answers[$0.ref] }
    events.count("sends answered", answers.count)
    for case .sent(let conversation, let sequence, _, _) in answers {
      let stored = rig.world.conversations[conversation]?.events ?? []
      guard stored.indices.contains(Int(sequence.rawValue) - 1) else {
        throw Violation(kind: .answer, text: "\(sequence) was told and is not stored")
      }
    }
  }

  // MARK: Steps

  private mutating func say(in conversation: ConversationID) {
    lastText += 1
    rig.say("t\(lastText)", in: conversation, by: host)
  }

  private mutating func step() {
    let conversation = dice.pick(conversations)
    let client = dice.below(rig.clients.count)
    switch dice.below(100) {
    case 0..<34:
      if rig.world.conversations[conversation] == nil {
        rig.create(conversation, members: [dice.pick(users)], creator: host)
      }
      for _ in 0..<dice.between(1...3) { say(in: conversation) }
    case 34..<42: send(in: conversation, from: client)
    case 42..<54: changeMembers(of: conversation)
    case 54..<62: changeLeader()
    case 62..<68:
      events.count("links lost")
      rig.loseLink(
        dice.pick(rig.shards.storeIDs), restart: dice.chance(permille: 300),
        forMilliseconds: dice.between(1...80))
    case 68..<76: endSubscription()
    case 76..<86: rig.setCongested(client, !rig.clients[client].isCongested)
    case 86..<92: reconnect(client)
    default: break
    }
  }

  private mutating func send(in conversation: ConversationID, from client: Int) {
    lastText += 1
    let ref = "send \(lastText)"
    sends.append((client, ref))
    rig.operate(
      client, ref,
      .send(conversation: conversation, id: clientID("s\(lastText)"), text: "s\(lastText)"))
  }

  private mutating func changeMembers(of conversation: ConversationID) {
    let user = dice.pick(users)
    let isMember = rig.world.conversations[conversation]?.members[user] != nil
    events.count(isMember ? "leaves" : "joins")
    if isMember {
      rig.change(conversation, by: host, remove: [user])
    } else {
      rig.change(conversation, by: host, add: [user])
    }
  }

  private mutating func changeLeader() {
    let partition = PartitionID(UInt32(dice.below(partitionCount)))
    let next = dice.pick(rig.shards.storeIDs)
    if next != rig.shards.leader(partition) { events.count("leader changes") }
    rig.shards.lead(partition, by: next)
  }

  private mutating func endSubscription() {
    let store = dice.pick(rig.shards.storeIDs)
    let subscribed = rig.shards.subscriptions(of: store)
    guard !subscribed.isEmpty else { return }
    let entity = dice.pick(subscribed)
    rig.shards.endSubscription(
      entity, of: rig.world.partition(of: entity), on: store, .behind)
  }

  private mutating func reconnect(_ client: Int) {
    if rig.clients[client].session == nil {
      if rig.clients[client].cursor == nil { events.count("hellos without a cursor") }
      rig.connect(client)
    } else {
      events.count("disconnects")
      if dice.chance(permille: 100) { rig.clients[client].cursor = nil }
      rig.disconnect(client)
    }
  }
}
