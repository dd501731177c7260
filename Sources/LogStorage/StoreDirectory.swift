import Glibc

/// What lies in a data directory before the engine opens it.
///
/// A directory that is being initialised holds a marker until its store record is durable. Only
/// with the marker may the engine create a database, so a directory that has lost its `CURRENT`
/// file is reported as damaged and never taken for a new one.
struct StoreDirectory {
  enum Content {
    case empty
    /// An earlier initialisation did not finish; nothing in it was ever promised to anybody.
    case initialising
    case database
    case damagedDatabase
    case somethingElse(String)
  }

  private static let markerName = "INITIALISING"
  let path: String

  private var markerPath: String { "\(path)/\(Self.markerName)" }

  func content() throws(StorageError) -> Content {
    let names = try fileNames()
    if names.contains(Self.markerName) { return .initialising }
    if names.contains("CURRENT") { return .database }
    guard let first = names.first else { return .empty }
    let isEngine = names.contains {
      $0 == "IDENTITY" || $0.hasPrefix("MANIFEST-") || $0.hasPrefix("OPTIONS-")
        || $0.hasSuffix(".sst")
    }
    return isEngine ? .damagedDatabase : .somethingElse(first)
  }

  /// Makes the directory when it is missing; its parent must exist.
  func create() throws(StorageError) {
    if mkdir(path, 0o700) == 0 {
      try sync(parentPath)
    } else if errno != EEXIST {
      throw failure("mkdir")
    }
  }

  func mark() throws(StorageError) {
    let file = open(markerPath, O_CREAT | O_WRONLY | O_CLOEXEC, 0o600)
    guard file >= 0 else { throw failure("create \(Self.markerName)") }
    close(file)
    try sync(path)
  }

  func unmark() throws(StorageError) {
    guard unlink(markerPath) == 0 || errno == ENOENT else {
      throw failure("remove \(Self.markerName)")
    }
    try sync(path)
  }

  private var parentPath: String {
    guard let slash = path.lastIndex(of: "/") else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
  }

  private func sync(_ directory: String) throws(StorageError) {
    let file = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard file >= 0 else { throw failure("open") }
    defer { close(file) }
    guard fsync(file) == 0 else { throw failure("fsync") }
  }

  private func fileNames() throws(StorageError) -> [String] {
    guard let stream = opendir(path) else { throw failure("open") }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      // A file system mounted as the data directory brings `lost+found`.
      if name != ".", name != "..", name != "lost+found" { names.append(name) }
    }
    return names
  }

  private func failure(_ what: String) -> StorageError {
    .openFailed(directory: path, what: "\(what): \(String(cString: strerror(errno)))")
  }
}
