import ChatModel
import ClientProtocol
import NodeProtocol
import Primitives
import Routing

/// What registration, login and logout ask of the shards.
extension GatewayCore {
  // MARK: Accounts

  mutating func createAccount(
    _ command: CreateUser, call: CallID, now: Instant, into actions: inout [GatewayAction]
  ) {
    let taken = ServiceError(.alreadyExists, "the handle \(command.handle) is taken")
    request(
      .handle(command.handle), .query(.handle(command.handle)),
      completion: .call { core, outcome, now, actions in
        switch outcome {
        case .answered(.handle(nil)): break
        case .answered(.handle(.some)): return actions.append(.finish(call, .failed(taken)))
        default: return actions.append(.finish(call, .failed(Self.error(of: outcome))))
        }
        core.request(
          .user(command.user), .command(Command.createUser(command).encoded()),
          completion: .call { _, outcome, _, actions in
            switch outcome {
            case .applied(.userActive):
              let profile = UserProfile(
                user: command.user, handle: command.handle, displayName: command.displayName)
              actions.append(.finish(call, .account(profile)))
            case .applied(.refused(let error)) where error.code == .alreadyExists:
              actions.append(.finish(call, .failed(taken)))
            default: actions.append(.finish(call, .failed(Self.error(of: outcome))))
            }
          }, now: now, into: &actions)
      }, now: now, into: &actions)
  }

  mutating func findCredentials(
    _ handle: Handle, call: CallID, now: Instant, into actions: inout [GatewayAction]
  ) {
    request(
      .handle(handle), .query(.handle(handle)),
      completion: .call { core, outcome, now, actions in
        switch outcome {
        case .answered(.handle(nil)): actions.append(.finish(call, .credentials(nil)))
        case .answered(.handle(let user?)):
          core.request(
            .user(user), .query(.credentials(user)),
            completion: .call { _, outcome, _, actions in
              guard case .answered(.credentials(let credentials)) = outcome else {
                return actions.append(.finish(call, .failed(Self.error(of: outcome))))
              }
              actions.append(.finish(call, .credentials(credentials)))
            }, now: now, into: &actions)
        default: actions.append(.finish(call, .failed(Self.error(of: outcome))))
        }
      }, now: now, into: &actions)
  }

  /// A command of an account's that either happens or is refused.
  mutating func executeAccountCommand(
    _ command: Command, call: CallID, now: Instant, into actions: inout [GatewayAction]
  ) {
    guard let entity = command.entity else { return }
    request(
      entity, .command(command.encoded()),
      completion: .call { _, outcome, _, actions in
        switch outcome {
        case .applied(.sessionOpened), .applied(.refreshTokenRotated), .applied(.sessionClosed):
          actions.append(.finish(call, .done))
        default: actions.append(.finish(call, .failed(Self.error(of: outcome))))
        }
      }, now: now, into: &actions)
  }
}
