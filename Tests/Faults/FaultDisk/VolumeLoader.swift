import CFUSE  // Here `stat` is libfuse's, the same structure.
import Glibc

/// Makes the nodes of what lies in a backing directory.
struct VolumeLoader {
  private struct Identity: Hashable {
    let device: dev_t
    let number: ino_t
  }

  private(set) var nextNumber: UInt64
  /// A file with several names is one node.
  private var files: [Identity: FileNode] = [:]

  init(nextNumber: UInt64) { self.nextNumber = nextNumber }

  mutating func directory(_ backing: BackingFile) throws(DiskError) -> DirectoryNode {
    let node = DirectoryNode(
      number: takeNumber(), attributes: Attributes(try backing.status()), backing: backing)
    for name in try Self.names(in: backing).sorted() {
      node.storedNames[name] = try child(name, of: backing)
    }
    node.names = node.storedNames
    return node
  }

  private mutating func child(_ name: String, of parent: BackingFile) throws(DiskError) -> Node? {
    var status = stat()
    guard fstatat(parent.descriptor, name, &status, AT_SYMLINK_NOFOLLOW) == 0 else { throw .last }
    switch status.st_mode & S_IFMT {
    case S_IFDIR:
      return try directory(BackingFile.open(name, in: parent, flags: O_RDONLY | O_DIRECTORY))
    case S_IFREG:
      let identity = Identity(device: status.st_dev, number: status.st_ino)
      let file =
        if let known = files[identity] {
          known
        } else {
          FileNode(
            number: takeNumber(), attributes: Attributes(status),
            backing: try BackingFile.open(name, in: parent, flags: O_RDWR),
            storedBytes: Int(status.st_size))
        }
      file.linkCount += 1
      files[identity] = file
      return file
    default:
      return nil
    }
  }

  private mutating func takeNumber() -> UInt64 {
    defer { nextNumber += 1 }
    return nextNumber
  }

  private static func names(in directory: BackingFile) throws(DiskError) -> [String] {
    // The stream closes its descriptor.
    let descriptor = openat(directory.descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0, let stream = fdopendir(descriptor) else { throw .last }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name != ".", name != ".." { names.append(name) }
    }
    return names
  }
}
