import Logging
import NodeConfiguration
import Synchronization
import Testing

@Suite struct LineLogHandlerTests {
  private final class Lines: Sendable {
    private let bytes = Mutex<[UInt8]>([])
    func add(_ line: [UInt8]) { bytes.withLock { $0 += line } }
    var text: String { bytes.withLock { String(decoding: $0, as: UTF8.self) } }
  }

  private func logger(_ lines: Lines, level: Logger.Level = .info) -> Logger {
    Logger(label: "test") { _ in LineLogHandler(level: level) { lines.add($0) } }
  }

  @Test func `A line is time, level, message and sorted metadata`() throws {
    let lines = Lines()
    var logger = logger(lines)
    logger[metadataKey: "node"] = "shard1"
    logger.info("the shard serves", metadata: ["links": "127.0.0.1:1", "a": "two words"])
    let line = lines.text
    #expect(
      line.hasSuffix(" info the shard serves a=\"two words\" links=127.0.0.1:1 node=shard1\n"))
    let time = try #require(line.split(separator: " ").first)
    #expect(try /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/.wholeMatch(in: String(time)) != nil)
  }

  @Test func `No value can begin a line of its own`() {
    let lines = Lines()
    logger(lines).warning("a\nb", metadata: ["why": "x\r\ny \"z\""])
    #expect(lines.text.hasSuffix(" warning a\\u{a}b why=\"x\\u{d}\\u{a}y \\\"z\\\"\"\n"))
    #expect(lines.text.split(separator: "\n").count == 1)
  }

  @Test func `What is below the level is not written`() {
    let lines = Lines()
    logger(lines, level: .error).warning("nothing")
    #expect(lines.text.isEmpty)
  }
}
