import ClusterModel
import Logging
import NIOCore
import NodeProtocol
import Primitives
import TLSEngine
import Transport

/// Keeps one link open to each shard that it was told of: dials, dials again with back-off, and
/// says what became of it.
///
/// **Isolation**: one event loop.
final class ShardDialer: @unchecked Sendable {
  // Safety: touched on `eventLoop` only; `Sendable` so that callbacks of that loop may carry it.
  private static let pauseMin: Milliseconds = 50
  private static let pauseMax: Milliseconds = 1_000

  private struct Target {
    var address: NodeAddress
    var node: String
    var isDialing = false
    var isLinked = false
    var pause = ShardDialer.pauseMin
    /// What was told of it last.
    var told: LinkDialFailure?
    /// Counts changes, so that a late answer to an old dial is recognised.
    var attempt: UInt64 = 0
  }

  private let eventLoop: any EventLoop
  private let tls: TLSContext?
  private let hello: LinkHello
  private let logger: Logger
  private var targets: [StoreID: Target] = [:]
  private var random: SeededRandom
  private var isStopped = false

  var onLink: ((StoreID, LinkConnection) -> Void)?
  var onRefused: ((StoreID) -> Void)?

  init(
    on eventLoop: any EventLoop, tls: TLSContext?, hello: LinkHello, logger: Logger, seed: UInt64
  ) {
    self.eventLoop = eventLoop
    self.tls = tls
    self.hello = hello
    self.logger = logger
    random = SeededRandom(seed: seed)
  }

  /// A shard is registered at this address. `after` leaves the first try to the other side. Another
  /// store that had its name is not looked for any more: the node has a new data directory.
  func connect(to store: StoreID, node: String, at address: NodeAddress, after pause: Milliseconds)
  {
    eventLoop.preconditionInEventLoop()
    for (other, target) in targets where target.node == node && other != store {
      targets[other] = nil
    }
    if let target = targets[store], target.address == address { return }
    targets[store] = Target(address: address, node: node)
    schedule(store, after: pause)
  }

  /// There is a link to this shard, whoever opened it.
  func linked(_ store: StoreID) {
    targets[store]?.isLinked = true
    targets[store]?.told = nil
    targets[store]?.pause = Self.pauseMin
  }

  /// The link is gone: dial again.
  func unlinked(_ store: StoreID, after pause: Milliseconds) {
    guard targets[store]?.isLinked == true else { return }
    targets[store]?.isLinked = false
    schedule(store, after: pause)
  }

  func stop() {
    isStopped = true
    onLink = nil
    onRefused = nil
  }

  private func schedule(_ store: StoreID, after pause: Milliseconds) {
    guard let attempt = targets[store]?.attempt else { return }
    eventLoop.assumeIsolated().scheduleTask(in: pause.timeAmount) {
      guard self.targets[store]?.attempt == attempt else { return }
      self.dial(store)
    }
  }

  private func dial(_ store: StoreID) {
    guard !isStopped, let target = targets[store], !target.isDialing, !target.isLinked else {
      return
    }
    targets[store]?.isDialing = true
    targets[store]?.attempt += 1
    LinkDialer.connect(to: target.address, tls: tls, hello: hello, on: eventLoop) { result in
      self.dialed(store, result)
    }
  }

  /// Once for each reason in a row: an attempt follows every second.
  private func tell(_ failure: LinkDialFailure, _ store: StoreID) {
    guard targets[store]?.told != failure else { return }
    targets[store]?.told = failure
    logger.warning(
      "no link", metadata: ["node": .string(targets[store]?.node ?? ""), "why": "\(failure)"])
  }

  private func dialed(_ store: StoreID, _ result: Result<LinkConnection, LinkDialFailure>) {
    guard !isStopped, targets[store] != nil else {
      if case .success(let link) = result { link.close() }
      return
    }
    targets[store]?.isDialing = false
    switch result {
    case .success(let link) where link.peer?.store == store:
      linked(store)
      onLink?(store, link)
    case .success(let link):
      logger.warning(
        "another store answers",
        metadata: ["node": .string(targets[store]?.node ?? ""), "store": "\(store)"])
      link.close()
      onRefused?(store)
      again(store)
    case .failure(let failure):
      if case .refused = failure { onRefused?(store) } else { tell(failure, store) }
      logger.debug("no link", metadata: ["store": "\(store)", "why": "\(failure)"])
      again(store)
    }
  }

  private func again(_ store: StoreID) {
    guard let target = targets[store], !target.isLinked else { return }
    let jitter = random.next() % (target.pause.rawValue / 2 + 1)
    targets[store]?.pause = min(Milliseconds(target.pause.rawValue * 2), Self.pauseMax)
    schedule(store, after: Milliseconds(target.pause.rawValue / 2 + jitter))
  }
}
