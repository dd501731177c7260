import { LIMITS, MartletError } from "./martlet-protocol.js";

const HELLO = "hello";
const PING = "ping";

/**
 * One WebSocket, from dialling to its end.
 *
 * ```
 *   dialling ──opened──▶ greeting ──welcome──▶ open ──▶ ended
 *       └─────── refused, closed, silent, too late ──────▶
 * ```
 *
 * `onEnd` is called exactly once, and nothing after it; what was asked and not answered gets
 * `null` just before.
 */
export class Link {
  gateway;
  token;
  isOpen = false;
  /** The gateway stops: it still answers, but the next one is wanted. */
  isDraining = false;
  openedAt = 0;
  #socket;
  #limits;
  #on;
  #hello;
  #calls = new Map();
  #lastRef = 0;
  #lastHeard = 0;
  #timers = { deadline: 0, beat: 0, pong: 0 };
  #isRetired = false;
  #hasEnded = false;

  /**
   * @param {string} gateway origin
   * @param {{token: string, cursor: string|null}} hello
   * @param {{onWelcome, onPush, onEnd}} on  `onEnd(link, MartletError)`
   */
  constructor(gateway, hello, on, limits = LIMITS) {
    this.gateway = gateway;
    this.token = hello.token;
    this.#hello = hello;
    this.#on = on;
    this.#limits = limits;
    this.#timers.deadline = setTimeout(
      () => this.end("no welcome came in time"), limits.connectTimeoutMilliseconds);
    this.#socket = new WebSocket(`${gateway.replace(/^http/, "ws")}/v1/ws`, "martlet.v1.json");
    this.#socket.onopen = () => this.#greet();
    this.#socket.onmessage = ({ data }) => this.#received(data);
    this.#socket.onclose = ({ reason }) => this.end(reason || "the connection was closed");
  }

  /**
   * Asks for something once.
   * @param {object} operation such as `{ history: { … } }`
   * @param {(answer: object|null) => void} onAnswer `null`: this link ended before
   */
  ask(operation, onAnswer) {
    if (this.#hasEnded) return onAnswer(null);
    this.#lastRef += 1;
    const ref = String(this.#lastRef);
    this.#calls.set(ref, onAnswer);
    this.#write({ ref, ...operation });
  }

  /** Expects a sign of life within the timeout. */
  probe(timeoutMilliseconds) {
    if (!this.isOpen || this.#timers.pong) return;
    this.#write({ ref: PING, ping: {} });
    const askedAt = performance.now();
    this.#timers.pong = setTimeout(() => {
      this.#timers.pong = 0;
      if (this.#lastHeard >= askedAt || this.#hasEnded) return;
      // Whoever slept through the time for the answer asks once more.
      const late = performance.now() - askedAt - timeoutMilliseconds;
      if (late > timeoutMilliseconds / 4) return this.probe(timeoutMilliseconds);
      this.end("the gateway is silent");
    }, timeoutMilliseconds);
  }

  /** Another link took over: closes once everything was answered, or soon. */
  retire() {
    this.#isRetired = true;
    if (this.#calls.size === 0) return this.end("left");
    setTimeout(() => this.end("left"), this.#limits.drainTimeoutMilliseconds);
  }

  end(why) {
    this.#fail(new MartletError("UNAVAILABLE", why, true));
  }

  #fail(error) {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.isOpen = false;
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
    const socket = this.#socket;
    socket.onopen = socket.onmessage = socket.onclose = null;
    // The closing handshake with a dead peer takes long; nobody waits for it.
    socket.close();
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    for (const onAnswer of calls) onAnswer(null);
    this.#on.onEnd(this, error);
  }

  #write(frame) {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame));
  }

  #greet() {
    const { token, cursor } = this.#hello;
    this.#write({ ref: HELLO, hello: cursor ? { token, cursor } : { token } });
  }

  #received(data) {
    this.#lastHeard = performance.now();
    let frames;
    try {
      frames = JSON.parse(data);
    } catch {
      return this.end("what came is no JSON");
    }
    for (const frame of Array.isArray(frames) ? frames : [frames]) {
      if (this.#hasEnded) return;
      this.#receive(frame);
    }
  }

  #receive(frame) {
    const { ref = "" } = frame;
    if (frame.error && (!ref || ref === HELLO || frame.error.code === "UNAUTHENTICATED")) {
      // Not the fault of one operation: the session has ended, or does not begin.
      return this.#fail(MartletError.from(frame.error));
    }
    if (ref === HELLO && frame.welcome) return this.#welcomed(frame.welcome);
    const onAnswer = ref && this.#calls.get(ref);
    if (!onAnswer) return ref ? undefined : this.#on.onPush(this, frame);
    this.#calls.delete(ref);
    onAnswer(frame);
    if (this.#isRetired && this.#calls.size === 0) this.end("left");
  }

  #welcomed(welcome) {
    clearTimeout(this.#timers.deadline);
    this.isOpen = true;
    this.openedAt = performance.now();
    this.#beat();
    this.#on.onWelcome(this, welcome);
  }

  #beat() {
    this.#timers.beat = setTimeout(() => {
      this.probe(this.#limits.pongTimeoutMilliseconds);
      this.#beat();
    }, this.#limits.pingIntervalMilliseconds);
  }
}
