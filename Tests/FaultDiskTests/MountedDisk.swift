import FaultSupport
import Glibc
import Testing

/// A `fault-disk` over a directory of one test alone.
final class MountedDisk {
  static let isPossible = geteuid() == 0 && access("/dev/fuse", R_OK | W_OK) == 0
  static let reason: Comment = "needs root and /dev/fuse"

  let tool: FaultTool
  private let folder: TemporaryFolder

  /// What programs see.
  var path: String { folder.file("seen") }
  /// What is stored.
  var backing: String { folder.file("stored") }
  /// For what a test needs besides.
  func file(_ name: String) -> String { folder.file(name) }

  private init(in folder: TemporaryFolder) throws {
    self.folder = folder
    for name in ["stored", "seen"] { mkdir(folder.file(name), 0o755) }
    tool = try FaultTool(
      "fault-disk", [folder.file("stored"), folder.file("seen")],
      controlPath: folder.file("control"))
  }

  /// Mounts, runs `body`, unmounts and removes everything.
  static func run(_ body: (MountedDisk) throws -> Void) throws {
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    let disk = try MountedDisk(in: folder)
    defer {
      // A tool that had to be killed leaves its mount behind.
      if !disk.tool.stop() { umount2(disk.path, Int32(MNT_DETACH)) }
    }
    try body(disk)
  }
}

/// A call of the system that failed.
struct CallError: Error, Equatable {
  let code: Int32

  static var last: CallError { CallError(code: errno) }
}

/// A file as programs use it.
final class OpenFile: Sendable {
  let descriptor: Int32

  init(_ path: String, _ flags: Int32 = O_RDWR | O_CREAT) throws {
    descriptor = open(path, flags | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw CallError.last }
  }

  deinit { close(descriptor) }

  func write(_ bytes: [UInt8], at start: Int? = nil) throws {
    let count =
      if let start {
        pwrite(descriptor, bytes, bytes.count, start)
      } else {
        Glibc.write(descriptor, bytes, bytes.count)
      }
    guard count == bytes.count else { throw CallError.last }
  }

  func sync() throws { guard fsync(descriptor) == 0 else { throw CallError.last } }
  func syncData() throws { guard fdatasync(descriptor) == 0 else { throw CallError.last } }

  func resize(to bytes: Int) throws {
    guard ftruncate(descriptor, bytes) == 0 else { throw CallError.last }
  }
}

enum Files {
  static func write(_ text: String, to path: String) throws {
    try OpenFile(path, O_WRONLY | O_CREAT | O_TRUNC).write(Array(text.utf8))
  }

  static func bytes(_ path: String) throws -> [UInt8] {
    let file = try OpenFile(path, O_RDONLY)
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 64 << 10)
    while true {
      let count = read(file.descriptor, &buffer, buffer.count)
      guard count >= 0 else { throw CallError.last }
      if count == 0 { return bytes }
      bytes += buffer[..<count]
    }
  }

  /// **Returns**: `nil` when there is no such file.
  static func text(_ path: String) throws -> String? {
    do {
      return String(decoding: try bytes(path), as: UTF8.self)
    } catch let error as CallError where error.code == ENOENT {
      return nil
    }
  }

  /// An fsync of a file or directory.
  static func sync(_ path: String) throws { try OpenFile(path, O_RDONLY).sync() }

  static func names(_ path: String) throws -> [String] {
    guard let stream = opendir(path) else { throw CallError.last }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name != ".", name != ".." { names.append(name) }
    }
    return names.sorted()
  }

  /// All below `path`: contents of files, `nil` for directories, by relative path.
  static func tree(_ path: String) throws -> [String: [UInt8]?] {
    var found: [String: [UInt8]?] = [:]
    for name in try names(path) {
      var status = stat()
      guard lstat("\(path)/\(name)", &status) == 0 else { throw CallError.last }
      if status.st_mode & S_IFMT == S_IFDIR {
        found[name] = .some(nil)
        for (inner, bytes) in try tree("\(path)/\(name)") { found["\(name)/\(inner)"] = bytes }
      } else {
        let bytes = try bytes("\(path)/\(name)")
        guard bytes.count == status.st_size else { throw CallError(code: ERANGE) }
        found[name] = bytes
      }
    }
    return found
  }
}
