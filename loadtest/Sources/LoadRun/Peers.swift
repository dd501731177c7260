import Foundation
import LoadModel

/// Other systems, started for a comparison on this machine and ended with it.
package final class Peers: @unchecked Sendable {
  // Safety: only the task that compares uses it.
  /// Everything listens on loopback from this port on.
  private static let firstPort = 14_220
  private static let natsServers = 3
  private static let startTimeout = Duration.seconds(20)
  private static let pollInterval = Duration.milliseconds(50)

  private let place: String
  /// With which the servers of a cluster speak to each other; plainly without.
  private let certificates: String?
  private var processes: [(name: String, process: ChildProcess)] = []
  private var nextPort = firstPort

  /// - Parameters:
  ///   - place: a directory for their data and logs.
  ///   - certificates: those of Martlet's cluster, if its nodes use TLS between each other: the
  ///     others then do the same work.
  /// **Throws**: `LoadError` when it cannot be made.
  package init(in place: String, certificates: String?) throws {
    self.place = place
    self.certificates = certificates
    do {
      try FileManager.default.createDirectory(
        atPath: place, withIntermediateDirectories: true)
    } catch { throw LoadError("\(place): cannot be made: \(error.localizedDescription)") }
  }

  /// Three servers with JetStream on disk.
  package func nats(
    _ mode: NATSTarget.Mode, program: String, streams: Int
  ) async throws -> NATSTarget {
    let ports = (0..<Self.natsServers).map { _ in (client: port(), route: port()) }
    let routes = ports.map { "nats://127.0.0.1:\($0.route)" }.joined(separator: ", ")
    var servers = Servers()
    for (number, port) in ports.enumerated() {
      let name = "nats-\(mode.rawValue)-\(number + 1)"
      let sync = mode == .always ? "sync_interval: always" : ""
      let configuration = """
        server_name: \(name)
        listen: 127.0.0.1:\(port.client)
        max_pending: 512MB
        jetstream { store_dir: "\(place)/\(name)", \(sync) }
        cluster {
          name: \(mode.rawValue), listen: 127.0.0.1:\(port.route), routes: [\(routes)]
          \(routeTLS)
        }

        """
      let file = "\(place)/\(name).conf"
      try write(configuration, to: file)
      servers.processes.append(
        Servers.Process(name: name, .pid(try start(name, program, ["-c", file]))))
    }
    for port in ports { try await waitUntilListening(port.client) }
    let target = NATSTarget(
      endpoints: ports.map { Endpoint(host: "127.0.0.1", port: $0.client) }, mode: mode,
      replicas: Self.natsServers, streams: streams, servers: servers)
    try await target.waitUntilReady(within: Self.startTimeout)
    return target
  }

  /// Both sides show a certificate of the cluster's authority, as Martlet's do. The names in them
  /// are those of Martlet's nodes, so they are not compared.
  private var routeTLS: String {
    guard let certificates else { return "" }
    return """
      tls {
        cert_file: "\(certificates)/shard1.pem", key_file: "\(certificates)/shard1-key.pem"
        ca_file: "\(certificates)/authority.pem", verify: true, insecure: true
      }
      """
  }

  package func mosquitto(program: String) async throws -> MQTTTarget {
    let port = port()
    let file = "\(place)/mosquitto.conf"
    try write(
      """
      listener \(port) 127.0.0.1
      allow_anonymous true
      max_queued_messages 0
      max_inflight_messages 0
      log_type error
      persistence false
      user root

      """, to: file)
    var servers = Servers()
    servers.processes = [
      Servers.Process(
        name: "mosquitto", .pid(try start("mosquitto", program, ["-c", file])))
    ]
    try await waitUntilListening(port)
    return MQTTTarget(
      endpoints: [Endpoint(host: "127.0.0.1", port: port)], servers: servers)
  }

  /// Ends what was started, and only that.
  package func stop() {
    for (_, process) in processes { process.end() }
    processes = []
  }

  // MARK: Processes

  private func port() -> Int {
    defer { nextPort += 1 }
    return nextPort
  }

  private func write(_ text: String, to file: String) throws {
    do { try Data(text.utf8).write(to: URL(fileURLWithPath: file)) } catch {
      throw LoadError("\(file): cannot be written")
    }
  }

  private func start(_ name: String, _ program: String, _ arguments: [String]) throws -> Int32 {
    let child = try ChildProcess(program, arguments, log: "\(place)/\(name).log")
    processes.append((name, child))
    return child.pid
  }

  private func waitUntilListening(_ port: Int) async throws {
    let end = ContinuousClock.now + Self.startTimeout
    while ContinuousClock.now < end {
      if let ended = processes.first(where: { !$0.process.isRunning }) {
        throw LoadError("\(ended.name) has ended; its log is \(place)/\(ended.name).log")
      }
      if Loopback.isListening(port) { return }
      try await Task.sleep(for: Self.pollInterval)
    }
    throw LoadError("nothing listens on port \(port) after \(Self.startTimeout)")
  }
}

/// Whether somebody listens on this machine.
enum Loopback {
  static func isListening(_ port: Int) -> Bool {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    guard descriptor >= 0 else { return false }
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(port).bigEndian
    address.sin_addr.s_addr = in_addr_t(0x7f00_0001).bigEndian
    return withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
      }
    }
  }
}
