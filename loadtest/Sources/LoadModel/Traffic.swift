/// Sessions that talk: every workload with messages in it is one of these.
///
/// Who is in which conversation follows from the counts. With `step = sessions / members`, member k
/// of conversation c is session `(c + k · step) mod sessions`; so 64 sessions and conversations of
/// one member are 64 people who talk to themselves, 2 · p sessions and p conversations of two are
/// pairs, and n sessions in one conversation of n are a crowd.
package struct Traffic: Codable, Equatable, Sendable {
  package enum Pace: Codable, Equatable, Sendable {
    /// Closed loop: every sender keeps so many messages unanswered.
    case closed(window: Int)
    /// Open loop: all senders together, messages per second.
    case open(rate: Double, arrivals: Schedule.Arrivals)
    /// Open loop at a part of what 64 senders reach in a closed loop, which is measured before.
    case ofCeiling(part: Double, arrivals: Schedule.Arrivals)
  }

  package enum Listening: String, Codable, Sendable, CaseIterable {
    case nobody
    /// Whoever does not send.
    case receivers
    case everybody
  }

  package var sessions = 64
  package var conversations = 64
  package var members = 1
  /// Sessions that send: the first ones.
  package var senders = 64
  package var listening = Listening.nobody
  package var pace = Pace.closed(window: 1)
  /// How unevenly conversations are talked in; 0 is evenly.
  package var zipf = 0.0
  /// Of a sender's operations, the part that reads a page of 50 events instead.
  package var reads = 0.0
  /// Accounts; sessions beyond share them as devices. 0 is one for each session.
  package var users = 0
  package var isTLS = false
  /// Conversations that do not exist: all but the state machine's work.
  package var isLogOnly = false

  package init() {}

  /// Sessions from one member of a conversation to the next.
  package var step: Int { max(1, sessions / max(1, members)) }
  package var userCount: Int { users == 0 ? sessions : min(users, sessions) }

  package func user(of session: Int) -> Int { session % userCount }

  /// In the order of the members; without repetition when members are not more than sessions.
  package func members(of conversation: Int) -> [Int] {
    (0..<members).map { (conversation + $0 * step) % sessions }
  }

  /// Which of so many gateways a session connects to: members of a conversation are spread.
  package func gateway(of session: Int, among count: Int) -> Int {
    (members > 1 ? session / step : session) % count
  }

  package func sends(_ session: Int) -> Bool { session < senders }

  package func listens(_ session: Int) -> Bool {
    switch listening {
    case .nobody: false
    case .receivers: !sends(session)
    case .everybody: true
    }
  }

  /// Conversations that each session is in, by number.
  package var places: [[Int]] {
    var places = [[Int]](repeating: [], count: sessions)
    for conversation in 0..<conversations {
      for session in members(of: conversation) { places[session].append(conversation) }
    }
    return places
  }
}

/// Pages of one long conversation (closed loop): each asks for 50 events before a random one.
package struct Paging: Codable, Equatable, Sendable {
  /// Messages that are sent before.
  package var messages = 1_000_000
  package var connections = 8
  package var page = 50

  package init() {}
}

/// A user who was away: some of many conversations have something new.
package struct Syncing: Codable, Equatable, Sendable {
  package var conversations = 2_000
  package var changed = 50
  /// How often the user comes back.
  package var times = 20

  package init() {}
}

package enum Workload: Codable, Equatable, Sendable {
  case traffic(Traffic)
  case paging(Paging)
  case syncing(Syncing)
  /// Nobody does anything: what the servers use then.
  case quiet
}

/// Something that happens to the servers while a run goes on.
package struct TimedAction: Codable, Equatable, Sendable {
  package enum Kind: Codable, Equatable, Sendable {
    /// SIGKILL, SIGSTOP, SIGCONT and SIGTERM to a process of the cluster.
    case kill(String)
    case stop(String)
    case go(String)
    case end(String)
    /// Starts one again that was ended.
    case start(String)
    /// `martlet ring …`.
    case ring([String])
  }

  /// From the beginning of what is measured. **Units**: seconds.
  package var at: Double
  package var kind: Kind

  package init(at: Double, _ kind: Kind) {
    self.at = at
    self.kind = kind
  }

  package var words: String {
    switch kind {
    case .kill(let name): "kill \(name)"
    case .stop(let name): "stop \(name)"
    case .go(let name): "continue \(name)"
    case .end(let name): "end \(name)"
    case .start(let name): "start \(name)"
    case .ring(let arguments): "ring " + arguments.joined(separator: " ")
    }
  }
}

/// One measurement.
package struct Run: Codable, Equatable, Sendable {
  package var name: String
  package var workload: Workload
  /// Of a message's text. **Units**: bytes.
  package var payloadBytes = 100
  /// Before anything is measured. **Units**: seconds.
  package var warmupSeconds = 2.0
  package var seconds = 10.0
  package var seed: UInt64 = 1
  package var actions: [TimedAction] = []

  package init(name: String, workload: Workload) {
    self.name = name
    self.workload = workload
  }
}

/// A file of measurements that belong together.
package struct Scenario: Codable, Equatable, Sendable {
  package var name: String
  package var about: String
  package var runs: [Run]

  package init(name: String, about: String, runs: [Run]) {
    self.name = name
    self.about = about
    self.runs = runs
  }
}
