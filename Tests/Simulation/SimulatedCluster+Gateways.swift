import ChatModel
import ClientProtocol
import GatewayCore
import NodeProtocol
import Primitives
import WalkSupport

/// Gateway processes.
extension SimulatedCluster {
  func start(_ gateway: SimulatedGateway) {
    guard !gateway.isRunning else { return }
    fold(10, gateway.number, gateway.life)
    gateway.life += 1
    gateway.isPaused = false
    gateway.isDraining = false
    gateway.deferred = []
    gateway.sessions = [:]
    gateway.calls = [:]
    gateway.links = [:]
    var configuration = GatewayConfiguration(
      node: "gateway\(gateway.number + 1)", boot: BootID(UInt64(gateway.number + 1)),
      partitionCount: UInt32(plan.partitionCount))
    if plan.isTight {
      configuration.changesPageMax = 3
      configuration.listPageMax = 2
      configuration.pullsPerSessionMax = 1
    }
    gateway.core = GatewayCore(configuration: configuration, seed: lifeDice.number())
    gateway.isRunning = true
    queue.schedule(
      .gatewayTick(gateway.number, life: gateway.life), at: now + UInt64(lifeDice.below(plan.tick)))
    for partition in coordinator.records.keys {
      announce(partition, to: .gateway(gateway.number))
    }
    for shard in shards {
      queue.schedule(.dial(.gateway(gateway.number), shard: shard.number), at: now + 2_000)
    }
  }

  func kill(_ gateway: SimulatedGateway) {
    guard gateway.isRunning else { return }
    fold(11, gateway.number, gateway.life)
    gateway.core = nil
    gateway.isRunning = false
    gateway.life += 1
    for connection in connections.indices
    where connections[connection].isOpen
      && connections[connection].ends.contains(.gateway(gateway.number))
    {
      close(connection)
    }
    for client in clients where client.gateway == gateway.number {
      queue.schedule(
        .clientLost(client.number, connection: client.connection),
        at: after(plan.clientDelay, &clientDice))
    }
  }

  func input(
    _ gateway: SimulatedGateway,
    _ body: (inout GatewayCore, Instant, inout [GatewayAction]) -> Void
  ) {
    guard gateway.isRunning else { return }
    body(&gateway.core!, instant(drift: gateway.ownDrift), &gatewayActions)
    var performing: [GatewayAction] = []
    swap(&performing, &gatewayActions)
    for action in performing { perform(action, of: gateway) }
    performing.removeAll(keepingCapacity: true)
    swap(&performing, &gatewayActions)
  }

  private func perform(_ action: GatewayAction, of gateway: SimulatedGateway) {
    switch action {
    case .send(let store, let frame):
      tell("gateway \(gateway.number) to \(store.rawValue): \(frame)")
      if let connection = gateway.links[store] { transmit(frame, on: connection, to: 1) }
    case .answer(let id, let frame):
      if frame.body == .behind { rare.note(.behind) }
      tell(frame, to: id, of: gateway)
    case .push(let body, let ids):
      for id in ids { tell(ServerFrame(ref: "", body: body), to: id, of: gateway) }
    case .finish(let id, let result):
      guard let client = gateway.calls.removeValue(forKey: id) else { return }
      queue.schedule(
        .callFinished(client, result), at: after(plan.clientDelay, &clientDice))
    case .endSession(let id, let error):
      guard let (client, connection) = gateway.sessions[id] else { return }
      queue.schedule(
        .clientEnded(client, connection: connection, error), at: arrival(at: clients[client]))
    }
  }

  private func tell(_ frame: ServerFrame, to id: SessionID, of gateway: SimulatedGateway) {
    guard let (client, connection) = gateway.sessions[id] else { return }
    queue.schedule(
      .clientHeard(client, connection: connection, frame), at: arrival(at: clients[client]))
  }

  /// When what is sent to a client now arrives: not before what was sent earlier.
  private func arrival(at client: SimulatedClient) -> UInt64 {
    client.lastArrival = max(client.lastArrival, after(plan.clientDelay, &clientDice))
    return client.lastArrival
  }

  func perform(_ event: Happening, at gateway: SimulatedGateway) {
    switch event {
    case .gatewayTick(_, let life):
      var silent: [StoreID] = []
      input(gateway) { core, now, actions in
        core.tick(now: now, into: &actions)
        silent = core.silentLinks(longerThan: SimulationLimits.linkSilenceMax, now: now)
      }
      for store in silent {
        if let connection = gateway.links[store] { close(connection) }
      }
      queue.schedule(.gatewayTick(gateway.number, life: life), at: now + UInt64(plan.tick))
    case .recordSeen(_, _, let partition, let record):
      input(gateway) { $0.recordObserved(partition, record, now: $1, into: &$2) }
    case .frame(let connection, _, let frame):
      guard case .shard(let number) = connections[connection].ends[1] else { return }
      let store = shards[number].id
      fold(12, gateway.number, connection)
      tell("gateway \(gateway.number) hears from \(store.rawValue): \(frame)")
      if case .response(let response) = frame, case .notLeader = response.outcome {
        rare.note(.redirection)
      }
      input(gateway) { $0.frameReceived(frame, from: store, now: $1, into: &$2) }
    default: preconditionFailure("not an event of a gateway")
    }
  }
}
