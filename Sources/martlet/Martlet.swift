import ArgumentParser

struct Martlet: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "martlet",
    abstract: "A distributed chat message router.",
    discussion: """
      Every setting NAME can also be given as the environment variable MARTLET_NAME, in capitals \
      and with _ for -. The command line wins.
      """,
    groupedSubcommands: [
      CommandGroup(
        name: "Nodes:",
        subcommands: [ShardCommand.self, GatewayCommand.self, EmbeddedCommand.self]),
      CommandGroup(
        name: "Operators:",
        subcommands: [
          RingCommand.self, PartitionCommand.self, BackupCommand.self, RestoreCommand.self,
        ]),
      CommandGroup(
        name: "Users:",
        subcommands: [
          RegisterCommand.self, LoginCommand.self, LogoutCommand.self, SendCommand.self,
          ListenCommand.self, HistoryCommand.self, ConversationsCommand.self,
        ]),
    ])
}
