import ChatModel
import Primitives

/// How a client behaves. The defaults suit a person's device and a program alike.
public struct ClientConfiguration: Hashable, Sendable {
  /// How frames are written on the WebSocket.
  public enum Encoding: Hashable, Sendable {
    /// `martlet.v1.proto`
    case protobuf
    /// `martlet.v1.json`: readable in a trace.
    case json
  }

  /// How frames are coded.
  public var encoding = Encoding.protobuf
  /// Whether events are wanted. Without them a connection costs the gateway nearly nothing.
  public var wantsEvents = true
  /// The PEM file with the certificates that a gateway's chain must lead to; `nil` means the
  /// system's.
  public var trustRootsFile: String?
  /// The name in the gateways' certificate where it differs from the URL's host.
  public var serverName: String?
  /// Until when a call gives its answer or fails. **Units**: milliseconds.
  public var callTimeoutMilliseconds: UInt64 = 30_000
  /// A call fails already when no gateway could be reached for so long and nothing of it was sent:
  /// short where a person waits. **Units**: milliseconds.
  public var unreachableTimeoutMilliseconds: UInt64 = 30_000
  /// From the start of an attempt to the gateway's welcome. **Units**: milliseconds.
  public var connectTimeoutMilliseconds: UInt64 = 5_000
  /// The pause before the n-th attempt is random below this times 2ⁿ. **Units**: milliseconds.
  public var backoffBaseMilliseconds: UInt64 = 100
  /// The longest pause before an attempt. **Units**: milliseconds.
  public var backoffMaxMilliseconds: UInt64 = 10_000
  /// A gateway that said nothing for so long is asked for a sign of life. **Units**: milliseconds.
  public var pingIntervalMilliseconds: UInt64 = 10_000
  /// A gateway that said nothing for so long is given up. **Units**: milliseconds.
  public var silenceMaxMilliseconds: UInt64 = 20_000
  /// Sends of one conversation that are under way at a time: 1 to 256. With more than one, a
  /// message that a gateway refuses for lack of room (and that is then sent again) may come after a
  /// later one that found room; with 1 the order of the calls is the order in the conversation in
  /// every case.
  public var sendsInFlightMax = ChatLimits.unacknowledgedSendsMax
  /// Events that wait to be consumed before reading from the gateway stops.
  public var bufferedEventsMax = 1_024
  /// The gateway's path for WebSockets.
  public var webSocketPath = "/v1/ws"

  /// The defaults.
  public init() {}
}

extension ClientConfiguration {
  /// **Returns**: what of these settings concerns the protocol, with every value in its bounds.
  func machine(gatewayCount: Int) -> ClientSessionMachine.Configuration {
    var machine = ClientSessionMachine.Configuration(gatewayCount: gatewayCount)
    machine.wantsEvents = wantsEvents
    machine.connectTimeout = Self.duration(connectTimeoutMilliseconds)
    machine.unreachableTimeout = Self.duration(unreachableTimeoutMilliseconds)
    machine.backoffBase = Self.duration(backoffBaseMilliseconds)
    machine.backoffMax = Self.duration(backoffMaxMilliseconds)
    machine.pingInterval = Self.duration(pingIntervalMilliseconds)
    machine.silenceMax = Self.duration(silenceMaxMilliseconds)
    machine.sendsInFlightMax = min(max(1, sendsInFlightMax), ChatLimits.unacknowledgedSendsMax)
    machine.bufferedEventsMax = max(4, bufferedEventsMax)
    return machine
  }

  var callTimeout: Milliseconds { Self.duration(callTimeoutMilliseconds) }

  /// **Units**: milliseconds: a year, so that sums of instants and durations cannot overflow.
  private static let durationMax: UInt64 = 365 * 86_400_000

  private static func duration(_ milliseconds: UInt64) -> Milliseconds {
    Milliseconds(min(max(1, milliseconds), durationMax))
  }
}
