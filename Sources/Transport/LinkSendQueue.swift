import NIOCore
import NodeProtocol
import Wire

/// What one side of a link has to say and has not handed over: a queue of encoded batches for each
/// priority. Frames are encoded when they come, so their bytes are known and nothing else is kept.
///
/// Within a priority frames keep their order; of two priorities the more urgent goes first, however
/// much waits in the other.
///
/// **Invariant**: `bytes` is the sum over the classes; an empty queue holds no batch.
struct LinkSendQueue {
  private struct Class {
    var full = CircularBuffer<[UInt8]>(initialCapacity: 1)
    var open: LinkBatchWriter
    var bytes = 0
  }

  private var classes: [Class]
  private(set) var bytes = 0

  init(batchBytesMax: Int) {
    classes = LinkFrame.Priority.allCases.map { _ in
      Class(open: LinkBatchWriter(bytesMax: batchBytesMax))
    }
  }

  var isEmpty: Bool { bytes == 0 }

  /// **Units**: bytes that wait in one class.
  func bytes(_ priority: LinkFrame.Priority) -> Int { classes[priority.rawValue].bytes }

  mutating func append(_ frame: LinkFrame) {
    let priority = frame.priority.rawValue
    let before = classes[priority].open.bytes
    if classes[priority].open.append(frame) {
      count(classes[priority].open.bytes - before, in: priority)
    } else {
      classes[priority].full.append(classes[priority].open.take())
      classes[priority].open.append(frame)
      count(classes[priority].open.bytes, in: priority)
    }
  }

  private mutating func count(_ added: Int, in priority: Int) {
    classes[priority].bytes += added
    bytes += added
  }

  /// **Returns**: the next batch, of the most urgent class that has one.
  mutating func next() -> [UInt8]? {
    guard !isEmpty else { return nil }
    for index in classes.indices where classes[index].bytes > 0 {
      let batch = classes[index].full.popFirst() ?? classes[index].open.take()
      count(-batch.count, in: index)
      return batch
    }
    return nil
  }

  mutating func removeAll() {
    while next() != nil {}
  }
}
