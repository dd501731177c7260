/// Where a session connects to.
package struct Endpoint: Codable, Hashable, Sendable, CustomStringConvertible {
  package let host: String
  package let port: Int
  package let isTLS: Bool

  package init(host: String, port: Int, isTLS: Bool = false) {
    self.host = host
    self.port = port
    self.isTLS = isTLS
  }

  package var description: String { "\(host):\(port)" }
}

/// What a session speaks.
package enum WireProtocol: String, Codable, Sendable, CaseIterable {
  /// WebSocket with protobuf, WebSocket with JSON, HTTP/2 requests.
  case martlet
  case martletJSON = "martlet-json"
  case martletHTTP2 = "martlet-http2"
  case nats
  case mqtt

  /// Whether a session is told where it stands, first when it hears of all its conversations.
  package var tellsCursors: Bool { self == .martlet || self == .martletJSON }
}

/// One session of a run: who it is, where it connects and what it does.
package struct Seat: Codable, Equatable, Sendable {
  package let session: Int
  /// The first is the usual one, the others are for when that is gone.
  package let endpoints: [Endpoint]
  package let speaks: WireProtocol
  /// What the session logs in with: a token, or nothing.
  package let credential: String
  /// Conversations that it may send in and, if it listens, hears of, by number in the run.
  package let places: [Int]
  package let sends: Bool
  package let listens: Bool

  package init(
    session: Int, endpoints: [Endpoint], speaks: WireProtocol, credential: String, places: [Int],
    sends: Bool, listens: Bool
  ) {
    self.session = session
    self.endpoints = endpoints
    self.speaks = speaks
    self.credential = credential
    self.places = places
    self.sends = sends
    self.listens = listens
  }
}

/// What the system under test calls the conversations of a run, by their numbers.
package struct PlaceNames: Codable, Equatable, Sendable {
  package let names: [String]
  private let places: [String: UInt32]

  package init(_ names: [String]) {
    self.names = names
    places = Dictionary(
      names.enumerated().map { ($0.element, UInt32($0.offset)) },
      uniquingKeysWith: { first, _ in first })
  }

  package func place(of name: some StringProtocol) -> UInt32? { places[String(name)] }

  package init(from decoder: any Decoder) throws {
    self.init(try decoder.singleValueContainer().decode([String].self))
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(names)
  }
}
