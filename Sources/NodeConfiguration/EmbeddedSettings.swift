import ClusterModel
package import NodeRuntime

/// Reads the settings of a cluster in one process.
package enum EmbeddedSettings {
  static let gatewayAddressDefault = NodeAddress(host: "127.0.0.1", port: 8080)

  /// Reads all of them. **Throws**: the first that is missing or not allowed.
  package static func options(_ source: SettingSource) throws(SettingError) -> EmbeddedOptions {
    let directory = try source.required(
      "data-dir", allowed: "a directory of this cluster alone"
    ).dataDirectory()
    let shards = try source.optional("shards")?.number(in: 1...16) ?? 3
    let gateways = try source.optional("gateways")?.number(in: 1...16) ?? 2
    let replicas = try RingSettings.replicas(source, shards: shards)
    let first = try GatewaySettings.publicOptions(
      source, name: "gateway1", defaultPlain: gatewayAddressDefault)
    var options: [GatewayOptions] = []
    for index in 0..<gateways { options.append(try gateway(index, like: first, of: gateways)) }
    return EmbeddedOptions(
      dataDirectory: directory, shardCount: shards,
      partitionCount: try RingSettings.partitions(source),
      replicaCount: replicas, gateways: options,
      operatorAddress: try source.optional("operator-address")?.address())
  }

  private static func gateway(
    _ index: Int, like first: GatewayOptions, of count: Int
  ) throws(SettingError) -> GatewayOptions {
    var options = first
    options.name = "gateway\(index + 1)"
    options.plainAddress = first.plainAddress?.advanced(by: index)
    options.tlsAddress = first.tlsAddress?.advanced(by: index)
    guard (options.plainAddress == nil) == (first.plainAddress == nil),
      (options.tlsAddress == nil) == (first.tlsAddress == nil)
    else {
      throw SettingError(
        setting: "--gateways", value: "\(count)",
        reason: "each takes the next port and there are no more",
        allowed: "a first port that leaves room up to 65535")
    }
    return options
  }
}

/// Reads the numbers of which a ring is made.
package enum RingSettings {
  package static let partitionCountDefault: UInt32 = 256

  /// How many partitions are made; `partitionCountDefault` when nobody has said.
  package static func partitions(_ source: SettingSource) throws(SettingError) -> UInt32 {
    let range = ClusterRecord.partitionCountRange
    guard let setting = source.optional("partitions") else { return partitionCountDefault }
    return UInt32(try setting.number(in: Int(range.lowerBound)...Int(range.upperBound)))
  }

  /// How many shards are waited for; must be said.
  package static func shards(_ source: SettingSource) throws(SettingError) -> Int {
    try source.required("shards", allowed: "how many shards to wait for, 1 to 1000")
      .number(in: 1...1_000)
  }

  /// Three, or as many as there are shards when these are fewer.
  package static func replicas(_ source: SettingSource, shards: Int) throws(SettingError) -> UInt32
  {
    let most = min(shards, Int(ClusterRecord.replicaCountRange.upperBound))
    return UInt32(try source.optional("replicas")?.number(in: 1...most) ?? min(3, shards))
  }
}
