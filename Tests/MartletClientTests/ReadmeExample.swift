import MartletClient

/// The README's example as a program has it around itself. `TidyTests` holds the README to it.
///
/// - Parameter print: in place of the standard library's.
func readmeExample(
  gateways: [String], secret: String, print: (UInt64, String) -> Void
) async throws {
  let credentials = try await MartletClient.login(
    gateways: gateways, handle: "ada", password: secret)
  let client = try MartletClient(gateways: gateways, credentials: credentials)
  try await client.connect()
  let conversation = try await client.createDirect(with: "grace")
  let sent = try await client.send("Good morning", to: conversation.id)
  for try await event in client.events {
    if case .message(let text) = event.content { print(event.sequence, text) }
    if event.sequence == sent.sequence { client.close() }
  }
}
