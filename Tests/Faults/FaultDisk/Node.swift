import CFUSE  // Here `stat` is libfuse's, the same structure.
import Glibc

/// Owner, rights and times of a node.
///
/// Changes of them are stored at once: no fault is made of them.
struct Attributes: Sendable {
  var mode: mode_t
  var userID: uid_t
  var groupID: gid_t
  var accessed: timespec
  var modified: timespec
  var changed: timespec

  init(_ status: stat) {
    mode = status.st_mode
    userID = status.st_uid
    groupID = status.st_gid
    accessed = status.st_atim
    modified = status.st_mtim
    changed = status.st_ctim
  }

  init(mode: mode_t, userID: uid_t, groupID: gid_t) {
    self.mode = mode
    self.userID = userID
    self.groupID = groupID
    accessed = timespec.now
    modified = accessed
    changed = accessed
  }

  mutating func touch() {
    modified = timespec.now
    changed = modified
  }
}

extension timespec {
  static var now: timespec {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return time
  }
}

/// A file or a directory, whether it has a name or not.
///
/// **Isolation**: everything that changes is read and written under the lock of `Disk`.
class Node: @unchecked Sendable {
  // Safety: `number` is constant, and nobody but `Volume` touches the rest, which is only reached
  // through the Mutex of `Disk`.

  /// What the kernel calls it; never given again.
  let number: UInt64
  var attributes: Attributes
  /// How often the kernel has been told of it and has not forgotten it since.
  var lookupCount: UInt64 = 0

  init(number: UInt64, attributes: Attributes) {
    self.number = number
    self.attributes = attributes
  }
}

final class FileNode: Node, @unchecked Sendable {
  // Safety: as for `Node`; `backing` is constant.

  /// Has no name in the backing directory until the first one is stored.
  let backing: BackingFile
  var content: FileContent
  /// Its names now, stored or not.
  var linkCount = 0

  init(number: UInt64, attributes: Attributes, backing: BackingFile, storedBytes: Int) {
    self.backing = backing
    content = FileContent(storedBytes: storedBytes)
    super.init(number: number, attributes: attributes)
  }
}

final class DirectoryNode: Node, @unchecked Sendable {
  // Safety: as for `Node`.

  /// `nil` until the directory itself is stored.
  var backing: BackingFile?
  /// What programs see.
  var names: [String: Node] = [:]
  /// What a loss of power leaves; the same as in the backing directory.
  var storedNames: [String: Node] = [:]

  init(number: UInt64, attributes: Attributes, backing: BackingFile?) {
    self.backing = backing
    super.init(number: number, attributes: attributes)
  }
}
