/// A setting that is missing or cannot be used: one line that names it, its value and what is
/// allowed.
package struct SettingError: Error, Hashable, Sendable, CustomStringConvertible {
  /// As the operator wrote it: `--link-address` or `MARTLET_LINK_ADDRESS`.
  package let setting: String
  /// `nil` when it is missing.
  package let value: String?
  /// What is wrong beyond not being allowed, such as what the system said of a file.
  package let reason: String?
  /// What could have been there, in words.
  package let allowed: String

  package init(setting: String, value: String?, reason: String? = nil, allowed: String) {
    self.setting = setting
    self.value = value
    self.reason = reason
    self.allowed = allowed
  }

  package var description: String {
    let what = value.map { "'\(Self.printable($0))'" } ?? "is missing"
    let why = reason.map { ": \($0)" } ?? ""
    return "\(setting) \(what)\(why); allowed is \(allowed)"
  }

  /// One line stays one line, whatever the value is.
  private static func printable(_ text: String) -> String {
    var printable = ""
    for scalar in text.unicodeScalars {
      if scalar.properties.generalCategory == .control {
        printable += "\\u{\(String(scalar.value, radix: 16))}"
      } else {
        printable.unicodeScalars.append(scalar)
      }
    }
    return printable
  }
}

/// One setting's value and where it came from.
package struct Setting: Hashable, Sendable {
  /// As the operator wrote it.
  package let source: String
  package let value: String

  package init(source: String, value: String) {
    self.source = source
    self.value = value
  }

  /// The error for this value.
  package func refused(_ reason: String? = nil, allowed: String) -> SettingError {
    SettingError(setting: source, value: value, reason: reason, allowed: allowed)
  }
}

/// Where settings come from: the command line first, then the environment. `link-address` is
/// `--link-address` in the one and `MARTLET_LINK_ADDRESS` in the other.
package struct SettingSource: Sendable {
  private let options: [String: String]
  private let flags: Set<String>
  private let environment: [String: String]

  /// - Parameter options: by name without dashes; `nil` for one that was not given.
  /// - Parameter flags: the names of those that were given.
  package init(
    options: [String: String?], flags: Set<String> = [], environment: [String: String]
  ) {
    self.options = options.compactMapValues { $0 }
    self.flags = flags
    self.environment = environment
  }

  static func variable(_ name: String) -> String {
    "MARTLET_" + name.uppercased().map { $0 == "-" ? "_" : String($0) }.joined()
  }

  /// **Returns**: `nil` when it was given nowhere. An empty environment variable counts as not
  /// given.
  package func optional(_ name: String) -> Setting? {
    if let value = options[name] { return Setting(source: "--\(name)", value: value) }
    let variable = Self.variable(name)
    guard let value = environment[variable], !value.isEmpty else { return nil }
    return Setting(source: variable, value: value)
  }

  /// **Throws**: `SettingError` with both of its names when it was given nowhere.
  package func required(_ name: String, allowed: String) throws(SettingError) -> Setting {
    guard let setting = optional(name) else {
      throw SettingError(
        setting: "--\(name) (or \(Self.variable(name)))", value: nil, allowed: allowed)
    }
    return setting
  }

  /// Whether it was given, as a flag or as a variable that says yes.
  package func flag(_ name: String) throws(SettingError) -> Bool {
    if flags.contains(name) { return true }
    guard let setting = optional(name) else { return false }
    switch setting.value.lowercased() {
    case "1", "true", "yes": return true
    case "0", "false", "no": return false
    default: throw setting.refused(allowed: "1 or 0")
    }
  }
}
