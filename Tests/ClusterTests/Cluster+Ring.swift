extension Cluster {
  /// Runs `martlet ring` against this cluster.
  func ringCommand(_ arguments: String...) async throws -> Program.Outcome {
    try await Program.martlet(["ring"] + arguments + layout.ringSource)
  }

  /// The same where it has to succeed. **Returns**: what it says.
  func changeRing(_ arguments: String...) async throws -> String {
    let outcome = try await Program.martlet(["ring"] + arguments + layout.ringSource)
    guard outcome.ending == .exited(0) else {
      throw ClusterFailure("ring \(arguments.joined(separator: " ")): \(outcome)")
    }
    return outcome.output
  }

  /// Connections that the gateways have accepted since they started, by gateway and port.
  func acceptedConnections() async throws -> [String] {
    var counts: [String] = []
    for gateway in layout.gateways {
      let port = layout.command(gateway).readiness.port
      guard let page = await Loopback.get("/metrics", port: port)?.body else {
        throw ClusterFailure("\(gateway) tells no metrics")
      }
      counts += page.split(separator: "\n")
        .filter { $0.hasPrefix("martlet_public_connections_total") }.map(String.init)
    }
    return counts
  }

  /// How often a line with this text stands in the log of a node.
  func logged(_ text: String, by node: String) -> Int {
    let log = (try? Program.text(layout.log(node))) ?? ""
    return log.split(separator: "\n").count { $0.contains(text) }
  }
}

extension Cluster.Ring {
  /// Partitions of which a node holds a replica, or is to hold one.
  func holders(of node: String) -> Int {
    partitions.count { $0.target.contains(node) || $0.inSync.contains(node) }
  }
}
