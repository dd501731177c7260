import Foundation
import TLSEngine

/// A throwaway authority and certificates of every kind, made once per test run by `openssl`.
struct TestCertificates: Sendable {
  enum Kind: String, CaseIterable {
    case good, client, expired, wrongCA, wrongName, revoked, selfSigned
  }

  static let shared = TestCertificates()
  static let serverName = "node1.test"

  let directory: String

  func file(_ name: String) -> String { "\(directory)/\(name)" }
  var roots: String { file("ca.pem") }
  var revocationList: String { file("crl.pem") }
  func chain(_ kind: Kind) -> String { file("\(kind.rawValue).pem") }
  func key(_ kind: Kind) -> String { file("\(kind.rawValue).key") }

  private init() {
    let parent = FileManager.default.temporaryDirectory
    directory = parent.appendingPathComponent("martlet-tls-\(UUID().uuidString)").path
    try? FileManager.default.createDirectory(
      atPath: directory, withIntermediateDirectories: true)
    makeAuthority("ca")
    makeAuthority("other")
    for kind in Kind.allCases { make(kind) }
    run(["ca", "-config", file("ca.cnf"), "-revoke", chain(.revoked)])
    run(["ca", "-config", file("ca.cnf"), "-gencrl", "-out", revocationList])
    run([
      "pkey", "-in", key(.good), "-aes128", "-passout", "pass:secret", "-out", file("locked.key"),
    ])
    atexit { try? FileManager.default.removeItem(atPath: TestCertificates.shared.directory) }
  }

  private static let newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]

  private func makeAuthority(_ name: String) {
    write("\(name).txt", "")
    write(
      "\(name).cnf",
      """
      [req]
      distinguished_name = dn
      [dn]
      [root]
      basicConstraints = critical,CA:true
      keyUsage = critical,keyCertSign,cRLSign
      subjectKeyIdentifier = hash
      [ca]
      default_ca = authority
      [authority]
      dir = \(directory)
      new_certs_dir = \(directory)
      database = \(directory)/\(name).txt
      certificate = \(directory)/\(name).pem
      private_key = \(directory)/\(name).key
      rand_serial = yes
      unique_subject = no
      default_md = sha256
      default_days = 30
      default_crl_days = 30
      policy = policy
      [policy]
      commonName = supplied
      """)
    run(
      ["req", "-x509", "-config", file("\(name).cnf"), "-extensions", "root"] + Self.newKey
        + ["-keyout", file("\(name).key"), "-out", file("\(name).pem")]
        + ["-subj", "/CN=\(name) authority", "-days", "30"])
  }

  private func make(_ kind: Kind) {
    let name = kind == .wrongName ? "node2.test" : Self.serverName
    write(
      "leaf.cnf",
      """
      [leaf]
      subjectAltName = DNS:\(name),DNS:0h5s7zq2m9c4v,IP:127.0.0.1
      extendedKeyUsage = serverAuth,clientAuth
      """)
    let subject = ["-subj", "/CN=\(kind.rawValue)"]
    if kind == .selfSigned {
      run(
        ["req", "-x509", "-config", file("ca.cnf"), "-addext", "subjectAltName = DNS:\(name)"]
          + Self.newKey + ["-keyout", key(kind), "-out", chain(kind), "-days", "30"] + subject)
      return
    }
    let request = file("leaf.csr")
    run(
      ["req", "-new", "-config", file("ca.cnf")] + Self.newKey
        + ["-keyout", key(kind), "-out", request] + subject)
    let authority = kind == .wrongCA ? "other" : "ca"
    let dates =
      kind == .expired ? ["-startdate", "20200101000000Z", "-enddate", "20200201000000Z"] : []
    run(
      [
        "ca", "-batch", "-notext", "-config", file("\(authority).cnf"), "-extfile",
        file("leaf.cnf"),
      ]
        + ["-extensions", "leaf", "-in", request, "-out", chain(kind)] + dates)
  }

  private func write(_ name: String, _ text: String) {
    try? Data(text.utf8).write(to: URL(fileURLWithPath: file(name)))
  }

  private func run(_ arguments: [String]) {
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
}

extension TLSConfiguration {
  static func server(
    _ kind: TestCertificates.Kind = .good, alpn: [String] = [],
    clients: TLSClientCertificate = .none
  ) -> TLSConfiguration {
    let files = TestCertificates.shared
    return TLSConfiguration(
      role: .server, certificateChainFile: files.chain(kind), privateKeyFile: files.key(kind),
      trustRootsFile: clients == .none ? nil : files.roots, clientCertificate: clients,
      alpnProtocols: alpn, revocationListFile: clients == .none ? nil : files.revocationList)
  }

  static func client(
    _ kind: TestCertificates.Kind? = nil, alpn: [String] = []
  ) -> TLSConfiguration {
    let files = TestCertificates.shared
    return TLSConfiguration(
      role: .client, certificateChainFile: kind.map(files.chain),
      privateKeyFile: kind.map(files.key), trustRootsFile: files.roots,
      alpnProtocols: alpn, revocationListFile: files.revocationList)
  }
}
