import { LIMITS, MartletError, randomID } from "./martlet-protocol.js";

/**
 * Who is signed in. The refresh token is a cookie that no script can read; the access token is
 * in memory alone.
 *
 * Browsers keep cookies by host, and by domain where gateways say so. That one of another host
 * knows no cookie of this browser means nothing until it has taken one.
 */
export class Session {
  #gateways;
  /** Hosts that get the cookie. */
  #hosts;
  #limits;
  #lock;
  #token = null;
  #refreshAt = 0;
  #expiresAt = 0;
  #refreshing = null;
  #user = null;

  /**
   * @param {string[]} gateways origins, the preferred one first
   * @param {string} lock name of the lock under which tabs take turns in refreshing
   */
  constructor(gateways, { lock, limits = LIMITS }) {
    this.#gateways = gateways;
    this.#hosts = new Set([hostOf(gateways[0])]);
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
      this.#take(await this.#call(
        "POST", "/v1/sessions/refresh", { body: { cookie: true }, needsCookie: true })),
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
  async #call(method, path, { body, token, onRetry, needsCookie = false }) {
    let failure = null;
    for (const gateway of this.#gateways) {
      if (failure) onRetry?.();
      const host = hostOf(gateway);
      try {
        const answer = await this.#fetch(gateway + path, method, body, token);
        if (body?.cookie) this.#hosts.add(host);
        return answer;
      } catch (error) {
        const isStranger =
          needsCookie && error.code === "UNAUTHENTICATED" && !this.#hosts.has(host);
        if (!error.retryable && !isStranger) throw error;
        failure = isStranger ? failure ?? unreachable() : error;
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
      throw unreachable();
    }
    if (response.ok) return answer;
    // An answer without an envelope is not a gateway's, but of something on the way.
    if (!answer?.error) throw new MartletError("UNAVAILABLE", `HTTP ${response.status}`, true);
    throw MartletError.from(answer.error);
  }
}

const hostOf = (gateway) => new URL(gateway).hostname;
const unreachable = () => new MartletError("UNAVAILABLE", "no gateway can be reached", true);

const deviceKey = "martlet-device";

/**
 * A name for this device that its user recognises. Gateways take devices with one name for one,
 * so it ends with what only this browser has; kept, for messages are stored once per device and id.
 */
function deviceName() {
  let own = randomID().slice(0, 8);
  try {
    own = localStorage.getItem(deviceKey) ?? own;
    localStorage.setItem(deviceKey, own);
  } catch {
    // Without storage the device is a new one each time.
  }
  return `${browserName()} ${own}`;
}

function browserName() {
  const agent = navigator.userAgent;
  const find = (names) => names.find((name) => agent.includes(name));
  const browser = find(["Edg", "Firefox", "Chrome", "Safari"]) ?? "Browser";
  const system = find(["Android", "iPhone", "iPad", "Windows", "Mac", "Linux"]);
  return (browser === "Edg" ? "Edge" : browser) + (system ? ` on ${system}` : "");
}

/**
 * The gateways as a page may use them, its own origin first: those that speak its scheme, for
 * others get no cookie, and of these, if there are several, those of its own host.
 */
export function preferred(gateways, { origin, hostname, protocol }) {
  const urls = gateways.map((gateway) => new URL(gateway));
  const spoken = urls.filter((url) => url.protocol === protocol);
  const usable = spoken.length > 0 ? spoken : urls;
  const near = usable.filter((url) => url.hostname === hostname);
  const chosen = (near.length > 1 ? near : usable).map((url) => url.origin);
  return [...new Set(chosen)].sort((left, right) => (right === origin) - (left === origin));
}

/** What `/web/config.json` lists. */
export async function configuredGateways(origin, timeoutMilliseconds) {
  try {
    const response = await fetch(`${origin}/web/config.json`, {
      credentials: "include",
      cache: "no-store",
      signal: AbortSignal.timeout(timeoutMilliseconds),
    });
    return (await response.json()).gateways ?? [];
  } catch {
    return [];
  }
}
