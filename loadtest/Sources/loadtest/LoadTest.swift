import ArgumentParser

/// The entry point: one subcommand per question.
@main
struct LoadTest: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "loadtest",
    abstract: "Puts load on a Martlet cluster and says what came of it.",
    subcommands: [SendCommand.self])
}

/// A run that cannot begin or did not go well: one line for the engineer.
struct LoadTestError: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }
}
