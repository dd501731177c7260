package import ChatModel
package import Primitives

// Things with names.

package func store(_ number: Int) -> StoreID { StoreID(UInt64(number)) }
package func device(_ number: Int) -> DeviceID { DeviceID(UInt64(number)) }

package func handle(_ text: String) -> Handle {
  guard let handle = Handle(text) else { preconditionFailure("no handle: \(text)") }
  return handle
}

/// With `-` for every space.
package func clientID(_ text: String) -> ClientMessageID {
  guard let id = ClientMessageID(String(text.map { $0 == " " ? "-" : $0 })) else {
    preconditionFailure("no client id: \(text)")
  }
  return id
}
