/**
 * Martlet's SDK for browsers: conversations, messages and their history, over reconnects, reloads
 * and several tabs. Plain ES modules; no page code in it.
 *
 * ```js
 * import { MartletClient } from "./martlet.js";
 *
 * const client = new MartletClient();
 * client.addEventListener("event", ({ detail: { event } }) => console.log(event.text));
 * if (!(await client.start())) await client.login({ handle: "ada", password: "…" });
 * const conversation = await client.createDirect("charles");
 * client.send(conversation.id, "Good morning");
 * ```
 *
 * Events of the client (`CustomEvent`; what `detail` holds):
 *
 * | type | detail | when |
 * |---|---|---|
 * | `state` | `{state, gateway}` | the state or the gateway changed |
 * | `cached` | `{}` | what the database holds is there, before the network answered |
 * | `listed` | `{}` | the list of conversations is that of a gateway |
 * | `conversation` | `{conversation}` | one is new, or anything of it changed |
 * | `left` | `{conversationID}` | this user is no member any more |
 * | `event` | `{event, outgoing}` | an event: each at most once, per conversation without gaps |
 * | `outgoing` | `{outgoing}` | a message on its way changed its state |
 * | `reset` | `{conversationID}` | what is shown must be read again by `history` |
 * | `signedout` | `{reason}` | the session has ended without `logout` |
 *
 * `history` may show an event before `event` does, and an own event may arrive before the
 * `outgoing` with its number (when the answer to the send was lost): a page merges by `seq`.
 * @module
 */
import { Connection } from "./martlet-connection.js";
import { LIMITS, MartletError, randomID, sleep } from "./martlet-protocol.js";
import { Replica } from "./martlet-replica.js";
import { Session, configuredGateways, preferred } from "./martlet-session.js";
import { Store } from "./martlet-store.js";
import { LogoutMark, TabLock } from "./martlet-tabs.js";

export { LIMITS, MartletError };

/** @typedef {import("./martlet-conversations.js").Conversation} Conversation */
/** @typedef {import("./martlet-outbox.js").Outgoing} Outgoing */

/**
 * @typedef {object} Event something that happened, the same for every member
 * @property {string} conversation
 * @property {number} seq its place: from 1, without gaps
 * @property {number} time milliseconds since 1970
 * @property {string} author a user's id
 * @property {"message"|"created"|"membersChanged"|"titleChanged"|"unknown"} kind
 * @property {string} [text] of a message
 * @property {string} [title] of created and titleChanged
 * @property {{id: string, handle: string, role: string}[]} [members] of created
 * @property {{id: string, handle: string, role: string}[]} [added] of membersChanged
 * @property {string[]} [removed] of membersChanged: ids
 */

/** @typedef {"starting"|"signedOut"|"connecting"|"online"|"reconnecting"|"closed"} State */

/** One user's session in this page. */
export class MartletClient extends EventTarget {
  #limits;
  #gateways;
  #database;
  #state = "starting";
  #shown = "";
  #session = null;
  #connection = null;
  #configuring = null;
  #store;
  #tab;
  #logoutMark;
  #replica;

  /**
   * @param {object} [options]
   * @param {string[]} [options.gateways] origins; by default the page's own and those of
   *   `/web/config.json`. Of the page's scheme, and of its host if several have that.
   * @param {string|null} [options.database] name of the IndexedDB database; `null` keeps nothing
   * @param {Partial<typeof LIMITS>} [options.limits] replaces some of the limits
   */
  constructor({ gateways, database = "martlet", limits = {} } = {}) {
    super();
    this.#limits = Object.freeze({ ...LIMITS, ...limits });
    this.#gateways = gateways;
    this.#database = database;
    this.#store = new Store(database, this.#limits);
    this.#tab = new TabLock(database, randomID());
    this.#logoutMark = new LogoutMark(database);
    this.#replica = new Replica({ store: this.#store, tabs: this.#tab, limits: this.#limits }, {
      fire: (type, detail) => this.#fire(type, detail),
      connection: () => this.#connection,
    });
  }

  /** @returns {State} */
  get state() {
    return this.#state;
  }

  /** The origin in use, or `null`. */
  get gateway() {
    return this.#connection?.gateway ?? null;
  }

  /** @returns {{id: string, handle: string, displayName: string}|null} */
  get user() {
    return this.#replica.user;
  }

  /** @returns {Map<string, Conversation>} to be read only */
  get conversations() {
    return this.#replica.map;
  }

  // Signing in and out

  /**
   * Takes up the session of the browser's cookie. What the database holds is there, and `cached`
   * was fired, before the network is asked.
   * @returns {Promise<boolean>} whether somebody is signed in. Without network: whether somebody
   *   was; then it goes on when there is one.
   * @throws {MartletError} UNAVAILABLE: nothing is kept, and no gateway can be reached
   */
  async start() {
    await Promise.all([this.#store.open(), this.#tab.take()]);
    if (this.#logoutMark.isSet) return this.#finishLogout();
    const isCached = await this.#replica.restore();
    if (isCached) {
      this.#prepareConnection();
      this.#fire("cached", {});
    }
    await this.#configure();
    try {
      await this.#begin(await this.#session.refresh());
      return true;
    } catch (error) {
      if (error.code === "UNAUTHENTICATED") {
        this.#signedOut(error, isCached);
        return false;
      }
      if (!isCached) throw error;
      this.#connect("reconnecting");
      return true;
    }
  }

  /** Creates an account and signs in. */
  async register({ handle, password, displayName }) {
    await this.#configure();
    await this.#session.register({ handle, password, displayName });
    await this.login({ handle, password });
  }

  /** Signs in. The conversations follow as `conversation` events, and `listed` after them. */
  async login({ handle, password }) {
    if (this.user) throw new MartletError("FAILED_PRECONDITION", "somebody is signed in");
    await this.#configure();
    const found = await this.#session.login({ handle, password });
    this.#logoutMark.clear();
    await Promise.all([this.#store.isUsable || this.#store.open(), this.#tab.take()]);
    await this.#begin(found);
  }

  /**
   * Closes the session and deletes everything local. If no gateway can be reached now, the
   * session is closed by the next `start`, which then signs nobody in.
   */
  async logout() {
    this.#logoutMark.set();
    this.#disconnect();
    await this.#closeSession();
    await this.#store.destroy();
    this.#replica.clear();
    this.#makeSession();
    this.#setState("signedOut");
  }

  /** Ends the connection. Nothing is deleted. The client cannot be used any more. */
  close() {
    this.#disconnect();
    this.#replica.close().then(() => this.#store.close());
    this.#tab.release();
    this.#setState("closed");
  }

  // Conversations

  /** @returns {Promise<Conversation>} the one with this user, which may exist already */
  async createDirect(handle) {
    return this.#replica.create({ kind: "direct", members: [handle] }, true);
  }

  /** @returns {Promise<Conversation>} */
  async createGroup(title, handles) {
    return this.#replica.create({ kind: "group", title, members: handles }, false);
  }

  /** Adds people by handle or id, and removes them. */
  async changeMembers(id, { add = [], remove = [] }) {
    await this.#replica.changeMembers(id, { add, remove });
  }

  /** The user has seen everything up to `seq`. Known to this browser alone. */
  markRead(id, seq) {
    this.#replica.markRead(id, seq);
  }

  /** A user's handle, or a short form of the id. */
  nameOf(userID) {
    return this.#replica.nameOf(userID);
  }

  // Messages

  /**
   * Sends a message: at once, or as soon as there is a connection, also after a reload. Messages
   * of one conversation keep their order.
   * @returns {Outgoing}
   */
  send(conversationID, text) {
    if (!this.user) throw new MartletError("FAILED_PRECONDITION", "nobody is signed in");
    return this.#replica.outbox.send(conversationID, text);
  }

  /** Tries a failed message again, with the same id, behind the others. */
  retry(outgoingID) {
    return this.#replica.outbox.retry(outgoingID);
  }

  /** Forgets a failed message. */
  discard(outgoingID) {
    return this.#replica.outbox.discard(outgoingID);
  }

  /** @returns {Outgoing[]} what was not sent or whose event was not delivered yet, in order */
  outgoing(conversationID) {
    return this.#replica.outbox.list(conversationID);
  }

  /**
   * Events just below `before`, or the last ones.
   * @param {string} id of the conversation
   * @param {{before?: number, limit?: number}} [range] at most 200
   * @returns {Promise<{events: Event[], reachedStart: boolean}>} ascending, without gaps; fewer
   *   than `limit` also where a gateway gives less at a time, or, offline, where no more is kept
   */
  async history(id, { before, limit = 50 } = {}) {
    if (before <= 1) return { events: [], reachedStart: true };
    const count = Math.max(1, Math.min(limit, this.#limits.pageMax));
    const events = await this.#replica.history(id, { before, limit: count });
    return { events, reachedStart: events.length === 0 || events[0].seq === 1 };
  }

  /** @returns {Promise<string>} what was being written, or nothing */
  draft(conversationID) {
    return this.#store.draft(conversationID);
  }

  setDraft(conversationID, text) {
    return this.#store.setDraft(conversationID, text);
  }

  // The session's life

  #configure() {
    this.#configuring ??= (async () => {
      const { origin } = globalThis.location;
      const listed = this.#gateways ?? [
        origin, ...(await configuredGateways(origin, this.#limits.callTimeoutMilliseconds)),
      ];
      this.#gateways = preferred(listed, globalThis.location);
      this.#makeSession();
    })();
    return this.#configuring;
  }

  #makeSession() {
    this.#session = new Session(this.#gateways, {
      lock: `martlet-refresh-${this.#database}`, limits: this.#limits,
    });
  }

  async #begin({ user, device }) {
    const known = this.user?.id;
    if (known && known !== user.id) this.#replica.clear();
    await this.#store.claim(user, device);
    if (known !== user.id && (await this.#replica.restore()) && this.conversations.size > 0) {
      this.#fire("cached", {});
    }
    this.#replica.signIn(user, device);
    this.#connect("connecting");
  }

  #connect(state) {
    this.#setState(state);
    this.#prepareConnection();
    this.#connection.open(this.#gateways);
  }

  /** What is asked for before the gateways are known waits in it. */
  #prepareConnection() {
    this.#connection ??= new Connection({
      token: () => this.#session.token(),
      reject: (token) => this.#session.reject(token),
      cursor: () => this.#replica.cursor,
      onOnline: (link, welcome) => {
        this.#setState("online");
        this.#replica.welcomed(welcome);
      },
      onOffline: () => this.#setState("reconnecting"),
      onPush: (link, frame) => this.#replica.pushed(link, frame),
      onSignedOut: (error) => this.#signedOut(error, true),
      onCursorRefused: () => this.#replica.restart(),
    }, this.#limits);
  }

  #signedOut(error, isTold) {
    this.#disconnect();
    this.#replica.clear();
    this.#makeSession();
    this.#setState("signedOut");
    if (isTold) this.#fire("signedout", { reason: error.message });
  }

  #disconnect() {
    this.#connection?.close();
    this.#connection = null;
  }

  /** As far as a gateway can be reached. */
  async #closeSession() {
    const closing = this.#configure().then(() => this.#session.logout()).then(
      () => true, (error) => error.code === "UNAUTHENTICATED");
    const late = sleep(this.#limits.logoutTimeoutMilliseconds);
    if (await Promise.race([closing, late])) this.#logoutMark.clear();
  }

  async #finishLogout() {
    await this.#closeSession();
    await this.#store.destroy();
    this.#setState("signedOut");
    return false;
  }

  #setState(state) {
    this.#state = state;
    const shown = `${state} ${this.gateway}`;
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.#fire("state", { state, gateway: this.gateway });
  }

  #fire(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
