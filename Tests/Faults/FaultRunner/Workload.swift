import HistoryChecker
import Synchronization

/// The people of a run: some send, some read, some listen, from before the first fault until
/// everything is whole again after the last one.
///
/// **Isolation**: the runner's first thread.
final class Workload {
  struct Size {
    var senders = 8
    var readers = 2
    var listeners = 4
    var groups = 24
    /// Conversations of the prober alone, enough that every shard leads some.
    var probes = 16
  }

  private static let setUpMax: Moment = 60 * Pace.second
  private static let endMax: Moment = 70 * Pace.second
  private static let readMax: Moment = 60 * Pace.second
  private static let hearMax: Moment = 30 * Pace.second

  let stage: Stage
  private let size: Size
  private let prober: Person
  private(set) var probes: [Talk] = []
  private var groups: [Talk] = []
  /// One for each listener, with a sender.
  private var directs: [(talk: Talk, sender: String)] = []
  private var listening: [(worker: Worker, progress: ListeningClient.Progress)] = []
  private var working: [Worker] = []

  init(_ size: Size, stage: Stage) {
    self.size = size
    self.stage = stage
    prober = Person("prober", gateways: stage.gateways, first: 0)
  }

  private func names(_ kind: String, _ count: Int) -> [String] {
    (0..<count).map { "\(kind)\($0)" }
  }

  private var senders: [String] { names("sender", size.senders) }
  private var readers: [String] { names("reader", size.readers) }
  private var listeners: [String] { names("listener", size.listeners) }

  /// The prober with a token that is good for the next fault.
  func freshProber() throws -> Prober {
    let token = try prober.insist(
      "a login of the prober", until: Pace.now() + Self.setUpMax
    ) { _, deadline throws(ChatFailure) in try prober.freshToken(deadline) }
    return Prober(handle: prober.handle, token: token)
  }

  // MARK: The beginning

  func begin(_ chance: inout Chance) throws {
    let deadline = Pace.now() + Self.setUpMax
    for (place, name) in (senders + readers + listeners).enumerated() {
      try person(name, first: place).register(until: deadline)
    }
    try prober.register(until: deadline)
    try beginListening(&chance, until: deadline)
    try makeConversations(until: deadline)
    for (number, name) in senders.enumerated() {
      var talks = groups
      talks += directs.filter { $0.sender == name }.map(\.talk)
      let lots = chance.split()
      working.append(
        Worker { [stage, talks] in
          let person = Person(name, gateways: stage.gateways, first: number)
          SendingClient(number: number, person: person, talks: talks, stage: stage, chance: lots)
            .run()
        })
    }
    for (number, name) in readers.enumerated() {
      let lots = chance.split()
      working.append(
        Worker { [stage, groups] in
          let person = Person(name, gateways: stage.gateways, first: number)
          ReadingClient(person: person, talks: groups, stage: stage, chance: lots).run()
        })
    }
  }

  private func person(_ name: String, first: Int) -> Person {
    Person(name, gateways: stage.gateways, first: first)
  }

  private func beginListening(_ chance: inout Chance, until deadline: Moment) throws {
    for (number, name) in listeners.enumerated() {
      stage.log.add(.listener(name: name, conversations: []))
      let lots = chance.split()
      let progress = ListeningClient.Progress()
      // Every second one stays with its gateway, whatever happens to it.
      let changes = number >= stage.gateways.count
      let worker = Worker { [stage] in
        let gateways = stage.gateways
        let own = changes ? gateways : [gateways[number % gateways.count]]
        let person = Person(name, gateways: own, first: number)
        ListeningClient(
          number: number, person: person, changesGateway: changes, stage: stage,
          progress: progress, chance: lots
        ).run()
      }
      listening.append((worker, progress))
    }
    let isHeard = try Pace.wait(deadline - Pace.now()) {
      listening.allSatisfy { $0.progress.hasPosition.load(ordering: .relaxed) }
    }
    guard isHeard else { throw Failure("not every listener was told a position") }
  }

  private func makeConversations(until deadline: Moment) throws {
    let everybody = senders + readers + listeners
    for number in 0..<size.groups {
      let maker = person(senders[number % senders.count], first: number)
      let others = everybody.filter { $0 != maker.handle }
      groups.append(try make("group", others, by: maker, deadline))
    }
    for number in listeners.indices {
      let maker = person(senders[number % senders.count], first: number)
      let talk = try make("direct", [listeners[number]], by: maker, deadline)
      directs.append((talk, maker.handle))
      let all = groups.map(\.place) + [talk.place]
      stage.log.add(.listener(name: listeners[number], conversations: all))
    }
    for _ in 0..<size.probes { probes.append(try make("group", [], by: prober, deadline)) }
  }

  private func make(
    _ kind: String, _ members: [String], by maker: Person, _ deadline: Moment
  ) throws -> Talk {
    let id = try maker.insist("a conversation", until: deadline) {
      connection, limit throws(ChatFailure) in
      try ChatAPI.createConversation(
        kind: kind, members: members, token: try maker.freshToken(limit), connection, limit)
    }
    return Talk(id: id, place: stage.log.place(of: id))
  }

  // MARK: The end

  /// Lets everybody finish, reads everything through every gateway and waits until the listeners
  /// have it too.
  ///
  /// **Returns**: what could not be read.
  func finish() throws -> [String] {
    stage.isQuiet.store(true, ordering: .relaxed)
    if !(try Pace.wait(Self.endMax, until: { working.allSatisfy(\.isDone) })) {
      stage.remark("not every client came to its end")
    }
    var heads: [Int: UInt64] = [:]
    var unread: [String] = []
    for place in stage.gateways.indices {
      unread += try readEverything(through: place) { talk, entries in
        guard place == 0 else { return }
        heads[talk.place] = entries.last?.sequence ?? 0
        stage.log.add(.stored(conversation: talk.place, entries))
      }
    }
    // Those that are missing are found by the checker.
    _ = try Pace.wait(Self.hearMax) {
      listening.indices.allSatisfy { number in
        let heard = listening[number].progress.heads.withLock { $0 }
        let own = groups + [directs[number].talk]
        return own.allSatisfy { heard[$0.place] ?? 0 >= heads[$0.place] ?? 0 }
      }
    }
    stop()
    return unread
  }

  private func readEverything(
    through place: Int, _ take: (Talk, [Entry]) -> Void
  ) throws -> [String] {
    let deadline = Pace.now() + Self.readMax
    let talks =
      groups.map { ($0, readers[0]) } + directs.map { ($0.talk, $0.sender) }
      + probes.map { ($0, prober.handle) }
    var clients: [String: ReadingClient] = [:]
    var unread: [String] = []
    for (talk, name) in talks {
      try Interruption.check()
      let client =
        clients[name]
        ?? ReadingClient(
          person: Person(name, gateways: [stage.gateways[place]], first: 0), talks: [talk],
          stage: stage, chance: Chance(seed: 0))
      clients[name] = client
      do {
        take(talk, try client.readAll(talk, until: deadline))
      } catch let failure as Failure {
        unread.append("\(failure)")
      }
    }
    return unread
  }

  func stop() {
    stage.isQuiet.store(true, ordering: .relaxed)
    stage.isStopping.store(true, ordering: .relaxed)
  }
}
