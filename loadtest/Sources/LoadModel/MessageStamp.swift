/// What the beginning of a message's text says: who sent it, as which, and when it was due. So
/// whoever gets it can tell that it is one of this run, whether it came before, and how late it is.
///
/// **Shape**: hexadecimal digits, then the filler `.` up to the wanted length.
/// ```
///  0        8        14       20           30               44
///  ┌────────┬────────┬────────┬────────────┬────────────────┬───
///  │ run    │ sender │ place  │ number     │ due            │ …
///  └────────┴────────┴────────┴────────────┴────────────────┴───
/// ```
/// `place` is the conversation's number in the run; `number` counts a sender's messages in it from
/// 1; `due` is on the monotonic clock of the sender's machine.
/// **Units**: `due` in microseconds.
package struct MessageStamp: Equatable, Sendable {
  package static let byteCount = 44

  package let run: UInt32
  package let sender: UInt32
  package let place: UInt32
  package let number: UInt64
  package let due: UInt64

  package init(run: UInt32, sender: UInt32, place: UInt32, number: UInt64, due: UInt64) {
    self.run = run
    self.sender = sender
    self.place = place
    self.number = number
    self.due = due
  }

  /// - Parameter length: of the text, at least `byteCount`.
  package func append(to bytes: inout [UInt8], length: Int) {
    Self.append(UInt64(run), digits: 8, to: &bytes)
    Self.append(UInt64(sender), digits: 6, to: &bytes)
    Self.append(UInt64(place), digits: 6, to: &bytes)
    Self.append(number, digits: 10, to: &bytes)
    Self.append(due, digits: 14, to: &bytes)
    for _ in Self.byteCount..<length { bytes.append(0x2e) }
  }

  private static func append(_ value: UInt64, digits: Int, to bytes: inout [UInt8]) {
    for place in stride(from: (digits - 1) * 4, through: 0, by: -4) {
      let digit = UInt8(truncatingIfNeeded: value >> UInt64(place)) & 0x0f
      bytes.append(digit < 10 ? 0x30 + digit : 0x57 + digit)
    }
  }

  /// `nil` for a text that does not begin with a stamp.
  package init?(_ text: UnsafeRawBufferPointer) {
    guard text.count >= Self.byteCount else { return nil }
    var place = 0
    func read(_ digits: Int) -> UInt64? {
      var value: UInt64 = 0
      for index in place..<place + digits {
        let byte = text[index]
        let digit: UInt8
        switch byte {
        case 0x30...0x39: digit = byte - 0x30
        case 0x61...0x66: digit = byte - 0x57
        default: return nil
        }
        value = value << 4 | UInt64(digit)
      }
      place += digits
      return value
    }
    guard let run = read(8), let sender = read(6), let conversation = read(6),
      let number = read(10), let due = read(14)
    else { return nil }
    self.init(
      run: UInt32(run), sender: UInt32(sender), place: UInt32(conversation), number: number,
      due: due)
  }
}
