/// What this side keeps about one open stream. nghttp2 keeps a pointer to it as the source of the
/// stream's DATA; `HTTP2Connection.streams` owns it until nghttp2 has closed the stream.
final class StreamState {
  var id: StreamID
  var queue = ChunkQueue()
  /// Sent after the last queued byte.
  var trailers: EncodedHeaderFields?
  /// The application has sent its end; nothing may follow.
  var endIsQueued = false
  /// nghttp2 found nothing to read and must be told when there is something.
  var isDeferred = false
  /// `send` was answered with `full`, so a `writable` event is owed.
  var owesWritable = false
  /// The application knows this stream, so it must hear of its end.
  var isAnnounced: Bool
  /// This side has reset the stream; what still arrives or waits is dropped.
  var isReset = false
  /// That reset was the application's wish and no fault of the peer.
  var isResetWithoutBlame = false
  /// The response's headers are on their way (server).
  var hasResponse = false
  /// A final header list has come, so that the next one is trailers.
  var hasFinalHeaders = false
  /// DATA given to the application and not yet consumed.
  var unconsumedBytes = 0
  /// What the received header lists count against `HTTP2Limits.headerBytesMax`.
  var headerBytes = 0

  init(id: StreamID, isAnnounced: Bool) {
    self.id = id
    self.isAnnounced = isAnnounced
  }
}

/// Bytes that wait to be sent: the application's arrays, uncopied, and how far the first is sent.
///
/// **Invariant**: `byteCount` is the sum of the arrays from `head` on, less `headOffset`.
struct ChunkQueue {
  private var chunks: [[UInt8]] = []
  private var head = 0
  private var headOffset = 0
  private(set) var byteCount = 0

  var isEmpty: Bool { byteCount == 0 }

  mutating func append(_ bytes: [UInt8]) {
    guard !bytes.isEmpty else { return }
    chunks.append(bytes)
    byteCount += bytes.count
  }

  mutating func removeAll() {
    self = ChunkQueue()
  }

  /// Moves the first `capacity` bytes, or all, to `target`.
  ///
  /// **Returns**: how many were moved.
  mutating func move(to target: UnsafeMutableRawPointer, capacity: Int) -> Int {
    var moved = 0
    while moved < capacity, head < chunks.count {
      let available = chunks[head].count - headOffset
      let count = min(available, capacity - moved)
      chunks[head].withUnsafeBytes { source in
        guard let base = source.baseAddress else { return }
        (target + moved).copyMemory(from: base + headOffset, byteCount: count)
      }
      moved += count
      headOffset += count
      if count == available { dropHead() }
    }
    byteCount -= moved
    return moved
  }

  private mutating func dropHead() {
    chunks[head] = []
    headOffset = 0
    head += 1
    if head == chunks.count {
      chunks.removeAll(keepingCapacity: true)
      head = 0
    } else if head >= 64, head * 2 >= chunks.count {
      chunks.removeFirst(head)
      head = 0
    }
  }
}
