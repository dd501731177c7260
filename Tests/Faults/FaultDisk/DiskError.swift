import Glibc

/// What a call of the file system answers when it fails.
struct DiskError: Error, Equatable {
  /// An `errno`.
  let code: Int32

  init(_ code: Int32) { self.code = code }

  /// The failure of the system call that was just made.
  static var last: DiskError { DiskError(errno) }

  var reason: String { String(cString: strerror(code)) }
}
