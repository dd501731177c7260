import Foundation

/// When the messages of an open loop are due: at times that do not depend on the answers, so that a
/// system that stalls is charged for everybody who waits meanwhile.
///
/// **Source**: Schroeder, Wierman and Harchol-Balter, "Open versus closed: a cautionary tale",
/// NSDI 2006.
package struct Schedule: Sendable {
  package enum Arrivals: String, Codable, Sendable, CaseIterable {
    /// At equal distances.
    case even
    /// Independent of each other: distances are distributed exponentially.
    case poisson
  }

  private let interval: Double
  private let arrivals: Arrivals
  private var random: SplitMix64
  private var exact: Double
  /// When the next message is due, from the schedule's beginning. **Units**: nanoseconds.
  package private(set) var next: Int64

  /// - Parameter rate: messages per second, more than 0.
  package init(rate: Double, arrivals: Arrivals, seed: UInt64) {
    precondition(rate > 0, "a schedule has a rate")
    interval = 1e9 / rate
    self.arrivals = arrivals
    random = SplitMix64(seed: seed)
    exact = 0
    next = 0
    advance()
  }

  package mutating func advance() {
    switch arrivals {
    case .even: exact += interval
    case .poisson: exact -= interval * log(random.fraction)
    }
    next = Int64(exact)
  }
}

/// Draws conversations as people use them: the k-th most popular with a weight of 1/k^s.
///
/// **Source**: the rejection-free method of a cumulative table; Knuth, TAOCP 2, section 3.4.1.
package struct ZipfDraw: Sendable {
  private var cumulated: [Double] = []

  /// - Parameter exponent: 0 is uniform.
  package init(count: Int, exponent: Double) {
    precondition(count > 0, "something can be drawn")
    var sum = 0.0
    for place in 1...count {
      sum += 1 / pow(Double(place), exponent)
      cumulated.append(sum)
    }
  }

  /// **Returns**: 0 for the most popular.
  package func draw(_ random: inout SplitMix64) -> Int {
    let wanted = random.fraction * (cumulated.last ?? 0)
    var (low, high) = (0, cumulated.count - 1)
    while low < high {
      let middle = (low + high) / 2
      if cumulated[middle] < wanted { low = middle + 1 } else { high = middle }
    }
    return low
  }
}
