/// Lots that a seed decides.
///
/// **Source**: Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators (OOPSLA 2014),
/// SplitMix64.
struct Chance {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
    return mixed ^ (mixed >> 31)
  }

  mutating func number(_ range: ClosedRange<Int>) -> Int {
    range.lowerBound + Int(next() % UInt64(range.count))
  }

  /// - Parameter perMille: how often in a thousand.
  mutating func happens(perMille: Int) -> Bool { number(1...1_000) <= perMille }

  mutating func pick<Element>(_ elements: [Element]) -> Element {
    precondition(!elements.isEmpty, "nothing to pick from")
    return elements[number(0...(elements.count - 1))]
  }

  mutating func shuffled<Element>(_ elements: [Element]) -> [Element] {
    var result = elements
    for place in result.indices.dropFirst().reversed() {
      result.swapAt(place, number(0...place))
    }
    return result
  }

  /// Lots of their own for somebody else, who may draw at any time.
  mutating func split() -> Chance { Chance(seed: next()) }
}
