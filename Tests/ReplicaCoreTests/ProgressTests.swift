import Primitives
@testable import ReplicaCore
import Testing

@Suite struct ProgressTests {
  private let now = Instant(nanoseconds: 1)

  private func streaming() -> Progress {
    var progress = Progress(replica: Names.b, next: LogIndex(5))
    progress.acknowledged(LogIndex(4), base: .zero, now: now)
    return progress
  }

  @Test func `an answer that matches turns probing into streaming`() {
    var progress = Progress(replica: Names.b, next: LogIndex(5))
    progress.sent(through: LogIndex(8), bytes: 90, count: 4, now: now)
    progress.acknowledged(LogIndex(6), base: .zero, now: now)
    #expect(progress.mode == .streaming)
    #expect(progress.next == LogIndex(7))
    #expect(progress.match == LogIndex(6))
  }

  @Test func `less than what precedes the probe is no answer to it`() {
    var progress = Progress(replica: Names.b, next: LogIndex(5))
    progress.sent(through: LogIndex(8), bytes: 90, count: 4, now: now)
    progress.acknowledged(LogIndex(3), base: .zero, now: now)
    #expect(progress.mode == .probing && progress.next == LogIndex(9))
    #expect(progress.owedSince == now && progress.match == LogIndex(3))
    progress.acknowledged(LogIndex(4), base: .zero, now: now)
    #expect(progress.mode == .streaming && progress.next == LogIndex(5))
  }

  @Test func `a snapshot ends with an answer that the log reaches back to, or that it explains`() {
    for (answer, base, ends) in [(20, 30, true), (30, 30, true), (19, 30, false), (19, 19, true)] {
      var progress = Progress(replica: Names.b, next: LogIndex(31))
      progress.mode = .installing
      progress.transfer = SnapshotTransfer(
        number: 1, last: ReplicaFixture.id(1, 20), heardAt: now, offeredAt: now)
      progress.acknowledged(LogIndex(UInt64(answer)), base: LogIndex(UInt64(base)), now: now)
      #expect((progress.transfer == nil) == ends, "\(answer) of a log from \(base)")
      #expect((progress.mode == .streaming) == ends)
    }
  }

  @Test func `what is under way counts until it is acknowledged`() {
    var progress = streaming()
    progress.sent(through: LogIndex(6), bytes: 60, count: 2, now: now)
    progress.sent(through: LogIndex(7), bytes: 30, count: 1, now: now)
    #expect(progress.inFlightBytes == 90)
    #expect(progress.inFlightEntries == 3)
    progress.acknowledged(LogIndex(6), base: .zero, now: now)
    #expect(progress.inFlightBytes == 30)
    #expect(progress.owedSince == now)
    progress.acknowledged(LogIndex(7), base: .zero, now: now)
    #expect(progress.inFlight.isEmpty)
    #expect(progress.owedSince == nil)
  }

  @Test func `a match never goes back`() {
    var progress = streaming()
    progress.acknowledged(LogIndex(2), base: .zero, now: now)
    #expect(progress.match == LogIndex(4))
    #expect(progress.next == LogIndex(5))
    progress.probe(from: LogIndex(1))
    #expect(progress.next == LogIndex(5))
  }

  @Test func `probing forgets what was under way`() {
    var progress = streaming()
    progress.sent(through: LogIndex(9), bytes: 60, count: 5, now: now)
    progress.isLoading = true
    progress.probe(from: LogIndex(7))
    #expect(progress.mode == .probing)
    #expect(progress.next == LogIndex(7))
    #expect(progress.inFlightBytes == 0)
    #expect(progress.inFlightEntries == 0)
    #expect(progress.owedSince == nil)
    #expect(!progress.isLoading)
  }

  @Test func `an acknowledgement ends the suspicion that entries were lost`() {
    var progress = streaming()
    progress.isFenced = true
    progress.acknowledged(LogIndex(4), base: .zero, now: now)
    #expect(!progress.isFenced)
  }
}
