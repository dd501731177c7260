import ArgumentParser
import ControlSocket
import Glibc

/// A directory that behaves like a disk with a volatile write cache, for tests of what a loss of
/// power or a dying disk does to a program.
///
/// What it means for something to be unsynced: see `Volume`. Ends at SIGTERM, unmounts, and stores
/// nothing that was not synced.
@main
struct FaultDisk: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "fault-disk",
    abstract: "Mounts a directory as a disk that can lose what was not synced.",
    discussion: """
      Needs root and /dev/fuse. Prints 'ready' when MOUNTPOINT can be used.

      Commands, a line each, over the control socket; each is answered by 'ok' or 'error: REASON':

        lose                        back to what was synced, names included
        tear SEED                   keep a random part of what is unsynced, lose the rest
        sync                        store everything
        eio on|off                  reads, writes and fsyncs of files answer EIO
        enospc on|off               writes, allocations and creations answer ENOSPC
        fsync ok                    fsyncs work
        fsync fail                  fsyncs answer EIO; the bytes they should have stored are lost
        fsync stall MILLISECONDS    fsyncs begin so much later, or when told otherwise
        flip PATH OFFSET BIT        change bit 0…7 of a stored byte
        stat                        one line of JSON: unsyncedBytes, unsyncedFiles, unsyncedNames,
                                    fsyncs, writes, reads, files
      """)

  @Argument(help: "The directory that holds what is stored.")
  var backing: String

  @Argument(help: "Where it is seen: an empty directory.")
  var mountpoint: String

  @Option(help: "The unix socket that takes commands.")
  var control: String

  @Flag(help: "Answer the kernel on one thread only: a stalled fsync stalls everything.")
  var singleThread = false

  func run() throws {
    // The kernel has taken the mask of the program that creates a file into account already.
    umask(0)
    Self.raiseOpenFilesLimit()
    EndSignals.unblock()
    let disk: Disk
    do {
      disk = try Disk(backingPath: backing)
    } catch {
      throw MountError(description: "\(backing): \(error.reason)")
    }
    let session = try FuseSession(disk, at: mountpoint)
    let socket = try ControlSocket(path: control) { (command) throws(CommandRefusal) in
      try disk.carryOut(command)
    }
    print("ready")
    fflush(nil)
    let isClean = session.run(onSingleThread: singleThread)
    socket.close()
    if !isClean { throw ExitCode.failure }
  }

  /// Every file holds a descriptor.
  private static func raiseOpenFilesLimit() {
    var limit = rlimit()
    getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    limit.rlim_cur = limit.rlim_max
    setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
  }
}
