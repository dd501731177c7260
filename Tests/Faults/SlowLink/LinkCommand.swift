import ControlSocket

/// The commands of the control socket.
extension LinkMachine {
  private static let delayMicrosecondsMax = 60_000_000

  /// **Returns**: the line to be answered.
  mutating func carryOut(_ command: Command) throws(CommandRefusal) -> String {
    switch command.name {
    case "delay":
      try command.expect(2)
      let least = try command.number(0, in: 0...Self.delayMicrosecondsMax)
      settings.delayMicroseconds =
        least...(try command.number(1, in: least...Self.delayMicrosecondsMax))
    case "loss":
      settings.lossPermille = try Self.permille(command)
    case "duplicate":
      settings.duplicatePermille = try Self.permille(command)
    case "cut":
      settings.cut = try Self.cut(command)
    case "seed":
      try command.expect(1)
      reseed(try command.seed(0))
    case "stat":
      try command.expect(0)
      let directions = Direction.allCases.map { "\"\($0)\":\(report(counters($0)))" }
      return "{\(directions.joined(separator: ","))}"
    default:
      throw CommandRefusal("there is no command '\(command.name)'")
    }
    return "ok"
  }

  private static func permille(_ command: Command) throws(CommandRefusal) -> Int {
    try command.expect(1)
    return try command.number(0, in: 0...1_000)
  }

  private static func cut(_ command: Command) throws(CommandRefusal) -> Set<Direction> {
    try command.expect(1)
    switch command.arguments[0] {
    case "left": return [.leftToRight]
    case "right": return [.rightToLeft]
    case "both": return [.leftToRight, .rightToLeft]
    case "none": return []
    default: throw CommandRefusal("cut takes left, right, both or none")
    }
  }

  private func report(_ counters: LinkCounters) -> String {
    let fields = [
      ("packets", counters.packets), ("bytes", counters.bytes), ("dropped", counters.dropped),
      ("duplicated", counters.duplicated), ("queued", counters.queued),
    ]
    return "{\(fields.map { "\"\($0)\":\($1)" }.joined(separator: ","))}"
  }
}
