import FoundationEssentials
import MartletClient

/// Turns events into lines, with people's handles where they are known.
///
/// ```
/// 2025-01-31T08:15:30.123Z 4d2…  7 alice: hello
/// ```
struct EventText {
  private let client: MartletClient
  private let isJSON: Bool
  private var handles: [UserID: String] = [:]
  /// Looked for in vain; not asked for again and again.
  private var unknown: Set<UserID> = []

  init(_ client: MartletClient, isJSON: Bool) {
    self.client = client
    self.isJSON = isJSON
    handles[client.user.id] = client.user.handle
  }

  /// **Returns**: one line, with its end.
  mutating func line(_ event: Event) async -> String {
    await learn(event)
    return isJSON ? json(event) : plain(event)
  }

  // MARK: For people

  private func plain(_ event: Event) -> String {
    guard let author = event.author.map(name) else {
      return "- \(event.conversation) \(event.sequence) (what follows was erased)\n"
    }
    let what: String =
      switch event.content {
      case .message(let text): ": \(Self.oneLine(text))"
      case .created(.direct, _, _): " began a direct conversation"
      case .created(.group, let title, let members):
        " made the group '\(Self.oneLine(title))' with "
          + members.map(\.handle).joined(separator: ", ")
      case .membersChanged(let added, let removed):
        (added.isEmpty ? "" : " added " + added.map(\.handle).joined(separator: ", "))
          + (removed.isEmpty ? "" : " removed " + removed.map(name).joined(separator: ", "))
      case .titleChanged(let title): " changed the title to '\(Self.oneLine(title))'"
      case .historyCut: " (what follows was erased)"
      }
    let time = Self.time(event.timeMilliseconds)
    return "\(time) \(event.conversation) \(event.sequence) \(author)\(what)\n"
  }

  private func name(_ user: UserID) -> String { handles[user] ?? user.description }

  private mutating func learn(_ event: Event) async {
    switch event.content {
    case .created(_, _, let members), .membersChanged(let members, _):
      for member in members { handles[member.user] = member.handle }
    case .message, .titleChanged, .historyCut: break
    }
    guard let author = event.author, handles[author] == nil, !unknown.contains(author) else {
      return
    }
    for conversation in (try? await client.conversations()) ?? [] {
      for member in conversation.members { handles[member.user] = member.handle }
    }
    if handles[author] == nil { unknown.insert(author) }
  }

  // MARK: For programs

  private struct Object: Encodable {
    var conversation: String
    var seq: String
    var time: String
    var author: String?
    var kind: String
    var text: String?
  }

  /// **Shape**: `{"conversation", "seq", "time", "author", "kind", "text"}`; the author is a handle
  /// where it is known and an id otherwise; `text` only with a message.
  private func json(_ event: Event) -> String {
    var object = Object(
      conversation: event.conversation.description, seq: "\(event.sequence)",
      time: Self.time(event.timeMilliseconds), author: event.author.map(name), kind: "")
    switch event.content {
    case .message(let text):
      object.kind = "message"
      object.text = text
    case .created: object.kind = "created"
    case .membersChanged: object.kind = "membersChanged"
    case .titleChanged: object.kind = "titleChanged"
    case .historyCut: object.kind = "historyCut"
    }
    return Self.jsonLine(object)
  }

  /// A value as one line of JSON for programs.
  static func jsonLine(_ value: some Encodable) -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    guard let data = try? encoder.encode(value) else { return "" }
    return String(decoding: data, as: UTF8.self) + "\n"
  }

  // MARK: Words

  static func time(_ milliseconds: UInt64) -> String {
    let time = Date(timeIntervalSince1970: Double(milliseconds) / 1_000)
    return time.formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true))
  }

  /// A text as one line of a terminal that it cannot command.
  static func oneLine(_ text: String) -> String {
    text.unicodeScalars.map { scalar in
      switch scalar {
      case "\n": "\\n"
      case "\\": "\\\\"
      case _ where scalar.properties.generalCategory == .control:
        "\\u{\(String(scalar.value, radix: 16))}"
      default: String(scalar)
      }
    }.joined()
  }
}
