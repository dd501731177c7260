/// A worker's part of a run: its sessions and what they do.
package struct WorkerPlan: Codable, Sendable {
  /// Of all stamps of the run.
  package var runID: UInt32
  package var seats: [Seat]
  package var names: PlaceNames
  package var pace: Pace
  package var payloadBytes: Int
  package var zipf: Double
  package var reads: Double
  package var seed: UInt64
  /// A message into a conversation that does not exist counts as acknowledged.
  package var isLogOnly: Bool
  /// All workers are on one machine, so that a message's age can be told by whoever hears it.
  package var sharesClock: Bool

  /// A worker's share of the traffic's pace.
  package enum Pace: Codable, Equatable, Sendable {
    case closed(window: Int)
    case open(rate: Double, arrivals: Schedule.Arrivals)
    /// Closed loop of questions: every sender asks for pages of so many events that end before a
    /// random place, `newest` at most.
    case paging(newest: UInt64, limit: Int)
    case silent
  }

  package init(
    runID: UInt32, seats: [Seat], names: PlaceNames, pace: Pace, payloadBytes: Int, zipf: Double,
    reads: Double, seed: UInt64, isLogOnly: Bool, sharesClock: Bool
  ) {
    self.runID = runID
    self.seats = seats
    self.names = names
    self.pace = pace
    self.payloadBytes = payloadBytes
    self.zipf = zipf
    self.reads = reads
    self.seed = seed
    self.isLogOnly = isLogOnly
    self.sharesClock = sharesClock
  }
}

/// What was counted since the beginning of what is measured.
package struct Counts: Codable, Equatable, Sendable {
  package var sent = 0
  package var acknowledged = 0
  package var delivered = 0
  package var pages = 0
  /// Sent again with the same id, after a refusal that may pass or a broken connection.
  package var resent = 0
  /// Refused for good, by code.
  package var refused: [String: Int] = [:]
  package var reconnects = 0

  package init() {}

  package mutating func add(_ other: Counts) {
    sent += other.sent
    acknowledged += other.acknowledged
    delivered += other.delivered
    pages += other.pages
    resent += other.resent
    refused.merge(other.refused) { $0 + $1 }
    reconnects += other.reconnects
  }

  package var refusedCount: Int { refused.values.reduce(0, +) }
}

/// A short time of a run, for plots. **Units**: milliseconds for latencies, seconds for times.
package struct Slice: Codable, Equatable, Sendable {
  package var at: Double
  package var seconds: Double
  package var acknowledged = 0
  package var delivered = 0
  package var refused = 0
  package var p50 = 0.0
  package var p99 = 0.0
  package var max = 0.0

  package init(at: Double, seconds: Double) {
    self.at = at
    self.seconds = seconds
  }
}

/// What a worker measured.
package struct WorkerFigures: Codable, Sendable {
  /// From when a message was due to its acknowledgement.
  package var acknowledgements = Latencies()
  /// From when it was due to when somebody heard it; and to when the first, the half and the last
  /// of this worker's listeners of a conversation had.
  package var deliveries = Latencies()
  package var firsts = Latencies()
  package var medians = Latencies()
  package var lasts = Latencies()
  package var pages = Latencies()
  /// How long after its due time a message was sent: the generator's own lateness.
  package var lateness = Latencies()
  /// From a broken connection to a session that is ready again.
  package var returns = Latencies()
  /// The longest time in which a conversation had something unanswered and no acknowledgement.
  ///
  /// **Units**: milliseconds.
  package var longestPause = 0.0
  package var counts = Counts()
  package var slices: [Slice] = []
  /// Of the generator. **Units**: seconds, user and system.
  package var cpuSeconds = 0.0

  package init() {}

  package mutating func add(_ other: WorkerFigures) {
    acknowledgements.add(other.acknowledgements)
    deliveries.add(other.deliveries)
    firsts.add(other.firsts)
    medians.add(other.medians)
    lasts.add(other.lasts)
    pages.add(other.pages)
    lateness.add(other.lateness)
    returns.add(other.returns)
    longestPause = max(longestPause, other.longestPause)
    counts.add(other.counts)
    cpuSeconds += other.cpuSeconds
    slices = Self.joined(slices, other.slices)
  }

  /// Counts add up; of percentiles the worse one stands for both.
  private static func joined(_ one: [Slice], _ other: [Slice]) -> [Slice] {
    var joined = one.count >= other.count ? one : other
    for (place, slice) in (one.count >= other.count ? other : one).enumerated() {
      joined[place].acknowledged += slice.acknowledged
      joined[place].delivered += slice.delivered
      joined[place].refused += slice.refused
      joined[place].p50 = Swift.max(joined[place].p50, slice.p50)
      joined[place].p99 = Swift.max(joined[place].p99, slice.p99)
      joined[place].max = Swift.max(joined[place].max, slice.max)
    }
    return joined
  }
}

/// What of a conversation was heard by a worker's listeners, all of whom saw the same.
package struct Heard: Codable, Equatable, Sendable {
  package var tally: Tally
  package var listeners: Int

  package init(tally: Tally, listeners: Int) {
    self.tally = tally
    self.listeners = listeners
  }
}

/// What a worker found wrong.
package struct Findings: Codable, Equatable, Sendable {
  package var repeated = 0
  package var outOfPlace = 0
  package var overtaken = 0
  /// Never answered.
  package var unanswered = 0
  /// In words; the first few.
  package private(set) var words: [String] = []
  private static let wordsMax = 8

  package init() {}

  package mutating func note(_ text: String) {
    if words.count < Self.wordsMax { words.append(text) }
  }

  package mutating func add(_ other: Findings) {
    repeated += other.repeated
    outOfPlace += other.outOfPlace
    overtaken += other.overtaken
    unanswered += other.unanswered
    for text in other.words { note(text) }
  }
}

/// What a coordinator asks of a worker, one thing at a time.
package enum WorkerRequest: Codable, Sendable {
  case connect(WorkerPlan)
  case start
  /// From now on, or no longer.
  case measure(Bool)
  case progress
  /// Nothing new is sent; what is under way is waited for.
  case stop
  /// Wait until listeners have heard so much.
  case settle([Int: Tally])
  case figures
  case end
}

package enum WorkerAnswer: Codable, Sendable {
  case done
  case progress(Counts, Slice?)
  /// By conversation: what was acknowledged to this worker's senders.
  case stopped([Int: Tally])
  case settled([Int: Heard], Findings)
  case figures(WorkerFigures)
  case failed(String)
}

/// Part of a generator that sends and listens, here or in another process.
package protocol LoadWorker: Sendable {
  /// **Throws**: `LoadError` when the worker cannot be reached or cannot do it.
  func ask(_ request: WorkerRequest) async throws -> WorkerAnswer
}
