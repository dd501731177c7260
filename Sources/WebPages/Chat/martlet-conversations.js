import { conversationOf } from "./martlet-protocol.js";

/** Own messages above `read` that are remembered, per conversation. */
const QUIET_MAX = 512;

/**
 * @typedef {object} Conversation
 * @property {string} id
 * @property {"direct"|"group"} kind
 * @property {string} title empty for a direct conversation
 * @property {{id: string, handle: string, role: string}[]} members the first 64
 * @property {number} memberCount all of them
 * @property {number} head the last sequence number
 * @property {Event|null} last the last event that is known
 * @property {number} read up to where this browser's user has read
 * @property {number} unread messages of others above `read`, as far as known
 */

/** The user's conversations, and how events change them. */
export class Conversations {
  /** @type {Map<string, Conversation>} */
  map = new Map();
  /** Sequence numbers above `read` that do not count as unread. */
  #quiet = new Map();
  #names = new Map();

  /** From the database. */
  restore(rows) {
    for (const { position: _, quiet, low: _low, high, ...conversation } of rows) {
      conversation.head = Math.max(conversation.head, high ?? 0);
      this.map.set(conversation.id, conversation);
      this.#quiet.set(conversation.id, quiet ?? []);
      this.#learn(conversation.members);
      this.#count(conversation);
    }
  }

  /** The form in the database. */
  row(id, position) {
    return { ...this.map.get(id), quiet: this.#quiet.get(id) ?? [], position };
  }

  /**
   * What a gateway says of a conversation.
   * @param {number} [read] up to where a conversation that was unknown counts as read
   */
  absorb(wire, read) {
    const found = conversationOf(wire);
    this.#learn(found.members);
    const known = this.map.get(found.id);
    if (!known) {
      const conversation = { ...found, read: read ?? found.head, unread: 0 };
      this.map.set(found.id, conversation);
      this.#quiet.set(found.id, []);
      this.#count(conversation);
      return conversation;
    }
    const { head, last, ...rest } = found;
    Object.assign(known, rest);
    this.reach(known, head, last);
    return known;
  }

  /** There are events up to `head`, of which `last` is the last one that is known. */
  reach(conversation, head, last) {
    conversation.head = Math.max(conversation.head, head);
    if (last && last.seq >= (conversation.last?.seq ?? 0)) conversation.last = last;
    this.#count(conversation);
  }

  /** An event of a known conversation, in its order. */
  apply(event, self) {
    const conversation = this.map.get(event.conversation);
    if (event.seq > conversation.read && (event.author === self || event.kind !== "message")) {
      const quiet = this.#quiet.get(event.conversation);
      if (!quiet.includes(event.seq)) quiet.push(event.seq);
      if (quiet.length > QUIET_MAX) quiet.shift();
    }
    this.learnFrom(event);
    if (event.kind === "titleChanged") conversation.title = event.title;
    if (event.kind === "membersChanged") {
      const gone = new Set([...event.removed, ...event.added.map(({ id }) => id)]);
      const stay = conversation.members.filter(({ id }) => !gone.has(id));
      conversation.members = [...stay, ...event.added].sort((a, b) => (a.id < b.id ? -1 : 1));
    }
    this.reach(conversation, event.seq, event);
    return conversation;
  }

  /** @returns {boolean} whether that is news */
  markRead(id, seq) {
    const conversation = this.map.get(id);
    const read = Math.min(seq, conversation?.head ?? 0);
    if (!conversation || read <= conversation.read) return false;
    conversation.read = read;
    this.#quiet.set(id, this.#quiet.get(id).filter((quiet) => quiet > read));
    this.#count(conversation);
    return true;
  }

  remove(id) {
    this.#quiet.delete(id);
    return this.map.delete(id);
  }

  clear() {
    this.map.clear();
    this.#quiet.clear();
    this.#names.clear();
  }

  /** The handle of a user who was met anywhere, or a short form of the id. */
  nameOf(user) {
    return this.#names.get(user) ?? user.slice(0, 8);
  }

  /** Who left is still named by what tells of their coming. */
  learnFrom(event) {
    this.#learn(event.members ?? event.added ?? []);
  }

  learnUser({ id, handle }) {
    this.#learn([{ id, handle }]);
  }

  #learn(members) {
    for (const { id, handle } of members) if (handle) this.#names.set(id, handle);
  }

  #count(conversation) {
    const { id, head, read } = conversation;
    conversation.unread = Math.max(0, head - read - (this.#quiet.get(id)?.length ?? 0));
  }
}
