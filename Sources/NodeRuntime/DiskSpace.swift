import Glibc

/// How full the file system of a directory is.
struct DiskSpace {
  let bytes: Int
  /// What a process without privileges may still write.
  let freeBytes: Int

  /// `nil` when the kernel does not tell.
  init?(of directory: String) {
    var status = statvfs()
    guard statvfs(directory, &status) == 0 else { return nil }
    bytes = Int(clamping: status.f_blocks) * Int(clamping: status.f_frsize)
    freeBytes = Int(clamping: status.f_bavail) * Int(clamping: status.f_frsize)
  }
}
