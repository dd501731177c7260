import Logging
import Synchronization
import Testing
import Transport

@testable import NodeRuntime

@Suite struct RefusedLinksTests {
  /// Keeps the reasons that were told.
  private final class Reasons: LogHandler {
    private let reasons = Mutex<[String]>([])

    var all: [String] { reasons.withLock { $0 } }

    var logLevel: Logger.Level {
      get { .info }
      set {}
    }
    var metadata: Logger.Metadata {
      get { [:] }
      set {}
    }
    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
      get { nil }
      set {}
    }

    func log(event: LogEvent) {
      reasons.withLock { $0.append("\(event.metadata?["why"] ?? "")") }
    }
  }

  @Test func `Whoever is refused again and again is told once for each reason`() {
    let told = Reasons()
    let links = RefusedLinks(Logger(label: "test") { _ in told })
    for number in 0..<100 {
      links.note("10.0.0.1:\(number)", .refused(.clusterDiffers))
      links.note("10.0.0.2:\(number)", .lost("the other end refuses: unknown ca"))
    }
    #expect(
      told.all == [
        "refused: \(LinkRefusal.clusterDiffers)", "lost: the other end refuses: unknown ca",
      ])
  }

  @Test func `More reasons than are remembered are told and do not grow`() {
    let told = Reasons()
    let links = RefusedLinks(Logger(label: "test") { _ in told })
    for number in 0..<1_000 { links.note("10.0.0.1:1", .lost("\(number)")) }
    #expect(told.all.count == 1_000)
    #expect(links.rememberedCount <= 64)
  }
}
