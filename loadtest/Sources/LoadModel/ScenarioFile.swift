import Yams

/// Reads scenarios.
///
/// ```yaml
/// name: W1 durable send
/// about: What one can send, each message on three disks before it is answered.
/// runs:
///   - name: 64 × 1
///     traffic: {sessions: 64, conversations: 64, senders: 64, users: 16, window: 1}
///     seconds: 10
/// ```
/// A key that is not known, or a value out of range, is an error with its line: a scenario that
/// measures something else than it says is worse than none.
package enum ScenarioFile {
  /// **Throws**: `LoadError`.
  package static func read(_ text: String, named file: String) throws(LoadError) -> Scenario {
    let root: Node?
    do { root = try Yams.compose(yaml: text) } catch {
      throw LoadError("\(file): \(String(describing: error).split(separator: "\n").first ?? "")")
    }
    guard let root else { throw LoadError("\(file): it is empty") }
    var fields = try Fields(root, file, "the scenario")
    let name = try fields.required("name")
    let about = try fields.text("about") ?? ""
    guard let nodes = try fields.list("runs"), !nodes.isEmpty else {
      return try fields.missing("runs")
    }
    try fields.end()
    var runs: [Run] = []
    for node in nodes {
      let run = try run(node, file)
      guard !runs.contains(where: { $0.name == run.name }) else {
        throw LoadError("\(file): two runs are called '\(run.name)'")
      }
      runs.append(run)
    }
    return Scenario(name: name, about: about, runs: runs)
  }

  private static func run(_ node: Node, _ file: String) throws(LoadError) -> Run {
    var fields = try Fields(node, file, "a run")
    let name = try fields.required("name")
    var workloads: [Workload] = []
    if let node = fields.node("traffic") { workloads.append(.traffic(try traffic(node, file))) }
    if let node = fields.node("paging") { workloads.append(.paging(try paging(node, file))) }
    if let node = fields.node("syncing") { workloads.append(.syncing(try syncing(node, file))) }
    if let isQuiet = try fields.flag("quiet"), isQuiet { workloads.append(.quiet) }
    guard let workload = workloads.first, workloads.count == 1 else {
      throw fields.error("say one of traffic, paging, syncing and quiet")
    }
    var run = Run(name: name, workload: workload)
    run.payloadBytes =
      try fields.whole("bytes", in: Limits.payloadBytes) ?? run.payloadBytes
    run.warmupSeconds = try fields.number("warmup", in: Limits.warmup) ?? run.warmupSeconds
    run.seconds = try fields.number("seconds", in: Limits.seconds) ?? run.seconds
    run.seed = UInt64(try fields.whole("seed", in: 0...Int.max) ?? Int(run.seed))
    for node in try fields.list("actions") ?? [] {
      run.actions.append(try action(node, file, seconds: run.seconds))
    }
    try fields.end()
    return run
  }

  private static func traffic(_ node: Node, _ file: String) throws(LoadError) -> Traffic {
    var fields = try Fields(node, file, "traffic")
    var traffic = Traffic()
    traffic.sessions = try fields.whole("sessions", in: Limits.sessions) ?? traffic.sessions
    traffic.conversations =
      try fields.whole("conversations", in: Limits.conversations) ?? traffic.sessions
    traffic.members = try fields.whole("members", in: Limits.members) ?? 1
    traffic.senders = try fields.whole("senders", in: 0...traffic.sessions) ?? traffic.sessions
    traffic.users = try fields.whole("users", in: 0...Limits.sessions.upperBound) ?? 0
    if let text = try fields.text("listening") {
      traffic.listening = try fields.choice("listening", text)
    }
    traffic.zipf = try fields.number("zipf", in: 0...4) ?? 0
    traffic.reads = try fields.number("reads", in: 0...1) ?? 0
    traffic.isTLS = try fields.flag("tls") ?? false
    traffic.isLogOnly = try fields.flag("log-only") ?? false
    traffic.pace = try pace(&fields)
    guard traffic.members <= traffic.sessions else {
      throw fields.error("members \(traffic.members): there are \(traffic.sessions) sessions")
    }
    guard traffic.senders == 0 || traffic.conversations > 0 else {
      throw fields.error("senders need conversations")
    }
    try fields.end()
    return traffic
  }

  private static func pace(_ fields: inout Fields) throws(LoadError) -> Traffic.Pace {
    let window = try fields.whole("window", in: Limits.window)
    let rate = try fields.number("rate", in: Limits.rate)
    let part = try fields.number("of-ceiling", in: 0.01...1)
    var arrivals = Schedule.Arrivals.poisson
    if let text = try fields.text("arrivals") { arrivals = try fields.choice("arrivals", text) }
    switch (window, rate, part) {
    case (let window?, nil, nil): return .closed(window: window)
    case (nil, let rate?, nil): return .open(rate: rate, arrivals: arrivals)
    case (nil, nil, let part?): return .ofCeiling(part: part, arrivals: arrivals)
    case (nil, nil, nil): return .closed(window: 1)
    default: throw fields.error("say one of window, rate and of-ceiling")
    }
  }

  private static func paging(_ node: Node, _ file: String) throws(LoadError) -> Paging {
    var fields = try Fields(node, file, "paging")
    var paging = Paging()
    paging.messages = try fields.whole("messages", in: 200...10_000_000) ?? paging.messages
    paging.connections = try fields.whole("connections", in: 1...1_000) ?? paging.connections
    paging.page = try fields.whole("page", in: 1...200) ?? paging.page
    try fields.end()
    return paging
  }

  private static func syncing(_ node: Node, _ file: String) throws(LoadError) -> Syncing {
    var fields = try Fields(node, file, "syncing")
    var syncing = Syncing()
    syncing.conversations = try fields.whole("conversations", in: 1...20_000) ?? 2_000
    syncing.changed = try fields.whole("changed", in: 0...syncing.conversations) ?? 50
    syncing.times = try fields.whole("times", in: 1...10_000) ?? syncing.times
    try fields.end()
    return syncing
  }

  private static func action(
    _ node: Node, _ file: String, seconds: Double
  ) throws(LoadError) -> TimedAction {
    var fields = try Fields(node, file, "an action")
    guard let at = try fields.number("at", in: 0...seconds) else {
      return try fields.missing("at")
    }
    var kinds: [TimedAction.Kind] = []
    if let name = try fields.text("kill") { kinds.append(.kill(name)) }
    if let name = try fields.text("stop") { kinds.append(.stop(name)) }
    if let name = try fields.text("continue") { kinds.append(.go(name)) }
    if let name = try fields.text("end") { kinds.append(.end(name)) }
    if let name = try fields.text("start") { kinds.append(.start(name)) }
    if let words = try fields.text("ring") {
      kinds.append(.ring(words.split(separator: " ").map(String.init)))
    }
    guard let kind = kinds.first, kinds.count == 1 else {
      throw fields.error("say one of kill, stop, continue, end, start and ring")
    }
    try fields.end()
    return TimedAction(at: at, kind)
  }
}

/// What a run may ask for.
package enum Limits {
  /// A stamp has to fit. **Units**: bytes of text.
  package static let payloadBytes = MessageStamp.byteCount...65_536
  /// **Units**: seconds.
  package static let warmup = 0.0...600.0
  package static let seconds = 0.1...86_400.0
  package static let sessions = 0...200_000
  package static let conversations = 0...200_000
  package static let members = 1...10_000
  /// Unanswered messages of one sender.
  package static let window = 1...256
  /// **Units**: messages per second.
  package static let rate = 0.01...10_000_000.0
}

/// A mapping of a YAML file, of which every key has to be asked for.
private struct Fields {
  private let file: String
  private let what: String
  private let line: Int
  private var rest: [(key: String, value: Node)]

  init(_ node: Node, _ file: String, _ what: String) throws(LoadError) {
    self.file = file
    self.what = what
    line = node.mark?.line ?? 1
    guard case .mapping(let mapping) = node else {
      throw LoadError("\(file):\(line): \(what): a mapping is expected")
    }
    rest = mapping.map { ($0.key.string ?? "", $0.value) }
  }

  func error(_ text: String, _ node: Node? = nil) -> LoadError {
    LoadError("\(file):\(node?.mark?.line ?? line): \(what): \(text)")
  }

  func missing<Value>(_ key: String) throws(LoadError) -> Value {
    throw error("\(key) is missing")
  }

  mutating func node(_ key: String) -> Node? {
    guard let place = rest.firstIndex(where: { $0.key == key }) else { return nil }
    return rest.remove(at: place).value
  }

  mutating func text(_ key: String) throws(LoadError) -> String? {
    guard let node = node(key) else { return nil }
    guard case .scalar(let scalar) = node else { throw error("\(key): a text is expected", node) }
    return scalar.string
  }

  mutating func required(_ key: String) throws(LoadError) -> String {
    guard let text = try text(key) else { return try missing(key) }
    return text
  }

  mutating func flag(_ key: String) throws(LoadError) -> Bool? {
    guard let node = node(key) else { return nil }
    guard let value = node.bool else { throw error("\(key): true or false is expected", node) }
    return value
  }

  mutating func list(_ key: String) throws(LoadError) -> [Node]? {
    guard let node = node(key) else { return nil }
    guard case .sequence(let items) = node else {
      throw error("\(key): a list is expected", node)
    }
    return Array(items)
  }

  mutating func whole(_ key: String, in range: ClosedRange<Int>) throws(LoadError) -> Int? {
    guard let node = node(key) else { return nil }
    guard let value = node.int, range.contains(value) else {
      throw error(
        "\(key) \(node.string ?? "?"): allowed is \(range.lowerBound) to \(range.upperBound)", node)
    }
    return value
  }

  mutating func number(
    _ key: String, in range: ClosedRange<Double>
  ) throws(LoadError) -> Double? {
    guard let node = node(key) else { return nil }
    guard let value = node.float ?? node.int.map({ Double($0) }), range.contains(value) else {
      throw error(
        "\(key) \(node.string ?? "?"): allowed is \(range.lowerBound) to \(range.upperBound)", node)
    }
    return value
  }

  func choice<Value: RawRepresentable<String> & CaseIterable>(
    _ key: String, _ text: String
  ) throws(LoadError) -> Value {
    guard let value = Value(rawValue: text) else {
      let allowed = Value.allCases.map(\.rawValue).joined(separator: ", ")
      throw error("\(key) '\(text)': allowed is one of \(allowed)")
    }
    return value
  }

  func end() throws(LoadError) {
    if let unknown = rest.first { throw error("'\(unknown.key)' is not known", unknown.value) }
  }
}
