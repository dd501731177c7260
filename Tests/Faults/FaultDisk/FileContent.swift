import Primitives

/// What a file holds: what is stored of it and what was changed since, which a loss of power takes
/// away.
///
/// ```
///                    visibleStoredBytes     storedBytes
///   stored   ████████████████████┊░░░░░░░░░░░░░░░┊          the backing file
///   written         ▓▓▓▓             ▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓    extents
///   read     ███████▓▓▓▓█████████0000▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓0000┊
///                                                       sizeBytes
/// ```
///
/// A truncation lowers `visibleStoredBytes`: stored bytes beyond it were cut away and read as
/// zeros when the file grows again.
struct FileContent: Sendable {
  /// What a disk writes whole or not at all.
  static let sectorBytes = 512

  private(set) var written = ExtentList()
  private(set) var sizeBytes: Int
  private(set) var visibleStoredBytes: Int
  private(set) var storedBytes: Int

  init(storedBytes: Int) {
    sizeBytes = storedBytes
    visibleStoredBytes = storedBytes
    self.storedBytes = storedBytes
  }

  var isSynced: Bool {
    written.isEmpty && sizeBytes == storedBytes && visibleStoredBytes == storedBytes
  }

  mutating func write(_ bytes: UnsafeRawBufferPointer, at start: Int) {
    guard !bytes.isEmpty else { return }
    written.write(bytes, at: start)
    sizeBytes = max(sizeBytes, start + bytes.count)
  }

  mutating func resize(to bytes: Int) {
    if bytes < sizeBytes {
      written.remove(bytes..<sizeBytes)
      visibleStoredBytes = min(visibleStoredBytes, bytes)
    }
    sizeBytes = bytes
  }

  /// **Returns**: how many bytes were read; fewer than the buffer has at the end of the file.
  /// **Throws**: what the backing file answers.
  func read(
    into buffer: UnsafeMutableRawBufferPointer, from start: Int, backing: BackingFile
  ) throws(DiskError) -> Int {
    let count = max(0, min(buffer.count, sizeBytes - start))
    let storedCount = max(0, min(count, visibleStoredBytes - start))
    if storedCount > 0 {
      try backing.read(
        into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<storedCount]), from: start)
    }
    let range = UnsafeMutableRawBufferPointer(rebasing: buffer[..<count])
    UnsafeMutableRawBufferPointer(rebasing: range[storedCount...])
      .initializeMemory(as: UInt8.self, repeating: 0)
    written.overlay(range, from: start)
    return count
  }

  /// Writes everything to the backing file. What fails stays unsynced as a whole.
  mutating func store(to backing: BackingFile) throws(DiskError) {
    guard !isSynced else { return }
    if visibleStoredBytes < storedBytes { try backing.resize(to: visibleStoredBytes) }
    storedBytes = visibleStoredBytes
    if sizeBytes != storedBytes { try backing.resize(to: sizeBytes) }
    storedBytes = sizeBytes
    visibleStoredBytes = sizeBytes
    for extent in written.extents { try backing.write(extent.bytes, at: extent.start) }
    written.removeAll()
  }

  /// Back to what is stored.
  mutating func lose() { self = FileContent(storedBytes: storedBytes) }

  /// What a failed fsync leaves: written bytes are gone, the size is still as it was and not yet
  /// stored. What was appended reads as zeros.
  mutating func loseWritten() { written.removeAll() }

  /// A power failure in the middle of writing: some sectors arrive, others do not. Whether a
  /// truncation and the growth beyond the last sector arrive is drawn too.
  mutating func tear(_ chance: inout SeededRandom) {
    var drawn = chance
    if visibleStoredBytes < storedBytes, drawn.oneIn(2) { visibleStoredBytes = storedBytes }
    let kept = written.filtered(sectorBytes: Self.sectorBytes) { _ in drawn.oneIn(2) }
    let keptBytes = max(visibleStoredBytes, kept.extents.last?.end ?? 0)
    if sizeBytes < keptBytes || !drawn.oneIn(4) { sizeBytes = keptBytes }
    written = kept
    chance = drawn
  }
}

extension SeededRandom {
  mutating func oneIn(_ count: UInt64) -> Bool { next(upperBound: count) == 0 }
}
