import { Conversations } from "./martlet-conversations.js";
import { Journal } from "./martlet-journal.js";
import { EventLog } from "./martlet-log.js";
import { Outbox } from "./martlet-outbox.js";
import { MartletError, eventOf, idBefore } from "./martlet-protocol.js";

const FOREVER = { timeoutMilliseconds: Infinity };

/** This page's copy of a user's conversations, kept up to date by what gateways push. */
export class Replica {
  user = null;
  device = null;
  /** Where events resume; everything before it was delivered. */
  cursor = null;
  #store;
  #tabs;
  #limits;
  #on;
  #conversations = new Conversations();
  #journal;
  #log;
  #outbox;
  #listedLink = null;
  #listing = null;
  #isListWanted = false;
  #refreshing = new Set();
  #adoptTimer = 0;

  /**
   * @param {object} parts `store`; `tabs` with `id` and `live()`; `limits`
   * @param {object} on `fire(type, detail)`; `connection()`: the connection, or `null`
   */
  constructor({ store, tabs, limits }, on) {
    this.#store = store;
    this.#tabs = tabs;
    this.#limits = limits;
    this.#on = on;
    this.#journal = new Journal(store, {
      row: (id) => this.map.has(id) && this.#conversations.row(id, this.#log.position(id)),
      onChanged: (id) => {
        const conversation = this.map.get(id);
        if (conversation) on.fire("conversation", { conversation });
      },
    });
    this.#log = new EventLog({
      isKnown: (id) => this.map.has(id),
      lookUp: (id, event) => this.#lookUp(id, event),
      doubt: (event) =>
        event.author === this.user?.id ? this.#outbox.doubt(event.conversation) : null,
      read: (id, after) => this.#readAfter(id, after),
      deliver: (event) => this.#deliver(event),
      onReset: (id) => this.#reset(id),
      onCursor: (cursor) => {
        this.cursor = cursor;
        this.#journal.cursor(cursor);
      },
    });
    this.#outbox = new Outbox({
      link: () => on.connection()?.link ?? null,
      position: (id) => this.#log.position(id),
      onChange: (outgoing) => on.fire("outgoing", { outgoing }),
      onRefused: () => this.#list(),
      save: (row) => store.saveOutgoing({ ...row, owner: tabs.id, device: this.device }),
      remove: (id) => store.removeOutgoing(id),
    }, limits);
  }

  /** @type {Map<string, import("./martlet-conversations.js").Conversation>} */
  get map() {
    return this.#conversations.map;
  }

  get outbox() {
    return this.#outbox;
  }

  // From and to the database

  /** Shows what the database holds. */
  async restore() {
    const kept = await this.#store.load();
    if (!kept) return false;
    this.signIn(kept.user, kept.device);
    this.cursor = kept.cursor;
    this.#conversations.restore(kept.conversations);
    for (const { id, position } of kept.conversations) {
      if (position !== null) this.#log.begin(id, position);
    }
    await this.#adopt(true);
    return true;
  }

  signIn(user, device) {
    this.user = user;
    if (this.device && device !== this.device) this.#outbox.deviceChanged();
    this.device = device;
    this.#conversations.learnUser(user);
  }

  /** The page goes on without this user. */
  clear() {
    clearTimeout(this.#adoptTimer);
    this.user = this.device = this.cursor = this.#listedLink = this.#listing = null;
    this.#conversations.clear();
    this.#log.clear();
    this.#outbox.clear();
    this.#journal.clear();
  }

  flush() {
    return this.#journal.flush();
  }

  close() {
    clearTimeout(this.#adoptTimer);
    return this.flush();
  }

  /**
   * Messages of tabs that are gone are sent by this one. Where it is not known which tabs live, a
   * page takes over all when it starts: what is sent twice with the same id is stored once.
   */
  async #adopt(isStarting = false) {
    clearTimeout(this.#adoptTimer);
    this.#adoptTimer = setTimeout(
      () => this.#adopt(), this.#limits.adoptIntervalMilliseconds);
    const live = await this.#tabs.live();
    if (!this.user || !(live || isStarting)) return;
    const rows = await this.#store.adoptOutgoing(this.#tabs.id, live ?? new Set());
    if (this.user) this.#outbox.restore(rows, this.device);
  }

  // From the gateway

  async welcomed(welcome) {
    this.signIn(welcome.user ?? this.user, welcome.device ?? this.device);
    this.#outbox.resume();
    await this.#adopt();
  }

  pushed(link, frame) {
    if (frame.event) this.#log.receive(eventOf(frame.event));
    if (frame.gap) this.#log.cut(frame.gap.conversation);
    if (!frame.cursor) return;
    this.#log.receiveCursor(frame.cursor);
    if (this.#listedLink === link) return;
    this.#listedLink = link;
    this.#list();
  }

  /** Gateways do not take the cursor: what is here may not be what is there. */
  restart() {
    this.cursor = null;
    this.#log.clear();
    this.#journal.clear();
    this.#store.forgetPositions();
    for (const id of this.map.keys()) this.#on.fire("reset", { conversationID: id });
  }

  #deliver(event) {
    const { conversation: id, seq } = event;
    const outgoing = this.#outbox.take(id, seq);
    this.#conversations.apply(event, this.user?.id);
    this.#journal.add([event]);
    this.#journal.touch(id);
    this.#on.fire("event", { event, outgoing });
    if (event.kind !== "membersChanged") return;
    if (event.removed.includes(this.user?.id)) this.#leave(id);
    else this.#refresh(id);
  }

  #reset(id) {
    this.#outbox.settle(id);
    this.#journal.reset(id);
    this.#on.fire("reset", { conversationID: id });
  }

  #leave(id) {
    this.#log.forget(id);
    this.#outbox.drop(id);
    if (!this.#conversations.remove(id)) return;
    this.#journal.leave(id);
    this.#on.fire("left", { conversationID: id });
  }

  // Conversations

  /**
   * Reads the whole list: what is new, and what this user was taken out of while nobody listened.
   */
  #list() {
    this.#isListWanted = true;
    this.#listing ??= this.#readList().finally(() => { this.#listing = null; });
  }

  async #readList() {
    while (this.#isListWanted && this.user) {
      this.#isListWanted = false;
      const user = this.user;
      const before = [...this.map.keys()];
      const seen = new Set();
      try {
        let after = "";
        do {
          const page = after ? { after, limit: this.#limits.pageMax }
            : { limit: this.#limits.pageMax };
          const { conversations } = await this.#ask({ listConversations: page }, FOREVER);
          if (this.user !== user) return;
          for (const wire of conversations.items ?? []) {
            seen.add(wire.id);
            this.#begin(wire);
          }
          after = conversations.next;
        } while (after);
        for (const id of before) if (!seen.has(id)) await this.#verify(id);
      } catch {
        // The next connection brings the next try.
        return;
      }
      if (this.user === user) this.#on.fire("listed", {});
    }
  }

  /** A conversation and everything up to its head counts as seen, unless it is known. */
  #begin(wire) {
    const before = this.#form(wire.id);
    const conversation = this.#conversations.absorb(wire);
    this.#log.begin(conversation.id, conversation.head);
    // A connection that began without a cursor does not push what was missed before it.
    this.#log.catchUp(conversation.id, conversation.head);
    this.#outbox.settle(conversation.id);
    // With every connection comes the whole list, mostly as it was.
    if (this.#form(wire.id) !== before) this.#journal.touch(conversation.id);
    return conversation;
  }

  #form(id) {
    return JSON.stringify(this.#conversations.row(id, this.#log.position(id)));
  }

  /** The list does not show it: it is newer than the list, or this user is no member any more. */
  async #verify(id) {
    try {
      await this.#ask({ history: { conversation: id, limit: 1 } }, FOREVER);
    } catch (error) {
      if (isAbsence(error)) this.#leave(id);
    }
  }

  /** An event came of a conversation that is not known. */
  async #lookUp(id, event) {
    const { user } = this;
    const wire = (await this.#find(id)) ?? (await this.#summarise(id));
    if (!wire || this.user !== user) return false;
    this.#conversations.absorb(wire, event.seq - 1);
    this.#journal.touch(id);
    return true;
  }

  /** Members that an event does not tell, such as an admin's successor. */
  async #refresh(id) {
    if (this.#refreshing.has(id)) return;
    this.#refreshing.add(id);
    const wire = await this.#find(id).catch(() => null);
    this.#refreshing.delete(id);
    if (!wire || !this.map.has(id)) return;
    this.#conversations.absorb(wire);
    this.#journal.touch(id);
  }

  /** What the list says of one conversation. */
  async #find(id) {
    const listConversations = { after: idBefore(id), limit: 1 };
    const { conversations } = await this.#ask({ listConversations }, FOREVER);
    return conversations.items?.find((item) => item.id === id) ?? null;
  }

  /** What its first event says of a conversation that the list does not show yet. */
  async #summarise(id) {
    try {
      const range = { conversation: id, after: "0", limit: 1 };
      const { history } = await this.#ask({ history: range }, FOREVER);
      const created = history.events?.[0]?.created ?? {};
      return { ...created, id, head: history.head };
    } catch (error) {
      if (error.code === "CANCELLED") throw error;
      return null;
    }
  }

  async create(createConversation, isRepeatable) {
    const { conversation } = await this.#ask({ createConversation }, { isRepeatable });
    return this.#begin(conversation);
  }

  async changeMembers(id, { add, remove }) {
    const ids = new Map(
      (this.map.get(id)?.members ?? []).map((member) => [member.handle, member.id]));
    const named = remove.map((name) => ids.get(name) ?? name);
    const changeMembers = { conversation: id, add, remove: named };
    await this.#ask({ changeMembers }, { isRepeatable: false });
  }

  markRead(id, seq) {
    if (this.#conversations.markRead(id, seq)) this.#journal.touch(id);
  }

  nameOf(user) {
    return this.#conversations.nameOf(user);
  }

  // History

  async history(id, { before, limit }) {
    await this.flush();
    const head = this.map.get(id)?.head ?? 0;
    const kept = await this.#store.history(id, { before, head, limit });
    const isWhole = kept.length === limit || kept[0]?.seq === 1;
    if (isWhole || (kept.length > 0 && !this.#on.connection()?.link)) return this.#learn(kept);
    const range = before ? { before: String(before) } : {};
    const { events, head: found } = await this.#read(id, { ...range, limit });
    const conversation = this.map.get(id);
    if (conversation) {
      this.#conversations.reach(conversation, found, before ? null : events.at(-1));
      this.#journal.add(events);
      this.#journal.touch(id);
    }
    return this.#learn(events);
  }

  /** The next events above `after`; none if there is nothing to be had. */
  async #readAfter(id, after) {
    try {
      const range = { after: String(after), limit: this.#limits.pageMax };
      return (await this.#read(id, range, FOREVER)).events;
    } catch (error) {
      if (error.code === "CANCELLED") throw error;
      return [];
    }
  }

  async #read(id, range, options) {
    try {
      const { history } = await this.#ask({ history: { conversation: id, ...range } }, options);
      return { events: (history.events ?? []).map(eventOf), head: Number(history.head ?? 0) };
    } catch (error) {
      if (isAbsence(error) && this.map.has(id)) this.#list();
      throw error;
    }
  }

  #learn(events) {
    for (const event of events) this.#conversations.learnFrom(event);
    return events;
  }

  #ask(operation, options) {
    const connection = this.#on.connection();
    if (connection) return connection.request(operation, options);
    return Promise.reject(new MartletError("FAILED_PRECONDITION", "nobody is signed in"));
  }
}

function isAbsence({ code }) {
  return code === "NOT_FOUND" || code === "PERMISSION_DENIED";
}
