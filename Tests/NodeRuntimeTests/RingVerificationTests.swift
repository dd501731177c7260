import ClusterModel
import NodeRuntime
import Primitives
import Testing

/// What several shards say of their states, put together.
@Suite struct RingVerificationTests {
  private let stores = [StoreID(1), StoreID(2), StoreID(3)]
  private let partition = PartitionID(0)

  private var record: PartitionRecord {
    var record = PartitionRecord(initialOwners: stores)
    record.epoch = Epoch(3)
    return record
  }

  private func verification(_ answers: [(Int, String)]) -> RingVerification {
    var verification = RingVerification()
    for (number, text) in answers {
      let isTaken = verification.take(text, from: stores[number - 1])
      #expect(isTaken)
    }
    return verification
  }

  @Test func `replicas that were the same after the same entry are equal`() {
    let idle = verification([
      (1, "0 leads 3 100 64=a 70=b\n"), (2, "0 follows 3 100 64=a 70=b\n"),
      (3, "0 follows 3 100 64=a 70=b\n"),
    ])
    #expect(idle.finding(partition, record) == .equal(at: LogIndex(70)))
  }

  @Test func `what was told at different times is put together`() {
    var busy = verification([
      (1, "0 leads 3 100 64=a 70=b\n"), (2, "0 follows 3 100 64=a 90=c\n"),
      (3, "0 follows 3 100 60=f\n"),
    ])
    #expect(busy.finding(partition, record) == .open, "nothing since it began")
    for (number, text) in [
      (1, "0 leads 3 100 64=a 128=d 130=e\n"), (2, "0 follows 3 100 64=a 128=d 131=0\n"),
      (3, "0 follows 3 100 128=d 140=9\n"),
    ] {
      let isTaken = busy.take(text, from: stores[number - 1])
      #expect(isTaken)
    }
    #expect(busy.finding(partition, record) == .equal(at: LogIndex(128)))
  }

  @Test func `states that differ are found, whatever else is equal`() {
    let differing = verification([
      (1, "0 leads 3 100 64=a 70=b\n"), (2, "0 follows 3 100 64=a 70=b\n"),
      (3, "0 follows 3 100 64=1 70=b\n"),
    ])
    #expect(
      differing.finding(partition, record) == .differs(at: LogIndex(64), stores[0], stores[2]))
  }

  @Test func `a partition that nobody leads, or two do, is not owned once`() {
    let nobody = verification([(1, "0 follows 3 100 9=a\n"), (2, "0 follows 3 100 9=a\n")])
    #expect(nobody.finding(partition, record) == .owned(by: []))
    let two = verification([
      (1, "0 leads 3 100 9=a\n"), (2, "0 leads 3 100 9=a\n"), (3, "0 follows 3 100 9=a\n"),
    ])
    #expect(two.finding(partition, record) == .owned(by: [stores[0], stores[1]]))
    let former = verification([
      (1, "0 leads 3 100 9=a\n"), (2, "0 leads 2 100 9=a\n"), (3, "0 follows 3 100 9=a\n"),
    ])
    #expect(former.finding(partition, record) == .equal(at: LogIndex(9)), "of an earlier epoch")
  }

  @Test func `what is no answer is refused`() {
    var verification = RingVerification()
    for text in ["x leads 3 9=a", "0 leads", "0 leads 3 100 9", "0 leads 3 100 9=zz", "hello"] {
      let isTaken = verification.take(text, from: stores[0])
      #expect(!isTaken, "\(text)")
    }
    let isTaken = verification.take("", from: stores[0])
    #expect(isTaken)
  }
}
