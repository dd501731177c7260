import Logging
import Primitives
import Transport

/// Tells of links that are refused: somebody who is refused tries again every second, and one line
/// in each interval is enough for each reason.
///
/// **Isolation**: one event loop.
final class RefusedLinks: @unchecked Sendable {
  // Safety: touched on the loop of the listener only.
  private static let tellingInterval: Milliseconds = 30_000
  /// More reasons at a time are told as they come.
  private static let reasonsMax = 64

  private let logger: Logger
  private var told: [LinkCloseReason: (at: Instant, untold: Int)] = [:]

  init(_ logger: Logger) { self.logger = logger }

  var rememberedCount: Int { told.count }

  func note(_ address: String, _ reason: LinkCloseReason) {
    let now = Clock.now()
    if let last = told[reason], now < last.at + Self.tellingInterval {
      told[reason]?.untold += 1
      return
    }
    var metadata: Logger.Metadata = ["from": .string(address), "why": "\(reason)"]
    if let untold = told[reason]?.untold, untold > 0 { metadata["untold"] = "\(untold)" }
    logger.warning("a link was refused", metadata: metadata)
    if told.count >= Self.reasonsMax { told.removeAll() }
    told[reason] = (now, 0)
  }
}
