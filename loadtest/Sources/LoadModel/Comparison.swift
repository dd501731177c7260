/// The median of some measurements with the least and the greatest.
package struct Spread: Codable, Equatable, Sendable {
  package let median: Double
  package let least: Double
  package let greatest: Double

  /// `nil` when there are none.
  package init?(_ values: [Double]) {
    let sorted = values.filter(\.isFinite).sorted()
    guard let first = sorted.first, let last = sorted.last else { return nil }
    let middle = sorted.count / 2
    median =
      sorted.count.isMultiple(of: 2) ? (sorted[middle - 1] + sorted[middle]) / 2 : sorted[middle]
    least = first
    greatest = last
  }
}

/// A figure that two systems can be compared by.
package enum Measure: String, CaseIterable, Sendable {
  case rate = "acknowledged/s"
  case heard = "heard/s"
  case p50 = "p50 ms"
  case p99 = "p99 ms"
  case cpu = "CPU µs"

  /// `nil` where a result has no such figure.
  package func value(_ result: RunResult) -> Double? {
    switch self {
    case .rate: result.counts.acknowledged > 0 ? result.acknowledgedPerSecond : nil
    case .heard: result.counts.delivered > 0 ? result.deliveredPerSecond : nil
    case .p50: latency(result)?.p50
    case .p99: latency(result)?.p99
    case .cpu: result.cpuMicrosecondsPerMessage
    }
  }

  private func latency(_ result: RunResult) -> LatencySummary? {
    let latencies =
      result.counts.delivered > 0 && result.deliveries.count > 0
      ? result.deliveries : result.acknowledgements
    return latencies.count > 0 ? latencies : nil
  }
}

/// Systems that were measured in turn: what each reached, and the ratios within each round, which
/// say more on a machine that others use, too.
package struct Comparison: Sendable {
  package struct Row: Equatable, Sendable {
    package let run: String
    package let target: String
    package let durability: String
    package let values: [Measure: Spread]
    /// Of the first system to this one, in the same round; none for itself.
    package let ratios: [Measure: Spread]
  }

  package let rows: [Row]

  /// - Parameter first: the system that others are compared with.
  package init(_ results: [RunResult], first: String) {
    var keys: [(run: String, target: String)] = []
    for result in results
    where !keys.contains(where: { $0.run == result.run.name && $0.target == result.target }) {
      keys.append((result.run.name, result.target))
    }
    rows = keys.map { key in
      let own = results.filter { $0.run.name == key.run && $0.target == key.target }
      let others = results.filter { $0.run.name == key.run && $0.target == first }
      var values: [Measure: Spread] = [:]
      var ratios: [Measure: Spread] = [:]
      for measure in Measure.allCases {
        values[measure] = Spread(own.compactMap { measure.value($0) })
        guard key.target != first else { continue }
        ratios[measure] = Spread(
          own.compactMap { result in
            guard let other = others.first(where: { $0.round == result.round }),
              let one = measure.value(other), let value = measure.value(result), value > 0
            else { return nil }
            return one / value
          })
      }
      return Row(
        run: key.run, target: key.target, durability: own.first?.durability ?? "",
        values: values, ratios: ratios)
    }
  }
}
