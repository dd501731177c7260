/// Why a command was not carried out; its reason becomes the answer `error: REASON`.
package struct CommandRefusal: Error, Equatable {
  package let reason: String

  package init(_ reason: String) { self.reason = reason }
}

/// One line that came over a control socket: words between spaces, the first of them its name.
package struct Command: Equatable, Sendable {
  package let name: String
  package let arguments: [String]

  package init(line: String) {
    let words = line.split(whereSeparator: \.isWhitespace).map(String.init)
    name = words.first ?? ""
    arguments = Array(words.dropFirst())
  }

  /// **Throws**: unless there are exactly `count` arguments.
  package func expect(_ count: Int) throws(CommandRefusal) {
    guard arguments.count == count else {
      throw CommandRefusal("\(name) takes \(count) arguments, not \(arguments.count)")
    }
  }

  /// **Throws**: unless the argument at `index` is a decimal number within `range`.
  package func number(_ index: Int, in range: ClosedRange<Int>) throws(CommandRefusal) -> Int {
    guard let number = Int(arguments[index]), range.contains(number) else {
      throw CommandRefusal(
        "'\(arguments[index])' is no number from \(range.lowerBound) to \(range.upperBound)")
    }
    return number
  }

  /// **Throws**: unless the argument at `index` is a decimal number of 64 bits without a sign.
  package func seed(_ index: Int) throws(CommandRefusal) -> UInt64 {
    guard let seed = UInt64(arguments[index]) else {
      throw CommandRefusal("'\(arguments[index])' is no seed")
    }
    return seed
  }

  /// **Throws**: unless the only argument is `on` or `off`.
  package func isOn() throws(CommandRefusal) -> Bool {
    try expect(1)
    switch arguments[0] {
    case "on": return true
    case "off": return false
    default: throw CommandRefusal("'\(arguments[0])' is neither on nor off")
    }
  }
}
