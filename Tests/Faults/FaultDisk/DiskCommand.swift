import ControlSocket

/// The commands of the control socket.
extension Disk {
  private static let stallMillisecondsMax = 600_000

  /// **Returns**: the line to be answered.
  func carryOut(_ command: Command) throws(CommandRefusal) -> String {
    switch command.name {
    case "lose":
      try command.expect(0)
      withVolume { $0.lose() }
    case "tear":
      try command.expect(1)
      let seed = try command.seed(0)
      try attempt { (volume) throws(DiskError) in try volume.tear(seed: seed) }
    case "sync":
      try command.expect(0)
      try attempt { (volume) throws(DiskError) in try volume.storeAll() }
    case "eio":
      let isOn = try command.isOn()
      withVolume { $0.faults.refusesInputAndOutput = isOn }
    case "enospc":
      let isOn = try command.isOn()
      withVolume { $0.faults.isFull = isOn }
    case "fsync":
      let sync = try Self.sync(command)
      withVolume { $0.faults.sync = sync }
    case "flip":
      try command.expect(3)
      let (offset, bit) = (try command.number(1, in: 0...Int.max), try command.number(2, in: 0...7))
      try attempt { (volume) throws(DiskError) in
        try volume.flip(command.arguments[0], offset: offset, bit: bit)
      }
    case "stat":
      try command.expect(0)
      return withVolume { $0.report }
    default:
      throw CommandRefusal("there is no command '\(command.name)'")
    }
    return "ok"
  }

  private func attempt(
    _ body: (inout Volume) throws(DiskError) -> Void
  ) throws(CommandRefusal) {
    do throws(DiskError) {
      try withVolume(body)
    } catch {
      throw CommandRefusal(error.reason)
    }
  }

  private static func sync(_ command: Command) throws(CommandRefusal) -> Faults.Sync {
    switch command.arguments.first {
    case "ok":
      try command.expect(1)
      return .works
    case "fail":
      try command.expect(1)
      return .fails
    case "stall":
      try command.expect(2)
      return .stalls(milliseconds: try command.number(1, in: 0...stallMillisecondsMax))
    default:
      throw CommandRefusal("fsync takes ok, fail or stall MILLISECONDS")
    }
  }
}

extension Volume {
  /// One line of JSON.
  fileprivate var report: String {
    let fields = [
      ("unsyncedBytes", unsyncedBytes), ("unsyncedFiles", unsyncedFiles.count),
      ("unsyncedNames", changes.count), ("fsyncs", counters.fsyncs), ("writes", counters.writes),
      ("reads", counters.reads), ("files", fileCount),
    ]
    return "{\(fields.map { "\"\($0)\":\($1)" }.joined(separator: ","))}"
  }
}
