import Foundation
import TLSEngine

/// A throwaway authority and the certificates of two nodes, and a stranger's, made once per test
/// run by `openssl`.
struct NodeCertificates: Sendable {
  static let shared = NodeCertificates()

  let directory: String

  func file(_ name: String) -> String { "\(directory)/\(name)" }

  private init() {
    let parent = FileManager.default.temporaryDirectory
    directory = parent.appendingPathComponent("martlet-nodes-\(UUID().uuidString)").path
    try? FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    makeAuthority("ca")
    makeAuthority("other")
    make("node1", by: "ca")
    make("node2", by: "ca")
    make("stranger", by: "other", as: "node1")
    atexit { try? FileManager.default.removeItem(atPath: NodeCertificates.shared.directory) }
  }

  private static let newKey = [
    "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
  ]

  private func makeAuthority(_ name: String) {
    openssl(
      ["req", "-x509"] + Self.newKey + [
        "-keyout", file("\(name).key"), "-out", file("\(name).pem"),
      ]
        + ["-subj", "/CN=\(name)"])
  }

  private func make(_ name: String, by authority: String, as dnsName: String? = nil) {
    openssl(
      ["req", "-x509"] + Self.newKey
        + ["-keyout", file("\(name).key"), "-out", file("\(name).pem"), "-subj", "/CN=\(name)"]
        + ["-CA", file("\(authority).pem"), "-CAkey", file("\(authority).key")]
        + ["-addext", "subjectAltName=DNS:\(dnsName ?? name),IP:127.0.0.1"]
        + ["-addext", "basicConstraints=critical,CA:false"])
  }

  private func openssl(_ arguments: [String]) {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["openssl"] + arguments
    let output = Pipe()
    process.standardError = output
    process.standardOutput = FileHandle.nullDevice
    do { try process.run() } catch { fatalError("openssl did not start: \(error)") }
    let text = output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    guard process.terminationStatus == 0 else {
      fatalError("openssl \(arguments): \(String(decoding: text, as: UTF8.self))")
    }
  }

  /// Between nodes: both sides show a certificate.
  func nodeServer(_ name: String) throws -> TLSContext {
    try TLSContext(
      configuration: TLSConfiguration(
        role: .server, certificateChainFile: file("\(name).pem"),
        privateKeyFile: file("\(name).key"), trustRootsFile: file("ca.pem"),
        clientCertificate: .required, alpnProtocols: ["h2"], minimumVersion: .tls13))
  }

  func nodeClient(_ name: String?) throws -> TLSContext {
    try TLSContext(
      configuration: TLSConfiguration(
        role: .client, certificateChainFile: name.map { file("\($0).pem") },
        privateKeyFile: name.map { file("\($0).key") }, trustRootsFile: file("ca.pem"),
        alpnProtocols: ["h2"], minimumVersion: .tls13))
  }

  /// The public port: nobody is asked for a certificate.
  func publicServer() throws -> TLSContext {
    try TLSContext(
      configuration: TLSConfiguration(
        role: .server, certificateChainFile: file("node1.pem"),
        privateKeyFile: file("node1.key"), alpnProtocols: ["h2", "http/1.1"]))
  }

  func publicClient(_ protocols: [String]) throws -> TLSContext {
    try TLSContext(
      configuration: TLSConfiguration(
        role: .client, trustRootsFile: file("ca.pem"), alpnProtocols: protocols))
  }
}
