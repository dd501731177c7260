import ClusterModel
import NIOCore
import NIOHTTP1
import Primitives
import Synchronization
import Telemetry
import Transport

/// The answers of an operator's port, by path.
final class OperatorPaths: Sendable {
  /// How long another node may take to answer for the console.
  private static let nodeTimeoutSeconds: Int64 = 2
  /// How long is used what the coordinator said of where nodes are.
  private static let registeredTimeout: Milliseconds = 5_000
  private static let plainText = "text/plain; charset=utf-8"
  private static let json = "application/json"

  private struct State {
    var source: OperatorSource?
    var isDraining = false
    var connectionCount = 0
    var history = NodeHistory()
    var registered: [NodeRecord] = []
    var registeredUntil = Instant.zero
  }

  private let state = Mutex(State())

  func serve(_ source: OperatorSource) { state.withLock { $0.source = source } }
  func drain() { state.withLock { $0.isDraining = true } }

  /// **Returns**: false when there are too many already; then there is nothing to close.
  func connectionOpened() -> Bool {
    state.withLock { state in
      guard state.connectionCount < OperatorServer.connectionsMax else { return false }
      state.connectionCount += 1
      return true
    }
  }

  func connectionClosed() { state.withLock { $0.connectionCount -= 1 } }

  func answer(_ request: HTTPRequestHead) async -> WebAnswer {
    guard request.method == .GET || request.method == .HEAD else {
      return Self.answer(405, "only GET\n")
    }
    let (source, isDraining) = state.withLock { ($0.source, $0.isDraining) }
    let parts = request.uri.split(separator: "?", maxSplits: 1)
    let path = parts.first.map(String.init) ?? "/"
    let query = parts.count == 2 ? parts[1].split(separator: "&") : []
    switch path {
    case _ where path.hasPrefix("/console"):
      return WebFiles.console.answer(
        path, ifNoneMatch: request.headers.first(name: "if-none-match"),
        acceptEncoding: request.headers.first(name: "accept-encoding")) ?? Self.noSuchPath
    case "/healthz":
      return Self.answer(200, "alive\n")
    case "/readyz":
      guard let source else { return Self.answer(503, "starting\n") }
      if isDraining { return Self.answer(503, "stopping\n") }
      return await source.isReady()
        ? Self.answer(200, "ready\n") : Self.answer(503, "not ready\n")
    case "/metrics":
      return Self.answer(200, await page(source).text, MetricsPage.contentType)
    case "/ring":
      return await ring(source, query)
    case "/partitions":
      guard let source else { return Self.answer(503, "starting\n") }
      let lines =
        query == ["format=marks"] ? await source.marks() : await source.partitions()
      return Self.answer(200, lines.map { $0 + "\n" }.joined())
    case "/history":
      return history(of: source?.nodes.first ?? "")
    default:
      return await node(path, source) ?? Self.noSuchPath
    }
  }

  private static var noSuchPath: WebAnswer {
    answer(
      404,
      "there are /console, /healthz, /readyz, /metrics, /ring, /partitions, /history, "
        + "/nodes/NAME/metrics and /nodes/NAME/history\n")
  }

  /// Measures once more for `/history`.
  func sample() async {
    guard let source = state.withLock({ $0.source }) else { return }
    let page = await page(source)
    let (now, wall) = (Clock.now(), Clock.wall())
    state.withLock { $0.history.add(page, of: source.nodes, now: now, wall: wall) }
  }

  private func ring(_ source: OperatorSource?, _ query: [Substring]) async -> WebAnswer {
    guard let source else { return Self.answer(503, "starting\n") }
    let found: RingStatus?
    do { found = try await source.ring() } catch {
      return Self.answer(503, "the coordinator does not tell of the ring: \(error)\n")
    }
    guard let ring = found else {
      return Self.answer(503, "there is no ring yet: `martlet ring init` makes it\n")
    }
    let status = ring.isWhole ? 200 : 503
    return query.contains("format=text")
      ? Self.answer(status, ring.table(listsAll: query.contains("all")))
      : Self.answer(status, ring.json + "\n", Self.json)
  }

  // MARK: Nodes

  /// **Returns**: `nil` for another path.
  private func node(_ path: String, _ source: OperatorSource?) async -> WebAnswer? {
    let words = path.split(separator: "/").map(String.init)
    guard words.count == 3, words[0] == "nodes", words[2] == "metrics" || words[2] == "history"
    else { return nil }
    guard let source else { return Self.answer(503, "starting\n") }
    if source.nodes.contains(words[1]) {
      guard words[2] == "metrics" else { return history(of: words[1]) }
      let page = await page(source)
      let own = source.nodes.count == 1 ? page : page.page(of: words[1])
      return Self.answer(200, own.text, MetricsPage.contentType)
    }
    guard let node = await registered(source).first(where: { $0.name == words[1] }) else {
      return Self.answer(404, "no node of this name is registered\n")
    }
    guard let address = node.operatorAddress else {
      return Self.answer(502, "\(words[1]) has no operator address\n")
    }
    do {
      let (status, text) = try await OperatorClient.get(
        "/" + words[2], from: address, within: Self.nodeTimeoutSeconds)
      return Self.answer(
        status, text, words[2] == "metrics" ? MetricsPage.contentType : Self.json)
    } catch {
      return Self.answer(502, "\(error)\n")
    }
  }

  /// Registered nodes as of a few seconds ago; while the coordinator is away, as they were.
  private func registered(_ source: OperatorSource) async -> [NodeRecord] {
    let now = Clock.now()
    let isDue = state.withLock { state in
      guard now >= state.registeredUntil else { return false }
      // Others do not ask meanwhile.
      state.registeredUntil = now + Self.registeredTimeout
      return true
    }
    if isDue, let found = await source.registered() {
      state.withLock { $0.registered = found }
    }
    return state.withLock { $0.registered }
  }

  private func history(of node: String) -> WebAnswer {
    Self.answer(200, state.withLock { $0.history.json(of: node) } + "\n", Self.json)
  }

  private func page(_ source: OperatorSource?) async -> MetricsPage {
    var page = MetricsPage()
    ProcessMetrics.add(to: &page)
    await source?.collect(&page)
    return page
  }

  private static func answer(
    _ status: Int, _ text: String, _ contentType: String = plainText
  ) -> WebAnswer {
    WebAnswer(
      status: status,
      headers: [
        ("content-type", contentType), ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
      ], body: ByteBuffer(string: text))
  }
}
