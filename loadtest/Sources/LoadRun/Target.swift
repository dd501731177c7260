import Foundation
package import LoadModel

/// When a message counts as acknowledged.
package enum DurabilityClass: String, Codable, Sendable {
  /// In memory.
  case d0 = "D0"
  /// In the memory of a majority.
  case d1 = "D1"
  /// Synced to disk on every replica that is counted, before the acknowledgement.
  case d2 = "D2"
}

/// A run's sessions at one system under test, ready to connect.
package struct Prepared: Sendable {
  package var seats: [Seat]
  package var names: PlaceNames

  package init(seats: [Seat], names: PlaceNames) {
    self.seats = seats
    self.names = names
  }
}

/// A system under test: how its accounts and conversations are made, and what it counts.
package protocol Target: Sendable {
  /// Of tables: `martlet`, `nats-always` …
  var name: String { get }
  var durability: DurabilityClass { get }
  /// Its processes and where they tell their counters, as far as they are known.
  var servers: Servers { get }

  /// Makes what a run needs. `tell` hears how far it is.
  ///
  /// **Throws**: `LoadError` in one line.
  func prepare(
    _ traffic: Traffic, runID: UInt32, tell: @Sendable (String) -> Void
  ) async throws -> Prepared

  /// What is stored of a run's conversations, by number; `nil` for a system that is not asked.
  func readBack(
    _ prepared: Prepared, runID: UInt32, expected: [Int: Tally]
  ) async throws -> [Int: Tally]?
}

/// The processes under test.
package struct Servers: Sendable {
  package struct Process: Sendable {
    package enum Source: Sendable {
      case pid(Int32)
      /// The first line of a file: another one when the process is started anew.
      case file(String)
    }

    package let name: String
    private let source: Source

    package init(name: String, _ source: Source) {
      self.name = name
      self.source = source
    }

    /// `nil` when the file does not tell it.
    var pid: Int32? {
      switch source {
      case .pid(let pid): pid
      case .file(let path):
        (try? String(contentsOfFile: path, encoding: .utf8))
          .flatMap { $0.split(separator: "\n").first }.flatMap { Int32($0) }
      }
    }
  }

  package var processes: [Process] = []
  /// Pages of the shards' metrics.
  package var metrics: [String] = []

  package init() {}
}

/// The seats of a traffic's sessions.
///
/// - Parameter credentials: by user.
func seats(
  _ traffic: Traffic, endpoints: [Endpoint], speaks: WireProtocol, credentials: [String]
) -> [Seat] {
  let places = traffic.places
  return (0..<traffic.sessions).map { session in
    let first = traffic.gateway(of: session, among: endpoints.count)
    return Seat(
      session: session, endpoints: Array(endpoints[first...] + endpoints[..<first]),
      speaks: speaks, credential: credentials[traffic.user(of: session)],
      places: places[session], sends: traffic.sends(session), listens: traffic.listens(session))
  }
}
