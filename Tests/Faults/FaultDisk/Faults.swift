/// What goes wrong at the moment, apart from losses, which are events.
struct Faults: Sendable {
  enum Sync: Equatable, Sendable {
    case works
    /// The fsync answers EIO and what it should have written is gone, as on Linux.
    case fails
    /// The fsync begins so much later.
    case stalls(milliseconds: Int)
  }

  /// Reads, writes and fsyncs of files answer EIO; nothing is dropped.
  var refusesInputAndOutput = false
  /// Writes, allocations and creations answer ENOSPC.
  var isFull = false
  var sync = Sync.works
}

/// What was asked for since the start.
struct DiskCounters: Sendable {
  var fsyncs = 0
  var reads = 0
  var writes = 0
}
