import MartletClient
import Synchronization

/// People who talk all the time while something happens to the cluster.
///
/// Four of them send to three groups, every second one through the same gateway as long as that is
/// there. Two listen, each at one gateway only, from before the groups are made. At the end the
/// listeners read all histories, and everything that was noted is compared.
///
/// **Isolation**: any thread.
final class Workload: Sendable {
  private static let senderCount = 4
  private static let conversationCount = 3
  /// Between an answer and the next send of the same person to the same group.
  private static let pause = Duration.milliseconds(100)
  private static let listeningTimeout = Duration.seconds(20)
  private static let historyPage = 200

  let conversations: [ConversationID]
  private let senders: [MartletClient]
  private let listeners: [MartletClient]
  private let notes: Notes
  private let sending: [Task<Void, Never>]
  private let listening: [Task<Void, Never>]

  /// What all tasks write down.
  private final class Notes: Sendable {
    let transcript = Mutex(Transcript())
    let isStopping = Atomic(false)
  }

  private init(
    _ conversations: [ConversationID], senders: [MartletClient], listeners: [MartletClient],
    notes: Notes, listening: [Task<Void, Never>]
  ) {
    self.conversations = conversations
    self.senders = senders
    self.listeners = listeners
    self.notes = notes
    self.listening = listening
    sending = senders.enumerated().flatMap { index, sender in
      conversations.enumerated().map { place, conversation in
        Task { await Workload.talk("s\(index)-c\(place)", sender, to: conversation, notes) }
      }
    }
  }

  /// A workload of its own for `body`, which is checked when that has returned.
  ///
  /// **Throws**: `ClusterFailure` with everything that is wrong.
  static func run(
    on cluster: Cluster, _ body: (Workload) async throws -> Void
  ) async throws {
    try await run(at: cluster.layout.addresses, body)
  }

  /// The same where only the addresses are known.
  static func run(
    at addresses: People.Addresses, _ body: (Workload) async throws -> Void
  ) async throws {
    let workload = try await start(at: addresses)
    defer { workload.close() }
    // Nothing is broken before everything works.
    try await workload.progress(by: 30)
    try await body(workload)
    try await workload.progress(by: 30)
    try await workload.check()
  }

  private static func start(at addresses: People.Addresses) async throws -> Workload {
    let people = People(addresses)
    let senderNames = (0..<senderCount).map { "sender\($0)" }
    let gateways = addresses.plain
    var senders: [MartletClient] = []
    var listeners: [MartletClient] = []
    let notes = Notes()
    do {
      for (index, name) in senderNames.enumerated() {
        let credentials = try await people.join(name)
        senders.append(
          try await people.connect(
            credentials, to: gateways, first: gateways[index % gateways.count], wantsEvents: false))
      }
      // Each knows one gateway only, and has to wait for it when it is away.
      for (index, url) in addresses.secure.enumerated() {
        let credentials = try await people.join("listener\(index)")
        listeners.append(try await people.connect(credentials, to: [url]))
      }
      let listening = listeners.map { client in Task { await listen(client, notes) } }
      let others = senderNames.dropFirst() + listeners.map(\.user.handle)
      var conversations: [ConversationID] = []
      for number in 0..<conversationCount {
        let group = try await senders[0].createGroup(
          title: "group \(number)", members: Array(others))
        conversations.append(group.id)
      }
      return Workload(
        conversations, senders: senders, listeners: listeners, notes: notes,
        listening: listening)
    } catch {
      for client in senders + listeners { client.close() }
      throw error
    }
  }

  private static func talk(
    _ name: String, _ client: MartletClient, to conversation: ConversationID, _ notes: Notes
  ) async {
    let place = conversation.description
    var number = 0
    while !notes.isStopping.load(ordering: .relaxed) {
      number += 1
      let text = "\(name)-\(number)"
      notes.transcript.withLock { $0.attempted(text, in: place) }
      do {
        let sent = try await client.send(text, to: conversation)
        let entry = Transcript.Entry(conversation: place, sequence: sent.sequence, text: text)
        notes.transcript.withLock { $0.acknowledged(entry, at: .now) }
      } catch {
        notes.transcript.withLock { $0.failed(text, "\(error)") }
      }
      try? await Task.sleep(for: pause)
    }
  }

  private static func listen(_ client: MartletClient, _ notes: Notes) async {
    let name = client.user.handle
    do {
      for try await event in client.events {
        notes.transcript.withLock { $0.saw(Transcript.Entry(event), name) }
      }
    } catch {
      notes.transcript.withLock { $0.ended(name, "\(error)") }
    }
  }

  private func close() {
    notes.isStopping.store(true, ordering: .relaxed)
    for client in senders + listeners { client.close() }
    for task in sending + listening { task.cancel() }
  }

  // MARK: Progress

  /// Waits until so many more sends are answered, in one conversation or in all together.
  func progress(
    by count: Int, in conversation: ConversationID? = nil, within limit: Duration = .seconds(30)
  ) async throws {
    let wanted = acknowledgementCount(in: conversation) + count
    try await eventually("an answer to \(count) more sends", within: limit) {
      acknowledgementCount(in: conversation) >= wanted
    }
  }

  private func acknowledgementCount(in conversation: ConversationID?) -> Int {
    notes.transcript.withLock { transcript in
      guard let place = conversation?.description else { return transcript.acknowledgements.count }
      return transcript.acknowledgements.count { $0.entry.conversation == place }
    }
  }

  /// How long nobody was answered in a conversation, at most, since a fault.
  func longestPause(
    in conversation: ConversationID, since fault: ContinuousClock.Instant
  ) -> Duration {
    notes.transcript.withLock { $0.longestPause(in: conversation.description, since: fault) }
  }

  // MARK: The end

  private func check() async throws {
    notes.isStopping.store(true, ordering: .relaxed)
    for task in sending { await task.value }
    var histories: [String: [String: [Transcript.Entry]]] = [:]
    for listener in listeners {
      for conversation in conversations {
        histories[listener.user.handle, default: [:]][conversation.description] =
          try await Self.history(of: conversation, listener)
      }
    }
    let names = listeners.map(\.user.handle)
    // Whoever has not seen everything by then is named below.
    try? await eventually("all events", within: Self.listeningTimeout) {
      let seen = notes.transcript.withLock { $0.seen }
      return names.allSatisfy { name in
        seen[name]?.count ?? 0 >= histories[name]?.values.reduce(0) { $0 + $1.count } ?? 0
      }
    }
    let transcript = notes.transcript.withLock { $0 }
    let problems = transcript.problems(histories: histories, listeners: names)
    guard problems.isEmpty else {
      throw ClusterFailure("the workload:\n" + problems.joined(separator: "\n"))
    }
    print("\(transcript.acknowledgements.count) messages were sent, kept and seen")
  }

  private static func history(
    of conversation: ConversationID, _ client: MartletClient
  ) async throws -> [Transcript.Entry] {
    var entries: [Transcript.Entry] = []
    var page: History
    repeat {
      page = try await client.history(
        of: conversation, .after(entries.last?.sequence ?? 0), limit: historyPage)
      entries += page.events.map(Transcript.Entry.init)
    } while !page.events.isEmpty && (entries.last?.sequence ?? 0) < page.head
    return entries
  }
}

extension Transcript.Entry {
  init(_ event: Event) {
    var text: String?
    if case .message(let given) = event.content { text = given }
    self.init(
      conversation: event.conversation.description, sequence: event.sequence, text: text)
  }
}
