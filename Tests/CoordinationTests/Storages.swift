import Coordination
import Foundation
import Synchronization

/// Storage that lasts as long as the object, and can be told to fail.
final class MemoryStorage: DurableKeyValue {
  struct Failure: Error {}

  private struct State {
    var items: [[UInt8]: [UInt8]] = [:]
    var writeCount = 0
    var fails = false
  }

  private let state = Mutex(State())

  init(_ items: [(key: [UInt8], value: [UInt8])] = []) {
    state.withLock { state in
      for (key, value) in items { state.items[key] = value }
    }
  }

  var writeCount: Int { state.withLock { $0.writeCount } }
  func failFromNowOn() { state.withLock { $0.fails = true } }

  func load() throws -> [(key: [UInt8], value: [UInt8])] {
    state.withLock { state in state.items.map { (key: $0.key, value: $0.value) } }
  }

  func write(_ changes: [(key: [UInt8], value: [UInt8]?)]) throws {
    try state.withLock { state in
      guard !state.fails else { throw Failure() }
      state.writeCount += 1
      for (key, value) in changes { state.items[key] = value }
    }
  }
}

/// Storage in a file that is replaced as a whole: as durable as a real one, and as slow.
final class FileStorage: DurableKeyValue {
  private let path: String

  init(path: String) { self.path = path }

  func load() throws -> [(key: [UInt8], value: [UInt8])] {
    guard FileManager.default.fileExists(atPath: path) else { return [] }
    let text = try String(contentsOfFile: path, encoding: .utf8)
    return text.split(separator: "\n").map { line in
      let parts = line.split(separator: " ", omittingEmptySubsequences: false)
      return (key: Self.bytes(parts[0]), value: Self.bytes(parts[1]))
    }
  }

  func write(_ changes: [(key: [UInt8], value: [UInt8]?)]) throws {
    var items: [[UInt8]: [UInt8]] = [:]
    for (key, value) in try load() { items[key] = value }
    for (key, value) in changes { items[key] = value }
    let lines = items.map { "\(Self.hex($0.key)) \(Self.hex($0.value))\n" }.sorted()
    try lines.joined().write(toFile: path, atomically: true, encoding: .utf8)
  }

  private static func hex(_ bytes: [UInt8]) -> String {
    bytes.map { String(UInt16($0) + 256, radix: 16).dropFirst() }.joined()
  }

  private static func bytes(_ hex: Substring) -> [UInt8] {
    let digits = hex.utf8.map { UInt8(String(UnicodeScalar($0)), radix: 16) ?? 0 }
    return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
  }
}
