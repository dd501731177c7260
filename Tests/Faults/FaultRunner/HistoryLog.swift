import Foundation
import HistoryChecker
import Synchronization

/// Where clients write down what they have done and seen, in memory and in a file that only grows,
/// so that the history of a run that has failed can be looked at and checked again.
///
/// **Shape** of the file: one `HistoryRecord` a line, as JSON.
///
/// **Isolation**: any thread.
final class HistoryLog: Sendable {
  private struct State {
    var history = History()
    /// Places in the run's list by what the cluster calls them.
    var places: [String: Int] = [:]
    var pending: [UInt8] = []
  }

  private static let pendingBytesMax = 64 << 10

  private let state = Mutex(State())
  private let descriptor: Int32

  init(_ path: String) throws {
    descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw Failure("\(path) cannot be written") }
  }

  func add(_ record: HistoryRecord) {
    let line = (try? JSONEncoder().encode(record)) ?? Data()
    state.withLock { state in
      state.history.add(record)
      state.pending += line
      state.pending.append(UInt8(ascii: "\n"))
      if state.pending.count >= Self.pendingBytesMax { Self.write(&state.pending, descriptor) }
    }
  }

  /// The place of a conversation, which is given when it is first heard of.
  func place(of conversation: String) -> Int {
    state.withLock { state in
      if let place = state.places[conversation] { return place }
      let place = state.places.count
      state.places[conversation] = place
      return place
    }
  }

  var history: History { state.withLock { $0.history } }

  func flush() { state.withLock { Self.write(&$0.pending, descriptor) } }

  private static func write(_ bytes: inout [UInt8], _ descriptor: Int32) {
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { break }
      rest = rest.dropFirst(count)
    }
    bytes.removeAll(keepingCapacity: true)
  }

  /// Reads what a run has written.
  static func read(_ path: String) throws -> History {
    var history = History()
    let decoder = JSONDecoder()
    for line in try Data(contentsOf: URL(fileURLWithPath: path)).split(separator: 0x0a) {
      history.add(try decoder.decode(HistoryRecord.self, from: Data(line)))
    }
    return history
  }
}

/// One thing that a client has done or seen.
enum HistoryRecord: Codable, Sendable {
  case send(SendAttempt)
  case read(ReadPage)
  case listener(name: String, conversations: [Int])
  case heard(listener: Int, Listening.Step)
  case stored(conversation: Int, [Entry])
}

extension History {
  mutating func add(_ record: HistoryRecord) {
    switch record {
    case .send(let attempt): sends.append(attempt)
    case .read(let page): reads.append(page)
    case .listener(let name, let conversations):
      if let place = listeners.firstIndex(where: { $0.name == name }) {
        listeners[place].conversations.formUnion(conversations)
      } else {
        listeners.append(Listening(name: name, conversations: Set(conversations)))
      }
    case .heard(let place, let step): listeners[place].steps.append(step)
    case .stored(let conversation, let entries): finals[conversation, default: []] += entries
    }
  }
}
