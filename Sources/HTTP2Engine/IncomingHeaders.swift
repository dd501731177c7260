/// The header list that is being received. HTTP/2 sends one at a time on a connection, so a
/// connection has one of these.
struct IncomingHeaders {
  private(set) var fields: [HTTP2HeaderField] = []
  /// As RFC 9113, section 10.5.1, counts: name, value and 32 for each field.
  private(set) var listBytes = 0
  private(set) var isTooLarge = false
  private var authority: String?
  private var host: String?

  mutating func begin() {
    self = IncomingHeaders()
  }

  mutating func append(
    name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer, isSensitive: Bool,
    limits: HTTP2Limits
  ) {
    listBytes += name.count + value.count + 32
    guard !isTooLarge, listBytes <= limits.headerListBytesMax,
      fields.count < limits.headerFieldCountMax
    else {
      // The rest of the list is still decoded, for the sake of the compression table, and dropped.
      isTooLarge = true
      fields = []
      return
    }
    let field = HTTP2HeaderField(
      String(decoding: name, as: UTF8.self), String(decoding: value, as: UTF8.self),
      isSensitive: isSensitive)
    switch field.name {
    case ":authority": authority = field.value
    case "host": host = field.value
    default: break
    }
    fields.append(field)
  }

  /// A `host` that differs from `:authority` would let two hops route one request differently.
  var hasConflictingHosts: Bool {
    guard let authority, let host else { return false }
    return authority.lowercased() != host.lowercased()
  }

  /// A response that is not the final one.
  var isInformational: Bool {
    guard let status = fields.value(of: ":status") else { return false }
    return status.utf8.count == 3 && status.utf8.first == UInt8(ascii: "1")
  }
}
