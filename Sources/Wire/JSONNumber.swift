/// Whole numbers as protobuf's JSON mapping allows them.
enum JSONNumber {
  static func isDigit(_ byte: UInt8) -> Bool { byte &- UInt8(ascii: "0") < 10 }

  /// Reads `12`, and `1.2e1` and the like as long as they are whole.
  ///
  /// **Returns**: `nil` for anything else: a sign, a leading zero, a fraction, 2^64 or more.
  static func uint64(_ text: ArraySlice<UInt8>) -> UInt64? {
    var rest = text
    let whole = rest.prefix { isDigit($0) }
    rest = rest.dropFirst(whole.count)
    guard !whole.isEmpty, whole.count == 1 || whole.first != UInt8(ascii: "0") else { return nil }
    if rest.isEmpty { return value(of: whole) }
    var fraction: ArraySlice<UInt8> = []
    if rest.first == UInt8(ascii: ".") {
      fraction = rest.dropFirst().prefix { isDigit($0) }
      guard !fraction.isEmpty else { return nil }
      rest = rest.dropFirst(1 + fraction.count)
    }
    var exponent = 0
    if let mark = rest.first, mark | 0x20 == UInt8(ascii: "e") {
      rest = rest.dropFirst()
      let sign = rest.first.map { $0 == UInt8(ascii: "-") ? -1 : 1 } ?? 1
      if rest.first == UInt8(ascii: "+") || sign < 0 { rest = rest.dropFirst() }
      // A number with a longer exponent is not whole, or too large, or zero written to annoy.
      guard (1...4).contains(rest.count), rest.allSatisfy(isDigit) else { return nil }
      exponent = sign * rest.reduce(0) { $0 * 10 + Int($1 - UInt8(ascii: "0")) }
      rest = []
    }
    guard rest.isEmpty else { return nil }
    return scaled(whole + fraction, exponent: exponent - fraction.count)
  }

  private static func value(of digits: ArraySlice<UInt8>) -> UInt64? {
    var value: UInt64 = 0
    for digit in digits {
      let (tenfold, overflow) = value.multipliedReportingOverflow(by: 10)
      let (sum, carry) = tenfold.addingReportingOverflow(UInt64(digit - UInt8(ascii: "0")))
      guard !overflow, !carry else { return nil }
      value = sum
    }
    return value
  }

  private static func scaled(_ digits: ArraySlice<UInt8>, exponent: Int) -> UInt64? {
    var digits = digits.drop { $0 == UInt8(ascii: "0") }
    guard !digits.isEmpty else { return 0 }
    var exponent = exponent
    while exponent < 0 {
      guard digits.last == UInt8(ascii: "0") else { return nil }
      digits = digits.dropLast()
      exponent += 1
    }
    // 2^64 has 20 digits.
    guard digits.count + exponent <= 20 else { return nil }
    return value(of: digits + [UInt8](repeating: UInt8(ascii: "0"), count: exponent))
  }
}
