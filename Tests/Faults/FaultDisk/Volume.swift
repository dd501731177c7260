import Glibc

/// A file system with the memory of a disk: what programs see, what is stored in the backing
/// directory, and what lies between.
///
/// **Contents** of a file are unsynced from a write or truncation to the fsync of the file.
/// **Names** are unsynced from their change to the fsync of any directory, which stores all of them
/// in their order. An fsync of a file stores no name: a new file whose directory was not synced is
/// lost with all that was synced in it. POSIX promises no more, though many file systems do.
/// **Attributes** are stored at once.
///
/// **Isolation**: a value under the lock of `Disk`.
struct Volume: Sendable {
  static let rootNumber: UInt64 = 1
  /// Like a kernel, the volume stores by itself what it cannot keep in memory: the file that is
  /// being written when this many bytes are unsynced.
  static let unsyncedBytesMax = 1 << 30
  /// And all names when so many changes of them are unsynced.
  static let unsyncedChangesMax = 100_000

  let root: DirectoryNode
  let backing: BackingFile
  /// What the kernel knows, by number; the root always.
  var nodes: [UInt64: Node]
  var unsyncedFiles: [UInt64: FileNode] = [:]
  private(set) var unsyncedBytes = 0
  var changes: [NameChange] = []
  var faults = Faults()
  var counters = DiskCounters()
  private(set) var listings: [UInt64: [DirectoryEntry]] = [:]
  private var nextNumber: UInt64

  /// Reads all names below `path`. What is neither a file nor a directory is not shown.
  ///
  /// **Throws**: what the system answers.
  init(backingPath path: String) throws(DiskError) {
    backing = try BackingFile.open(path, flags: O_RDONLY | O_DIRECTORY)
    var loader = VolumeLoader(nextNumber: Self.rootNumber)
    root = try loader.directory(backing)
    nextNumber = loader.nextNumber
    nodes = [root.number: root]
  }

  mutating func newNumber() -> UInt64 {
    defer { nextNumber += 1 }
    return nextNumber
  }

  func node(_ number: UInt64) throws(DiskError) -> Node {
    guard let node = nodes[number] else { throw DiskError(ESTALE) }
    return node
  }

  func file(_ number: UInt64) throws(DiskError) -> FileNode {
    guard let file = try node(number) as? FileNode else { throw DiskError(EISDIR) }
    return file
  }

  func directory(_ number: UInt64) throws(DiskError) -> DirectoryNode {
    guard let directory = try node(number) as? DirectoryNode else { throw DiskError(ENOTDIR) }
    return directory
  }

  /// The kernel drops `count` of its references.
  mutating func forget(_ number: UInt64, _ count: UInt64) {
    guard number != Self.rootNumber, let node = nodes[number] else { return }
    node.lookupCount -= min(count, node.lookupCount)
    guard node.lookupCount == 0 else { return }
    nodes[number] = nil
    dropIfUnreachable(node)
  }

  /// Nobody can sync a file any more that has no name and is not open.
  func isUnreachable(_ file: FileNode) -> Bool { file.linkCount == 0 && file.lookupCount == 0 }

  mutating func dropIfUnreachable(_ node: Node) {
    guard let file = node as? FileNode, isUnreachable(file) else { return }
    change(file) { $0.lose() }
  }

  /// The only way to change the content of a file: keeps the books.
  mutating func change<Failure: Error>(
    _ file: FileNode, _ body: (inout FileContent) throws(Failure) -> Void
  ) throws(Failure) {
    unsyncedBytes -= file.content.written.byteCount
    defer {
      unsyncedBytes += file.content.written.byteCount
      unsyncedFiles[file.number] = file.content.isSynced ? nil : file
    }
    try body(&file.content)
  }

  mutating func add(_ change: NameChange) {
    changes.append(change)
    // A failure shows when the directory is synced.
    if changes.count > Self.unsyncedChangesMax { _ = try? storeNames() }
  }

  /// **Returns**: the directories to be synced.
  /// **Throws**: what the backing directory answers; the change that failed and those after it stay
  /// unsynced.
  mutating func storeNames() throws(DiskError) -> [BackingFile] {
    var touched: [Int32: BackingFile] = [:]
    var done = 0
    defer { changes.removeFirst(done) }
    while done < changes.count {
      for directory in try changes[done].store() { touched[directory.descriptor] = directory }
      done += 1
    }
    return Array(touched.values)
  }

  mutating func openListing(of directory: DirectoryNode) -> UInt64 {
    let handle = newNumber()
    listings[handle] = directory.entries
    return handle
  }

  /// - Parameter index: zero reads the directory anew.
  mutating func listing(
    _ handle: UInt64, of directory: DirectoryNode, from index: Int
  ) -> ArraySlice<DirectoryEntry> {
    if index == 0 { listings[handle] = directory.entries }
    return (listings[handle] ?? []).dropFirst(index)
  }

  mutating func closeListing(_ handle: UInt64) { listings[handle] = nil }
}

/// A line of a directory's listing.
struct DirectoryEntry: Sendable {
  let name: String
  let number: UInt64
  let mode: mode_t
}

extension DirectoryNode {
  var entries: [DirectoryEntry] {
    let itself = [".", ".."].map {
      DirectoryEntry(name: $0, number: number, mode: attributes.mode)
    }
    return itself
      + names.map {
        DirectoryEntry(name: $0.key, number: $0.value.number, mode: $0.value.attributes.mode)
      }
  }
}
