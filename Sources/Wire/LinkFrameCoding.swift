import ChatModel
import ClusterModel
import NodeProtocol
import Primitives

/// `martlet.v1.LinkFrame`
extension LinkFrame {
  static let requestField = 4
  static let deliveryField = 10

  func encode(into writer: inout FrameWriter) {
    switch self {
    case .hello(let hello): writer.message(1) { hello.encode(into: &$0) }
    case .heartbeat(let heartbeat):
      writer.message(2) {
        $0.fixed64(1, heartbeat.boot.rawValue)
        $0.uint(2, heartbeat.wallTime.milliseconds)
        $0.uint(3, heartbeat.condition.rawValue)
        $0.bool(4, heartbeat.isDeaf)
      }
    case .replica(let message): writer.message(3) { message.encode(into: &$0) }
    case .request(let request): writer.message(Self.requestField) { request.encode(into: &$0) }
    case .response(let response): writer.message(5) { response.encode(into: &$0) }
    case .subscribe(let subscribe):
      writer.message(6) {
        $0.uint(1, subscribe.partition.rawValue)
        $0.message(2) { subscribe.entity.encode(into: &$0) }
        if let after = subscribe.after { $0.present(3, after.rawValue) }
      }
    case .unsubscribe(let unsubscribe):
      writer.message(7) {
        $0.uint(1, unsubscribe.partition.rawValue)
        $0.message(2) { unsubscribe.entity.encode(into: &$0) }
      }
    case .subscribed(let subscribed):
      writer.message(8) {
        $0.uint(1, subscribed.partition.rawValue)
        $0.message(2) { subscribed.entity.encode(into: &$0) }
        $0.uint(3, subscribed.from.rawValue)
        $0.uint(4, subscribed.generation)
      }
    case .subscriptionEnded(let ended):
      writer.message(9) {
        $0.uint(1, ended.partition.rawValue)
        $0.message(2) { ended.entity.encode(into: &$0) }
        $0.uint(3, ended.reason.rawValue)
      }
    case .delivery(let delivery): writer.message(Self.deliveryField) { delivery.encode(into: &$0) }
    case .draining: writer.message(11) { _ in }
    }
  }

  init(decoding reader: ProtobufScanner) throws(ProtobufError) {
    var reader = reader
    guard let field = try reader.next() else { throw .unknownVariant }
    let body = try field.reader()
    switch field.number {
    case 1: self = .hello(try LinkHello(decoding: body))
    case 2: self = .heartbeat(try Heartbeat(decoding: body))
    case 3: self = .replica(try ReplicaMessage(decoding: body))
    case Self.requestField: self = .request(try Request(decoding: body))
    case 5: self = .response(try Response(decoding: body))
    case 6: self = .subscribe(try Subscribe(decoding: body))
    case 7: self = .unsubscribe(try Unsubscribe(decoding: body))
    case 8: self = .subscribed(try Subscribed(decoding: body))
    case 9: self = .subscriptionEnded(try SubscriptionEnded(decoding: body))
    case Self.deliveryField: self = .delivery(try Delivery(decoding: body))
    case 11: self = .draining
    default: throw .unknownVariant
    }
    // One variant, and nothing beside it.
    guard reader.isAtEnd else { throw .unknownVariant }
  }
}

extension LinkHello {
  fileprivate func encode(into writer: inout FrameWriter) {
    writer.identifier(1, clusterID)
    writer.string(2, node)
    writer.uint(3, role.rawValue)
    writer.fixed64(4, store?.rawValue ?? 0)
    writer.fixed64(5, boot.rawValue)
    writer.uint(6, versions.lowerBound)
    writer.uint(7, requestCredits)
    writer.uint(8, lane)
    writer.uint(9, versions.upperBound - versions.lowerBound)
  }

  fileprivate init(decoding reader: ProtobufScanner) throws(ProtobufError) {
    var reader = reader
    var clusterID: UInt128 = 0
    var node = ""
    var role: NodeRole?
    var store: UInt64 = 0
    var boot: UInt64 = 0
    var oldest: UInt32 = 0
    var later: UInt32 = 0
    var requestCredits: UInt32 = 0
    var lane: UInt32 = 0
    while let field = try reader.next() {
      switch field.number {
      case 1: clusterID = try field.identifier()
      case 2: node = try field.string()
      case 3: role = NodeRole(rawValue: try field.uint32())
      case 4: store = try field.fixed64()
      case 5: boot = try field.fixed64()
      case 6: oldest = try field.uint32()
      case 7: requestCredits = try field.uint32()
      case 8: lane = try field.uint32()
      case 9: later = try field.uint32()
      default: break
      }
    }
    let (newest, overflow) = oldest.addingReportingOverflow(later)
    guard !overflow else { throw .outOfRange(field: 9) }
    guard clusterID != 0 else { throw .missingField(1) }
    guard let role else { throw .missingField(3) }
    guard boot != 0 else { throw .missingField(5) }
    self.init(
      clusterID: clusterID, node: node, role: role, store: store == 0 ? nil : StoreID(store),
      boot: BootID(boot), lane: lane, versions: oldest...newest,
      requestCredits: requestCredits)
  }
}

extension Heartbeat {
  fileprivate init(decoding reader: ProtobufScanner) throws(ProtobufError) {
    var reader = reader
    self.init(boot: .none, wallTime: .zero)
    while let field = try reader.next() {
      switch field.number {
      case 1: boot = BootID(try field.fixed64())
      case 2: wallTime = WallTime(milliseconds: try field.uint64())
      // A later version's condition is none that this one would act upon.
      case 3: condition = Condition(rawValue: try field.uint32()) ?? .fit
      case 4: isDeaf = try field.bool()
      default: break
      }
    }
    guard boot != .none else { throw .missingField(1) }
  }
}

extension EntityID {
  fileprivate func encode(into writer: inout FrameWriter) {
    switch self {
    case .conversation(let conversation): writer.identifier(1, conversation.rawValue)
    case .user(let user): writer.identifier(2, user.rawValue)
    case .handle(let handle): writer.string(3, handle.text)
    }
  }

  fileprivate init(decoding reader: ProtobufScanner) throws(ProtobufError) {
    var reader = reader
    var found: EntityID?
    while let field = try reader.next() {
      switch field.number {
      case 1: found = .conversation(ConversationID(try field.identifier()))
      case 2: found = .user(UserID(try field.identifier()))
      case 3:
        guard let handle = Handle(try field.string()) else { throw .outOfRange(field: 3) }
        found = .handle(handle)
      default: break
      }
    }
    guard let found else { throw .unknownVariant }
    self = found
  }
}

/// What the four messages about subscriptions share.
private struct SubscriptionFields {
  private(set) var partition = PartitionID(0)
  private(set) var entity: EntityID
  /// Fields 3 and 4, whatever they mean.
  private(set) var third: UInt64?
  private(set) var fourth: UInt64 = 0

  init(decoding reader: ProtobufScanner) throws(ProtobufError) {
    var reader = reader
    var entity: EntityID?
    while let field = try reader.next() {
      switch field.number {
      case 1: partition = PartitionID(try field.uint32())
      case 2: entity = try EntityID(decoding: try field.reader())
      case 3: third = try field.uint64()
      case 4: fourth = try field.uint64()
      default: break
      }
    }
    guard let entity else { throw .missingField(2) }
    self.entity = entity
  }
}

extension Subscribe {
  fileprivate init(decoding reader: ProtobufScanner) throws(ProtobufError) {
    let fields = try SubscriptionFields(decoding: reader)
    self.init(
      partition: fields.partition, entity: fields.entity, after: fields.third.map { LogIndex($0) })
  }
}

extension Unsubscribe {
  fileprivate init(decoding reader: ProtobufScanner) throws(ProtobufError) {
    let fields = try SubscriptionFields(decoding: reader)
    self.init(partition: fields.partition, entity: fields.entity)
  }
}

extension Subscribed {
  fileprivate init(decoding reader: ProtobufScanner) throws(ProtobufError) {
    let fields = try SubscriptionFields(decoding: reader)
    guard let generation = UInt32(exactly: fields.fourth) else { throw .outOfRange(field: 4) }
    self.init(
      partition: fields.partition, entity: fields.entity, from: LogIndex(fields.third ?? 0),
      generation: generation)
  }
}

extension SubscriptionEnded {
  fileprivate init(decoding reader: ProtobufScanner) throws(ProtobufError) {
    let fields = try SubscriptionFields(decoding: reader)
    guard let reason = fields.third.flatMap(UInt32.init(exactly:)).flatMap(Reason.init(rawValue:))
    else { throw .outOfRange(field: 3) }
    self.init(partition: fields.partition, entity: fields.entity, reason: reason)
  }
}

/// `martlet.v1.Delivery`
extension Delivery {
  fileprivate func encode(into writer: inout FrameWriter) {
    writer.uint(1, partition.rawValue)
    writer.uint(2, index.rawValue)
    switch content {
    case .event(let event): writer.message(3) { event.encode(into: &$0) }
    case .listed(let user, let conversation, let removed):
      writer.message(4) {
        $0.identifier(1, user.rawValue)
        $0.message(2) { conversation.encode(into: &$0) }
        $0.bool(3, removed)
      }
    case .sessionClosed(let user, let device):
      writer.message(5) {
        $0.identifier(1, user.rawValue)
        $0.fixed64(2, device.rawValue)
      }
    }
    writer.bool(6, isLastOfEntry)
  }

  fileprivate init(decoding reader: ProtobufScanner) throws(ProtobufError) {
    var reader = reader
    var partition = PartitionID(0)
    var index = LogIndex.zero
    var content: Content?
    var isLastOfEntry = false
    while let field = try reader.next() {
      switch field.number {
      case 1: partition = PartitionID(try field.uint32())
      case 2: index = LogIndex(try field.uint64())
      case 3: content = .event(try Event(decoding: try field.reader()))
      case 4: content = try Content(listed: try field.reader())
      case 5: content = try Content(sessionClosed: try field.reader())
      case 6: isLastOfEntry = try field.bool()
      default: break
      }
    }
    guard let content else { throw .unknownVariant }
    self.init(
      partition: partition, index: index, content: content, isLastOfEntry: isLastOfEntry)
  }
}

extension Delivery.Content {
  fileprivate init(listed reader: ProtobufScanner) throws(ProtobufError) {
    var reader = reader
    var user: UInt128 = 0
    var conversation: ListedConversation?
    var removed = false
    while let field = try reader.next() {
      switch field.number {
      case 1: user = try field.identifier()
      case 2: conversation = try ListedConversation(decoding: try field.reader())
      case 3: removed = try field.bool()
      default: break
      }
    }
    guard user != 0 else { throw .missingField(1) }
    guard let conversation else { throw .missingField(2) }
    self = .listed(user: UserID(user), conversation: conversation, removed: removed)
  }

  fileprivate init(sessionClosed reader: ProtobufScanner) throws(ProtobufError) {
    var reader = reader
    var user: UInt128 = 0
    var device: UInt64 = 0
    while let field = try reader.next() {
      switch field.number {
      case 1: user = try field.identifier()
      case 2: device = try field.fixed64()
      default: break
      }
    }
    guard user != 0 else { throw .missingField(1) }
    guard device != 0 else { throw .missingField(2) }
    self = .sessionClosed(user: UserID(user), device: DeviceID(device))
  }
}

/// A message's delivery with all its lengths known beforehand, so that its text is copied once.
struct MessageDeliveryLayout {
  private let delivery: Delivery
  private let event: Event
  private let text: String
  private let contentBytes: Int
  private let eventBytes: Int
  private let deliveryBytes: Int

  init(_ delivery: Delivery, _ event: Event, _ text: String) {
    self.delivery = delivery
    self.event = event
    self.text = text
    contentBytes = FieldBytes.string(text)
    eventBytes = event.envelopeBytes + FieldBytes.element(contentBytes)
    deliveryBytes =
      FieldBytes.uint(UInt64(delivery.partition.rawValue))
      + FieldBytes.uint(delivery.index.rawValue) + FieldBytes.element(eventBytes)
      + FieldBytes.bool(delivery.isLastOfEntry)
  }

  /// **Units**: bytes of the `LinkFrame`.
  var frameBytes: Int { FieldBytes.element(deliveryBytes) }

  func write(to writer: inout FrameWriter) {
    writer.header(LinkFrame.deliveryField, bytes: deliveryBytes)
    writer.uint(1, delivery.partition.rawValue)
    writer.uint(2, delivery.index.rawValue)
    writer.header(3, bytes: eventBytes)
    event.encodeEnvelope(into: &writer)
    writer.header(6, bytes: contentBytes)
    writer.string(1, text)
    writer.bool(6, delivery.isLastOfEntry)
  }
}
