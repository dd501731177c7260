import CNGHTTP2

/// A header list of ours, checked and laid out for nghttp2, which copies it when it is submitted.
struct EncodedHeaderFields {
  private struct Span {
    let nameBytes: Int
    let valueBytes: Int
    let flags: UInt8
  }

  /// Name and value of each field, one after the other.
  private var bytes: [UInt8] = []
  private var spans: [Span] = []

  /// **Throws**: `invalidHeaderField` for a name in upper case, CR, LF or NUL in a value and the
  /// like: some values come from clients, and must not become a second field at the next hop.
  init(_ fields: [HTTP2HeaderField]) throws(HTTP2Error) {
    spans.reserveCapacity(fields.count)
    for field in fields {
      let start = bytes.count
      bytes.append(contentsOf: field.name.utf8)
      let nameBytes = bytes.count - start
      bytes.append(contentsOf: field.value.utf8)
      let valueBytes = bytes.count - start - nameBytes
      let isValid = bytes.withUnsafeBufferPointer { buffer in
        guard let base = buffer.baseAddress else { return false }
        return nghttp2_check_header_name(base + start, nameBytes) != 0
          && nghttp2_check_header_value_rfc9113(base + start + nameBytes, valueBytes) != 0
      }
      guard isValid else { throw .invalidHeaderField(name: field.name) }
      let flags = field.isSensitive ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE
      spans.append(
        Span(nameBytes: nameBytes, valueBytes: valueBytes, flags: UInt8(flags.rawValue)))
    }
  }

  func withNameValues<Result>(_ body: (UnsafePointer<nghttp2_nv>?, Int) -> Result) -> Result {
    bytes.withUnsafeBufferPointer { buffer in
      withUnsafeTemporaryAllocation(of: nghttp2_nv.self, capacity: spans.count) { fields in
        // nghttp2 reads through these pointers only; its type lacks the `const`.
        var cursor = UnsafeMutablePointer(mutating: buffer.baseAddress)
        for (index, span) in spans.enumerated() {
          let value = cursor.map { $0 + span.nameBytes }
          fields.initializeElement(
            at: index,
            to: nghttp2_nv(
              name: cursor, value: value, namelen: span.nameBytes, valuelen: span.valueBytes,
              flags: span.flags))
          cursor = value.map { $0 + span.valueBytes }
        }
        return body(UnsafePointer(fields.baseAddress), spans.count)
      }
    }
  }
}
