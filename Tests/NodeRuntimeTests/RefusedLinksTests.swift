import LogSupport
import Logging
import Testing
import Transport

@testable import NodeRuntime

@Suite struct RefusedLinksTests {
  private func reasons(_ log: RecordedLog) -> [String] {
    log.events.map { "\($0.metadata?["why"] ?? "")" }
  }

  @Test func `Whoever is refused again and again is told once for each reason`() {
    let told = RecordedLog()
    let links = RefusedLinks(Logger(label: "test") { _ in told })
    for number in 0..<100 {
      links.note("10.0.0.1:\(number)", .refused(.clusterDiffers))
      links.note("10.0.0.2:\(number)", .lost("the other end refuses: unknown ca"))
    }
    #expect(
      reasons(told) == [
        "refused: \(LinkRefusal.clusterDiffers)", "lost: the other end refuses: unknown ca",
      ])
  }

  @Test func `More reasons than are remembered are told and do not grow`() {
    let told = RecordedLog()
    let links = RefusedLinks(Logger(label: "test") { _ in told })
    for number in 0..<1_000 { links.note("10.0.0.1:1", .lost("\(number)")) }
    #expect(reasons(told).count == 1_000)
    #expect(links.rememberedCount <= 64)
  }
}
