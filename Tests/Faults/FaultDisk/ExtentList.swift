/// Bytes at positions of a file: what was written since the file was last synced.
///
/// **Invariant**: extents are sorted, never empty and never overlap.
/// **Units**: positions and lengths are bytes. An append to the last extent costs the bytes that
/// it adds; a write between others moves the list of extents, not their bytes.
struct ExtentList: Sendable {
  struct Extent: Equatable, Sendable {
    let start: Int
    var bytes: [UInt8]

    var end: Int { start + bytes.count }
  }

  private(set) var extents: [Extent] = []
  private(set) var byteCount = 0

  var isEmpty: Bool { extents.isEmpty }

  init() {}

  mutating func write(_ bytes: UnsafeRawBufferPointer, at start: Int) {
    guard !bytes.isEmpty else { return }
    let end = start + bytes.count
    let index = firstIndex(endingAfter: start)
    if index < extents.count, extents[index].start <= start, extents[index].end >= end {
      let offset = start - extents[index].start
      extents[index].bytes.withUnsafeMutableBytes {
        UnsafeMutableRawBufferPointer(rebasing: $0[offset..<offset + bytes.count])
          .copyMemory(from: bytes)
      }
      return
    }
    remove(start..<end)
    byteCount += bytes.count
    let place = firstIndex(endingAfter: start)
    if place > 0, extents[place - 1].end == start {
      extents[place - 1].bytes.append(contentsOf: bytes)
    } else {
      extents.insert(Extent(start: start, bytes: Array(bytes)), at: place)
    }
  }

  /// Forgets what lies within `range`.
  mutating func remove(_ range: Range<Int>) {
    let first = firstIndex(endingAfter: range.lowerBound)
    var last = first
    var rests: [Extent] = []
    while last < extents.count, extents[last].start < range.upperBound {
      let extent = extents[last]
      byteCount -= extent.bytes.count
      if extent.start < range.lowerBound {
        rests.append(
          Extent(
            start: extent.start,
            bytes: Array(extent.bytes[..<(range.lowerBound - extent.start)])))
      }
      if extent.end > range.upperBound {
        rests.append(
          Extent(
            start: range.upperBound,
            bytes: Array(extent.bytes[(range.upperBound - extent.start)...])))
      }
      last += 1
    }
    guard last > first else { return }
    for rest in rests { byteCount += rest.bytes.count }
    extents.replaceSubrange(first..<last, with: rests)
  }

  mutating func removeAll() {
    extents = []
    byteCount = 0
  }

  /// Puts what is known of the bytes from `start` on over those in `buffer`.
  func overlay(_ buffer: UnsafeMutableRawBufferPointer, from start: Int) {
    let end = start + buffer.count
    var index = firstIndex(endingAfter: start)
    while index < extents.count, extents[index].start < end {
      let extent = extents[index]
      let lower = max(extent.start, start)
      let upper = min(extent.end, end)
      extent.bytes.withUnsafeBytes {
        UnsafeMutableRawBufferPointer(rebasing: buffer[(lower - start)..<(upper - start)])
          .copyMemory(
            from: UnsafeRawBufferPointer(
              rebasing: $0[(lower - extent.start)..<(upper - extent.start)]))
      }
      index += 1
    }
  }

  /// What of it lies in the sectors that `keeps` chooses.
  ///
  /// - Parameter keeps: asked once for each sector that was written, in rising order.
  func filtered(sectorBytes: Int, _ keeps: (Int) -> Bool) -> ExtentList {
    var kept = ExtentList()
    var last: (sector: Int, isKept: Bool)?
    for extent in extents {
      var position = extent.start
      while position < extent.end {
        let sector = position / sectorBytes
        let end = min((sector + 1) * sectorBytes, extent.end)
        if last?.sector != sector { last = (sector, keeps(sector)) }
        if last?.isKept == true {
          extent.bytes.withUnsafeBytes {
            kept.write(
              UnsafeRawBufferPointer(
                rebasing: $0[(position - extent.start)..<(end - extent.start)]),
              at: position)
          }
        }
        position = end
      }
    }
    return kept
  }

  /// The first extent that ends after `position`, or the count of extents.
  private func firstIndex(endingAfter position: Int) -> Int {
    if let last = extents.last, last.end <= position { return extents.count }
    var (lower, upper) = (0, extents.count)
    while lower < upper {
      let middle = (lower + upper) / 2
      if extents[middle].end > position { upper = middle } else { lower = middle + 1 }
    }
    return lower
  }
}
