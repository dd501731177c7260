import { LIMITS, MartletError, jitter } from "./martlet-protocol.js";
import { Link } from "./martlet-link.js";

/**
 * Keeps a link to one of the gateways.
 *
 * A gateway that refuses or closes is followed by the next one at once. After a round over all of
 * them there is a pause: random below a bound that doubles with every round (full jitter).
 * A draining gateway is left only when another one has welcomed this client.
 */
export class Connection {
  #gateways;
  #limits;
  #on;
  #index = 0;
  /** Attempts in a row that came to nothing. */
  #failures = 0;
  #rejections = 0;
  #link = null;
  /** A link before its welcome. */
  #dialling = null;
  #isAskingForToken = false;
  #timer = 0;
  #isActive = false;
  #requests = new Set();
  #listeners = new AbortController();

  /**
   * @param {object} on
   *   `token()` gives a token for a hello, `reject(token)` says that a gateway did not take it,
   *   `cursor()` gives where events resume; `onOnline(link, welcome)`, `onOffline()`,
   *   `onPush(link, frame)`, `onSignedOut(error)`, `onCursorRefused()`.
   */
  constructor(on, limits = LIMITS) {
    this.#on = on;
    this.#limits = limits;
  }

  /** The link that operations go to, or `null`. */
  get link() {
    return this.#link?.isOpen ? this.#link : null;
  }

  get gateway() {
    return this.#link?.gateway ?? null;
  }

  /** Connects. What was requested before waits for that. `gateways`: origins. */
  open(gateways) {
    if (this.#isActive) return;
    this.#isActive = true;
    this.#gateways = gateways;
    const { signal } = this.#listeners;
    const wake = () => this.#wake();
    globalThis.addEventListener?.("online", wake, { signal });
    globalThis.addEventListener?.("offline", () => this.#probe(), { signal });
    globalThis.document?.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.#wake();
    }, { signal });
    this.#dial();
  }

  close(why = new MartletError("CANCELLED", "the client was closed")) {
    this.#isActive = false;
    this.#listeners.abort();
    clearTimeout(this.#timer);
    const links = [this.#link, this.#dialling];
    this.#link = this.#dialling = null;
    for (const link of links) link?.end("closed");
    for (const request of [...this.#requests]) request.finish(why);
  }

  /**
   * Asks until there is an answer: again on the next connection, again when it is refused for now.
   * @param {object} operation such as `{ history: { … } }`
   * @param {object} [options]
   *   `isRepeatable`: may be done twice; otherwise it fails when the connection is lost meanwhile.
   *   `timeoutMilliseconds`: `Infinity` waits for as long as the client is open.
   * @returns {Promise<object>} the frame with the answer
   */
  request(operation, {
    isRepeatable = true, timeoutMilliseconds = this.#limits.requestTimeoutMilliseconds,
  } = {}) {
    return new Promise((resolve, reject) => {
      const request = { operation, isRepeatable, isUnderWay: false, refusals: 0 };
      const timer = Number.isFinite(timeoutMilliseconds) && setTimeout(() => {
        const why = request.isUnderWay ? "no answer came in time" : "no gateway can be reached";
        request.finish(new MartletError("DEADLINE_EXCEEDED", why, true));
      }, timeoutMilliseconds);
      request.finish = (error, frame) => {
        clearTimeout(timer);
        this.#requests.delete(request);
        return error ? reject(error) : resolve(frame);
      };
      this.#requests.add(request);
      this.#try(request);
    });
  }

  #try(request) {
    const { link } = this;
    if (!link || request.isUnderWay || !this.#requests.has(request)) return;
    request.isUnderWay = true;
    link.ask(request.operation, (frame) => {
      request.isUnderWay = false;
      if (!this.#requests.has(request)) return;
      if (!frame) {
        if (!request.isRepeatable) {
          const why = "the connection was lost before the answer came";
          request.finish(new MartletError("UNKNOWN", why));
        } else if (this.#link !== link) {
          this.#try(request);
        }
      } else if (frame.error?.retryable) {
        const { retryBaseMilliseconds: base, retryMaxMilliseconds: max } = this.#limits;
        const asked = Math.min(frame.error.retryAfterMilliseconds ?? 0, max);
        const pause = Math.max(jitter(base, request.refusals, max), asked);
        request.refusals += 1;
        setTimeout(() => this.#try(request), pause);
      } else {
        request.finish(frame.error && MartletError.from(frame.error), frame);
      }
    });
  }

  // Connecting

  async #dial() {
    clearTimeout(this.#timer);
    if (!this.#isActive || this.#dialling || this.#isAskingForToken) return;
    if (this.#link && !this.#link.isDraining) return;
    let token;
    this.#isAskingForToken = true;
    try {
      token = await this.#on.token();
    } catch (error) {
      this.#isAskingForToken = false;
      if (!this.#isActive) return;
      if (error.code === "UNAUTHENTICATED") return this.#on.onSignedOut(error);
      // All gateways were asked: the round is over, wherever in it this began.
      const count = this.#gateways.length;
      this.#failures += count - 1 - (this.#failures % count);
      return this.#failed(error);
    }
    this.#isAskingForToken = false;
    if (!this.#isActive) return;
    const hello = { token, cursor: this.#on.cursor() };
    this.#dialling = new Link(this.#gateways[this.#index], hello, {
      onWelcome: (link, welcome) => this.#welcomed(link, welcome),
      onPush: (link, frame) => this.#pushed(link, frame),
      onEnd: (link, error) => this.#ended(link, error, hello),
    }, this.#limits);
  }

  #welcomed(link, welcome) {
    const former = this.#link;
    this.#dialling = null;
    this.#link = link;
    this.#rejections = 0;
    former?.retire();
    this.#on.onOnline(link, welcome);
    for (const request of [...this.#requests]) this.#try(request);
  }

  #pushed(link, frame) {
    if (frame.draining) return this.#leave(link);
    this.#on.onPush(link, frame);
  }

  #leave(link) {
    link.isDraining = true;
    if (link === this.#dialling) return link.end("the gateway stops");
    if (link !== this.#link) return;
    this.#index = (this.#index + 1) % this.#gateways.length;
    this.#timer = setTimeout(
      () => this.#dial(), Math.random() * this.#limits.drainSpreadMilliseconds);
  }

  #ended(link, error, hello) {
    const wasDialling = link === this.#dialling;
    const wasCurrent = link === this.#link;
    if (error.code === "UNAUTHENTICATED") this.#on.reject(link.token);
    if (wasDialling) this.#dialling = null;
    if (wasCurrent) this.#link = null;
    if (!this.#isActive || (!wasDialling && !wasCurrent)) return;
    if (wasCurrent) this.#on.onOffline(error);
    if (wasCurrent && this.#dialling) return;
    if (wasCurrent && performance.now() - link.openedAt > this.#limits.stableAfterMilliseconds) {
      this.#failures = 0;
    }
    if (error.code === "UNAUTHENTICATED" && (this.#rejections += 1) === 1) return this.#dial();
    if (wasDialling && hello.cursor && error.code === "INVALID_ARGUMENT") {
      this.#on.onCursorRefused();
    }
    // One that was being left was the index's predecessor already.
    if (!link.isDraining || wasDialling) {
      this.#index = (this.#index + 1) % this.#gateways.length;
    }
    this.#failed(error);
  }

  /** The next gateway at once, or after a pause when a whole round came to nothing. */
  #failed(error) {
    this.#failures += 1;
    const count = this.#gateways.length;
    let pause = 0;
    if (this.#failures % count === 0) {
      const { backoffBaseMilliseconds, backoffMaxMilliseconds } = this.#limits;
      const max = this.#isIdle
        ? this.#limits.backoffIdleMaxMilliseconds : backoffMaxMilliseconds;
      const asked = Math.min(error.retryAfterMilliseconds, backoffMaxMilliseconds);
      pause = Math.max(jitter(backoffBaseMilliseconds, this.#failures / count - 1, max), asked);
    }
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#dial(), pause);
  }

  // What the browser tells

  /** Nobody looks, or a try is unlikely to help. A gateway on this machine needs no network. */
  get #isIdle() {
    if (globalThis.document?.hidden) return true;
    const { hostname } = new URL(this.#gateways[this.#index]);
    return navigator.onLine === false && !/^(127\.|localhost$|\[::1\])/.test(hostname);
  }

  #wake() {
    this.#probe();
    if (!this.#link) {
      this.#failures = 0;
      this.#dial();
    }
  }

  #probe() {
    this.#link?.probe(this.#limits.probeTimeoutMilliseconds);
  }
}
