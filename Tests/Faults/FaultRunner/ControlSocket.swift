import Foundation
import HistoryChecker

/// Speaks to a fault disk or a slow link: one line there, one line back.
///
/// **Isolation**: the runner's first thread.
struct ControlSocket {
  private static let lineBytesMax = 64 << 10

  let path: String

  /// **Returns**: the answer.
  /// **Throws**: `Failure` when it is an error.
  @discardableResult func ask(_ line: String) throws -> String {
    let descriptor = socket(
      AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { throw Failure("no socket") }
    defer { close(descriptor) }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let bytes = Array(path.utf8)
    let isShort = withUnsafeMutableBytes(of: &address.sun_path) { room in
      guard bytes.count < room.count else { return false }
      room.copyBytes(from: bytes)
      return true
    }
    guard isShort else { throw Failure("\(path) is too long for a socket") }
    let code = withUnsafeBytes(of: &address) { raw in
      connect(
        descriptor, raw.baseAddress?.assumingMemoryBound(to: sockaddr.self), socklen_t(raw.count))
    }
    guard code == 0 else { throw Failure("\(path): \(String(cString: strerror(errno)))") }
    let question = Array("\(line)\n".utf8)
    guard write(descriptor, question, question.count) == question.count else {
      throw Failure("\(path) does not take '\(line)'")
    }
    var answer: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4_096)
    while !answer.contains(UInt8(ascii: "\n")), answer.count < Self.lineBytesMax {
      let count = read(descriptor, &buffer, buffer.count)
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { break }
      answer += buffer[..<count]
    }
    let text = String(decoding: answer, as: UTF8.self).trimmingCharacters(in: .newlines)
    guard !text.isEmpty, !text.hasPrefix("error") else { throw Failure("'\(line)': \(text)") }
    return text
  }

  /// Waits until somebody listens there.
  func waitUntilReady(_ limit: Moment) throws {
    guard try Pace.wait(limit, until: { (try? ask("stat")) != nil }) else {
      throw Failure("nobody listens at \(path)")
    }
  }
}
