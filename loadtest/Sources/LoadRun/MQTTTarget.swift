package import LoadModel

/// An MQTT broker: nothing is kept, so it is for fan-out and idle sessions.
package struct MQTTTarget: Target {
  package let name: String
  package let durability = DurabilityClass.d0
  package let servers: Servers
  private let endpoints: [Endpoint]

  package init(name: String = "mosquitto", endpoints: [Endpoint], servers: Servers = Servers()) {
    self.name = name
    self.endpoints = endpoints
    self.servers = servers
  }

  package func prepare(
    _ traffic: Traffic, runID: UInt32, tell: @Sendable (String) -> Void
  ) async throws -> Prepared {
    guard !traffic.isLogOnly, traffic.reads == 0 else {
      throw LoadError("\(name): log-only and reads are for Martlet")
    }
    return Prepared(
      seats: seats(
        traffic, endpoints: endpoints, speaks: .mqtt,
        credentials: [String](repeating: "r\(runID)", count: traffic.userCount)),
      names: PlaceNames((0..<traffic.conversations).map { "r\(runID)/c\($0)" }))
  }

  package func readBack(
    _ prepared: Prepared, runID: UInt32, expected: [Int: Tally]
  ) async throws -> [Int: Tally]? { nil }
}
