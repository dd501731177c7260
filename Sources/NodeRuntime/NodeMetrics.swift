import Coordination
import LogStorage
import NIOCore
import Primitives
import ShardCore
package import Telemetry
import Transport

extension MetricsPage {
  mutating func histogram(_ name: String, _ help: String, _ durations: DurationHistogram) {
    histogram(
      name, help, upperBounds: DurationHistogram.upperBounds, counts: durations.counts,
      sum: Double(durations.nanosecondsSum) / 1_000_000_000)
  }
}

extension ShardNode {
  func operatorSource(_ coordinator: any Coordinator) -> OperatorSource {
    // The server goes with the node that it asks, and does not keep it alive.
    OperatorSource(
      nodes: [name],
      isReady: { [weak self] in await self?.isReady() ?? false },
      collect: { [weak self] page in await self?.collect(into: &page) },
      ring: { try await RingStatus.read(coordinator) },
      partitions: { [weak self] in
        guard let partitions = try? await self?.partitions() else { return [] }
        return partitions.sorted { $0.partition < $1.partition }.map { item in
          let role = item.isLeader ? "leads" : item.stop.map { "stopped: \($0)" } ?? "follows"
          return "\(item.partition) \(item.replica) \(role), its log ends with \(item.last), "
            + "committed are \(item.commitIndex)"
        }
      },
      marks: { [weak self] in
        guard let node = self, let partitions = try? await node.partitions(),
          let sizes = try? await node.sizes()
        else { return [] }
        return partitions.sorted { $0.partition < $1.partition }.map {
          ReplicaReport.line($0, bytes: sizes[$0.partition] ?? 0)
        }
      }, registered: { try? await NodeRegistration.all(coordinator) })
  }

  /// Whether it takes its part: its store writes and every replica of it runs.
  package func isReady() async -> Bool {
    guard committer.poison == nil, let partitions = try? await partitions() else { return false }
    return partitions.allSatisfy { $0.stop == nil }
  }

  /// Adds what this shard shows of itself.
  package func collect(into page: inout MetricsPage) async {
    if let partitions = try? await partitions(),
      let (links, comparedStates, snapshots, log, commands) = try? await lane.eventLoop.submit({
        [lane] in
        (
          lane.linkCount, lane.comparedStateCount, lane.snapshotCounts, lane.logSize,
          lane.commandCount
        )
      }).get()
    {
      let help = "Partitions that have a replica in this store, by what the replica does."
      let led = partitions.count { $0.isLeader }
      let stopped = partitions.count { $0.stop != nil }
      let roles = [
        ("leader", led), ("follower", partitions.count - led - stopped), ("stopped", stopped),
      ]
      for (role, count) in roles {
        page.gauge("martlet_partitions", help, labels: [("role", role)], count)
      }
      page.gauge(
        "martlet_partitions_accepting", "Partitions led here that take commands now.",
        partitions.count { $0.acceptsCommands })
      page.counter(
        "martlet_committed_entries_total",
        "Log entries known to be committed, over all partitions and since they were made.",
        partitions.reduce(0) { $0 + $1.commitIndex.rawValue })
      page.counter(
        "martlet_applied_entries_total",
        "Log entries applied to the state, over all partitions and since they were made.",
        partitions.reduce(0) { $0 + $1.appliedIndex.rawValue })
      page.counter(
        "martlet_compared_states_total",
        "Times that the state of a partition followed here was found to be its leader's.",
        UInt64(comparedStates))
      page.counter(
        "martlet_commands_total", "Commands that were put into logs led here.", commands)
      page.gauge("martlet_links", "Open links to other nodes.", links)
      page.gauge("martlet_log_entries", "Entries in all logs here.", log.entries)
      page.gauge("martlet_log_bytes", "About how much disk all logs here take.", Int(log.bytes))
      page.counter(
        "martlet_snapshots_begun_total",
        "Snapshots begun for replicas that a log here does not reach back for.",
        UInt64(snapshots.begun))
      page.counter(
        "martlet_snapshots_installed_total",
        "Snapshots that took the place of a state here.", UInt64(snapshots.installed))
    }
    collectStore(into: &page)
  }

  private func collectStore(into page: inout MetricsPage) {
    if let space = DiskSpace(of: store.directory) {
      page.gauge(
        "martlet_disk_bytes", "Size of the file system that the data is on, in bytes.", space.bytes)
      page.gauge(
        "martlet_disk_free_bytes", "What is free there, in bytes.", space.freeBytes)
    }
    let metrics = committer.metrics
    page.gauge(
      "martlet_store_failed", "1 when a write has failed and the store takes no more.",
      committer.poison == nil ? 0 : 1)
    page.histogram(
      "martlet_store_synced_write_seconds",
      "Time of a write with its fsync, in seconds; its count is the number of fsyncs.",
      metrics.syncedWrites)
    page.counter(
      "martlet_store_unsynced_writes_total", "Writes without an fsync: checkpoints.",
      metrics.unsyncedWriteCount)
    page.counter(
      "martlet_store_submissions_total", "Batches handed to the committer.",
      metrics.submissionCount)
    page.counter(
      "martlet_store_entries_total", "Log entries written by this process.", metrics.entryCount)
    page.counter(
      "martlet_store_synced_other_keys_total",
      "Keys other than log entries in writes with an fsync; messages need none.",
      metrics.syncedOtherKeyCount)
    page.counter(
      "martlet_store_written_bytes_total", "Bytes handed to the storage engine.",
      metrics.writtenBytes)
    page.gauge(
      "martlet_store_queue_bytes", "Bytes that wait for the committer.", metrics.queuedBytes)
    page.gauge(
      "martlet_store_queue_submissions", "Batches that wait for the committer.",
      metrics.queuedSubmissionCount)
    page.gauge(
      "martlet_store_current_write_seconds",
      "How long the write that is going on takes already, in seconds; a stalled disk shows here.",
      Double(metrics.currentWriteNanoseconds) / 1_000_000_000)
  }
}

extension GatewayNode {
  func operatorSource(_ coordinator: any Coordinator) -> OperatorSource {
    OperatorSource(
      nodes: [name],
      isReady: { [weak self] in await self?.health().isReady ?? false },
      collect: { [weak self] page in await self?.collect(into: &page) },
      ring: { try await RingStatus.read(coordinator) },
      registered: { try? await NodeRegistration.all(coordinator) })
  }

  /// Adds what this gateway shows of itself.
  package func collect(into page: inout MetricsPage) async {
    let health = await health()
    page.gauge("martlet_sessions", "Clients that are signed in here.", health.sessionCount)
    page.gauge(
      "martlet_pending_requests", "Requests that wait for a shard's answer.",
      health.pendingRequestCount)
    page.gauge(
      "martlet_subscriptions", "Conversations and users whose events this gateway receives.",
      health.subscriptionCount)
    page.gauge("martlet_links", "Open links to other nodes.", health.linkCount)
    page.histogram(
      "martlet_send_seconds",
      "Time from a client's message to its answer, in seconds, refused ones included.",
      health.sends)
    await collectPublicPort(into: &page)
  }

  private func collectPublicPort(into page: inout MetricsPage) async {
    for (port, listener) in listeners.map({ ($0.address == tlsAddress ? "tls" : "plain", $0) }) {
      guard let counters = try? await listener.counters().get() else { continue }
      let labels: MetricsPage.Labels = [("port", port)]
      page.gauge(
        "martlet_public_connections", "Open connections of clients.", labels: labels,
        counters.connectionsOpen)
      page.gauge(
        "martlet_public_websockets", "Open WebSockets.", labels: labels, counters.webSocketsOpen)
      page.counter(
        "martlet_public_connections_total", "Connections accepted.", labels: labels,
        counters.connectionsAccepted)
      page.counter(
        "martlet_public_requests_total", "HTTP requests received.", labels: labels,
        counters.requests)
      for limit in PublicLimit.allCases {
        page.counter(
          "martlet_public_refusals_total", "Clients refused or cut off, by the limit they met.",
          labels: labels + [("limit", limit.rawValue)], counters.limits[limit] ?? 0)
      }
    }
  }
}
