import Primitives

/// Spends a `RateBudget`: a bucket that holds `burst` tokens and gains `perSecond`.
///
/// **Invariant**: `0 ≤ tokens ≤ budget.burst`; time that goes back gains nothing.
struct RateMeter {
  private let budget: RateBudget
  private var tokens: Int
  /// Up to when tokens have been gained.
  private var filledAt: Instant

  init(_ budget: RateBudget, now: Instant = .zero) {
    self.budget = budget
    tokens = budget.burst
    filledAt = now
  }

  /// **Returns**: whether the budget allowed one more.
  mutating func spend(now: Instant) -> Bool {
    fill(now)
    guard tokens > 0 else { return false }
    tokens -= 1
    return true
  }

  private mutating func fill(_ now: Instant) {
    guard budget.perSecond > 0, now > filledAt else { return }
    let nanosecondsPerToken = max(1, 1_000_000_000 / UInt64(budget.perSecond))
    let gained = (now.nanoseconds - filledAt.nanoseconds) / nanosecondsPerToken
    if gained >= UInt64(budget.burst - tokens) {
      tokens = budget.burst
      filledAt = now
    } else {
      tokens += Int(gained)
      filledAt = Instant(nanoseconds: filledAt.nanoseconds + gained * nanosecondsPerToken)
    }
  }
}
