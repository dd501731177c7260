import CFUSE  // Here `stat` is libfuse's, the same structure.
import Glibc

/// An open file or directory of the backing directory, closed with the last reference.
///
/// **Isolation**: any thread.
final class BackingFile: Sendable {
  let descriptor: Int32

  init(descriptor: Int32) { self.descriptor = descriptor }

  deinit { close(descriptor) }

  /// **Throws**: what opening answers.
  static func open(
    _ name: String, in directory: BackingFile? = nil, flags: Int32, mode: mode_t = 0
  ) throws(DiskError) -> BackingFile {
    let descriptor = openat(
      directory?.descriptor ?? AT_FDCWD, name, flags | O_CLOEXEC | O_NOFOLLOW, mode)
    guard descriptor >= 0 else { throw .last }
    return BackingFile(descriptor: descriptor)
  }

  /// A file without a name.
  static func nameless(in directory: BackingFile, mode: mode_t) throws(DiskError) -> BackingFile {
    try open(".", in: directory, flags: oTemporaryFile | O_RDWR, mode: mode)
  }

  /// `O_TMPFILE`, a macro that Swift does not see.
  private static let oTemporaryFile: Int32 = 0o20_000_000 | O_DIRECTORY

  func status() throws(DiskError) -> stat {
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw .last }
    return status
  }

  /// **Throws**: also when the file ends before the buffer is full: somebody else has changed it.
  func read(into buffer: UnsafeMutableRawBufferPointer, from start: Int) throws(DiskError) {
    var done = 0
    while done < buffer.count {
      let count = pread(
        descriptor, buffer.baseAddress?.advanced(by: done), buffer.count - done, start + done)
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { throw .last }
      guard count > 0 else { throw DiskError(EIO) }
      done += count
    }
  }

  func write(_ bytes: [UInt8], at start: Int) throws(DiskError) {
    var done = 0
    while done < bytes.count {
      let count = bytes.withUnsafeBytes {
        pwrite(descriptor, $0.baseAddress?.advanced(by: done), $0.count - done, start + done)
      }
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { throw .last }
      done += count
    }
  }

  func resize(to bytes: Int) throws(DiskError) {
    guard ftruncate(descriptor, bytes) == 0 else { throw .last }
  }

  /// - Parameter withMetadata: whether times and the like matter too.
  func sync(withMetadata: Bool) throws(DiskError) {
    guard (withMetadata ? fsync(descriptor) : fdatasync(descriptor)) == 0 else { throw .last }
  }

  /// Gives it a name, also when it has none yet.
  func link(in directory: BackingFile, as name: String) throws(DiskError) {
    let path = "/proc/self/fd/\(descriptor)"
    let result = linkat(AT_FDCWD, path, directory.descriptor, name, AT_SYMLINK_FOLLOW)
    guard result == 0 else { throw .last }
  }
}
