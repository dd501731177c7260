/**
 * Events in order: each once and without gaps per conversation, whatever gateways repeat or pass
 * over.
 *
 * ```
 *   pushed ──▶ (queued, while the conversation is looked up or a gap is filled)
 *                 └──▶ repeated? ──▶ passed over? ──▶ deliver
 *                                       └ history
 *   cursor ──▶ (waits for every event before it) ──▶ onCursor
 * ```
 *
 * What is queued survives the loss of the connection: the same events come again behind it and
 * are dropped.
 */
export class EventLog {
  #entries = new Map();
  #cursors = [];
  #on;
  #generation = 0;

  /**
   * @param {object} on
   *   `lookUp(id, event)` → Promise<boolean>: makes a conversation known whose first event
   *   this is, `false` if there is none;
   *   `isKnown(id)`; `doubt(event)` → Promise|null: before that it is not known whether this is
   *   the event of a message on its way;
   *   `read(id, after)` → Promise<Event[]> ascending above `after`;
   *   `deliver(event)`; `onReset(id)`; `onCursor(cursor)`.
   */
  constructor(on) {
    this.#on = on;
  }

  /** Up to where a conversation was delivered; `null` when it may begin anywhere. */
  position(id) {
    return this.#entries.get(id)?.position ?? null;
  }

  /** What the client has by other means, unless events were delivered already. */
  begin(id, position) {
    const entry = this.#entry(id);
    if (!entry.isBusy) entry.position ??= position;
  }

  /** What the client was taken out of may come back anywhere. */
  forget(id) {
    const entry = this.#entries.get(id);
    if (entry) entry.position = null;
  }

  clear() {
    this.#generation += 1;
    this.#entries.clear();
    this.#cursors = [];
  }

  receive(event) {
    const entry = this.#entry(event.conversation);
    // Already queued, from an earlier connection.
    if (event.seq <= entry.queuedUpTo) return;
    entry.queuedUpTo = event.seq;
    entry.queue.push({ event });
    this.#run(event.conversation, entry);
  }

  /** Everything up to `head` is wanted, although nothing will push it. */
  catchUp(id, head) {
    const entry = this.#entry(id);
    if (entry.position === null || entry.position >= head) return;
    entry.queue.push({ head });
    this.#run(id, entry);
  }

  /** History was cut: what follows may have any number, even one that was seen. */
  cut(id) {
    const entry = this.#entry(id);
    entry.queuedUpTo = 0;
    entry.queue.push({ isCut: true });
    this.#run(id, entry);
  }

  receiveCursor(cursor) {
    const waits = new Set();
    for (const entry of this.#entries.values()) if (entry.isBusy) waits.add(entry);
    this.#cursors.push({ cursor, waits });
    this.#releaseCursors();
  }

  #entry(id) {
    let entry = this.#entries.get(id);
    if (!entry) {
      entry = { position: null, queue: [], queuedUpTo: 0, isBusy: false };
      this.#entries.set(id, entry);
    }
    return entry;
  }

  /** Works the queue off, at once as far as nothing must be asked for. */
  #run(id, entry) {
    if (entry.isBusy) return;
    while (entry.queue.length > 0) {
      const work = this.#step(id, entry, entry.queue[0]);
      if (work) {
        entry.isBusy = true;
        this.#await(id, entry, work);
        return;
      }
      entry.queue.shift();
    }
    entry.queuedUpTo = 0;
    for (const { waits } of this.#cursors) waits.delete(entry);
    this.#releaseCursors();
  }

  async #await(id, entry, work) {
    const generation = this.#generation;
    try {
      await work;
    } catch {
      // Only the end of the client ends what it asks for.
      return;
    }
    if (generation !== this.#generation) return;
    entry.isBusy = false;
    this.#run(id, entry);
  }

  /** @returns {Promise|undefined} what must happen before this step is tried again */
  #step(id, entry, { event, head, isCut }) {
    if (isCut) {
      entry.position = null;
      if (this.#on.isKnown(id)) this.#on.onReset(id);
      return undefined;
    }
    const upTo = head ?? event.seq - 1;
    if (entry.position !== null && upTo < entry.position) return undefined;
    if (!this.#on.isKnown(id)) return event && this.#lookUp(id, entry, event);
    if (entry.position !== null && entry.position < upTo) return this.#fill(id, entry, upTo);
    if (!event || entry.position === event.seq) return undefined;
    const doubt = this.#on.doubt(event);
    if (doubt) return doubt;
    this.#pass(entry, event);
    return undefined;
  }

  async #lookUp(id, entry, event) {
    const isFound = await this.#on.lookUp(id, event);
    if (!isFound) entry.queue.length = 0;
  }

  async #fill(id, entry, upTo) {
    const before = entry.position;
    const generation = this.#generation;
    const events = await this.#on.read(id, before);
    if (generation !== this.#generation || entry.position !== before) return;
    const isWhole = events[0]?.seq === before + 1;
    for (const event of events) {
      const isNext = event.seq === entry.position + 1;
      if (isWhole && isNext && event.seq <= upTo) this.#pass(entry, event);
    }
    if (entry.position > before) return;
    // Erased meanwhile, or this user may not read it: there is nothing to be had.
    entry.position = upTo;
    this.#on.onReset(id);
  }

  #pass(entry, event) {
    entry.position = event.seq;
    this.#on.deliver(event);
  }

  #releaseCursors() {
    while (this.#cursors.length > 0 && this.#cursors[0].waits.size === 0) {
      this.#on.onCursor(this.#cursors.shift().cursor);
    }
  }
}
