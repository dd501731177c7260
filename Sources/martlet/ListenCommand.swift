import ArgumentParser
import Logging
import MartletClient
import NodeConfiguration

struct ListenCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "listen", abstract: "Print what happens in a user's conversations, line by line.",
    discussion: """
      Begins at the login, and goes on where the last `listen` of it stopped: nothing is missed, \
      nothing comes twice. Ends with SIGTERM or SIGINT.
      """)

  @Option(name: .customLong("as"), help: ArgumentHelp("Who.", valueName: "handle"))
  var user: String
  @Flag(help: "One JSON object per line.") var json = false
  @OptionGroup var choice: GatewayChoice
  @OptionGroup(title: "Log") var log: LogOptions

  func run() async throws {
    // What a listener wants to see are events; `--log-level info` shows connections too.
    let logger = try Logger(SettingSource(log), usual: .warning)
    let own = try SignedIn(as: user, choice, wantsEvents: true, locked: true)
    let isJSON = json
    try await Service.run(logger) {
      try await Self.listen(own, isJSON: isJSON, logger)
    } watch: { _ in
    } stop: { _ in
    }
  }

  /// Runs until the client is closed, which the cancellation of the task does.
  private static func listen(_ own: SignedIn, isJSON: Bool, _ logger: Logger) async throws {
    let states = Task {
      var failures = 0
      for await state in own.client.states {
        logger.info("connection", metadata: ["state": "\(state)"])
        switch state {
        case .connected:
          if failures >= failuresTold { logger.warning("connected again") }
          failures = 0
        case .waiting(_, let why):
          failures += 1
          if failures == failuresTold {
            logger.warning("not connected, trying again", metadata: ["why": "\(why)"])
          }
        case .idle, .connecting, .closed: break
        }
      }
    }
    defer { states.cancel() }
    try await withTaskCancellationHandler {
      try await own.client.connect()
      var text = EventText(own.client, isJSON: isJSON)
      var lastSave = ContinuousClock.now - saveInterval
      for try await event in own.client.events {
        Output.write(await text.line(event))
        if ContinuousClock.now - lastSave >= saveInterval {
          try own.files.save(own.client.resumePoint)
          lastSave = .now
        }
      }
      try own.files.save(own.client.resumePoint)
    } onCancel: {
      own.client.close()
    }
  }

  /// Attempts in a row after which a listener should know.
  private static let failuresTold = 3

  /// A process that is killed shows at most so much again.
  private static let saveInterval = Duration.milliseconds(200)
}
