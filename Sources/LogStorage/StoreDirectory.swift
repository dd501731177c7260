import Glibc

/// What lies in a directory.
package enum DirectoryContent {
  /// **Returns**: the names, without the directory itself and its parent; `nil` when the directory
  /// cannot be opened, for the reason in `errno`.
  package static func names(in path: String) -> [String]? {
    guard let stream = opendir(path) else { return nil }
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
    /// Damage was met while it was in use.
    case knownDamaged
    case somethingElse(String)
  }

  private static let markerName = "INITIALISING"
  /// Says that something in the database was found damaged while it was in use.
  private static let damageName = "DAMAGED"
  /// Whose directory it is, in a file of its own: readable when the database is not.
  static let identityName = "STORE"
  /// Sub-directories with what was damaged, for a person to look at.
  private static let asidePrefix = "damaged-"
  /// Damaged databases that may lie in the directory.
  private static let asideCountMax = 3
  let path: String

  private var markerPath: String { "\(path)/\(Self.markerName)" }

  func content() throws(StorageError) -> Content {
    let names = try fileNames().filter { !Self.isBeside($0) }
    if names.contains(Self.markerName) { return .initialising }
    if names.contains(Self.damageName) { return .knownDamaged }
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

  /// Remembers that the database is damaged. Whatever stands in the way, what is damaged will be
  /// met again.
  func markDamaged() {
    let file = open("\(path)/\(Self.damageName)", O_CREAT | O_WRONLY | O_CLOEXEC, 0o600)
    if file >= 0 { close(file) }
    try? sync(path)
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
    guard let names = DirectoryContent.names(in: path) else { throw failure("open") }
    return names
  }

  /// What is not part of a database: a file system mounted as the data directory brings
  /// `lost+found`.
  private static func isBeside(_ name: String) -> Bool {
    name == "lost+found" || name == identityName || name == importsName
      || name == SecondNames.directoryName || name.hasPrefix(asidePrefix)
  }

  // MARK: Files beside the database

  /// Files that are made for the database and not in it yet.
  private static let importsName = "imports"
  private var importsPath: String { "\(path)/\(Self.importsName)" }

  func importPath(_ name: String) -> String { "\(importsPath)/\(name)" }

  func makeImports() throws(StorageError) {
    guard mkdir(importsPath, 0o700) == 0 || errno == EEXIST else {
      throw failure("mkdir \(Self.importsName)")
    }
  }

  /// Removes what an earlier process left there.
  func removeImports() {
    for name in DirectoryContent.names(in: importsPath) ?? [] { unlink(importPath(name)) }
    rmdir(importsPath)
  }

  // MARK: Setting aside

  /// Moves a damaged database into a sub-directory and makes room for a new one. Goes on where an
  /// interrupted call stopped.
  ///
  /// **Throws**: `openFailed` when as many lie there as may, or when a file cannot be moved.
  func setAside() throws(StorageError) {
    let names = try fileNames()
    let earlier = names.filter { $0.hasPrefix(Self.asidePrefix) }.count
    let isContinued = names.contains(Self.markerName)
    guard isContinued || earlier < Self.asideCountMax else {
      throw .openFailed(
        directory: path,
        what: "\(earlier) damaged databases lie in it (\(Self.asidePrefix)*); remove them first")
    }
    let aside = "\(path)/\(Self.asidePrefix)\(isContinued ? max(earlier, 1) : earlier + 1)"
    guard mkdir(aside, 0o700) == 0 || errno == EEXIST else { throw failure("mkdir \(aside)") }
    // With the marker, what is left of the database is never taken for a whole one.
    try mark()
    for name in names where !Self.isBeside(name) && name != Self.markerName {
      guard rename("\(path)/\(name)", "\(aside)/\(name)") == 0 else {
        throw failure("move \(name)")
      }
    }
    try sync(aside)
    try sync(path)
  }

  // MARK: The identity

  private var identityPath: String { "\(path)/\(Self.identityName)" }

  /// The contents of the identity file, if there is one.
  func readIdentity() -> [UInt8]? {
    let bytes = WholeFile.read(identityPath)
    return bytes?.isEmpty ?? true ? nil : bytes
  }

  /// Replaces the identity file, durably.
  func writeIdentity(_ bytes: [UInt8]) throws(StorageError) {
    guard WholeFile.write(bytes, to: identityPath) else {
      throw failure("write \(Self.identityName)")
    }
  }

  private func failure(_ what: String) -> StorageError {
    .openFailed(directory: path, what: "\(what): \(String(cString: strerror(errno)))")
  }
}
