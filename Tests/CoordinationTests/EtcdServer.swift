import Foundation
import Synchronization

/// A real etcd on loopback, with a private data directory, killed by its process id.
final class EtcdServer: Sendable {
  struct Failure: Error { let text: String }

  let clientPort: UInt16
  private let peerPort: UInt16
  private let directory: String
  private let extraArguments: [String]
  private let scheme: String
  private let process = Mutex<Process?>(nil)

  /// `extraArguments` may name certificates, with `scheme` https.
  init(scheme: String = "http", extraArguments: [String] = []) throws {
    self.scheme = scheme
    self.extraArguments = extraArguments
    clientPort = try Self.freePort()
    peerPort = try Self.freePort()
    let parent = FileManager.default.temporaryDirectory
    directory = parent.appendingPathComponent("martlet-etcd-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    try start()
  }

  deinit {
    kill()
    try? FileManager.default.removeItem(atPath: directory)
  }

  var endpoint: String { "\(scheme)://127.0.0.1:\(clientPort)" }

  func start() throws {
    let peer = "http://127.0.0.1:\(peerPort)"
    let started = Process()
    started.executableURL = URL(fileURLWithPath: "/usr/bin/etcd")
    started.arguments =
      [
        "--name", "m1", "--data-dir", "\(directory)/data", "--listen-client-urls", endpoint,
        "--advertise-client-urls", endpoint, "--listen-peer-urls", peer,
        "--initial-advertise-peer-urls", peer, "--initial-cluster", "m1=\(peer)",
        "--heartbeat-interval", "50", "--election-timeout", "500", "--logger", "zap",
        "--log-level", "error", "--log-outputs", "\(directory)/log",
      ] + extraArguments
    started.standardOutput = FileHandle.nullDevice
    started.standardError = FileHandle.nullDevice
    try started.run()
    process.withLock { $0 = started }
  }

  /// As a power cut would end it.
  func kill() {
    process.withLock { process in
      guard let running = process else { return }
      if running.isRunning { Foundation.kill(running.processIdentifier, SIGKILL) }
      running.waitUntilExit()
      process = nil
    }
  }

  /// Loses everything, as if another etcd had been put in its place.
  func startEmpty() throws {
    kill()
    try FileManager.default.removeItem(atPath: "\(directory)/data")
    try start()
  }

  @discardableResult
  func control(_ arguments: [String]) throws -> String {
    let command = Process()
    command.executableURL = URL(fileURLWithPath: "/usr/bin/etcdctl")
    command.arguments = ["--endpoints", endpoint] + arguments
    command.environment = ["ETCDCTL_API": "3"]
    let output = Pipe()
    command.standardOutput = output
    command.standardError = output
    try command.run()
    let bytes = output.fileHandleForReading.readDataToEndOfFile()
    command.waitUntilExit()
    let text = String(decoding: bytes, as: UTF8.self)
    guard command.terminationStatus == 0 else { throw Failure(text: text) }
    return text
  }

  static func freePort() throws -> UInt16 {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    guard descriptor >= 0 else { throw Failure(text: "socket") }
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    var count = socklen_t(MemoryLayout<sockaddr_in>.size)
    let result = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { raw in
        bind(descriptor, raw, count) == 0 ? getsockname(descriptor, raw, &count) : -1
      }
    }
    guard result == 0 else { throw Failure(text: "bind") }
    return UInt16(bigEndian: address.sin_port)
  }
}

/// A self-signed certificate for loopback, for both ends of a connection, which is its own root.
struct LoopbackCertificate: Sendable {
  private let directory: String
  var chain: String { "\(directory)/cert.pem" }
  var key: String { "\(directory)/key.pem" }

  init() throws {
    let parent = FileManager.default.temporaryDirectory
    directory = parent.appendingPathComponent("martlet-etcd-tls-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    let command = Process()
    command.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
    command.arguments = [
      "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days",
      "2",
      "-keyout", key, "-out", chain, "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1",
      "-addext", "extendedKeyUsage=serverAuth,clientAuth",
    ]
    command.standardError = FileHandle.nullDevice
    try command.run()
    command.waitUntilExit()
  }

  func remove() { try? FileManager.default.removeItem(atPath: directory) }
}
