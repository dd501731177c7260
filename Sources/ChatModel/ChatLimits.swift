/// Bounds of what a client may ask, checked at the gateway and again when a command is applied.
package enum ChatLimits {
  /// **Units**: bytes of UTF-8.
  package static let messageTextBytesMax = 65_536
  /// **Units**: bytes of UTF-8.
  package static let titleBytesMax = 256
  /// **Units**: bytes of UTF-8.
  package static let displayNameBytesMax = 128
  /// **Units**: bytes of UTF-8.
  package static let deviceNameBytesMax = 64
  /// Members of one conversation.
  package static let membersMax = 10_000
  /// Members named in one command.
  package static let membersPerCommandMax = 256
  /// Conversations of one user.
  package static let conversationsPerUserMax = 20_000
  /// Devices (logins) of one user; a further login ends the one that was used longest ago.
  package static let devicesPerUserMax = 64
  /// After a refresh token was replaced, for this long its device may ask for the answer again;
  /// whoever shows it later ends the session. **Units**: milliseconds.
  package static let refreshRepeatTime: UInt64 = 60_000
  /// Client ids remembered per device and conversation.
  package static let idempotencyWindowCount = 1_024
  /// Sends of one device in one conversation that may wait for an answer at a time.
  package static let unacknowledgedSendsMax = 256
  /// Events of one page of history.
  package static let historyPageMax = 200
  /// **Units**: bytes of the PHC string.
  package static let passwordHashBytesMax = 256
}
