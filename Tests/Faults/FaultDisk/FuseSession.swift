import CFUSE
import Glibc

/// Why a file system cannot be mounted.
struct MountError: Error, CustomStringConvertible {
  let description: String
}

/// One mounted file system.
///
/// **Isolation**: the thread that has made it.
struct FuseSession: ~Copyable {
  /// An fsync that stalls holds its thread.
  private static let threadsMax: UInt32 = 64
  private static let idleThreadsMax: UInt32 = 4

  private let session: OpaquePointer
  private let disk: Unmanaged<Disk>

  /// Mounts `disk` at `path`. It answers nobody before `run`.
  ///
  /// **Throws**: when the kernel or libfuse refuses; libfuse has written why to standard error.
  init(_ disk: Disk, at path: String) throws(MountError) {
    let options = "fsname=fault-disk,subtype=fault-disk,default_permissions"
    let words = ["fault-disk", "-o", options].map { (word: String) in strdup(word) }
    defer { for word in words { free(word) } }
    var operations = FuseOperations.table()
    let kept = Unmanaged.passRetained(disk)
    var argv = words
    let made = argv.withUnsafeMutableBufferPointer { argv in
      var arguments = fuse_args(argc: Int32(argv.count), argv: argv.baseAddress, allocated: 0)
      defer { fuse_opt_free_args(&arguments) }
      return fuse_session_new(
        &arguments, &operations, MemoryLayout<fuse_lowlevel_ops>.size, kept.toOpaque())
    }
    guard let made else {
      kept.release()
      throw MountError(description: "libfuse makes no session")
    }
    guard fuse_session_mount(made, path) == 0 else {
      fuse_session_destroy(made)
      kept.release()
      throw MountError(description: "cannot mount at \(path)")
    }
    session = made
    self.disk = kept
  }

  deinit {
    fuse_session_unmount(session)
    fuse_session_destroy(session)
    disk.release()
  }

  /// Answers until SIGTERM, SIGINT or SIGHUP, or until somebody unmounts.
  func run(onSingleThread: Bool) -> Bool {
    guard fuse_set_signal_handlers(session) == 0 else { return false }
    defer { fuse_remove_signal_handlers(session) }
    if onSingleThread { return fuse_session_loop(session) >= 0 }
    let settings = fuse_loop_cfg_create()
    defer { fuse_loop_cfg_destroy(settings) }
    fuse_loop_cfg_set_max_threads(settings, Self.threadsMax)
    fuse_loop_cfg_set_idle_threads(settings, Self.idleThreadsMax)
    return shim_fuse_session_loop_mt(session, settings) >= 0
  }
}
