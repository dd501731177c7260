import NodeProtocol
import Primitives
import Testing
import Wire

@testable import Transport

@Suite struct LinkSendQueueTests {
  private func frames(_ queue: inout LinkSendQueue) throws -> [LinkFrame] {
    var frames: [LinkFrame] = []
    while let batch = queue.next() { frames += try LinkCodec.decode(batch) }
    return frames
  }

  @Test func urgentClassesGoFirstAndEachKeepsItsOrder() throws {
    var queue = LinkSendQueue(batchBytesMax: 200)
    for number in 1...20 as ClosedRange<UInt64> {
      queue.append(LinkEnds.delivery(number))
      queue.append(LinkEnds.request(number))
      queue.append(LinkEnds.heartbeat(number))
    }
    let expected =
      (1...20).map(LinkEnds.heartbeat) + (1...20).map { LinkEnds.request($0) }
      + (1...20).map(LinkEnds.delivery)
    #expect(try frames(&queue) == expected)
  }

  @Test func theBytesThatWaitAreThoseOfTheBatches() throws {
    var queue = LinkSendQueue(batchBytesMax: 500)
    for number in 1...50 as ClosedRange<UInt64> {
      queue.append(LinkEnds.request(number))
      queue.append(LinkEnds.delivery(number))
    }
    let waiting = queue.bytes
    #expect(waiting == queue.bytes(.request) + queue.bytes(.delivery))
    var taken = 0
    while let batch = queue.next() {
      taken += batch.count
      #expect(queue.bytes == waiting - taken)
    }
    #expect(taken == waiting)
    #expect(queue.isEmpty)
  }

  @Test func noBatchIsLongerThanItsBoundUnlessOneFrameIs() throws {
    var queue = LinkSendQueue(batchBytesMax: 300)
    queue.append(LinkEnds.request(1))
    queue.append(LinkEnds.request(2, bytes: 1_000))
    queue.append(LinkEnds.request(3))
    let batches = [queue.next(), queue.next(), queue.next()].compactMap { $0 }
    #expect(batches.map { $0.count > 300 } == [false, true, false])
    #expect(queue.next() == nil)
  }

  @Test func anUrgentFrameOvertakesWhatIsStillHere() throws {
    var queue = LinkSendQueue(batchBytesMax: 300)
    for number in 1...10 as ClosedRange<UInt64> { queue.append(LinkEnds.delivery(number)) }
    let first = try LinkCodec.decode(queue.next() ?? [])
    queue.append(LinkEnds.heartbeat(1))
    let next = try LinkCodec.decode(queue.next() ?? [])
    #expect(first.first == LinkEnds.delivery(1))
    #expect(next == [LinkEnds.heartbeat(1)])
  }
}
