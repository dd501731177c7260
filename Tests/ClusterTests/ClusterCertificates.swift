import Foundation

/// An authority of one cluster, a certificate for each node and one for the gateways' TLS ports:
/// the same that `cluster/up` makes.
struct ClusterCertificates: Sendable {
  private let directory: String

  var authority: String { certificate("authority") }
  func certificate(_ name: String) -> String { "\(directory)/\(name).pem" }
  func key(_ name: String) -> String { "\(directory)/\(name)-key.pem" }

  /// - Parameter directory: is made.
  init(in directory: String, nodes: [String]) async throws {
    self.directory = directory
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    try await make(
      "authority", ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign"])
    let leaf = ["basicConstraints=critical,CA:FALSE", "keyUsage=critical,digitalSignature"]
    for node in nodes {
      let usage = ["extendedKeyUsage=serverAuth,clientAuth", "subjectAltName=DNS:\(node)"]
      try await make(node, leaf + usage, issuer: "authority")
    }
    try await make(
      "public",
      leaf + ["extendedKeyUsage=serverAuth", "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"],
      issuer: "authority")
  }

  private func make(_ name: String, _ extensions: [String], issuer: String? = nil) async throws {
    let settings = """
      [req]
      prompt=no
      distinguished_name=name
      x509_extensions=extensions
      [name]
      CN=\(name)
      [extensions]
      subjectKeyIdentifier=hash
      \(extensions.joined(separator: "\n"))

      """
    let file = "\(directory)/\(name).cnf"
    try settings.write(toFile: file, atomically: true, encoding: .utf8)
    var arguments = [
      "openssl", "req", "-x509", "-config", file, "-newkey", "ec", "-pkeyopt",
      "ec_paramgen_curve:P-256", "-noenc", "-sha256", "-days", "30", "-keyout", key(name), "-out",
      certificate(name),
    ]
    if let issuer { arguments += ["-CA", certificate(issuer), "-CAkey", key(issuer)] }
    _ = try await Program.succeed("/usr/bin/env", arguments)
  }
}
