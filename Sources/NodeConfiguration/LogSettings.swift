package import Logging

/// What is logged.
package enum LogSettings {
  /// - Parameter usual: of a command for which none is given.
  package static func level(
    _ source: SettingSource, usual: Logger.Level
  ) throws(SettingError) -> Logger.Level {
    guard let setting = source.optional("log-level") else { return usual }
    let levels = Logger.Level.allCases.map(\.rawValue)
    return Logger.Level(rawValue: try setting.choice(levels)) ?? usual
  }
}
