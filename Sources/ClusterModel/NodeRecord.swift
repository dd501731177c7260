package import Primitives

/// What a process does in the cluster.
package enum NodeRole: UInt32, Sendable {
  /// Owns partitions: log, state, replication.
  case shard = 1
  /// Serves clients; holds no data.
  case gateway = 2
}

/// What a running process tells the others about itself, kept in the coordinator under a lease.
package struct NodeRecord: Equatable, Sendable {
  /// The operator's name for the node, which its certificate carries too.
  package var name: String
  package var role: NodeRole
  /// The data directory's identity; `nil` on a gateway.
  package var store: StoreID?
  /// The process: another one after each start.
  package var boot: BootID
  /// One address per event loop ("lane"), in lane order: partition p is served by lane p mod count.
  package var laneAddresses: [NodeAddress]
  /// Where health and metrics are served.
  package var operatorAddress: NodeAddress?
  /// What clients connect to, as URLs; empty on a shard.
  package var publicURLs: [String]
  /// What fails together; empty when nobody has said.
  package var zone: String
  /// The share of partitions that this node should get, relative to the others. 1 to 1,000.
  package var weight: UInt32
  package var protocolVersion: UInt32

  package init(
    name: String, role: NodeRole, store: StoreID?, boot: BootID, laneAddresses: [NodeAddress],
    operatorAddress: NodeAddress?, publicURLs: [String], zone: String, weight: UInt32,
    protocolVersion: UInt32
  ) {
    self.name = name
    self.role = role
    self.store = store
    self.boot = boot
    self.laneAddresses = laneAddresses
    self.operatorAddress = operatorAddress
    self.publicURLs = publicURLs
    self.zone = zone
    self.weight = weight
    self.protocolVersion = protocolVersion
  }
}

/// A host (name or IP literal, without brackets) and a TCP port.
package struct NodeAddress: Hashable, Sendable, CustomStringConvertible {
  package let host: String
  package let port: UInt16

  package init(host: String, port: UInt16) {
    self.host = host
    self.port = port
  }

  /// Reads `host:port` or `[v6]:port`.
  package init?(_ text: String) {
    guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]),
      port > 0
    else { return nil }
    var host = text[..<colon]
    if host.first == "[", host.last == "]" {
      host = host.dropFirst().dropLast()
    } else if host.contains(":") {
      return nil
    }
    guard !host.isEmpty else { return nil }
    self.init(host: String(host), port: port)
  }

  package var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}

extension NodeRecord {
  /// The bytes of `martlet.v1.NodeRecord`.
  package func encoded() -> [UInt8] {
    var writer = ProtobufWriter(reservingBytes: 128)
    writer.string(1, name)
    writer.uint(2, role.rawValue)
    writer.fixed64(3, store?.rawValue ?? 0)
    writer.fixed64(4, boot.rawValue)
    for address in laneAddresses { writer.element(5, Array(address.description.utf8)) }
    writer.string(6, operatorAddress?.description ?? "")
    for url in publicURLs { writer.element(7, Array(url.utf8)) }
    writer.string(8, zone)
    writer.uint(9, weight)
    writer.uint(10, protocolVersion)
    return writer.bytes
  }

  /// **Throws**: `ProtobufError` when the bytes are no node record.
  package init(decoding bytes: [UInt8]) throws(ProtobufError) {
    var reader = ProtobufReader(bytes)
    var name = ""
    var role: NodeRole?
    var store: UInt64 = 0
    var boot: UInt64 = 0
    var lanes: [NodeAddress] = []
    var operatorAddress: NodeAddress?
    var urls: [String] = []
    var zone = ""
    var weight: UInt32 = 0
    var protocolVersion: UInt32 = 0
    while let field = try reader.next() {
      switch field.number {
      case 1: name = try field.string()
      case 2: role = NodeRole(rawValue: try field.uint32())
      case 3: store = try field.fixed64()
      case 4: boot = try field.fixed64()
      case 5:
        guard let address = NodeAddress(try field.string()) else { throw .outOfRange(field: 5) }
        lanes.append(address)
      case 6: operatorAddress = NodeAddress(try field.string())
      case 7: urls.append(try field.string())
      case 8: zone = try field.string()
      case 9: weight = try field.uint32()
      case 10: protocolVersion = try field.uint32()
      default: break
      }
    }
    guard !name.isEmpty else { throw .missingField(1) }
    guard let role else { throw .missingField(2) }
    self.init(
      name: name, role: role, store: store == 0 ? nil : StoreID(store), boot: BootID(boot),
      laneAddresses: lanes, operatorAddress: operatorAddress, publicURLs: urls, zone: zone,
      weight: weight, protocolVersion: protocolVersion)
  }
}
