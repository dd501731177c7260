import Foundation
package import LoadModel

/// A Martlet cluster, by its gateways.
package struct MartletTarget: Target {
  /// Accounts are made so many at a time: each costs a gateway tens of milliseconds.
  private static let accountsAtATime = 8
  private static let groupsAtATime = 16
  /// More messages than that are not read back one by one.
  package static let readBackMax: UInt64 = 2_000_000

  package let name: String
  package let durability = DurabilityClass.d2
  package let servers: Servers
  private let speaks: WireProtocol
  /// Plain: for the API and, but for TLS, for sessions.
  private let gateways: [Endpoint]
  private let tlsGateways: [Endpoint]

  package init(
    name: String = "martlet", gateways: [Endpoint], tlsGateways: [Endpoint] = [],
    speaks: WireProtocol = .martlet, servers: Servers = Servers()
  ) {
    self.name = name
    self.gateways = gateways
    self.tlsGateways = tlsGateways
    self.speaks = speaks
    self.servers = servers
  }

  private func api(_ number: Int) -> GatewayAPI {
    let gateway = gateways[number % gateways.count]
    return GatewayAPI(base: "http://\(gateway.host):\(gateway.port)")
  }

  package func prepare(
    _ traffic: Traffic, runID: UInt32, tell: @Sendable (String) -> Void
  ) async throws -> Prepared {
    if traffic.isTLS, tlsGateways.isEmpty {
      throw LoadError("tls: no gateway is known with TLS; name one with https://HOST:PORT")
    }
    let password = "load \(runID)"
    let users = try await inParallel(
      traffic.userCount, atATime: Self.accountsAtATime, "accounts", tell
    ) { user in
      try await api(user).logIn(handle: "load-\(runID)-\(user)", password: password)
    }
    let names = try await inParallel(
      traffic.conversations, atATime: Self.groupsAtATime, "conversations", tell
    ) { place in
      let members = Set(traffic.members(of: place).map { traffic.user(of: $0) }).sorted()
      guard let maker = members.first else { throw LoadError("a conversation without members") }
      let id = try await api(place).makeGroup(
        title: "load \(place)", others: members.dropFirst().map { users[$0].user },
        token: users[maker].token)
      return traffic.isLogOnly ? Self.unused(like: id) : id
    }
    return Prepared(
      seats: seats(
        traffic, endpoints: traffic.isTLS ? tlsGateways : gateways, speaks: speaks,
        credentials: users.map(\.token)),
      names: PlaceNames(names))
  }

  /// An id that nobody has: 40 of its bits are drawn anew.
  private static func unused(like id: String) -> String {
    let digits = Array("0123456789abcdefghjkmnpqrstvwxyz")
    let drawn = (0..<8).map { _ in digits.randomElement() ?? "0" }
    return String(id.prefix(6)) + String(drawn) + String(id.dropFirst(14))
  }

  package func readBack(
    _ prepared: Prepared, runID: UInt32, expected: [Int: Tally]
  ) async throws -> [Int: Tally]? {
    let total = expected.values.reduce(0) { $0 + $1.count }
    guard total <= Self.readBackMax else { return nil }
    var token: [Int: String] = [:]
    for seat in prepared.seats {
      for place in seat.places { token[place] = seat.credential }
    }
    let places = expected.keys.sorted()
    let tokens = token
    let tallies = try await inParallel(places.count, atATime: 8, "", { _ in }) { number in
      let place = places[number]
      return try await readBack(
        prepared.names.names[place], place: place, runID: runID, token: tokens[place] ?? "",
        through: api(number))
    }
    return Dictionary(uniqueKeysWithValues: zip(places, tallies))
  }

  /// From the end to the beginning, every place once.
  private func readBack(
    _ conversation: String, place: Int, runID: UInt32, token: String, through api: GatewayAPI
  ) async throws -> Tally {
    var tally = Tally()
    var before: UInt64?
    repeat {
      let page = try await api.history(conversation, before: before, token: token)
      var expected = page.first.flatMap { UInt64($0.seq) } ?? 1
      if let before, let last = page.last, UInt64(last.seq) != before - 1 {
        throw LoadError("conversation \(place): nothing is stored at \(before - 1)")
      }
      before = expected
      for event in page {
        guard UInt64(event.seq) == expected else {
          throw LoadError("conversation \(place): \(event.seq) stands where \(expected) belongs")
        }
        expected += 1
        guard let text = event.message?.text,
          let stamp = Array(text.utf8).withUnsafeBytes({ MessageStamp($0) }), stamp.run == runID
        else { continue }
        tally.add(sender: stamp.sender, number: stamp.number, sequence: expected - 1)
      }
      if page.isEmpty { break }
    } while before ?? 1 > 1
    return tally
  }
}

/// Does something so often, a few at a time, and tells once a second how far it is.
///
/// **Returns**: the results in the order of their numbers.
func inParallel<Value: Sendable>(
  _ count: Int, atATime: Int, _ what: String, _ tell: @Sendable (String) -> Void,
  _ body: @escaping @Sendable (Int) async throws -> Value
) async throws -> [Value] {
  var results = [Value?](repeating: nil, count: count)
  var toldAt = ContinuousClock.now
  var done = 0
  try await withThrowingTaskGroup(of: (Int, Value).self) { group in
    var next = 0
    while next < min(count, atATime) {
      let number = next
      group.addTask { (number, try await body(number)) }
      next += 1
    }
    while let (number, value) = try await group.next() {
      results[number] = value
      done += 1
      if next < count {
        let following = next
        group.addTask { (following, try await body(following)) }
        next += 1
      }
      if ContinuousClock.now - toldAt > .seconds(1) {
        toldAt = .now
        tell("\(done) of \(count) \(what) are made")
      }
    }
  }
  return results.compactMap { $0 }
}
