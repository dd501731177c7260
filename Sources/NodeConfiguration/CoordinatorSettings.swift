package import Coordination
import Primitives
import TLSEngine

/// Where etcd is and how this process proves itself there.
package struct CoordinatorSettings: Sendable {
  package var endpoints: [EtcdEndpoint]
  package var trustRoots: String?
  package var certificate: String?
  package var privateKey: String?

  package init(_ source: SettingSource) throws(SettingError) {
    endpoints = try source.required("etcd", allowed: Setting.etcdAllowed).etcdEndpoints()
    trustRoots = try source.optional("etcd-trust-roots")?.readableFile(
      "the certificates that etcd's leads to")
    certificate = try source.optional("etcd-certificate")?.readableFile("a certificate")
    privateKey = try source.optional("etcd-private-key")?.readableFile("the certificate's key")
    guard (certificate == nil) == (privateKey == nil) else {
      let missing = certificate == nil ? "etcd-certificate" : "etcd-private-key"
      throw SettingError(
        setting: "--\(missing)", value: nil,
        allowed: "a PEM file: certificate and key go together")
    }
  }

  /// **Throws**: `SettingError` for files that OpenSSL does not take.
  package func configuration(jitterSeed: UInt64) throws(SettingError) -> EtcdConfiguration {
    var tls: TLSContext?
    if endpoints.contains(where: \.usesTLS) {
      do throws(TLSError) {
        tls = try TLSContext(
          configuration: TLSConfiguration(
            role: .client, certificateChainFile: certificate, privateKeyFile: privateKey,
            trustRootsFile: trustRoots, alpnProtocols: ["h2"]))
      } catch {
        throw SettingError(
          setting: "--etcd-certificate, --etcd-private-key, --etcd-trust-roots",
          value: [certificate, privateKey, trustRoots].compactMap { $0 }.joined(separator: ", "),
          reason: error.line, allowed: "PEM files that belong together")
      }
    }
    return EtcdConfiguration(endpoints: endpoints, tls: tls, jitterSeed: jitterSeed)
  }
}

extension TLSError {
  /// For an operator, without the case's name.
  var line: String {
    switch self {
    case .configuration(let text), .certificateRefused(let text), .refusedByPeer(let text),
      .protocolViolation(let text):
      text
    case .closedInHandshake: "closed in the handshake"
    case .inputOverflow: "too much came at once"
    }
  }
}
