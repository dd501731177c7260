import Primitives

/// Draws everything that a walk leaves to chance.
package struct Dice {
  private var random: SeededRandom

  package init(seed: UInt64) { random = SeededRandom(seed: seed) }

  package mutating func number() -> UInt64 { random.next() }
  package mutating func below(_ bound: Int) -> Int { Int(random.next() % UInt64(bound)) }
  package mutating func between(_ range: ClosedRange<Int>) -> Int {
    range.lowerBound + below(range.upperBound - range.lowerBound + 1)
  }
  package mutating func chance(permille: Int) -> Bool { below(1_000) < permille }
  package mutating func pick<Element>(_ elements: [Element]) -> Element {
    elements[below(elements.count)]
  }
}
