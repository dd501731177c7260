import CNGHTTP2

/// The library below this module.
package enum HTTP2Library {
  /// As the loaded library tells it, such as "1.52.0". A distribution's patches do not show here;
  /// that CONTINUATION floods are bounded is known because the program links at all:
  /// `nghttp2_option_set_max_continuations` came with that fix.
  package static var version: String {
    guard let info = nghttp2_version(0), let text = info.pointee.version_str else { return "" }
    return String(cString: text)
  }

  /// **Shape**: 0x00MMmmpp, so 1.52.0 is 0x013400.
  package static var versionNumber: Int {
    guard let info = nghttp2_version(0) else { return 0 }
    return Int(info.pointee.version_num)
  }

  /// The name for ALPN.
  package static let applicationProtocol = "h2"
}
