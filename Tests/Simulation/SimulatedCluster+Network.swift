import ClusterModel
import GatewayCore
import NodeProtocol
import Primitives
import ShardCore
import WalkSupport

/// Links: dialed, broken, cut, slow.
extension SimulatedCluster {
  private func key(_ node: Node) -> Int {
    switch node {
    case .shard(let number): number
    case .gateway(let number): 100 + number
    }
  }

  func isCut(from: Node, to: Node) -> Bool {
    !cuts.isEmpty && cuts[NodePair(from: key(from), to: key(to))] != nil
  }

  func pairs(_ one: Node, _ other: Node) -> [NodePair] {
    [NodePair(from: key(one), to: key(other)), NodePair(from: key(other), to: key(one))]
  }

  private func isAlive(_ node: Node) -> Bool {
    switch node {
    case .shard(let number): shards[number].isRunning
    case .gateway(let number): gateways[number].isRunning
    }
  }

  func happenInNetwork(_ event: Happening) {
    switch event {
    case .dial(let dialer, let number):
      guard isAlive(dialer) else { return }
      let target = Node.shard(number)
      let isLinked = connections.contains {
        $0.isOpen && $0.ends.contains(dialer) && $0.ends.contains(target)
      }
      guard !isLinked else { return }
      let isReachable = !isCut(from: dialer, to: target) && !isCut(from: target, to: dialer)
      guard isReachable, shards[number].isRunning, !shards[number].isPaused else {
        if isReachable, !shards[number].isRunning, case .shard(let own) = dialer {
          queue.schedule(.refused(own, by: shards[number].id), at: now + 1_000)
        }
        return queue.schedule(event, at: now + UInt64(networkDice.between(30_000...120_000)))
      }
      connect(dialer, number)
    case .refused(let number, let store):
      // Whoever the store is now: its process is not the one that was reached.
      guard shards[number].isRunning,
        !shards.contains(where: { $0.id == store && $0.isRunning })
      else { return }
      input(shards[number]) { $0.connectionRefused(by: store, now: $1, into: &$2) }
    default: preconditionFailure("not an event of the network")
    }
  }

  private func nextLink(_ node: Node, end: Int) -> LinkID {
    guard case .shard(let number) = node else { return LinkID(0) }
    shards[number].linkEnds.append((connections.count, end))
    return LinkID(UInt64(shards[number].linkEnds.count))
  }

  private func connect(_ dialer: Node, _ number: Int) {
    let shard = shards[number]
    let ends = [dialer, Node.shard(number)]
    let links = ends.indices.map { nextLink(ends[$0], end: $0) }
    fold(20, key(dialer), number)
    connections.append(Connection(ends: ends, links: links))
    let connection = connections.count - 1
    switch dialer {
    case .shard(let own):
      let hello = hello(of: shards[own])
      input(shard) { $0.linkOpened(links[1], peer: hello, now: $1, into: &$2) }
      let answer = self.hello(of: shard)
      input(shards[own]) { $0.linkOpened(links[0], peer: answer, now: $1, into: &$2) }
    case .gateway(let own):
      let gateway = gateways[own]
      if let earlier = gateway.links[shard.id] { close(earlier) }
      gateway.links[shard.id] = connection
      let hello = LinkHello(
        clusterID: 1, node: "gateway\(own + 1)", role: .gateway, store: nil,
        boot: BootID(UInt64(own + 1)), requestCredits: 0)
      input(shard) { $0.linkOpened(links[1], peer: hello, now: $1, into: &$2) }
      let answer = self.hello(of: shard)
      input(gateway) { $0.linkOpened(shard.id, peer: answer, now: $1, into: &$2) }
    }
  }

  private func hello(of shard: SimulatedShard) -> LinkHello {
    LinkHello(
      clusterID: 1, node: "shard\(shard.number + 1)", role: .shard, store: shard.id,
      boot: shard.boot, requestCredits: plan.isTight ? 4 : 1_000)
  }

  /// What is under way is lost; both sides notice and dial again.
  func close(_ connection: Int) {
    guard connections[connection].isOpen else { return }
    connections[connection].isOpen = false
    connections[connection].held = [[], []]
    let ends = connections[connection].ends
    let links = connections[connection].links
    fold(21, key(ends[0]), key(ends[1]))
    guard case .shard(let number) = ends[1] else { return }
    let target = shards[number]
    input(target) { $0.linkClosed(links[1], now: $1, into: &$2) }
    switch ends[0] {
    case .shard(let own): input(shards[own]) { $0.linkClosed(links[0], now: $1, into: &$2) }
    case .gateway(let own):
      let gateway = gateways[own]
      // The store may have another id by now; the gateway knows the one that it was linked to.
      for (store, linked) in gateway.links.sorted(by: { $0.key < $1.key })
      where linked == connection {
        gateway.links[store] = nil
        input(gateway) { $0.linkClosed(store, now: $1, into: &$2) }
      }
    }
    queue.schedule(.dial(ends[0], shard: number), at: now + 30_000)
    if case .shard(let own) = ends[0] {
      queue.schedule(.dial(ends[1], shard: own), at: now + 60_000)
    }
  }

  func connection(of shard: SimulatedShard, _ link: LinkID) -> Int? {
    let connection = shard.linkEnds[Int(link.rawValue) - 1].connection
    return connections[connection].isOpen ? connection : nil
  }

  func send(_ frame: LinkFrame, on link: LinkID, of shard: SimulatedShard) {
    let (connection, end) = shard.linkEnds[Int(link.rawValue) - 1]
    transmit(frame, on: connection, to: 1 - end)
  }

  /// Messages of replicas may be lost, repeated and reordered where the plan says so; nothing else
  /// on a link may.
  func transmit(_ frame: LinkFrame, on connection: Int, to end: Int) {
    guard connections[connection].isOpen else { return }
    let ends = connections[connection].ends
    if isCut(from: ends[1 - end], to: ends[end]) {
      return connections[connection].held[end].append(frame)
    }
    var at = after(plan.linkDelay, &networkDice) + UInt64(connections[connection].slowness)
    if plan.reordersReplicas, !isHealing, case .replica = frame {
      if networkDice.chance(permille: plan.lossPermille) { return }
      if networkDice.chance(permille: plan.repetitionPermille) {
        queue.schedule(
          .frame(connection: connection, to: end, frame),
          at: at + UInt64(networkDice.below(200_000)))
      }
      return queue.schedule(.frame(connection: connection, to: end, frame), at: at)
    }
    let priority = frame.priority.rawValue
    for urgent in 0...priority {
      at = max(at, connections[connection].lastArrivals[end * 3 + urgent])
    }
    connections[connection].lastArrivals[end * 3 + priority] = at
    queue.schedule(.frame(connection: connection, to: end, frame), at: at)
  }

  /// A cut is over: what it held up goes on, or the connection has died of it.
  func uncut(_ pairs: [NodePair], resets: Bool) {
    for pair in pairs {
      let count = (cuts[pair] ?? 1) - 1
      cuts[pair] = count == 0 ? nil : count
    }
    for connection in connections.indices where connections[connection].isOpen {
      for end in 0...1 where !connections[connection].held[end].isEmpty {
        let ends = connections[connection].ends
        guard !isCut(from: ends[1 - end], to: ends[end]) else { continue }
        if resets {
          close(connection)
          break
        }
        let held = connections[connection].held[end]
        connections[connection].held[end] = []
        for frame in held { transmit(frame, on: connection, to: end) }
      }
    }
  }
}
