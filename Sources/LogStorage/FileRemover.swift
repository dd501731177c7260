import Glibc

/// Gives the disk back what the engine has deleted, in small pieces.
///
/// Where a file system tells its device at once which blocks are free (mount option `discard`, as
/// many images of virtual machines have it), nothing else is synced while a file is deleted: 1.4 ms
/// for each MiB, measured, so 90 ms for a WAL of 64 MiB, three times on a machine with three
/// stores. So each of the engine's files has a second name. The engine deletes its own, which takes
/// no time; a file that has only the second one left is shortened piece by piece, and then deleted.
///
/// ```
///   000012.log ────┐
///                  ├── the file         the engine's name is gone ─▶ shortened ─▶ deleted
///   removed/4711 ──┘   (inode 4711)
/// ```
/// Where names cannot be given to files, the engine's files go as the engine deletes them.
///
/// **Invariant**: nothing that the engine has a name for is shortened.
/// **Isolation**: any thread; `stop` before the last reference goes.
final class FileRemover: @unchecked Sendable {
  // Safety: `isStopping` is read and written inside of `monitor.withLock` only, `thread` is written
  // once in `init`; the names belong to the thread until it has ended.
  private static let lookInterval: UInt32 = 500
  /// In which time what waits should be gone, so that a busy store does not fill its disk.
  private static let emptiedWithin: UInt32 = 4_000
  private static let pauseRange: ClosedRange<UInt32> = 2...20

  private let monitor = Monitor()
  private var isStopping = false
  private var names: SecondNames
  private var thread: PosixThread?

  /// - Parameter directory: of the store. What an earlier process had no time for goes on.
  init(directory: String) {
    names = SecondNames(of: directory)
    thread = PosixThread { [self] in run() }
  }

  /// Ends the thread. What still waits goes on at the next start.
  func stop() {
    monitor.withLock { isStopping = true }
    monitor.signal()
    thread?.join()
    thread = nil
    names.withdraw()
  }

  private func run() {
    var sinceLook: UInt32 = Self.lookInterval
    while true {
      if sinceLook >= Self.lookInterval {
        names.look()
        sinceLook = 0
      }
      var pause = Self.lookInterval
      if names.shorten() {
        let wanted = Self.emptiedWithin / UInt32(clamping: max(1, names.waitingPieces))
        pause = min(max(wanted, Self.pauseRange.lowerBound), Self.pauseRange.upperBound)
      }
      let isEnding = monitor.withLock {
        if !isStopping { monitor.wait(milliseconds: pause) }
        return isStopping
      }
      if isEnding { return }
      sinceLook += pause
    }
  }
}

/// The second names of one store's files; see `FileRemover`.
struct SecondNames {
  /// Beside the engine's files, where it does not look.
  static let directoryName = "removed"
  /// What a file is shortened by. **Units**: bytes.
  static let pieceBytes: Int = 1 << 20
  private static let endings = [".log", ".sst"]

  private let directory: String
  private let place: String
  /// The engine's names that were seen, and the file of each.
  private var inodes: [String: UInt] = [:]
  /// Files that have no other name left, and their lengths.
  private var waiting: [(inode: UInt, bytes: Int)] = []
  private var isPossible = true

  init(of directory: String) {
    self.directory = directory
    place = "\(directory)/\(Self.directoryName)"
    for name in DirectoryContent.names(in: place) ?? [] {
      if let inode = UInt(name) { awaitIfAlone(inode) }
    }
  }

  /// Pieces that are still to be given back.
  var waitingPieces: Int {
    waiting.reduce(0) { $0 + $1.bytes / Self.pieceBytes + 1 }
  }

  /// Gives new files their second name, and finds those that have lost the first.
  mutating func look() {
    guard isPossible, let names = DirectoryContent.names(in: directory) else { return }
    let present = Set(names.filter { name in Self.endings.contains { name.hasSuffix($0) } })
    for name in present where inodes[name] == nil { add(name) }
    for (name, inode) in inodes where !present.contains(name) {
      inodes[name] = nil
      awaitIfAlone(inode)
    }
  }

  private mutating func add(_ name: String) {
    let path = "\(directory)/\(name)"
    guard let file = Self.status(path) else { return }
    guard mkdir(place, 0o700) == 0 || errno == EEXIST else { return isPossible = false }
    guard link(path, secondName(file.inode)) == 0 || errno == EEXIST else {
      // Deleted meanwhile, or a file system that knows one name for each file.
      if errno != ENOENT { isPossible = false }
      return
    }
    inodes[name] = file.inode
  }

  private mutating func awaitIfAlone(_ inode: UInt) {
    guard let file = Self.status(secondName(inode)), file.linkCount == 1 else { return }
    waiting.append((inode, file.bytes))
  }

  /// Gives one piece back.
  ///
  /// **Returns**: whether something is left to be given back.
  mutating func shorten() -> Bool {
    guard let last = waiting.indices.last else { return false }
    let path = secondName(waiting[last].inode)
    waiting[last].bytes -= Self.pieceBytes
    if waiting[last].bytes <= 0 || truncate(path, waiting[last].bytes) != 0 {
      unlink(path)
      waiting.removeLast()
    }
    return !waiting.isEmpty
  }

  /// Takes the second names back from files that have their first: a copy of a directory at rest
  /// holds every file once.
  mutating func withdraw() {
    for name in DirectoryContent.names(in: place) ?? [] {
      guard let inode = UInt(name), let file = Self.status(secondName(inode)) else { continue }
      if file.linkCount > 1 { unlink(secondName(inode)) }
    }
    inodes = [:]
    rmdir(place)
  }

  private func secondName(_ inode: UInt) -> String { "\(place)/\(inode)" }

  private static func status(
    _ path: String
  ) -> (inode: UInt, bytes: Int, linkCount: UInt)? {
    var found = stat()
    guard lstat(path, &found) == 0 else { return nil }
    return (UInt(found.st_ino), Int(found.st_size), UInt(found.st_nlink))
  }
}
