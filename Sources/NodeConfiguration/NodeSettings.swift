import ClusterModel
package import NodeRuntime
import TLSEngine

/// Reads the settings of one shard.
package enum ShardSettings {
  /// Reads all of them. **Throws**: the first that is missing or not allowed.
  package static func options(_ source: SettingSource) throws(SettingError) -> ShardOptions {
    let addressAllowed = "HOST:PORT, where the other nodes reach this one"
    let name = try source.required("name", allowed: "the node's name").nodeName()
    let directory = try source.required(
      "data-dir", allowed: "a directory of this node alone"
    ).dataDirectory()
    let link = try source.required("link-address", allowed: addressAllowed)
    let address = try link.address()
    let identity = try IdentitySettings.files(source, of: name)
    if identity == nil, !address.isLoopback, !(try source.flag("insecure-links")) {
      throw link.refused(
        "links would be in plain text on the network",
        allowed: "a loopback address, or --certificate, --private-key and --trust-roots, "
          + "or --insecure-links")
    }
    var options = ShardOptions(
      name: name, dataDirectory: directory, linkAddress: address,
      operatorAddress: try source.optional("operator-address")?.address(), identity: identity,
      zone: try source.optional("zone")?.zone() ?? "",
      weight: UInt32(try source.optional("weight")?.number(in: 1...1_000) ?? 100))
    options.logEntriesMax =
      try source.optional("partition-log-entries")?.number(in: 16...1_000_000_000)
    options.logBytesMax =
      try source.optional("partition-log-bytes")?.number(in: 65_536...(1 << 40))
    options.backupDirectory = try source.optional("backup-dir")?.dataDirectory()
    return options
  }
}

/// Reads the settings of one gateway.
package enum GatewaySettings {
  /// Reads all of them. **Throws**: the first that is missing or not allowed.
  package static func options(_ source: SettingSource) throws(SettingError) -> GatewayOptions {
    let name = try source.required("name", allowed: "the node's name").nodeName()
    let identity = try IdentitySettings.files(source, of: name)
    if identity == nil, !(try source.flag("insecure-links")) {
      throw SettingError(
        setting: "--certificate", value: nil,
        allowed: "a PEM file (with --private-key and --trust-roots), "
          + "or --insecure-links for links in plain text")
    }
    var options = try publicOptions(source, name: name, defaultPlain: nil)
    options.operatorAddress = try source.optional("operator-address")?.address()
    options.identity = identity
    return options
  }

  /// What clients connect to, for a gateway alone and for those of an embedded cluster.
  static func publicOptions(
    _ source: SettingSource, name: String, defaultPlain: NodeAddress?
  ) throws(SettingError) -> GatewayOptions {
    let plain = try plainAddress(source)
    let tls = source.optional("tls-address")
    let certificate = try source.optional("tls-certificate")?.readableFile("a certificate")
    let key = try source.optional("tls-private-key")?.readableFile("the certificate's key")
    var files: GatewayOptions.TLSFiles?
    if let certificate, let key {
      files = GatewayOptions.TLSFiles(certificate: certificate, privateKey: key)
      try check(files)
    } else if tls != nil {
      let missing = certificate == nil ? "--tls-certificate" : "--tls-private-key"
      throw SettingError(
        setting: missing, value: nil, allowed: "a PEM file, since --tls-address is given")
    }
    let tlsAddress = try tls?.address()
    let plainAddress = plain ?? (tlsAddress == nil ? defaultPlain : nil)
    guard plainAddress != nil || tlsAddress != nil else {
      throw SettingError(
        setting: "--tls-address (or --plain-address)", value: nil,
        allowed: "HOST:PORT, where clients connect to")
    }
    return GatewayOptions(
      name: name, plainAddress: plainAddress, tlsAddress: tlsAddress, tlsFiles: files,
      allowedOrigins: try source.optional("allowed-origins")?.origins() ?? [],
      cookieDomain: try source.optional("cookie-domain")?.cookieDomain(),
      eventLoopCount: try source.optional("event-loops")?.number(in: 1...64) ?? 1,
      passwordThreadCount: try source.optional("password-threads")?.number(in: 1...64) ?? 1)
  }

  private static func plainAddress(_ source: SettingSource) throws(SettingError) -> NodeAddress? {
    guard let plain = source.optional("plain-address") else { return nil }
    let address = try plain.address()
    let isAllowed = try source.flag("insecure-public")
    guard address.isLoopback || isAllowed else {
      throw plain.refused(
        "passwords would be in plain text on the network",
        allowed: "a loopback address, or --tls-address instead, "
          + "or --insecure-public when something in front ends TLS")
    }
    return address
  }

  /// Certificate and key are looked at before anything is started.
  private static func check(_ files: GatewayOptions.TLSFiles?) throws(SettingError) {
    guard let files else { return }
    do throws(TLSError) {
      _ = try TLSContext(
        configuration: TLSConfiguration(
          role: .server, certificateChainFile: files.certificate,
          privateKeyFile: files.privateKey))
    } catch {
      throw SettingError(
        setting: "--tls-certificate, --tls-private-key",
        value: "\(files.certificate), \(files.privateKey)", reason: error.line,
        allowed: "a PEM certificate chain and its own key, not encrypted")
    }
  }
}

/// Reads by which files a node proves who it is to the others.
enum IdentitySettings {
  /// **Returns**: `nil` when none of them is given.
  static func files(
    _ source: SettingSource, of node: String
  ) throws(SettingError) -> NodeIdentityFiles? {
    let names = ["certificate", "private-key", "trust-roots"]
    let given = names.filter { source.optional($0) != nil }
    let revocations = try source.optional("revocations")?.readableFile("revocation lists")
    guard !given.isEmpty || revocations != nil else { return nil }
    let because = given.first ?? "revocations"
    let allowed = "a PEM file, since --\(because) is given"
    let files = NodeIdentityFiles(
      certificate: try source.required(names[0], allowed: allowed).readableFile("a certificate"),
      privateKey: try source.required(names[1], allowed: allowed).readableFile(
        "the certificate's key"),
      trustRoots: try source.required(names[2], allowed: allowed).readableFile(
        "the cluster's authority"),
      revocations: revocations)
    let dnsNames: [String]
    do throws(TLSError) {
      let context = try TLSContext(
        configuration: TLSConfiguration(
          role: .server, certificateChainFile: files.certificate,
          privateKeyFile: files.privateKey, trustRootsFile: files.trustRoots,
          clientCertificate: .required, revocationListFile: files.revocations))
      dnsNames = context.dnsNames
    } catch {
      throw SettingError(
        setting: "--certificate, --private-key, --trust-roots",
        value: "\(files.certificate), \(files.privateKey), \(files.trustRoots)",
        reason: error.line, allowed: "PEM files that belong together, the key not encrypted")
    }
    guard dnsNames.contains(node) else {
      throw try source.required(names[0], allowed: allowed).refused(
        "it names \(dnsNames.isEmpty ? "no node" : dnsNames.joined(separator: ", "))",
        allowed: "a certificate with the DNS name '\(node)', which is the node's")
    }
    return files
  }
}
