import Primitives
import Glibc

/// What a loss of power does, and its contrary.
extension Volume {
  /// Everything goes back to what is stored.
  mutating func lose() {
    for file in unsyncedFiles.values { change(file) { $0.lose() } }
    loseNames()
  }

  /// A random part of what is unsynced is stored, the rest is lost: of the changes of names those
  /// up to one that is drawn, of the contents of each file some sectors.
  ///
  /// The same seed after the same history chooses the same.
  ///
  /// **Throws**: what the backing directory answers.
  mutating func tear(seed: UInt64) throws(DiskError) {
    var chance = SeededRandom(seed: seed)
    let keptCount = Int(chance.next(upperBound: UInt64(changes.count + 1)))
    changes.removeLast(changes.count - keptCount)
    _ = try storeNames()
    loseNames()
    for file in unsyncedFiles.values.sorted(by: { $0.number < $1.number }) {
      try change(file) { (content) throws(DiskError) in
        content.tear(&chance)
        try content.store(to: file.backing)
      }
    }
  }

  /// Stores everything.
  ///
  /// **Throws**: what the backing directory answers.
  mutating func storeAll() throws(DiskError) {
    for file in unsyncedFiles.values {
      try change(file) { (content) throws(DiskError) in try content.store(to: file.backing) }
      try file.backing.sync(withMetadata: true)
    }
    for directory in try storeNames() { try directory.sync(withMetadata: true) }
  }

  /// Changes one bit of what is stored. Where something unsynced lies over it, it shows only after
  /// that is lost; an fsync of that repairs it.
  ///
  /// **Throws**: `ENOENT`, `EISDIR`, `ERANGE` when the stored file ends before `offset`.
  mutating func flip(_ path: String, offset: Int, bit: Int) throws(DiskError) {
    guard let file = try node(at: path) as? FileNode else { throw DiskError(EISDIR) }
    guard offset < file.content.storedBytes else { throw DiskError(ERANGE) }
    var byte: UInt8 = 0
    try withUnsafeMutableBytes(of: &byte) { (bytes) throws(DiskError) in
      try file.backing.read(into: bytes, from: offset)
    }
    try file.backing.write([byte ^ 1 << UInt8(bit)], at: offset)
  }

  /// How many files programs see.
  var fileCount: Int {
    var found: Set<UInt64> = []
    func walk(_ directory: DirectoryNode) {
      for node in directory.names.values {
        if let directory = node as? DirectoryNode {
          walk(directory)
        } else {
          found.insert(node.number)
        }
      }
    }
    walk(root)
    return found.count
  }

  private mutating func loseNames() {
    changes = []
    for node in nodes.values {
      (node as? FileNode)?.linkCount = 0
      if let directory = node as? DirectoryNode { directory.names = directory.storedNames }
    }
    var seen: Set<UInt64> = []
    Self.showStored(root, &seen)
    for file in unsyncedFiles.values { dropIfUnreachable(file) }
  }

  private static func showStored(_ directory: DirectoryNode, _ seen: inout Set<UInt64>) {
    directory.names = directory.storedNames
    for node in directory.names.values {
      if let directory = node as? DirectoryNode { showStored(directory, &seen) }
      guard let file = node as? FileNode else { continue }
      file.linkCount = seen.insert(file.number).inserted ? 1 : file.linkCount + 1
    }
  }
}
