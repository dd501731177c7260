import NodeProtocol
import Primitives
import ReplicaCore
import WalkSupport

/// The links of a walk: which ways are cut, and which connection between two stores is the newest.
struct WalkNetwork {
  private var isCut: [[Bool]]
  private var connections: [[Int]]
  var lastDelivery: [[Instant]]
  var sentCount = 0

  init(storeCount: Int) {
    isCut = [[Bool]](repeating: [Bool](repeating: false, count: storeCount), count: storeCount)
    connections = [[Int]](repeating: [Int](repeating: 0, count: storeCount), count: storeCount)
    lastDelivery = [[Instant]](
      repeating: [Instant](repeating: .zero, count: storeCount), count: storeCount)
  }

  func isCut(from: Int, to: Int) -> Bool { isCut[from][to] }
  func connection(from: Int, to: Int) -> Int { connections[from][to] }
  mutating func cut(from: Int, to: Int) { isCut[from][to] = true }
  mutating func heal(from: Int, to: Int) { isCut[from][to] = false }

  mutating func healAll() {
    for from in isCut.indices { for to in isCut.indices { isCut[from][to] = false } }
  }

  mutating func reset(_ store: Int, _ other: Int) {
    connections[store][other] += 1
    connections[other][store] += 1
    lastDelivery[store][other] = .zero
    lastDelivery[other][store] = .zero
  }
}

extension RandomWalk {
  mutating func send(_ message: ReplicaMessage, from store: Int) {
    let to = Self.position(of: message.to.store)
    network.sentCount += 1
    note("\(store) → \(to) \(Self.text(message))")
    guard stores.indices.contains(to), !network.isCut(from: store, to: to) else { return }
    guard phase != .faulting || !dice.chance(permille: plan.lossPermille) else { return }
    schedule(message, from: store, to: to)
    if phase == .faulting, dice.chance(permille: plan.repeatPermille) {
      schedule(message, from: store, to: to)
    }
  }

  private mutating func schedule(_ message: ReplicaMessage, from: Int, to: Int) {
    var delay = dice.between(0...(phase == .faulting ? plan.delayMicrosecondsMax : 1_000))
    if phase == .faulting, dice.chance(permille: plan.longDelayPermille) {
      delay += dice.between(0...400_000)
    }
    var at = after(delay)
    if plan.isOrdered {
      at = max(at, network.lastDelivery[from][to])
      network.lastDelivery[from][to] = at
    }
    queue.schedule(
      .delivered(message, connection: network.connection(from: from, to: to)), at: at)
  }

  mutating func deliver(_ message: ReplicaMessage, connection: Int) throws {
    let from = Self.position(of: message.from.store)
    let to = Self.position(of: message.to.store)
    guard !network.isCut(from: from, to: to) else { return }
    if connection != network.connection(from: from, to: to) {
      guard dice.chance(permille: plan.leftoverPermille) else { return }
    }
    if case .inquiry = message.body, stores[to].givenUp == message.to {
      // A store answers for what it gave up: it holds nothing.
      return send(
        ReplicaMessage(
          partition: partition, from: message.to, fromBoot: stores[to].boot, to: message.from,
          epoch: .zero, revision: .zero,
          body: .inquiryAnswered(last: nil, inquirerBoot: message.fromBoot)),
        from: to)
    }
    try input(to, .message) { $0.messageReceived(message, now: $1, into: &$2) }
  }

  static func text(_ message: ReplicaMessage) -> String {
    let body =
      switch message.body {
      case .append(let previous, let entries, let commit):
        "append after \(previous) \(entries.map { "\($0.id)" }) commit \(commit)"
      default: "\(message.body)"
      }
    return "\(message.epoch) \(message.revision) \(body)"
  }

  /// The connection between two stores breaks; each side notices in its own time.
  mutating func resetLink(_ store: Int, _ other: Int) {
    network.reset(store, other)
    schedule(.linkReset(store: store, other: other), in: 0...20_000)
    schedule(.linkReset(store: other, other: store), in: 0...20_000)
  }

  /// Two stores find each other again and say who they are.
  mutating func reconnect(_ store: Int, _ other: Int) {
    resetLink(store, other)
    for (listener, speaker) in [(store, other), (other, store)] where stores[speaker].isUp {
      schedule(
        .restartAnnounced(store: listener, of: speaker, boot: stores[speaker].boot), in: 0...30_000)
    }
  }

  // MARK: What the detectors say

  mutating func seeReachability(_ store: Int) throws {
    var unreachable: [StoreID] = []
    for other in stores.indices where other != store && stores[store].damaged == nil {
      if !stores[other].isUp || stores[other].isPaused || network.isCut(from: other, to: store)
        || network.isCut(from: store, to: other)
      {
        unreachable.append(stores[other].id)
      }
    }
    try input(store) {
      $0.reachabilityChanged(unreachable: unreachable, mayLead: true, now: $1, into: &$2)
    }
  }

  /// After something broke or healed, most of the detectors notice after a while.
  mutating func letDetectorsNotice() {
    for store in stores.indices where phase != .faulting || dice.chance(permille: 800) {
      schedule(.reachabilitySeen(store: store), in: 20_000...150_000)
    }
  }
}
