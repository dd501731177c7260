/// What a server process used in a run.
package struct ServerUse: Codable, Equatable, Sendable {
  package var name: String
  /// User and system. **Units**: seconds.
  package var cpuSeconds: Double
  /// **Units**: KiB, before and at the end.
  package var residentKiBBefore: Double
  package var residentKiB: Double
  package var writeCalls: Double

  package init(
    name: String, cpuSeconds: Double, residentKiBBefore: Double, residentKiB: Double,
    writeCalls: Double
  ) {
    self.name = name
    self.cpuSeconds = cpuSeconds
    self.residentKiBBefore = residentKiBBefore
    self.residentKiB = residentKiB
    self.writeCalls = writeCalls
  }
}

/// An action that was taken, for plots. **Units**: seconds from the beginning.
package struct TakenAction: Codable, Equatable, Sendable {
  package var at: Double
  package var ended: Double
  package var words: String

  package init(at: Double, ended: Double, words: String) {
    self.at = at
    self.ended = ended
    self.words = words
  }
}

/// What a system under test used and counted over time. **Units**: seconds; CPU in parts of a core;
/// memory in KiB; fsyncs in calls since the sample before.
package struct ServerSample: Codable, Equatable, Sendable {
  package var at: Double
  package var cpu: Double
  package var residentKiB: Double
  package var fsyncs: Double

  package init(at: Double, cpu: Double, residentKiB: Double, fsyncs: Double) {
    self.at = at
    self.cpu = cpu
    self.residentKiB = residentKiB
    self.fsyncs = fsyncs
  }
}

/// What came of one run.
package struct RunResult: Codable, Sendable {
  package var scenario: String
  package var run: Run
  package var target: String
  package var durability: String
  /// Of a comparison, from 1; 0 outside of one.
  package var round = 0
  /// Of what is measured. **Units**: seconds.
  package var seconds: Double
  package var counts: Counts
  /// **Units**: milliseconds.
  package var acknowledgements: LatencySummary
  package var deliveries: LatencySummary
  package var firsts: LatencySummary
  package var medians: LatencySummary
  package var lasts: LatencySummary
  package var pages: LatencySummary
  package var lateness: LatencySummary
  package var returns: LatencySummary
  package var longestPause: Double
  package var curve: [CurvePoint]
  package var slices: [Slice]
  package var samples: [ServerSample]
  package var servers: [ServerUse]
  package var actions: [TakenAction]
  /// Of all shards; `nil` when they were not asked.
  package var fsyncs: Double?
  package var shardCount: Int
  /// The generator's. **Units**: seconds.
  package var generatorCPUSeconds: Double
  /// Messages that were read back or heard, of those that were acknowledged.
  package var checked: UInt64
  /// What a session got until it knew everything again. **Units**: bytes.
  package var receivedBytesPerReturn: Double?
  package var findings: [String]

  package init(scenario: String, run: Run, target: String, durability: String) {
    self.scenario = scenario
    self.run = run
    self.target = target
    self.durability = durability
    let none = Latencies().summary
    seconds = 0
    counts = Counts()
    acknowledgements = none
    deliveries = none
    firsts = none
    medians = none
    lasts = none
    pages = none
    lateness = none
    returns = none
    longestPause = 0
    curve = []
    slices = []
    samples = []
    servers = []
    actions = []
    fsyncs = nil
    shardCount = 0
    generatorCPUSeconds = 0
    checked = 0
    findings = []
  }

  package mutating func take(_ figures: WorkerFigures) {
    counts = figures.counts
    acknowledgements = figures.acknowledgements.summary
    deliveries = figures.deliveries.summary
    firsts = figures.firsts.summary
    medians = figures.medians.summary
    lasts = figures.lasts.summary
    pages = figures.pages.summary
    lateness = figures.lateness.summary
    returns = figures.returns.summary
    longestPause = figures.longestPause
    // The kind of latency that the run is about.
    curve =
      [figures.acknowledgements, figures.deliveries, figures.pages]
      .max { $0.count < $1.count }?.curve ?? []
    slices = figures.slices
    generatorCPUSeconds = figures.cpuSeconds
  }

  package var acknowledgedPerSecond: Double {
    seconds > 0 ? Double(counts.acknowledged) / seconds : 0
  }

  package var deliveredPerSecond: Double {
    seconds > 0 ? Double(counts.delivered) / seconds : 0
  }

  package var pagesPerSecond: Double { seconds > 0 ? Double(counts.pages) / seconds : 0 }

  /// Servers only, user and system. **Units**: microseconds; `nil` when it is not known.
  package var cpuMicrosecondsPerMessage: Double? {
    guard !servers.isEmpty, counts.acknowledged > 0 else { return nil }
    return servers.reduce(0) { $0 + $1.cpuSeconds } * 1e6 / Double(counts.acknowledged)
  }

  package var fsyncsPerThousandAndShard: Double? {
    guard let fsyncs, shardCount > 0, counts.acknowledged > 0 else { return nil }
    return fsyncs * 1_000 / Double(counts.acknowledged) / Double(shardCount)
  }

  /// The gateways alone. **Units**: microseconds.
  package var gatewayMicrosecondsPerDelivery: Double? {
    let gateways = servers.filter { $0.name.hasPrefix("gateway") }
    guard !gateways.isEmpty, counts.delivered > 0 else { return nil }
    return gateways.reduce(0) { $0 + $1.cpuSeconds } * 1e6 / Double(counts.delivered)
  }
}

/// All results of a scenario at one or more systems, as a report stores them.
package struct Report: Codable, Sendable {
  /// Of this shape of the file.
  package var version = 1
  package var title: String
  /// ISO 8601.
  package var time: String
  package var machine: String
  package var results: [RunResult]

  package init(title: String, time: String, machine: String, results: [RunResult]) {
    self.title = title
    self.time = time
    self.machine = machine
    self.results = results
  }
}
