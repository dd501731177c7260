import { LIMITS, MartletError, jitter, randomID } from "./martlet-protocol.js";

/**
 * @typedef {object} Outgoing a message on its way
 * @property {string} id unique; the gateways store a message once per device and id
 * @property {string} conversation
 * @property {string} text
 * @property {number} time milliseconds: when it was written; once sent, when it was stored
 * @property {"sending"|"sent"|"failed"} state
 * @property {number|null} seq its place in the conversation, once sent
 * @property {MartletError|null} error why it failed
 */

/**
 * Messages on their way, in their order per conversation.
 *
 * ```
 *   send ──▶ queue ──▶ on the wire ──▶ sent ──▶ (its event was delivered) gone
 *              ▲            │ refused for now, connection lost
 *              └────────────┘ in front of the others, with the same id
 *                           └ refused for good, not taken in time ──▶ failed
 * ```
 */
export class Outbox {
  #lanes = new Map();
  #byID = new Map();
  #lastOrder = 0;
  #doubtUntil = 0;
  #on;
  #limits;

  /**
   * @param {object} on
   *   `link()`: the link to send on, or `null`; `position(conversation)`: how far events were
   *   delivered, or `null`; `onChange(outgoing)`; `save(row)`; `remove(id)`;
   *   `onRefused(conversation)`: no such conversation, or no member of it.
   */
  constructor(on, limits = LIMITS) {
    this.#on = on;
    this.#limits = limits;
  }

  send(conversation, text) {
    this.#lastOrder = Math.max(this.#lastOrder + 1, Date.now() * 1_000);
    const outgoing = {
      id: randomID(), conversation, text, time: Date.now(), state: "sending", seq: null,
      error: null,
    };
    const item = {
      outgoing, order: this.#lastOrder, firstSentAt: null, wasWritten: false, isInDoubt: false,
    };
    this.#lane(conversation).items.push(item);
    this.#byID.set(outgoing.id, item);
    this.#on.save(rowOf(item));
    if (new TextEncoder().encode(text).length > this.#limits.messageTextBytesMax) {
      const why = `a message is at most ${this.#limits.messageTextBytesMax} bytes`;
      queueMicrotask(() => this.#failed(item, new MartletError("INVALID_ARGUMENT", why)));
    } else {
      this.#pump(conversation);
    }
    return outgoing;
  }

  /** Takes over what an earlier page left. `device`: whose ids the gateways know. */
  restore(rows, device) {
    const places = new Set();
    for (const row of rows.sort((left, right) => left.order - right.order)) {
      if (this.#byID.has(row.id)) continue;
      const { order, device: sentBy, owner: _, error, ...outgoing } = row;
      outgoing.error = error && MartletError.from(error);
      const isInDoubt = outgoing.state === "sending";
      const item = { outgoing, order, firstSentAt: null, wasWritten: true, isInDoubt };
      this.#lastOrder = Math.max(this.#lastOrder, order);
      this.#byID.set(row.id, item);
      const { items } = this.#lane(row.conversation);
      items.push(item);
      items.sort((left, right) => left.order - right.order);
      places.add(row.conversation);
      if (outgoing.state === "sending" && sentBy && device && sentBy !== device) {
        this.#failed(item, unknownFate());
      }
    }
    for (const conversation of places) {
      this.settle(conversation);
      for (const item of this.#lane(conversation).items) this.#on.onChange(item.outgoing);
      this.#pump(conversation);
    }
  }

  /** Those whose event was not delivered yet, in their order. */
  list(conversation) {
    return (this.#lanes.get(conversation)?.items ?? []).map(({ outgoing }) => outgoing);
  }

  retry(id) {
    const item = this.#byID.get(id);
    if (item?.outgoing.state !== "failed") return false;
    const { items } = this.#lane(item.outgoing.conversation);
    items.splice(items.indexOf(item), 1);
    items.push(item);
    this.#lastOrder = Math.max(this.#lastOrder + 1, Date.now() * 1_000);
    item.order = this.#lastOrder;
    item.firstSentAt = null;
    Object.assign(item.outgoing, { state: "sending", error: null });
    this.#changed(item);
    this.#pump(item.outgoing.conversation);
    return true;
  }

  discard(id) {
    const item = this.#byID.get(id);
    if (item?.outgoing.state !== "failed") return false;
    this.#forget(item);
    this.#on.remove(id);
    return true;
  }

  /** The event with this number is being delivered: which of these is it? */
  take(conversation, seq) {
    const items = this.#lanes.get(conversation)?.items ?? [];
    const item = items.find(({ outgoing }) => outgoing.seq === seq);
    if (!item) return null;
    this.#forget(item);
    this.#on.remove(item.outgoing.id);
    return item.outgoing;
  }

  /** Those whose event was delivered before its number was known are done. */
  settle(conversation) {
    const position = this.#on.position(conversation);
    if (position === null) return;
    for (const { outgoing } of [...(this.#lanes.get(conversation)?.items ?? [])]) {
      if (outgoing.seq !== null && outgoing.seq <= position) this.take(conversation, outgoing.seq);
    }
  }

  /**
   * An own event may be that of a message whose answer was lost: sent again, it is answered with
   * its number. Until then, or for a while, the event waits, lest the message is shown twice.
   *
   * @returns {Promise|null} what to wait for
   */
  doubt(conversation) {
    const left = this.#doubtUntil - performance.now();
    const lane = this.#lanes.get(conversation);
    if (left <= 0 || !lane?.items.some(isDoubtful)) return null;
    return new Promise((resolve) => {
      lane.doubts.push(resolve);
      setTimeout(resolve, left);
    });
  }

  /** A link was welcomed. */
  resume() {
    this.#doubtUntil = performance.now() + this.#limits.doubtMilliseconds;
    for (const [conversation, lane] of this.#lanes) {
      for (const item of lane.items) item.firstSentAt = null;
      lane.holdUntil = 0;
      this.#pump(conversation);
    }
  }

  /** What was written under another device's name may be stored: sent again, it would be twice. */
  deviceChanged() {
    for (const item of [...this.#byID.values()]) {
      if (item.wasWritten && item.outgoing.state === "sending") this.#failed(item, unknownFate());
    }
  }

  /** This user is no member any more. */
  drop(conversation) {
    for (const item of [...(this.#lanes.get(conversation)?.items ?? [])]) {
      this.#forget(item);
      this.#on.remove(item.outgoing.id);
    }
    this.#lanes.delete(conversation);
  }

  clear() {
    for (const lane of this.#lanes.values()) clearTimeout(lane.timer);
    this.#lanes.clear();
    this.#byID.clear();
  }

  #lane(conversation) {
    let lane = this.#lanes.get(conversation);
    if (!lane) {
      lane = { items: [], onWire: new Set(), refusals: 0, holdUntil: 0, timer: 0, doubts: [] };
      this.#lanes.set(conversation, lane);
    }
    return lane;
  }

  /** Sends what may be sent: the earliest first, nothing past one that was refused. */
  #pump(conversation) {
    const lane = this.#lanes.get(conversation);
    const link = this.#on.link();
    if (!lane || !link) return;
    const wait = lane.holdUntil - performance.now();
    if (wait > 0) {
      clearTimeout(lane.timer);
      lane.timer = setTimeout(() => this.#pump(conversation), wait);
      return;
    }
    for (const item of lane.items) {
      if (item.outgoing.state !== "sending" || lane.onWire.has(item)) continue;
      if (lane.isHolding && lane.onWire.size > 0) return;
      if (lane.onWire.size >= this.#limits.unansweredSendsMax) return;
      lane.isHolding = false;
      this.#transmit(lane, item, link);
    }
  }

  #transmit(lane, item, link) {
    const { id, conversation, text } = item.outgoing;
    lane.onWire.add(item);
    item.wasWritten = true;
    item.firstSentAt ??= performance.now();
    const left = item.firstSentAt + this.#limits.sendTimeoutMilliseconds - performance.now();
    const timer = setTimeout(() => {
      lane.onWire.delete(item);
      this.#failed(item, new MartletError("DEADLINE_EXCEEDED", "no gateway took it in time", true));
    }, left);
    link.ask({ send: { conversation, id, text } }, (frame) => {
      clearTimeout(timer);
      lane.onWire.delete(item);
      // Failed or discarded meanwhile, unless it turns out to be stored.
      if (this.#byID.get(id) !== item) return;
      item.isInDoubt = !frame;
      if (frame?.sent) this.#sent(lane, item, frame.sent);
      else if (item.outgoing.state !== "sending") return;
      else if (frame?.error?.retryable) this.#refused(lane, item, frame.error);
      else if (frame) this.#failed(item, MartletError.from(frame.error));
      this.#pump(conversation);
    });
  }

  #sent(lane, { outgoing }, sent) {
    lane.refusals = 0;
    Object.assign(outgoing, {
      state: "sent", seq: Number(sent.seq), time: Number(sent.time ?? outgoing.time), error: null,
    });
    this.#changed(this.#byID.get(outgoing.id));
    this.settle(outgoing.conversation);
  }

  /** Everything later of the conversation waits until this was tried again. */
  #refused(lane, item, error) {
    const { retryBaseMilliseconds: base, retryMaxMilliseconds: max } = this.#limits;
    if (performance.now() - item.firstSentAt >= this.#limits.sendTimeoutMilliseconds) {
      return this.#failed(item, MartletError.from(error));
    }
    const asked = Math.min(error.retryAfterMilliseconds ?? 0, max);
    lane.isHolding = true;
    lane.holdUntil = performance.now() + Math.max(jitter(base, lane.refusals, max), asked);
    lane.refusals += 1;
  }

  #failed(item, error) {
    if (!this.#byID.has(item.outgoing.id)) return;
    Object.assign(item.outgoing, { state: "failed", error });
    this.#changed(item);
    this.#pump(item.outgoing.conversation);
    if (error.code === "NOT_FOUND" || error.code === "PERMISSION_DENIED") {
      this.#on.onRefused(item.outgoing.conversation);
    }
  }

  #changed(item) {
    this.#on.save(rowOf(item));
    this.#on.onChange(item.outgoing);
    const { doubts } = this.#lane(item.outgoing.conversation);
    for (const resolve of doubts.splice(0)) resolve();
  }

  #forget({ outgoing }) {
    const item = this.#byID.get(outgoing.id);
    this.#byID.delete(outgoing.id);
    const { items } = this.#lane(outgoing.conversation);
    if (item) items.splice(items.indexOf(item), 1);
  }
}

function isDoubtful({ isInDoubt, outgoing }) {
  return isInDoubt && outgoing.state === "sending";
}

function unknownFate() {
  const why = "it is unknown whether this was sent before the device was signed out";
  return new MartletError("ABORTED", why);
}

/** The form in the database. */
function rowOf({ outgoing, order }) {
  const { error } = outgoing;
  return {
    ...outgoing,
    order,
    error: error && { code: error.code, message: error.message, retryable: error.retryable },
  };
}
