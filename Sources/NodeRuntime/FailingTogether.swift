extension ThrowingTaskGroup {
  /// Waits until all tasks have ended, or one has failed: `waitForAll` would wait for those that
  /// never end before it told.
  ///
  /// **Throws**: the first failure.
  mutating func waitForFailure() async throws { while try await next() != nil {} }
}
