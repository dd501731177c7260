package import Logging

package enum LogSettings {
  package static func level(_ source: SettingSource) throws(SettingError) -> Logger.Level {
    guard let setting = source.optional("log-level") else { return .info }
    let levels = Logger.Level.allCases.map(\.rawValue)
    return Logger.Level(rawValue: try setting.choice(levels)) ?? .info
  }
}
