import { LIMITS } from "./martlet-protocol.js";

/** Raised with every change of the stores; what an older page wrote is then thrown away. */
const VERSION = 1;
const STORES = ["meta", "conversations", "events", "outgoing", "drafts"];

/**
 * What is kept in IndexedDB.
 *
 * | store | key | value |
 * |---|---|---|
 * | meta | `account` | `{user, device, stamp}`; `stamp` changes when everything was deleted |
 * | meta | `cursor` | the last cursor whose events are all in `events` |
 * | conversations | id | the conversation, `position`, `quiet`, `low`…`high` of its events |
 * | events | [conversation, seq] | one gapless range of the latest ones per conversation |
 * | outgoing | id | a message on its way, `order`, `device`, `owner`: the tab that sends it |
 * | drafts | conversation | text |
 *
 * Tabs of one account share it: every transaction that writes reads the account first and does
 * nothing when it is another one's, and ranges are merged with what the database holds.
 * Without a database (private mode, no room, an error) everything here does nothing.
 */
export class Store {
  #database = null;
  #stamp = null;
  #limits;
  #name;

  constructor(name, limits = LIMITS) {
    this.#name = name;
    this.#limits = limits;
  }

  get isUsable() {
    return this.#database !== null;
  }

  /** Never throws: what cannot be opened in time is done without. */
  async open() {
    if (!this.#name || !globalThis.indexedDB) return;
    try {
      const database = await opened(this.#name, this.#limits.openTimeoutMilliseconds);
      database.onversionchange = () => this.close();
      database.onclose = () => { this.#database = null; };
      this.#database = database;
    } catch {
      this.#database = null;
    }
  }

  close() {
    this.#database?.close();
    this.#database = null;
  }

  /** What is known of the last user, or `null`. */
  async load() {
    const stores = ["meta", "conversations"];
    return this.#transact(stores, "readonly", async ({ meta, conversations }) => {
      const [account, cursor, rows] = await Promise.all([
        promised(meta.get("account")), promised(meta.get("cursor")),
        promised(conversations.getAll()),
      ]);
      if (!account) return null;
      this.#stamp = account.stamp;
      return { ...account, cursor: cursor ?? null, conversations: rows };
    });
  }

  /** Says whose database this is from now on. What was another user's is deleted. */
  async claim(user, device) {
    await this.#transact(STORES, "readwrite", async (stores) => {
      const account = await promised(stores.meta.get("account"));
      let stamp = account?.stamp;
      if (account?.user.id !== user.id) {
        for (const name of STORES) stores[name].clear();
        stamp = `${Date.now()}.${Math.random()}`;
      }
      stores.meta.put({ user, device, stamp }, "account");
      this.#stamp = stamp;
    });
  }

  /**
   * Writes what happened, all or nothing.
   * @param {object} batch
   *   `rows`: conversations; `events`, ascending per conversation; `cursor`: behind these events;
   *   `resets`: conversations whose events are void; `left`: those that are gone.
   */
  write({ rows = [], events = [], cursor = null, resets = [], left = [] }) {
    const stores = ["meta", "conversations", "events", "drafts"];
    return this.#change(stores, async ({ meta, conversations, events: kept, drafts }) => {
      for (const id of resets) await this.#clearRange(conversations, kept, id);
      for (const id of left) {
        kept.delete(rangeOf(id));
        conversations.delete(id);
        drafts.delete(id);
      }
      for (const row of rows) {
        const stored = await promised(conversations.get(row.id));
        conversations.put(merged(stored, row), row.id);
      }
      for (const [id, list] of groups(events)) await this.#keep(conversations, kept, id, list);
      if (cursor) meta.put(cursor, "cursor");
    });
  }

  /** A cursor that gateways do not take, and positions that it stood for. */
  async forgetPositions() {
    await this.#change(["meta", "conversations", "events"], async (stores) => {
      stores.meta.delete("cursor");
      stores.events.clear();
      for (const row of await promised(stores.conversations.getAll())) {
        stores.conversations.put({ ...row, position: null, low: null, high: null }, row.id);
      }
    });
  }

  /**
   * The latest events below `before`, at most `limit`, ascending; without `before`, those up to
   * `head`. Empty when the last of these is not here.
   */
  async history(conversation, { before, head, limit }) {
    const found = await this.#transact(
      ["conversations", "events"], "readonly", async ({ conversations, events }) => {
        const row = await promised(conversations.get(conversation));
        if (!row?.high) return [];
        const last = before === undefined ? row.high : before - 1;
        if (last > row.high || last < row.low) return [];
        if (before === undefined && row.high < head) return [];
        const first = Math.max(row.low, last - limit + 1);
        return promised(events.getAll(rangeOf(conversation, first, last)));
      });
    return found ?? [];
  }

  /** @param {object} row an outgoing message; `owner` and `device` included */
  saveOutgoing(row) {
    return this.#change(["meta", "outgoing"], async ({ outgoing }) => {
      outgoing.put(row, row.id);
    });
  }

  removeOutgoing(id) {
    return this.#change(["meta", "outgoing"], async ({ outgoing }) => { outgoing.delete(id); });
  }

  /** Takes over outgoing messages of tabs that are gone. */
  async adoptOutgoing(owner, liveOwners) {
    let taken = [];
    await this.#change(["meta", "outgoing"], async ({ outgoing }) => {
      const rows = await promised(outgoing.getAll());
      taken = rows.filter((row) => row.owner !== owner && !liveOwners.has(row.owner));
      for (const row of taken) outgoing.put({ ...row, owner }, row.id);
    });
    return taken;
  }

  async draft(conversation) {
    const text = await this.#transact(["drafts"], "readonly", ({ drafts }) =>
      promised(drafts.get(conversation)));
    return text ?? "";
  }

  setDraft(conversation, text) {
    return this.#change(["meta", "drafts"], async ({ drafts }) => {
      if (text) drafts.put(text, conversation);
      else drafts.delete(conversation);
    });
  }

  /** Everything is deleted, also for other tabs, which then do without. */
  async destroy() {
    await this.#transact(STORES, "readwrite", async (stores) => {
      for (const name of STORES) stores[name].clear();
    });
    this.close();
    if (this.#name && globalThis.indexedDB) indexedDB.deleteDatabase(this.#name);
  }

  // Ranges

  /** Merges events with the conversation's range, and cuts off its beginning. */
  async #keep(conversations, kept, id, list) {
    const row = await promised(conversations.get(id));
    if (!row) return;
    const max = this.#limits.eventsKeptMax;
    for (const run of runs(list)) {
      const [first, last] = [run[0].seq, run.at(-1).seq];
      if (row.high && last < row.low - 1) continue;
      if (row.high && first > row.high + 1) {
        kept.delete(rangeOf(id));
        row.low = row.high = null;
      }
      // Older ones are not worth the place of newer ones.
      if (row.high && first < row.low && row.high - first >= max) continue;
      for (const event of run) kept.put(event, [id, event.seq]);
      row.low = Math.min(row.low ?? first, first);
      row.high = Math.max(row.high ?? last, last);
    }
    if (row.high - row.low >= max + max / 4) {
      const low = row.high - max + 1;
      kept.delete(rangeOf(id, row.low, low - 1));
      row.low = low;
    }
    conversations.put(row, id);
  }

  async #clearRange(conversations, kept, id) {
    kept.delete(rangeOf(id));
    const row = await promised(conversations.get(id));
    if (row) conversations.put({ ...row, position: null, low: null, high: null }, id);
  }

  // Transactions

  /** A transaction that writes, for the account that this page knows. */
  #change(names, work) {
    return this.#transact(names, "readwrite", async (stores, transaction) => {
      const account = await promised(stores.meta.get("account"));
      if (account?.stamp === this.#stamp) return work(stores, transaction);
      // Signed out, or signed in as somebody else, in another tab.
      return this.close();
    });
  }

  /** Resolves when the transaction is complete, with what `work` gave. */
  async #transact(names, mode, work) {
    if (!this.#database) return undefined;
    try {
      const transaction = this.#database.transaction(names, mode);
      const completed = new Promise((resolve, reject) => {
        transaction.oncomplete = resolve;
        transaction.onabort = () => reject(transaction.error);
      });
      completed.catch(() => {});
      const stores = Object.fromEntries(
        names.map((name) => [name, transaction.objectStore(name)]));
      const result = await work(stores, transaction);
      await completed;
      return result;
    } catch {
      // No room, or broken. A cursor must not be written ahead of events that are not there.
      this.close();
      return undefined;
    }
  }
}

function opened(name, timeoutMilliseconds) {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(name, VERSION);
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      reject(new Error("the database is blocked"));
    }, timeoutMilliseconds);
    request.onupgradeneeded = () => {
      const database = request.result;
      for (const store of [...database.objectStoreNames]) database.deleteObjectStore(store);
      for (const store of STORES) database.createObjectStore(store);
    };
    request.onsuccess = () => {
      clearTimeout(timer);
      if (isLate) request.result.close();
      else resolve(request.result);
    };
    request.onerror = () => reject(request.error);
  });
}

function promised(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function rangeOf(conversation, first = 0, last = Infinity) {
  return IDBKeyRange.bound([conversation, first], [conversation, last]);
}

/** Two tabs may know different things: the later one counts. */
function merged(stored, row) {
  if (!stored) return { low: null, high: null, ...row };
  const later = (stored.last?.seq ?? 0) > (row.last?.seq ?? 0) ? stored.last : row.last;
  return {
    ...stored,
    ...row,
    last: later,
    head: Math.max(stored.head, row.head),
    read: Math.max(stored.read, row.read),
    position: stored.position === null || row.position === null
      ? row.position ?? stored.position : Math.max(stored.position, row.position),
  };
}

function groups(events) {
  const found = new Map();
  for (const event of events) {
    if (!found.has(event.conversation)) found.set(event.conversation, []);
    found.get(event.conversation).push(event);
  }
  return found;
}

/** Cuts a list into stretches without gaps. */
function runs(events) {
  const found = [];
  for (const event of events) {
    const run = found.at(-1);
    if (run && run.at(-1).seq + 1 === event.seq) run.push(event);
    else found.push([event]);
  }
  return found;
}
