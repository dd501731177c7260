import COpenSSL

/// The place where a connection's ciphertext meets OpenSSL, instead of OpenSSL's memory BIOs:
/// those keep the largest buffer they ever needed, and copy each byte once more. Input is read
/// straight from the caller's memory and output written straight into it; only what does not fit
/// is kept here, and its memory is released as soon as it is gone.
struct CiphertextPipe {
  /// The caller's bytes, while it offers them.
  var offered = UnsafeRawBufferPointer(start: nil, count: 0)
  /// What the caller offered earlier and nobody has read yet. It comes before `offered`.
  private var carried: [UInt8] = []
  private var carriedIndex = 0
  /// After `offered` comes the end of the stream.
  var isEnded = false

  /// The caller's memory, while it lends some.
  private var lent = UnsafeMutableRawBufferPointer(start: nil, count: 0)
  private var lentUsed = 0
  /// What did not fit into lent memory. It goes out before anything newer.
  private var overflow: [UInt8] = []
  private var overflowIndex = 0

  var pendingInputBytes: Int { carried.count - carriedIndex + offered.count }
  var pendingOutputBytes: Int { overflow.count - overflowIndex }

  // MARK: Input

  mutating func read(into buffer: UnsafeMutableRawBufferPointer) -> Int {
    var filled = 0
    if carriedIndex < carried.count {
      filled = min(buffer.count, carried.count - carriedIndex)
      carried.withUnsafeBytes { bytes in
        let part = bytes[carriedIndex...].prefix(filled)
        buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: part))
      }
      carriedIndex += filled
      if carriedIndex == carried.count {
        carried = []
        carriedIndex = 0
      }
    }
    let more = min(buffer.count - filled, offered.count)
    if more > 0 {
      UnsafeMutableRawBufferPointer(rebasing: buffer[filled...])
        .copyMemory(from: UnsafeRawBufferPointer(rebasing: offered.prefix(more)))
      offered = UnsafeRawBufferPointer(rebasing: offered.dropFirst(more))
    }
    return filled + more
  }

  /// Copies what is left of `offered`, whose memory goes back to the caller.
  mutating func carryOffered() {
    if !offered.isEmpty {
      if carriedIndex > 0 {
        carried.removeSubrange(..<carriedIndex)
        carriedIndex = 0
      }
      carried.append(contentsOf: offered)
    }
    offered = UnsafeRawBufferPointer(start: nil, count: 0)
  }

  mutating func dropInput() {
    carried = []
    carriedIndex = 0
    offered = UnsafeRawBufferPointer(start: nil, count: 0)
  }

  // MARK: Output

  /// Lends memory to the output until `endLending`; what waited goes first.
  mutating func lend(_ buffer: UnsafeMutableRawBufferPointer) {
    lent = buffer
    lentUsed = take(into: buffer)
  }

  /// **Returns**: how many bytes of the lent memory were filled.
  mutating func endLending() -> Int {
    let used = lentUsed
    lent = UnsafeMutableRawBufferPointer(start: nil, count: 0)
    lentUsed = 0
    return used
  }

  mutating func write(_ bytes: UnsafeRawBufferPointer) {
    var rest = bytes[...]
    let fitting = pendingOutputBytes == 0 ? min(lent.count - lentUsed, rest.count) : 0
    if fitting > 0 {
      UnsafeMutableRawBufferPointer(rebasing: lent[lentUsed...])
        .copyMemory(from: UnsafeRawBufferPointer(rebasing: rest.prefix(fitting)))
      lentUsed += fitting
      rest = rest.dropFirst(fitting)
    }
    if !rest.isEmpty { overflow.append(contentsOf: rest) }
  }

  mutating func take(into buffer: UnsafeMutableRawBufferPointer) -> Int {
    let count = min(buffer.count, pendingOutputBytes)
    guard count > 0 else { return 0 }
    overflow.withUnsafeBytes { bytes in
      let part = bytes[overflowIndex...].prefix(count)
      buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: part))
    }
    overflowIndex += count
    if overflowIndex == overflow.count {
      overflow = []
      overflowIndex = 0
    }
    return count
  }
}

// MARK: - As a BIO

extension CiphertextPipe {
  /// **Returns**: a BIO that reads and writes `pipe`, or `nil` for lack of memory. It does not own
  /// `pipe`, which must outlive it.
  static func makeBIO(over pipe: UnsafeMutablePointer<CiphertextPipe>) -> OpaquePointer? {
    guard let bio = BIO_new(method) else { return nil }
    BIO_set_data(bio, UnsafeMutableRawPointer(pipe))
    BIO_set_init(bio, 1)
    return bio
  }

  private static func pipe(of bio: OpaquePointer?) -> UnsafeMutablePointer<CiphertextPipe>? {
    BIO_get_data(bio)?.assumingMemoryBound(to: CiphertextPipe.self)
  }

  // Safety: set up once, under the lock of a static's initialisation, and only read afterwards.
  private nonisolated(unsafe) static let method: OpaquePointer = {
    guard let method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "ciphertext") else {
      preconditionFailure("no memory for a BIO method")
    }
    BIO_meth_set_write(method) { bio, bytes, count in
      shim_BIO_clear_retry_flags(bio)
      guard let pipe = pipe(of: bio), let bytes, count > 0 else { return 0 }
      pipe.pointee.write(UnsafeRawBufferPointer(start: bytes, count: Int(count)))
      return count
    }
    BIO_meth_set_read(method) { bio, bytes, count in
      shim_BIO_clear_retry_flags(bio)
      guard let pipe = pipe(of: bio), let bytes, count > 0 else { return 0 }
      let buffer = UnsafeMutableRawBufferPointer(start: bytes, count: Int(count))
      let filled = pipe.pointee.read(into: buffer)
      if filled > 0 { return Int32(filled) }
      if pipe.pointee.isEnded { return 0 }
      shim_BIO_set_retry_read(bio)
      return -1
    }
    BIO_meth_set_ctrl(method) { bio, command, _, _ in
      switch command {
      case BIO_CTRL_FLUSH: return 1
      case BIO_CTRL_EOF:
        guard let pipe = pipe(of: bio) else { return 1 }
        return pipe.pointee.isEnded && pipe.pointee.pendingInputBytes == 0 ? 1 : 0
      default: return 0
      }
    }
    return method
  }()
}
