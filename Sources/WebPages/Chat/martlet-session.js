import { LIMITS, MartletError } from "./martlet-protocol.js";

/**
 * Who is signed in. The refresh token is a cookie that no script can read; the access token is
 * in memory alone.
 *
 * Cookies are shared by all ports of a host, so every gateway with the host's name may be asked.
 */
export class Session {
  #gateways;
  #limits;
  #lock;
  #token = null;
  #refreshAt = 0;
  #expiresAt = 0;
  #refreshing = null;
  #user = null;

  /**
   * @param {string[]} gateways origins that share the cookie, the preferred one first
   * @param {string} lock name of the lock under which tabs take turns in refreshing
   */
  constructor(gateways, { lock, limits = LIMITS }) {
    this.#gateways = gateways;
    this.#limits = limits;
    this.#lock = lock;
  }

  /** A token that is good for a new connection. Throws what `refresh` throws. */
  async token() {
    if (!this.#token || Date.now() >= this.#refreshAt) {
      try {
        await this.refresh();
      } catch (error) {
        const isUsable = this.#token && Date.now() < this.#expiresAt;
        if (error.code === "UNAUTHENTICATED" || !isUsable) throw error;
      }
    }
    return this.#token;
  }

  /** A gateway does not take this token (any more). */
  reject(token) {
    if (token === this.#token) this.#token = null;
  }

  async register({ handle, password, displayName = "" }) {
    const body = { handle, password, displayName };
    let isRepeated = false;
    const onRetry = () => { isRepeated = true; };
    try {
      await this.#call("POST", "/v1/accounts", { body, onRetry });
    } catch (error) {
      // The account may be ours, from a try whose answer was lost: the login shows it.
      if (!isRepeated || error.code !== "ALREADY_EXISTS") throw error;
    }
  }

  /** @returns {Promise<{user, device}>} */
  async login({ handle, password }) {
    const body = { handle, password, device: deviceName(), cookie: true };
    const answer = await this.#call("POST", "/v1/sessions", { body });
    this.#user = answer.user.id;
    return this.#take(answer);
  }

  /**
   * Gets the next access token.
   * @returns {Promise<{user, device}>}
   * @throws {MartletError} UNAUTHENTICATED: signed out, by a gateway's own word; anything else:
   *   it could not be asked
   */
  refresh() {
    this.#refreshing ??= this.#alone(async () =>
      this.#take(await this.#call("POST", "/v1/sessions/refresh", { body: { cookie: true } })),
    ).finally(() => { this.#refreshing = null; });
    return this.#refreshing;
  }

  /** Closes the session on the server, which also clears the cookie. */
  async logout() {
    const token = await this.token();
    this.#token = null;
    await this.#call("DELETE", "/v1/sessions/current", { token });
  }

  /** A refresh token is good for one refresh, so that two tabs must not use it at once. */
  #alone(work) {
    if (!navigator.locks || !this.#lock) return work();
    return navigator.locks.request(this.#lock, work);
  }

  #take({ accessToken, expiresInSeconds, user, device }) {
    this.#user ??= user.id;
    if (user.id !== this.#user) {
      this.#token = null;
      throw new MartletError("UNAUTHENTICATED", "somebody else signed in, in another tab");
    }
    const life = expiresInSeconds * 1_000;
    this.#token = accessToken;
    this.#refreshAt = Date.now() + life / 2;
    this.#expiresAt = Date.now() + life;
    return { user, device };
  }

  /** Asks one gateway after the other until one answers. */
  async #call(method, path, { body, token, onRetry }) {
    let failure = null;
    for (const gateway of this.#gateways) {
      if (failure) onRetry?.();
      try {
        return await this.#fetch(gateway + path, method, body, token);
      } catch (error) {
        if (!error.retryable) throw error;
        failure = error;
      }
    }
    throw failure;
  }

  async #fetch(url, method, body, token) {
    const headers = {};
    if (body) headers["Content-Type"] = "application/json";
    if (token) headers.Authorization = `Bearer ${token}`;
    let response;
    let answer;
    try {
      response = await fetch(url, {
        method,
        headers,
        body: body && JSON.stringify(body),
        credentials: "include",
        cache: "no-store",
        signal: AbortSignal.timeout(this.#limits.callTimeoutMilliseconds),
      });
      answer = response.status === 204 ? null : await response.json();
    } catch {
      throw new MartletError("UNAVAILABLE", "no gateway can be reached", true);
    }
    if (response.ok) return answer;
    // An answer without an envelope is not a gateway's, but of something on the way.
    if (!answer?.error) throw new MartletError("UNAVAILABLE", `HTTP ${response.status}`, true);
    throw MartletError.from(answer.error);
  }
}

/** A name for this device that its user recognises. */
function deviceName() {
  const agent = navigator.userAgent;
  const find = (names) => names.find((name) => agent.includes(name));
  const browser = find(["Edg", "Firefox", "Chrome", "Safari"]) ?? "Browser";
  const system = find(["Android", "iPhone", "iPad", "Windows", "Mac", "Linux"]);
  return (browser === "Edg" ? "Edge" : browser) + (system ? ` on ${system}` : "");
}

/** The gateways as a page may use them: those of its own host if there are any, its own first. */
export function preferred(gateways, { origin, hostname }) {
  const unique = [...new Set(gateways.map((gateway) => new URL(gateway).origin))];
  const near = unique.filter((gateway) => new URL(gateway).hostname === hostname);
  const usable = near.length > 0 ? near : unique;
  return usable.sort((left, right) => (right === origin) - (left === origin));
}

/** What `/web/config.json` lists, or else the page's own origin. */
export async function configuredGateways(origin, timeoutMilliseconds) {
  try {
    const response = await fetch(`${origin}/web/config.json`, {
      credentials: "include",
      cache: "no-store",
      signal: AbortSignal.timeout(timeoutMilliseconds),
    });
    const { gateways } = await response.json();
    return gateways.length > 0 ? gateways : [origin];
  } catch {
    return [origin];
  }
}
