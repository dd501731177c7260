import ChatModel
import ClientProtocol
import ClusterModel
import GatewayCore
import NodeProtocol
import Primitives
import WalkSupport

/// A gateway, its shards and its clients on virtual time.
struct GatewayRig {
  /// Between two ticks of the shell, in microseconds.
  static let tick = 10_000

  var core: GatewayCore
  var shards: FakeShards
  var clients: [FakeClient] = []
  private(set) var results: [CallID: CallResult] = [:]
  private(set) var pushes: [(body: ServerBody, sessions: [SessionID])] = []
  private(set) var subscribes: [EntityID: Int] = [:]
  private(set) var unsubscribes: [EntityID: Int] = [:]
  private(set) var queries: [Query] = []
  /// What happened, when somebody will read it.
  var trace: [String]?
  private var lastSession: UInt64 = 0
  private var actions: [GatewayAction] = []

  init(
    partitionCount: UInt32 = 4, storeCount: Int = 2, seed: UInt64 = 1,
    configure: (inout GatewayConfiguration) -> Void = { _ in }
  ) {
    shards = FakeShards(partitionCount: partitionCount, storeCount: storeCount, seed: seed)
    var configuration = GatewayConfiguration(
      node: "gateway", boot: BootID(1), partitionCount: partitionCount)
    configure(&configuration)
    core = GatewayCore(configuration: configuration, seed: seed)
    for number in 1...9 { shards.world.register(profile(number)) }
    for partition in 0..<partitionCount {
      core.recordObserved(
        PartitionID(partition), shards.record(PartitionID(partition)), now: instant, into: &actions)
    }
    for store in shards.storeIDs { shards.queue.schedule(.linkOpened(store), at: shards.now) }
    shards.queue.schedule(.tick, at: shards.now)
  }

  var world: ChatWorld { shards.world }
  var instant: Instant { Instant(nanoseconds: shards.now * 1_000) }

  func note(_ text: @autoclosure () -> String) -> String? {
    trace == nil ? nil : "\(shards.now) \(text())"
  }

  // MARK: Running

  /// Lets virtual time pass. `step` is called for every step that was scheduled.
  mutating func run(
    milliseconds: Int, step: (inout GatewayRig) throws(Violation) -> Void = { _ in }
  ) throws(Violation) {
    let end = shards.now + UInt64(milliseconds) * 1_000
    try perform()
    while let (at, happening) = shards.queue.next(until: end) {
      shards.now = max(shards.now, at)
      switch happening {
      case .toStore(let store, let link, let frame):
        shards.receive(frame, at: store, link: link)
      case .toGateway(let store, let link, let frame):
        guard shards.isCurrent(store, link) else { continue }
        if let line = note("← \(store.rawValue) \(traceText(frame))") { trace?.append(line) }
        core.frameReceived(frame, from: store, now: instant, into: &actions)
      case .linkOpened(let store):
        guard !shards.isLinked(store) else { continue }
        shards.linkOpened(store)
        if let line = note("link to \(store.rawValue) opens") { trace?.append(line) }
        core.linkOpened(store, peer: hello(store, credits: 50), now: instant, into: &actions)
      case .recordSeen(let partition, let record):
        if let line = note("\(partition) is led by \(record.record.leader.store.rawValue)") {
          trace?.append(line)
        }
        core.recordObserved(partition, record, now: instant, into: &actions)
      case .read(let store, let link, let request):
        shards.read(request, at: store, link: link)
      case .turnEnded(let partition): shards.endTurn(partition)
      case .listed(let command): shards.add(command)
      case .tick:
        core.tick(now: instant, into: &actions)
        shards.queue.schedule(.tick, at: shards.now + UInt64(Self.tick))
      case .step: try step(&self)
      }
      try perform()
    }
    shards.now = end
  }

  private mutating func perform() throws(Violation) {
    var next = 0
    while next < actions.count {
      let action = actions[next]
      next += 1
      try perform(action)
    }
    actions.removeAll(keepingCapacity: true)
  }

  private mutating func perform(_ action: GatewayAction) throws(Violation) {
    if let line = note(traceText(action)) { trace?.append(line) }
    switch action {
    case .send(let store, let frame):
      switch frame {
      case .subscribe(let subscribe): subscribes[subscribe.entity, default: 0] += 1
      case .unsubscribe(let unsubscribe): unsubscribes[unsubscribe.entity, default: 0] += 1
      case .request(let request): if let query = request.query { queries.append(query) }
      default: break
      }
      shards.send(frame, to: store)
    case .answer(let id, let frame):
      guard let client = clients.firstIndex(where: { $0.session == id }) else { return }
      if frame.ref.isEmpty { return try clients[client].receive(frame.body, in: world) }
      if case .welcome = frame.body { clients[client].isWelcome = true }
      guard clients[client].answers.updateValue(frame.body, forKey: frame.ref) == nil else {
        throw Violation(kind: .answer, text: "\(frame.ref) was answered twice")
      }
    case .push(let body, let ids):
      pushes.append((body, ids))
      for id in ids {
        guard let client = clients.firstIndex(where: { $0.session == id }) else { continue }
        try clients[client].receive(body, in: world)
      }
    case .finish(let call, let result): results[call] = result
    case .endSession(let id, let error):
      guard let client = clients.firstIndex(where: { $0.session == id }) else { return }
      clients[client].endings.append(error)
    }
  }

  // MARK: Clients

  /// **Returns**: the client's place in `clients`. It connects at once.
  @discardableResult
  mutating func addClient(_ user: UserID, device number: Int = 1) -> Int {
    clients.append(FakeClient(user: user, device: device(number)))
    connect(clients.count - 1)
    return clients.count - 1
  }

  /// Says hello with the last cursor, if there is one.
  mutating func connect(_ client: Int) {
    guard clients[client].session == nil else { return }
    lastSession += 1
    let id = SessionID(lastSession)
    if let line = note("  s\(lastSession) of \(clients[client].device) opens") {
      trace?.append(line)
    }
    clients[client].connect(id, in: world)
    core.sessionOpened(
      id, user: clients[client].user, device: clients[client].device,
      hello: Hello(token: "", cursor: clients[client].cursor, events: true),
      ref: "hello \(lastSession)", now: instant, into: &actions)
  }

  mutating func disconnect(_ client: Int) {
    guard let id = clients[client].session else { return }
    if let line = note("  s\(id.rawValue) closes") { trace?.append(line) }
    clients[client].session = nil
    core.sessionClosed(id, into: &actions)
  }

  mutating func setCongested(_ client: Int, _ isCongested: Bool) {
    guard let id = clients[client].session else { return }
    if let line = note("  s\(id.rawValue) congested: \(isCongested)") { trace?.append(line) }
    clients[client].isCongested = isCongested
    core.congestionChanged(id, isCongested: isCongested, now: instant, into: &actions)
  }

  mutating func operate(_ client: Int, _ ref: String, _ operation: ClientOperation) {
    guard let id = clients[client].session else { return }
    core.frameReceived(
      ClientFrame(ref: ref, operation: operation), from: id, now: instant, into: &actions)
  }

  mutating func call(_ number: UInt64, _ call: GatewayCall) {
    core.call(CallID(number), call, now: instant, into: &actions)
  }

  mutating func drain() { core.drain(into: &actions) }

  // MARK: The cluster

  mutating func loseLink(_ store: StoreID, restart: Bool = false, forMilliseconds pause: Int) {
    guard shards.isLinked(store) else { return }
    shards.linkClosed(store, restart: restart)
    core.linkClosed(store, now: instant, into: &actions)
    shards.queue.schedule(.linkOpened(store), at: shards.now + UInt64(pause) * 1_000)
  }

  // MARK: What others do, through another gateway

  mutating func create(_ id: ConversationID, members: [UserID], creator: UserID) {
    let all = members.contains(creator) ? members : members + [creator]
    shards.add(
      .createConversation(
        CreateConversation(
          conversation: id, kind: .group, title: "tea", creator: creator,
          members: all.map {
            Member(user: $0, handle: handle("someone"), role: $0 == creator ? .admin : .member)
          })))
  }

  mutating func say(_ text: String, in id: ConversationID, by sender: UserID) {
    shards.add(
      .sendMessage(
        SendMessage(
          conversation: id, sender: sender, device: device(99), clientID: clientID(text),
          text: text)))
  }

  mutating func change(
    _ id: ConversationID, by author: UserID, add added: [UserID] = [], remove removed: [UserID] = []
  ) {
    shards.add(
      .changeMembers(
        ChangeMembers(
          conversation: id, author: author,
          added: added.map { Member(user: $0, handle: handle("someone"), role: .member) },
          removed: removed)))
  }

  // MARK: At the end

  /// Closes everything and looks for what is left.
  mutating func checkNothingLeaks() throws(Violation) {
    for client in clients.indices { disconnect(client) }
    try run(milliseconds: Int(core.configuration.requestTimeout.rawValue) + 1_000)
    guard core.sessionCount == 0, core.subscriptionCount == 0, core.pendingRequestCount == 0 else {
      let left = "\(core.sessionCount) sessions, \(core.subscriptionCount) subscriptions"
      throw Violation(kind: .leak, text: "\(left), \(core.pendingRequestCount) requests")
    }
    for store in shards.storeIDs where !shards.subscriptions(of: store).isEmpty {
      throw Violation(kind: .leak, text: "a shard still has subscriptions of this gateway")
    }
  }
}
