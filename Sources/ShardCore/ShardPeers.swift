import ChatModel
import ClusterModel
package import NodeProtocol
package import Primitives
import ReplicaCore

/// One open stream to another node's event loop.
///
/// A class, so that looking at one field does not copy the others; `ShardCore` alone refers to it.
final class Link {
  let node: String
  let role: NodeRole
  /// The peer's store, if it is a shard.
  let store: StoreID?
  let boot: BootID
  let lane: UInt32
  var lastHeard: Instant
  /// More deliveries wait in the shell than the bound: no further ones are queued.
  var isCongested = false
  /// What it is subscribed to, so that a closed link leaves nothing behind.
  var subscriptions: Set<Subscription> = []
  /// Commands of a gateway that were sent back to be tried again, by partition: from the first to
  /// the last of their numbers. What was sent behind them must not overtake them.
  var sentBack: [PartitionID: ClosedRange<UInt64>] = [:]
  /// Which delivery of the entry that is being told is the last for this link.
  var lastDelivery = 0

  init(_ hello: LinkHello, now: Instant) {
    node = hello.node
    role = hello.role
    store = hello.store
    boot = hello.boot
    lane = hello.lane
    lastHeard = now
  }
}

/// A subscribed entity and where it is.
struct Subscription: Hashable {
  let partition: PartitionID
  let entity: EntityID
}

/// Another shard, as this one sees it.
struct Peer {
  let store: StoreID
  var link: LinkID?
  var boot: BootID
  var lastHeard: Instant
  /// Its address refused a connection after it had been reached before.
  var isRefusing = false
  var isSuspected = false
  /// What it says of itself.
  var condition = Heartbeat.Condition.fit
  /// Since when it says that it does not hear this shard.
  var deafSince: Instant?
  /// Since when this process of it has been linked, heard and fit.
  var fitSince = Instant.zero
  /// It hands its leaderships over and is about to stop.
  var isLeaving = false
  /// Its clock minus ours, when it was last heard. Milliseconds.
  var clockOffset: Int64 = 0
}

extension ShardCore {
  /// A link is open and both sides have said hello.
  package mutating func linkOpened(
    _ id: LinkID, peer hello: LinkHello, now: Instant, into actions: inout [ShardAction]
  ) {
    endEarlierLink(of: hello, now: now, into: &actions)
    links[id] = Link(hello, now: now)
    guard let store = hello.store, hello.role == .shard else { return }
    let position = peerPosition(store, boot: hello.boot, now: now)
    let isAnother = peers[position].boot != hello.boot
    if isAnother { peers[position].isLeaving = false }
    if isAnother || peers[position].link == nil { peers[position].fitSince = now }
    peers[position].link = id
    peers[position].boot = hello.boot
    peers[position].lastHeard = now
    peers[position].isRefusing = false
    peers[position].condition = .fit
    peers[position].deafSince = nil
    judgePeers(now: now, into: &actions)
    tellPresent(store, hello.boot, now: now, into: &actions)
  }

  /// Tells every replica which process serves a store now.
  private mutating func tellPresent(
    _ store: StoreID, _ boot: BootID, now: Instant, into actions: inout [ShardAction]
  ) {
    for host in hosts.indices {
      drive(host, now: now, into: &actions) { replica, pending in
        replica.peerRestarted(store: store, boot: boot, now: now, into: &pending)
      }
    }
  }

  /// A gateway that links anew has given up what is under way on the link before, and asked for it
  /// again: what still arrives there would be done behind what came later.
  private mutating func endEarlierLink(
    of hello: LinkHello, now: Instant, into actions: inout [ShardAction]
  ) {
    guard hello.role == .gateway else { return }
    for id in links.keys.sorted() {
      guard let link = links[id], link.role == .gateway, link.node == hello.node,
        link.boot == hello.boot, link.lane == hello.lane
      else { continue }
      actions.append(.closeLink(id, reason: "the gateway has linked anew"))
      linkClosed(id, now: now, into: &actions)
    }
  }

  package mutating func linkClosed(_ id: LinkID, now: Instant, into actions: inout [ShardAction]) {
    guard let link = links.removeValue(forKey: id) else { return }
    for subscription in link.subscriptions {
      guard let position = position(of: subscription.partition) else { continue }
      hosts[position].subscribers[subscription.entity]?.removeAll { $0 == id }
      if hosts[position].subscribers[subscription.entity]?.isEmpty ?? false {
        hosts[position].subscribers[subscription.entity] = nil
      }
    }
    outboxLinkLost(id, now: now)
    guard let store = link.store, let peer = peers.firstIndex(where: { $0.store == store }),
      peers[peer].link == id
    else { return }
    // Both sides may have dialed: another link to the same process serves as well.
    peers[peer].link = links.keys.sorted().last { presentPeer(on: $0) == peer }
    if peers[peer].link == nil, adoptLink(of: store, peer, now: now, into: &actions) { return }
    for host in hosts.indices {
      drive(host, now: now, into: &actions) { replica, pending in
        replica.linkReset(store: store, now: now, into: &pending)
      }
    }
  }

  /// The link that was closed was an earlier process's and had said hello last: the present one's
  /// is open all the while.
  private mutating func adoptLink(
    of store: StoreID, _ peer: Int, now: Instant, into actions: inout [ShardAction]
  ) -> Bool {
    for id in links.keys.sorted().reversed() {
      guard let link = links[id], link.store == store else { continue }
      peers[peer].link = id
      peers[peer].boot = link.boot
      peers[peer].fitSince = now
      tellPresent(store, link.boot, now: now, into: &actions)
      return true
    }
    return false
  }

  /// The address of a peer refused a connection: its process is gone.
  package mutating func connectionRefused(
    by store: StoreID, now: Instant, into actions: inout [ShardAction]
  ) {
    guard let peer = peers.firstIndex(where: { $0.store == store }), peers[peer].link == nil else {
      return
    }
    peers[peer].isRefusing = true
    judgePeers(now: now, into: &actions)
  }

  /// A peer that is registered but was never heard: it gets the time of a silent one to appear.
  package mutating func peerRegistered(_ store: StoreID, boot: BootID, now: Instant) {
    guard store != configuration.store else { return }
    _ = peerPosition(store, boot: boot, now: now)
  }

  /// Deliveries to this link wait (or do not wait any more) beyond the shell's bound.
  package mutating func congestionChanged(_ id: LinkID, isCongested: Bool) {
    links[id]?.isCongested = isCongested
  }

  /// Stops taking commands; what was taken is finished.
  package mutating func drain(into actions: inout [ShardAction]) {
    isDraining = true
    for id in links.keys.sorted() { actions.append(.send(id, .draining)) }
  }

  /// Nothing that a client waits for is unfinished.
  package var isIdle: Bool {
    hosts.allSatisfy { $0.inFlight.isEmpty && $0.pending.isEmpty && $0.reads.isEmpty }
  }

  /// Where the process at the other end of a link is among the peers, while it is that peer's
  /// present one. What an earlier process said is void; two links of one process are as good as one
  /// that reorders.
  func presentPeer(on id: LinkID) -> Int? {
    guard let link = links[id], let store = link.store else { return nil }
    return peers.firstIndex { $0.store == store && $0.boot == link.boot }
  }

  mutating func peerPosition(_ store: StoreID, boot: BootID, now: Instant) -> Int {
    if let position = peers.firstIndex(where: { $0.store == store }) { return position }
    let position = peers.firstIndex { $0.store > store } ?? peers.endIndex
    peers.insert(Peer(store: store, boot: boot, lastHeard: now), at: position)
    return position
  }

  func link(to store: StoreID) -> LinkID? { peers.first { $0.store == store }?.link }

  // MARK: Heartbeats and suspicion

  mutating func heartbeatReceived(
    _ heartbeat: Heartbeat, on id: LinkID, now: Instant, wall: WallTime
  ) {
    guard let peer = presentPeer(on: id) else { return }
    peers[peer].lastHeard = now
    if peers[peer].condition != .fit { peers[peer].fitSince = now }
    peers[peer].condition = heartbeat.condition
    peers[peer].deafSince = heartbeat.isDeaf ? peers[peer].deafSince ?? now : nil
    peers[peer].clockOffset =
      Int64(clamping: heartbeat.wallTime.milliseconds)
      .subtractingReportingOverflow(Int64(clamping: wall.milliseconds)).partialValue
  }

  mutating func tendPeers(now: Instant, wall: WallTime, into actions: inout [ShardAction]) {
    judgePeers(now: now, into: &actions)
    lastWall = wall
    if now >= lastHeartbeat + configuration.heartbeatInterval {
      sendHeartbeats(now: now, wall: wall, into: &actions)
    }
  }

  mutating func sendHeartbeats(now: Instant, wall: WallTime, into actions: inout [ShardAction]) {
    lastHeartbeat = now
    for id in links.keys.sorted() {
      var isDeaf = false
      if let peer = presentPeer(on: id) { isDeaf = isSilent(peers[peer], now: now) }
      let heartbeat = Heartbeat(
        boot: configuration.boot, wallTime: wall, condition: condition, isDeaf: isDeaf)
      actions.append(.send(id, .heartbeat(heartbeat)))
    }
  }

  private func isSilent(_ peer: Peer, now: Instant) -> Bool {
    guard now > peer.lastHeard + configuration.silenceMax else { return false }
    // Not in a closure, which would take a copy of the whole shard with it.
    guard let link = peer.link, let heard = links[link]?.lastHeard else { return true }
    return now > heard + configuration.silenceMax
  }

  /// After a pause of this process its peers have not heard it for a moment, which says nothing.
  private func isDeaf(_ peer: Peer, now: Instant) -> Bool {
    guard let since = peer.deafSince else { return false }
    return now > since + configuration.deafnessPatience
  }

  /// Links that are silent: the shell ends them, so that both sides dial again instead of waiting
  /// until the network repeats what it lost, and so that nothing is done of what it repeats then.
  package func silentLinks(longerThan silence: Milliseconds, now: Instant) -> [LinkID] {
    // Asked at every tick, and hardly ever with an answer.
    var silent: [LinkID] = []
    for (id, link) in links where now > link.lastHeard + silence {
      silent.append(id)
    }
    return silent.sorted()
  }

  /// After a pause of this process, silence of the others says nothing.
  mutating func forgiveSilence(now: Instant) {
    for peer in peers.indices { peers[peer].lastHeard = now }
  }

  /// Whether `unfitPeers` is what the peers say of themselves.
  private var isUnfitKnown: Bool {
    var known = 0
    for peer in peers where peer.condition != .fit {
      guard known < unfitPeers.count, unfitPeers[known] == peer.store else { return false }
      known += 1
    }
    return known == unfitPeers.count
  }

  /// Who is silent, who refuses, and whether the own clock is the one that is wrong.
  mutating func judgePeers(now: Instant, into actions: inout [ShardAction]) {
    var changed = !isUnfitKnown
    if changed { unfitPeers = peers.filter { $0.condition != .fit }.map(\.store) }
    for peer in peers.indices {
      // Who does not hear this shard cannot work with it either.
      let isSuspected =
        peers[peer].isRefusing || peers[peer].condition == .stalled
        || isSilent(peers[peer], now: now) || isDeaf(peers[peer], now: now)
      guard isSuspected != peers[peer].isSuspected else { continue }
      peers[peer].isSuspected = isSuspected
      if !isSuspected { peers[peer].fitSince = now }
      changed = true
      let store = peers[peer].store
      actions.append(.note(isSuspected ? .peerSuspected(store) : .peerReachable(store)))
    }
    let agrees = clockAgrees(now: now, into: &actions)
    let present: Heartbeat.Condition =
      if isStorageStalled { .stalled } else { agrees ? .fit : .wrongClock }
    if present != condition {
      condition = present
      changed = true
    }
    guard changed else { return }
    for host in hosts.indices { tellReachability(to: host, now: now, into: &actions) }
  }

  mutating func tellReachability(
    to host: Int, now: Instant, into actions: inout [ShardAction]
  ) {
    let unreachable = peers.filter(\.isSuspected).map(\.store)
    drive(host, now: now, into: &actions) { [unfitPeers, condition] replica, pending in
      replica.reachabilityChanged(
        unreachable: unreachable, unfit: unfitPeers, mayLead: condition == .fit, now: now,
        into: &pending)
    }
  }

  /// Rule 11: a store whose clock differs from those of most of at least two peers does not lead.
  /// Heartbeats that waited while this process stood still say an old time, so it must do so for a
  /// while.
  private mutating func clockAgrees(now: Instant, into actions: inout [ShardAction]) -> Bool {
    var linked = 0
    var far = 0
    var firstFar: Int64?
    for peer in peers where peer.link != nil {
      linked += 1
      guard peer.clockOffset.magnitude > configuration.clockSkewMax.rawValue else { continue }
      far += 1
      firstFar = firstFar ?? peer.clockOffset
    }
    guard linked >= 2, far * 2 > linked else {
      clockDisagreesSince = nil
      return true
    }
    let since = clockDisagreesSince ?? now
    clockDisagreesSince = since
    guard now >= since + configuration.clockPatience else { return condition != .wrongClock }
    if condition == .fit, let offset = firstFar {
      actions.append(.note(.clockDisagrees(milliseconds: offset)))
    }
    return false
  }
}
