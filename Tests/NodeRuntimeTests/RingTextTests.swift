import NodeRuntime
import Primitives
import RingControl
import Testing

/// What operators read while the ring is changed.
@Suite struct RingTextTests {
  @Test func `sizes are those of the largest replica, and of all on a store`() {
    var sizes = PartitionSizes()
    sizes.take("0 leads 3 100 9=a\n1 follows 3 50 9=a\n", from: StoreID(1))
    sizes.take("0 follows 3 120 9=a\nno line\n", from: StoreID(2))
    #expect(sizes[PartitionID(0)] == 120)
    #expect(sizes[PartitionID(1)] == 50)
    #expect(sizes[PartitionID(2)] == 0)
    #expect(sizes.total(on: StoreID(1)) == 150)
    #expect(sizes.total(on: StoreID(2)) == 120)
    #expect(sizes.total(on: StoreID(3)) == nil)
    sizes.take("", from: StoreID(1))
    #expect(sizes.total(on: StoreID(1)) == 0)
  }

  @Test func `a line says how far it is, how fast and how long, of what was done meanwhile`() {
    let now = RingProgress(done: 200, underWay: 8, total: 256)
    #expect(RingText.line(now) == "200 of 256 partitions, 8 under way")
    let first = RingProgress(done: 180, underWay: 8, total: 256)
    #expect(
      RingText.line(now, since: first, seconds: 10, bytes: 400_000_000)
        == "200 of 256 partitions, 8 under way, 4.0 MB/s, about 28 s left")
    #expect(
      RingText.line(now, since: now, seconds: 10, bytes: 400_000_000)
        == "200 of 256 partitions, 8 under way")
    #expect(
      RingText.json(now, isTurnedBack: true)
        == "{\"done\":200,\"underWay\":8,\"total\":256,\"turnedBack\":true}\n")
  }
}
