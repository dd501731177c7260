import CFUSE
import Glibc

/// A question of the kernel. It is answered once.
struct Request {
  /// `RENAME_NOREPLACE` and `FALLOC_FL_KEEP_SIZE`, which Swift does not see.
  static let renameNoReplace: UInt32 = 1
  static let fallocateKeepSize: Int32 = 1

  private let pointer: fuse_req_t?

  init(_ pointer: fuse_req_t?) { self.pointer = pointer }

  /// What the session was made for.
  var disk: Disk {
    guard let data = fuse_req_userdata(pointer) else {
      preconditionFailure("a session without a disk")
    }
    return Unmanaged<Disk>.fromOpaque(data).takeUnretainedValue()
  }

  /// Who asks.
  var owner: Owner {
    guard let context = fuse_req_ctx(pointer)?.pointee else { return Owner(user: 0, group: 0) }
    return Owner(user: context.uid, group: context.gid)
  }

  /// Answers success, or why not.
  func answer(_ body: (Disk) throws(DiskError) -> Void) {
    do throws(DiskError) {
      try body(disk)
      fuse_reply_err(pointer, 0)
    } catch {
      fuse_reply_err(pointer, error.code)
    }
  }

  func answerEntry(_ body: (Disk) throws(DiskError) -> fuse_entry_param) {
    do throws(DiskError) {
      var entry = try body(disk)
      fuse_reply_entry(pointer, &entry)
    } catch {
      fuse_reply_err(pointer, error.code)
    }
  }

  /// Answers as many entries as there is room for. The offset of each is the index of the next.
  func answer(_ entries: ArraySlice<DirectoryEntry>, bytesMax: Int) {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: bytesMax, alignment: 8)
    defer { buffer.deallocate() }
    var used = 0
    for (index, entry) in zip(entries.indices, entries) {
      var status = stat()
      status.st_ino = ino_t(entry.number)
      status.st_mode = entry.mode
      let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[used...])
      let count = fuse_add_direntry(
        pointer, rest.characters, rest.count, entry.name, &status, off_t(index + 1))
      if count > rest.count { break }
      used += count
    }
    fuse_reply_buf(pointer, buffer.characters, used)
  }
}

extension Disk {
  /// What the kernel is told of a node that `body` finds or makes.
  func entry(
    _ body: (inout Volume) throws(DiskError) -> Node
  ) throws(DiskError) -> fuse_entry_param {
    try withVolume { (volume) throws(DiskError) -> fuse_entry_param in
      let node = try body(&volume)
      var entry = fuse_entry_param()
      entry.ino = node.number
      entry.attr = node.status
      return entry
    }
  }
}

extension String {
  /// A name as the kernel gives it; it is never missing.
  init(fuseName name: UnsafePointer<CChar>?) { self = name.map { String(cString: $0) } ?? "" }
}

extension UnsafeMutableRawBufferPointer {
  /// libfuse takes bytes as `char *`.
  var characters: UnsafeMutablePointer<CChar>? { baseAddress?.assumingMemoryBound(to: CChar.self) }
}
