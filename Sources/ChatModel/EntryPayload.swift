package import Primitives

/// What one log entry carries: the leader's stamp and the commands of one turn of its loop.
///
/// **Shape**: `martlet.v1.EntryPayload`: version (1), time in milliseconds (2), repeated command
/// (3). An empty payload is the entry with which an epoch starts.
package struct EntryPayload: Equatable, Sendable {
  /// Of the payload; another one is not read.
  package static let version: UInt64 = 1
  /// The leader's stamp, for all commands of the entry.
  package var time: WallTime
  /// Encoded commands, in the order in which they are applied.
  package var commands: [ArraySlice<UInt8>]

  package init(time: WallTime, commands: [ArraySlice<UInt8>]) {
    self.time = time
    self.commands = commands
  }

  /// The bytes of `martlet.v1.EntryPayload`.
  package func encoded() -> [UInt8] {
    var writer = ProtobufWriter(
      reservingBytes: 16 + commands.reduce(0) { $0 + $1.count + 4 })
    writer.uint(1, Self.version)
    writer.uint(2, time.milliseconds)
    for command in commands { writer.element(3, command) }
    return writer.bytes
  }

  /// **Throws**: `ProtobufError` when the bytes are no payload that this version can read.
  package init(decoding bytes: [UInt8]) throws(ProtobufError) {
    var version: UInt64 = 0
    var time: UInt64 = 0
    var commands: [ArraySlice<UInt8>] = []
    try ProtobufScanner.read(bytes[...]) { reader throws(ProtobufError) in
      while let field = try reader.next() {
        switch field.number {
        case 1: version = try field.uint64()
        case 2: time = try field.uint64()
        case 3: commands.append(bytes[try field.range()])
        default: break
        }
      }
    }
    guard version == Self.version else { throw .outOfRange(field: 1) }
    self.init(time: WallTime(milliseconds: time), commands: commands)
  }
}
