import CFUSE
import Glibc

/// What the kernel asks, turned into calls of `Disk` and their answers.
///
/// The callbacks of libfuse capture nothing: the disk comes with each request. Whatever fails is
/// answered with its `errno`. The kernel is told to keep neither names nor attributes nor contents,
/// so every question comes here and damage shows at once.
///
/// **Isolation**: the threads of the session, any number of them at the same time.
enum FuseOperations {
  static func table() -> fuse_lowlevel_ops {
    var table = fuse_lowlevel_ops()
    addNames(&table)
    addContents(&table)
    addAttributes(&table)
    addDirectories(&table)
    return table
  }

  private static func addNames(_ table: inout fuse_lowlevel_ops) {
    table.lookup = { request, parent, name in
      Request(request).answerEntry { (disk) throws(DiskError) in
        try disk.entry { (volume) throws(DiskError) in
          try volume.lookup(parent, String(fuseName: name))
        }
      }
    }
    table.forget = { request, number, count in
      Request(request).disk.withVolume { $0.forget(number, count) }
      fuse_reply_none(request)
    }
    table.mkdir = { request, parent, name, mode in
      Request(request).answerEntry { (disk) throws(DiskError) in
        let owner = Request(request).owner
        return try disk.entry { (volume) throws(DiskError) in
          try volume.makeDirectory(parent, String(fuseName: name), mode: mode, owner: owner)
        }
      }
    }
    table.link = { request, number, parent, name in
      Request(request).answerEntry { (disk) throws(DiskError) in
        try disk.entry { (volume) throws(DiskError) in
          try volume.link(number, parent, String(fuseName: name))
        }
      }
    }
    table.unlink = { request, parent, name in
      Request(request).answer { (disk) throws(DiskError) in
        try disk.withVolume { (volume) throws(DiskError) in
          try volume.unlink(parent, String(fuseName: name))
        }
      }
    }
    table.rmdir = { request, parent, name in
      Request(request).answer { (disk) throws(DiskError) in
        try disk.withVolume { (volume) throws(DiskError) in
          try volume.removeDirectory(parent, String(fuseName: name))
        }
      }
    }
    table.rename = { request, parent, name, newParent, newName, flags in
      Request(request).answer { (disk) throws(DiskError) in
        guard flags & ~Request.renameNoReplace == 0 else { throw DiskError(EINVAL) }
        try disk.withVolume { (volume) throws(DiskError) in
          try volume.rename(
            parent, String(fuseName: name), to: newParent, String(fuseName: newName),
            replaces: flags == 0)
        }
      }
    }
  }

  private static func addContents(_ table: inout fuse_lowlevel_ops) {
    table.create = { request, parent, name, mode, info in
      guard let request, let info else { return }
      do throws(DiskError) {
        let (disk, owner) = (Request(request).disk, Request(request).owner)
        let isExclusive = info.pointee.flags & O_EXCL != 0
        var entry = try disk.entry { (volume) throws(DiskError) in
          try volume.create(
            parent, String(fuseName: name), mode: mode, owner: owner, isExclusive: isExclusive)
        }
        info.pointee.direct_io = 1
        fuse_reply_create(request, &entry, info)
      } catch {
        fuse_reply_err(request, error.code)
      }
    }
    table.open = { request, number, info in
      guard let request, let info else { return }
      do throws(DiskError) {
        if info.pointee.flags & O_TRUNC != 0 { try Request(request).disk.resize(number, to: 0) }
        info.pointee.direct_io = 1
        fuse_reply_open(request, info)
      } catch {
        fuse_reply_err(request, error.code)
      }
    }
    table.read = { request, number, count, start, _ in
      guard let request else { return }
      do throws(DiskError) {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 1)
        defer { buffer.deallocate() }
        let read = try Request(request).disk.read(number, into: buffer, from: Int(start))
        fuse_reply_buf(request, buffer.characters, read)
      } catch {
        fuse_reply_err(request, error.code)
      }
    }
    table.write = { request, number, bytes, count, start, _ in
      guard let request else { return }
      do throws(DiskError) {
        let buffer = UnsafeRawBufferPointer(start: bytes, count: count)
        try Request(request).disk.write(number, buffer, at: Int(start))
        fuse_reply_write(request, count)
      } catch {
        fuse_reply_err(request, error.code)
      }
    }
    table.fsync = { request, number, onlyData, _ in
      Request(request).answer { (disk) throws(DiskError) in
        try disk.sync(number, withMetadata: onlyData == 0)
      }
    }
    table.fallocate = { request, number, mode, start, count, _ in
      Request(request).answer { (disk) throws(DiskError) in
        guard mode & ~Request.fallocateKeepSize == 0 else { throw DiskError(EOPNOTSUPP) }
        try disk.allocate(number, upTo: Int(start + count), keepsSize: mode != 0)
      }
    }
  }

  private static func addDirectories(_ table: inout fuse_lowlevel_ops) {
    table.opendir = { request, number, info in
      guard let request, let info else { return }
      do throws(DiskError) {
        info.pointee.fh = try Request(request).disk.withVolume { (volume) throws(DiskError) in
          volume.openListing(of: try volume.directory(number))
        }
        fuse_reply_open(request, info)
      } catch {
        fuse_reply_err(request, error.code)
      }
    }
    table.readdir = { request, number, count, start, info in
      guard let request, let info else { return }
      do throws(DiskError) {
        let handle = info.pointee.fh
        let entries = try Request(request).disk.withVolume { (volume) throws(DiskError) in
          volume.listing(handle, of: try volume.directory(number), from: Int(start))
        }
        Request(request).answer(entries, bytesMax: count)
      } catch {
        fuse_reply_err(request, error.code)
      }
    }
    table.releasedir = { request, _, info in
      Request(request).answer { (disk) throws(DiskError) in
        if let info { disk.withVolume { $0.closeListing(info.pointee.fh) } }
      }
    }
    table.fsyncdir = { request, _, _, _ in
      Request(request).answer { (disk) throws(DiskError) in try disk.syncNames() }
    }
    table.statfs = { request, _ in
      guard let request else { return }
      var status = statvfs()
      let descriptor = Request(request).disk.withVolume { $0.backing.descriptor }
      if fstatvfs(descriptor, &status) == 0 {
        fuse_reply_statfs(request, &status)
      } else {
        fuse_reply_err(request, errno)
      }
    }
  }

  private static func addAttributes(_ table: inout fuse_lowlevel_ops) {
    table.getattr = { request, number, _ in
      guard let request else { return }
      do throws(DiskError) {
        var status = try Request(request).disk.status(number)
        fuse_reply_attr(request, &status, 0)
      } catch {
        fuse_reply_err(request, error.code)
      }
    }
    table.setattr = { request, number, wanted, what, _ in
      guard let request, let wanted = wanted?.pointee else { return }
      do throws(DiskError) {
        let disk = Request(request).disk
        if what & FUSE_SET_ATTR_SIZE != 0 { try disk.resize(number, to: Int(wanted.st_size)) }
        if what & ~FUSE_SET_ATTR_SIZE != 0 {
          try disk.change(number) { $0.set(what, of: wanted) }
        }
        var status = try disk.status(number)
        fuse_reply_attr(request, &status, 0)
      } catch {
        fuse_reply_err(request, error.code)
      }
    }
  }
}

extension Attributes {
  /// - Parameter what: bits `FUSE_SET_ATTR_…`.
  fileprivate mutating func set(_ what: Int32, of wanted: stat) {
    if what & FUSE_SET_ATTR_MODE != 0 { mode = mode & S_IFMT | wanted.st_mode & 0o7777 }
    if what & FUSE_SET_ATTR_UID != 0 { userID = wanted.st_uid }
    if what & FUSE_SET_ATTR_GID != 0 { groupID = wanted.st_gid }
    if what & FUSE_SET_ATTR_ATIME != 0 { accessed = wanted.st_atim }
    if what & FUSE_SET_ATTR_MTIME != 0 { modified = wanted.st_mtim }
    if what & FUSE_SET_ATTR_ATIME_NOW != 0 { accessed = timespec.now }
    if what & FUSE_SET_ATTR_MTIME_NOW != 0 { modified = timespec.now }
  }
}
