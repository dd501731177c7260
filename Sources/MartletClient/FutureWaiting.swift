import NIOCore

/// Waits for a future of the shell's, whose errors are all the client's own.
func value<Value: Sendable>(
  of future: EventLoopFuture<Value>
) async throws(MartletError) -> Value {
  do {
    return try await future.get()
  } catch let error as MartletError {
    throw error
  } catch {
    throw .unreachable("\(error)")
  }
}
