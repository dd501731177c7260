import ArgumentParser
import MartletClient

/// Whom or where to.
struct ConversationChoice: ParsableArguments {
  @Option(name: .customLong("as"), help: ArgumentHelp("Who acts.", valueName: "handle"))
  var user: String
  @Option(help: ArgumentHelp("A conversation's id.", valueName: "id"))
  var conversation: String?
}

struct SendCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "send", abstract: "Send a message and wait until it is stored for good.",
    discussion: "Prints the conversation, the message's number in it and its time.")

  @Argument(help: "The message.") var text: String
  @Option(help: ArgumentHelp("To whom, in the direct conversation.", valueName: "handle"))
  var to: String?
  @OptionGroup var place: ConversationChoice
  @OptionGroup var choice: GatewayChoice

  func validate() throws {
    guard (to == nil) != (place.conversation == nil) else {
      throw ValidationError("give either --to or --conversation")
    }
  }

  func run() async throws {
    let own = try SignedIn(as: place.user, choice)
    let conversation = try await own.conversation(
      with: to, id: place.conversation, makes: true)
    let sent = try await own.client.send(text, to: conversation)
    let time = EventText.time(sent.timeMilliseconds)
    Output.write("conversation \(sent.conversation) seq \(sent.sequence) time \(time)\n")
    own.client.close()
  }
}

struct HistoryCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "history", abstract: "Show a conversation's last events, the newest last.")

  @Option(name: .customLong("with"), help: ArgumentHelp("Whose direct one.", valueName: "handle"))
  var member: String?
  @Option(help: ArgumentHelp("At most so many (default: 50).", valueName: "n"))
  var limit: Int = 50
  @Flag(help: "One JSON object per line.") var json = false
  @OptionGroup var place: ConversationChoice
  @OptionGroup var choice: GatewayChoice

  private static let pageMax = 200

  func validate() throws {
    guard (member == nil) != (place.conversation == nil) else {
      throw ValidationError("give either --with or --conversation")
    }
    guard limit > 0 else { throw ValidationError("--limit is at least 1") }
  }

  func run() async throws {
    let own = try SignedIn(as: place.user, choice)
    let conversation = try await own.conversation(
      with: member, id: place.conversation, makes: false)
    var events: [Event] = []
    var range = HistoryRange.latest
    while events.count < limit {
      let page = try await own.client.history(
        of: conversation, range, limit: min(Self.pageMax, limit - events.count))
      guard let first = page.events.first else { break }
      events = page.events + events
      guard first.sequence > 1 else { break }
      range = .before(first.sequence)
    }
    var text = EventText(own.client, isJSON: json)
    for event in events { Output.write(await text.line(event)) }
    own.client.close()
  }
}

struct ConversationsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "conversations", abstract: "List a user's conversations.",
    discussion: "Prints id, kind, the last sequence number, members and title.")

  @Option(name: .customLong("as"), help: ArgumentHelp("Who.", valueName: "handle"))
  var user: String
  @OptionGroup var choice: GatewayChoice

  func run() async throws {
    let own = try SignedIn(as: user, choice)
    for conversation in try await own.client.conversations() {
      var members = conversation.members.map(\.handle).joined(separator: ",")
      let more = conversation.memberCount - conversation.members.count
      if more > 0 { members += ",… (\(more) more)" }
      let title = EventText.oneLine(conversation.title)
      Output.write(
        "\(conversation.id) \(conversation.kind.rawValue) \(conversation.head) \(members)"
          + (title.isEmpty ? "\n" : " \(title)\n"))
    }
    own.client.close()
  }
}
