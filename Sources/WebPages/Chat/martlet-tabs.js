/** What tabs of one browser tell each other, and pages the pages after them. */

/**
 * A lock that is held for as long as the page lives, so that other tabs see whose unanswered
 * messages nobody sends any more.
 */
export class TabLock {
  id;
  #prefix;
  #release = null;

  constructor(database, id) {
    this.#prefix = `martlet-tab-${database}-`;
    this.id = id;
  }

  /** Browsers give locks to secure origins alone; without them tabs do not know each other. */
  take() {
    if (!navigator.locks || this.#release) return undefined;
    return new Promise((taken) => {
      navigator.locks.request(this.#prefix + this.id, () => {
        taken();
        return new Promise((resolve) => { this.#release = resolve; });
      }).catch(taken);
    });
  }

  release() {
    this.#release?.();
    this.#release = null;
  }

  /** @returns {Promise<Set<string>|null>} the tabs that live; `null`: that is not known */
  async live() {
    const locks = await navigator.locks?.query().catch(() => null);
    if (!locks) return null;
    const { held = [] } = locks;
    const names = held.map(({ name }) => name).filter((name) => name.startsWith(this.#prefix));
    return new Set(names.map((name) => name.slice(this.#prefix.length)));
  }
}

/**
 * Only a gateway can clear the cookie. When none was reached at the logout, the next page must
 * know that nobody is to be signed in by it.
 */
export class LogoutMark {
  #key;

  constructor(database) {
    this.#key = database && `martlet-logout-${database}`;
  }

  get isSet() {
    return this.#try((storage) => storage.getItem(this.#key) !== null) ?? false;
  }

  set() {
    this.#try((storage) => storage.setItem(this.#key, "1"));
  }

  clear() {
    this.#try((storage) => storage.removeItem(this.#key));
  }

  #try(work) {
    try {
      return this.#key ? work(localStorage) : undefined;
    } catch {
      return undefined;
    }
  }
}
