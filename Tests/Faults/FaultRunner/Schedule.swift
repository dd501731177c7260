/// Which faults come, in which order.
///
/// The fixed mix has each kind as often as its share says; the seed decides the order. A run of so
/// many minutes draws one after the other, by the same shares, until the time is over.
struct Schedule {
  /// Kinds that may come.
  let kinds: [FaultKind]
  private var remaining: [FaultKind]
  private let isEndless: Bool
  private var chance: Chance

  /// - Parameter count: so many of the fixed mix; `nil`: all of it.
  init(kinds: [FaultKind], count: Int?, isEndless: Bool, chance: Chance) {
    self.kinds = kinds
    self.isEndless = isEndless
    self.chance = chance
    // A kind that is asked for by name comes even when it has no share.
    let mix = kinds.flatMap { Array(repeating: $0, count: max($0.share, 1)) }
    var shuffled = self.chance.shuffled(mix)
    if let count {
      while shuffled.count < count, !mix.isEmpty { shuffled += self.chance.shuffled(mix) }
      shuffled = Array(shuffled.prefix(count))
    }
    remaining = shuffled
  }

  /// `nil`: as long as there is time.
  var count: Int? { isEndless ? nil : remaining.count }

  mutating func next() -> FaultKind? {
    if isEndless, remaining.isEmpty {
      remaining = chance.shuffled(kinds.flatMap { Array(repeating: $0, count: max($0.share, 1)) })
    }
    return remaining.isEmpty ? nil : remaining.removeFirst()
  }
}
