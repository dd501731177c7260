import ClusterModel
import NodeProtocol
package import Primitives
import ReplicaCore
import Routing

/// Leadership that belongs elsewhere: with the replica that the target prefers, or, when this
/// process is about to stop or its replica is not wanted any more, with anybody else in sync.
///
/// Commands that arrive meanwhile wait here and are answered "not leader" when it is done, in their
/// order; if nothing comes of it they are appended.
extension ShardCore {
  /// Begins as many handoffs as may be under way at a time.
  mutating func considerHandoffs(now: Instant, into actions: inout [ShardAction]) {
    guard hasHandoffs || isLeaving, now >= nextHandoffs else { return }
    nextHandoffs = now + (isLeaving ? 0 : configuration.handoffInterval)
    var room = isLeaving ? configuration.leavingHandoffsMax : configuration.handoffsMax
    room -= hosts.count { $0.standing.isHandingOver }
    hasHandoffs = hosts.indices.contains { belongsElsewhere($0) }
    for position in hosts.indices where room > 0 {
      guard hosts[position].standing.servesReads, !hosts[position].standing.isHandingOver,
        hosts[position].splitting == nil, hosts[position].cut == nil,
        let heir = heir(of: position, now: now)
      else { continue }
      var isBegun = false
      drive(position, now: now, into: &actions) { replica, pending in
        isBegun = replica.handOver(to: heir, now: now, into: &pending)
      }
      if isBegun { room -= 1 }
    }
  }

  /// Whether it is led here although the target prefers another replica, fit to lead now or later.
  private func belongsElsewhere(_ position: Int) -> Bool {
    hosts[position].standing.isLeader
      && routing.preferred(hosts[position].partition) != hosts[position].replicaID
  }

  /// The replica that should lead instead of the one here; `nil` when that is in order.
  private func heir(of position: Int, now: Instant) -> ReplicaID? {
    let own = hosts[position].replicaID
    guard let record = routing.record(of: hosts[position].partition)?.record,
      isLeaving || record.target.first != own
    else { return nil }
    let isWanted = record.target.contains(own) && !isLeaving
    let candidates = isWanted ? record.target.prefix(1) : record.target[...]
    return candidates.first { replica in
      replica != own && record.inSync.contains(replica) && isFitToLead(replica.store, now: now)
    } ?? (isLeaving ? record.inSync.first { $0 != own && isFitToLead($0.store, now: now) } : nil)
  }

  /// A store that has just come gets no leadership yet: it may go again, and has much to do.
  private func isFitToLead(_ store: StoreID, now: Instant) -> Bool {
    guard let peer = peers.first(where: { $0.store == store }), peer.link != nil,
      !peer.isSuspected, !peer.isLeaving, peer.condition == .fit
    else { return false }
    return isLeaving || now >= peer.fitSince + configuration.leadershipPatience
  }

  /// Hands everything that is led here to others; what is served meanwhile is served until then.
  package mutating func leave(now: Instant, into actions: inout [ShardAction]) {
    isLeaving = true
    for id in links.keys.sorted() where links[id]?.role == .shard {
      actions.append(.send(id, .draining))
    }
    nextHandoffs = now
    considerHandoffs(now: now, into: &actions)
  }

  /// Whether nothing is led here that somebody else could lead.
  package func hasLeft(now: Instant) -> Bool {
    !hosts.indices.contains { hosts[$0].standing.isLeader && heir(of: $0, now: now) != nil }
  }
}
