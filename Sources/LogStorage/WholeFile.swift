import Glibc

/// Small files that are there whole or as they were before.
package enum WholeFile {
  /// Replaces a file, durably; only its owner may read it.
  ///
  /// - Parameter replacing: false where there must be none yet.
  /// **Returns**: whether it was done; if not, `errno` says why.
  package static func write(_ bytes: [UInt8], to path: String, replacing: Bool = true) -> Bool {
    // Of this process alone: another one may write the same file.
    let temporary = "\(path).\(getpid()).new"
    unlink(temporary)
    let flags = O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC
    let file = open(temporary, flags, 0o600)
    guard file >= 0 else { return false }
    guard writeAll(bytes, to: file), fsync(file) == 0 else {
      let why = errno
      close(file)
      unlink(temporary)
      errno = why
      return false
    }
    close(file)
    if replacing {
      guard rename(temporary, path) == 0 else {
        let why = errno
        unlink(temporary)
        errno = why
        return false
      }
    } else {
      defer { unlink(temporary) }
      guard link(temporary, path) == 0 else { return false }
    }
    return syncParent(of: path)
  }

  private static func writeAll(_ bytes: [UInt8], to file: Int32) -> Bool {
    var written = 0
    while written < bytes.count {
      let count = bytes.withUnsafeBytes { all in
        Glibc.write(file, all.baseAddress.map { $0 + written }, bytes.count - written)
      }
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { return false }
      written += count
    }
    return true
  }

  private static func syncParent(of path: String) -> Bool {
    let parent = path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : path[..<$0] } ?? "."
    let directory = open(String(parent), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard directory >= 0 else { return false }
    defer { close(directory) }
    return fsync(directory) == 0
  }

  /// **Returns**: `nil` when it cannot be read.
  package static func read(_ path: String) -> [UInt8]? {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return nil }
    defer { close(file) }
    var bytes: [UInt8] = []
    var part = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count = Glibc.read(file, &part, part.count)
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { return nil }
      if count == 0 { return bytes }
      bytes += part[..<count]
    }
  }
}
