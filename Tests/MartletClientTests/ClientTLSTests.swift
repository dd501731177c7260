import Foundation
import NIOPosix
import TLSEngine
import Testing

@testable import MartletClient

/// The client over TLS.
@Suite(.serialized, .timeLimit(.minutes(1))) struct ClientTLSTests {
  /// A certificate for 127.0.0.1 that is its own authority, made by `openssl`.
  private struct Certificate {
    let directory: String
    var certificate: String { directory + "/certificate.pem" }
    var key: String { directory + "/key.pem" }

    init() throws {
      let url = FileManager.default.temporaryDirectory
        .appendingPathComponent("martlet-client-\(UUID().uuidString)")
      try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
      directory = url.path
      let process = Process()
      process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
      process.arguments = [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
        "-nodes", "-days", "2", "-subj", "/CN=gateway", "-addext", "subjectAltName=IP:127.0.0.1",
        "-keyout", key, "-out", certificate,
      ]
      process.standardError = FileHandle.nullDevice
      try process.run()
      process.waitUntilExit()
      try #require(process.terminationStatus == 0)
    }

    func remove() { try? FileManager.default.removeItem(atPath: directory) }

    func serverContext() throws -> TLSContext {
      try TLSContext(
        configuration: TLSConfiguration(
          role: .server, certificateChainFile: certificate, privateKeyFile: key,
          alpnProtocols: ["h2", "http/1.1"]))
    }
  }

  private static let conversation = MartletClient.conversation(1)

  @Test func everythingGoesOverTLS() async throws {
    let certificate = try Certificate()
    defer { certificate.remove() }
    let context = try certificate.serverContext()
    let roots = certificate.certificate
    try await TestCluster.with(gateways: 0) { cluster in
      let gateways = [
        try await FakeGateway.start(cluster.fake, tls: context).url,
        try await FakeGateway.start(cluster.fake, tls: context).url,
      ]
      var configuration = TestCluster.configuration
      configuration.trustRootsFile = roots
      let credentials = try await MartletClient.login(
        gateways: gateways, handle: "ada", password: "good password",
        configuration: configuration)
      let client = try MartletClient(
        gateways: gateways, credentials: credentials, configuration: configuration)
      let collector = Collector(client)
      try await client.connect()
      let long = String(repeating: "x", count: 65_536)
      for number in 0..<20 {
        try await client.send(number % 2 == 0 ? long : "short", to: Self.conversation)
        if number % 6 == 5 { _ = await cluster.fake.read { $0.dropAll() } }
      }
      try await collector.wait(for: 20)
      client.close()
      #expect(try await collector.finish().map(\.sequence) == Array(1...20))
    }
  }

  @Test func aGatewayThatNobodyVouchesForIsNotSpokenTo() async throws {
    let certificate = try Certificate()
    defer { certificate.remove() }
    let context = try certificate.serverContext()
    try await TestCluster.with(gateways: 0) { cluster in
      let gateway = try await FakeGateway.start(cluster.fake, tls: context).url
      var configuration = TestCluster.configuration
      configuration.callTimeoutMilliseconds = 300
      let error = await #expect(throws: MartletError.self) {
        try await MartletClient.login(
          gateways: [gateway], handle: "ada", password: "good password",
          configuration: configuration)
      }
      guard case .unreachable(let reason)? = error else {
        Issue.record("\(String(describing: error))")
        return
      }
      #expect(reason.contains("certificate is refused"))
    }
  }
}
