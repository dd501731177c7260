import Foundation
import LoadModel

/// What this machine needs for the things that a durable message is made of. Whoever compares
/// figures of two machines, or of two hours of a shared one, compares these first.
package enum Floor {
  package struct Figure: Sendable {
    package let name: String
    /// **Units**: microseconds of wall time and of CPU, of one.
    package let wall: Double
    package let cpu: Double
  }

  private static let syncs = 400
  private static let roundTrips = 20_000
  private static let batches = 4_000
  private static let batchCount = 64
  private static let messageBytes = 100

  /// **Throws**: `LoadError` when the place cannot be written or sockets cannot be made.
  package static func measure(in place: String) throws -> [Figure] {
    [try sync(in: place)] + (try sockets())
  }

  /// A block appended and synced.
  private static func sync(in place: String) throws -> Figure {
    let path = "\(place)/floor-\(getpid())"
    let descriptor = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0o600)
    guard descriptor >= 0 else { throw LoadError("\(path): cannot be written") }
    defer {
      close(descriptor)
      unlink(path)
    }
    let block = [UInt8](repeating: 0x6d, count: 4_096)
    return try figure("4 KiB appended, fdatasync", times: syncs) {
      guard write(descriptor, block, block.count) == block.count, fdatasync(descriptor) == 0
      else { throw LoadError("\(path): cannot be synced") }
    }
  }

  private static func sockets() throws -> [Figure] {
    let (one, other) = try pair()
    defer {
      close(one)
      close(other)
    }
    let message = [UInt8](repeating: 0x6d, count: messageBytes)
    let alone = try figure("100 B sent and received on loopback", times: roundTrips) {
      try pass(message, from: one, to: other)
    }
    let batch = [UInt8](repeating: 0x6d, count: messageBytes * batchCount)
    let together = try figure("the same, 64 in one write", times: batches) {
      try pass(batch, from: one, to: other)
    }
    let count = Double(batchCount)
    return [
      alone,
      Figure(name: together.name, wall: together.wall / count, cpu: together.cpu / count),
    ]
  }

  private static func pass(_ bytes: [UInt8], from one: Int32, to other: Int32) throws {
    guard write(one, bytes, bytes.count) == bytes.count else {
      throw LoadError("loopback cannot be written to")
    }
    var buffer = [UInt8](repeating: 0, count: bytes.count)
    var rest = bytes.count
    while rest > 0 {
      let count = read(other, &buffer, rest)
      guard count > 0 else { throw LoadError("loopback cannot be read from") }
      rest -= count
    }
  }

  /// Two ends of a connection on loopback.
  private static func pair() throws -> (Int32, Int32) {
    let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(listener) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = in_addr_t(0x7f00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let client = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    let isReady = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(listener, $0, length) == 0 && listen(listener, 1) == 0
          && getsockname(listener, $0, &length) == 0 && connect(client, $0, length) == 0
      }
    }
    let server = isReady ? accept(listener, nil, nil) : -1
    guard server >= 0 else { throw LoadError("no connection on loopback can be made") }
    var on: Int32 = 1
    for end in [client, server] {
      setsockopt(
        end, Int32(IPPROTO_TCP), Int32(TCP_NODELAY), &on, socklen_t(MemoryLayout<Int32>.size))
    }
    return (client, server)
  }

  private static func figure(
    _ name: String, times: Int, _ body: () throws -> Void
  ) throws -> Figure {
    for _ in 0..<times / 10 { try body() }
    let cpu = ProcessTimes.own()
    let began = ContinuousClock.now
    for _ in 0..<times { try body() }
    let wall = (ContinuousClock.now - began) / .microseconds(1)
    return Figure(
      name: name, wall: wall / Double(times),
      cpu: (ProcessTimes.own() - cpu) * 1e6 / Double(times))
  }
}
