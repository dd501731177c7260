/**
 * What the other parts share: limits, errors, and the forms of conversations and events.
 *
 * On the wire 64-bit integers are strings and fields with their default value are absent
 * (protobuf's JSON mapping of client.proto). Here they are Numbers, and nothing is absent.
 * @module
 */

/**
 * Bounds and times. The unit is the last part of the name.
 * `new MartletClient({ limits: { … } })` replaces some of them.
 */
export const LIMITS = Object.freeze({
  /** From dialling a gateway to its welcome. */
  connectTimeoutMilliseconds: 6_000,
  /** One HTTP call to one gateway. */
  callTimeoutMilliseconds: 10_000,
  /** After a round over all gateways failed, the pause is random below base × 2ⁿ. */
  backoffBaseMilliseconds: 250,
  backoffMaxMilliseconds: 15_000,
  /** The same while the page is hidden or the browser says that there is no network. */
  backoffIdleMaxMilliseconds: 60_000,
  /** A connection that lasted so long makes earlier failures forgotten. */
  stableAfterMilliseconds: 5_000,
  pingIntervalMilliseconds: 20_000,
  /** A gateway that says nothing for so long after a ping is given up. */
  pongTimeoutMilliseconds: 10_000,
  /** The same after the network or the page came back. */
  probeTimeoutMilliseconds: 3_000,
  /** Clients of a gateway that stops leave it at a random time within this. */
  drainSpreadMilliseconds: 1_000,
  /** How long a gateway that was left may still answer what it was asked. */
  drainTimeoutMilliseconds: 3_000,
  /** Until an operation other than a send is answered, across connections. */
  requestTimeoutMilliseconds: 30_000,
  /** A message that no gateway takes for so long while connected has failed. */
  sendTimeoutMilliseconds: 30_000,
  /** How long after a reconnect an own event waits for answers that tell whose it is. */
  doubtMilliseconds: 3_000,
  /** How often a tab looks for unsent messages of tabs that are gone. */
  adoptIntervalMilliseconds: 15_000,
  retryBaseMilliseconds: 50,
  retryMaxMilliseconds: 5_000,
  /**
   * Unanswered sends of one conversation on the wire, at most 256. With more than one, a message
   * that is refused for now can be overtaken by one that is on the wire behind it.
   */
  unansweredSendsMax: 1,
  messageTextBytesMax: 65_536,
  /** Events and conversations of one page. */
  pageMax: 200,
  /** Events kept per conversation in the database; it holds up to a quarter more for a while. */
  eventsKeptMax: 400,
  /** A database that does not open by then (another tab blocks it) is done without. */
  openTimeoutMilliseconds: 3_000,
  logoutTimeoutMilliseconds: 5_000,
});

/** Why something was not done. */
export class MartletError extends Error {
  /**
   * @param {string} code gRPC's canonical code, such as "NOT_FOUND"
   * @param {string} message for people
   * @param {boolean} [retryable] the same may be tried again
   */
  constructor(code, message, retryable = false) {
    super(message);
    this.name = "MartletError";
    this.code = code;
    this.retryable = retryable;
    /** What a gateway asks to wait before the next try. */
    this.retryAfterMilliseconds = 0;
  }

  static from(error) {
    const made = new MartletError(
      error?.code ?? "UNKNOWN", error?.message ?? "no reason was given", error?.retryable ?? false);
    made.retryAfterMilliseconds = error?.retryAfterMilliseconds ?? 0;
    return made;
  }
}

/** A random duration from zero to base × 2^exponent, at most `max`: back-off with full jitter. */
export function jitter(base, exponent, max) {
  return Math.random() * Math.min(base * 2 ** Math.min(exponent, 30), max);
}

export function sleep(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** `crypto.randomUUID` exists only on secure origins. */
export function randomID() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const member = ({ id, handle = "", role = "member" }) => ({ id, handle, role });

/** An event as the page sees it. */
export function eventOf(wire) {
  const event = {
    conversation: wire.conversation,
    seq: Number(wire.seq),
    time: Number(wire.time ?? 0),
    author: wire.author ?? "",
    kind: "unknown",
  };
  if (wire.message) {
    event.kind = "message";
    event.text = wire.message.text ?? "";
  } else if (wire.created) {
    event.kind = "created";
    event.title = wire.created.title ?? "";
    event.members = (wire.created.members ?? []).map(member);
  } else if (wire.membersChanged) {
    event.kind = "membersChanged";
    event.added = (wire.membersChanged.added ?? []).map(member);
    event.removed = wire.membersChanged.removed ?? [];
  } else if (wire.titleChanged) {
    event.kind = "titleChanged";
    event.title = wire.titleChanged.title ?? "";
  }
  return event;
}

/** What a gateway says of a conversation; `head` is zero when it does not say. */
export function conversationOf(wire) {
  const members = (wire.members ?? []).map(member);
  return {
    id: wire.id,
    kind: wire.kind ?? "group",
    title: wire.title ?? "",
    members,
    memberCount: wire.memberCount ?? members.length,
    head: Number(wire.head ?? wire.last?.seq ?? 0),
    last: wire.last ? eventOf(wire.last) : null,
  };
}

const DIGITS = "0123456789abcdefghjkmnpqrstvwxyz";

/**
 * The greatest id below this one, so that a page of the list that begins after it begins with the
 * conversation itself: there is no operation that asks for one conversation.
 */
export function idBefore(id) {
  const digits = [...id];
  for (let place = digits.length - 1; place > 0; place -= 1) {
    const value = DIGITS.indexOf(digits[place]);
    digits[place] = DIGITS[(value + 31) % 32];
    if (value > 0) return digits.join("");
  }
  return "";
}
