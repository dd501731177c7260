import LoadModel
import Testing

@Suite struct LedgerTests {
  private func stamp(_ number: UInt64, from sender: UInt32 = 1) -> MessageStamp {
    MessageStamp(run: 7, sender: sender, place: 3, number: number, due: 99)
  }

  private func hear(
    _ ledger: inout ReceivedLedger, _ number: UInt64, at sequence: UInt64, from sender: UInt32 = 1,
    isResumed: Bool = false, isOrdered: Bool = true
  ) -> ReceivedLedger.Finding {
    ledger.message(
      stamp(number, from: sender), sequence: sequence, isResumed: isResumed, isOrdered: isOrdered)
  }

  @Test func `what comes once, dense and in its sender's order is right`() {
    var ledger = ReceivedLedger()
    #expect(ledger.other(sequence: 1) == .right)
    #expect(hear(&ledger, 1, at: 2) == .right)
    #expect(hear(&ledger, 1, at: 3, from: 2) == .right)
    #expect(hear(&ledger, 2, at: 4) == .right)
    #expect(ledger.tally.count == 3 && ledger.sequence == 4)
  }

  @Test func `what comes twice is found, also at another place`() {
    var ledger = ReceivedLedger()
    _ = hear(&ledger, 1, at: 1)
    #expect(hear(&ledger, 1, at: 2) == .repeated)
    #expect(hear(&ledger, 2, at: 2) == .outOfPlace(2, after: 2))
  }

  @Test func `a place that is missing, or comes late, is found`() {
    var ledger = ReceivedLedger()
    _ = hear(&ledger, 1, at: 5)
    #expect(hear(&ledger, 2, at: 7) == .outOfPlace(7, after: 5))
    #expect(hear(&ledger, 3, at: 6) == .outOfPlace(6, after: 7))
  }

  @Test func `after a broken connection what was seen may come again`() {
    var ledger = ReceivedLedger()
    for number in 1...3 as ClosedRange<UInt64> { _ = hear(&ledger, number, at: number) }
    #expect(hear(&ledger, 3, at: 3, isResumed: true) == .seenBefore)
    #expect(hear(&ledger, 4, at: 4, isResumed: true) == .right)
    #expect(ledger.tally.count == 4)
    #expect(hear(&ledger, 6, at: 6, isResumed: true) == .outOfPlace(6, after: 4))
  }

  @Test func `one that is overtaken is found, unless something was sent again`() {
    var ledger = ReceivedLedger()
    #expect(hear(&ledger, 2, at: 1) == .overtaken)
    var other = ReceivedLedger()
    #expect(hear(&other, 2, at: 1, isOrdered: false) == .right)
    #expect(hear(&other, 1, at: 2, isOrdered: false) == .right)
    #expect(hear(&other, 2, at: 3, isOrdered: false) == .repeated)
  }

  @Test func `tallies are equal when the same messages stand at the same places`() {
    var one = Tally()
    var other = Tally()
    for number in 1...100 as ClosedRange<UInt64> {
      one.add(sender: 1, number: number, sequence: number + 5)
    }
    for number in (1...100 as ClosedRange<UInt64>).reversed() {
      other.add(sender: 1, number: number, sequence: number + 5)
    }
    #expect(one == other)
    var moved = Tally()
    for number in 1...100 as ClosedRange<UInt64> {
      moved.add(
        sender: 1, number: number, sequence: number == 50 ? 56 : number == 51 ? 55 : number + 5)
    }
    #expect(moved != one, "two messages have changed their places")
    var twice = one
    twice.add(sender: 1, number: 1, sequence: 6)
    #expect(twice != one)
  }

  @Test func `a stamp is read as it was written, and nothing else is one`() {
    let stamp = MessageStamp(
      run: .max, sender: 0xfffffe, place: 0x12345, number: 0x12_3456_789a,
      due: 0x12_3456_789a_bcde)
    var text: [UInt8] = []
    stamp.append(to: &text, length: 100)
    #expect(text.count == 100)
    #expect(text.withUnsafeBytes { MessageStamp($0) } == stamp)
    for count in 0..<MessageStamp.byteCount {
      #expect(text[..<count].withUnsafeBytes { MessageStamp($0) } == nil)
    }
    text[20] = UInt8(ascii: "G")
    #expect(text.withUnsafeBytes { MessageStamp($0) } == nil)
  }
}
