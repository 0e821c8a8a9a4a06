// A WebSocket that comes back by itself, and goes on where it was.
//
//     import { Connection } from "/triows/triows.js";
//
//     const connection = new Connection("/rooms/blue");
//     connection.addEventListener("message", ({ detail }) => show(detail.data));
//     connection.send("hello");
//
// Its events, and what their `detail` has:
//
//     open      { protocol }                    connected, and again each time that it came back
//     message   { data, topic, epoch, offset }  from a topic; only `data` if sent without one
//     joined    { topic, epoch, offset, recovered, resumed }
//     gap       { topic }                       messages of the topic are missing here
//     presence  { topic, presence, member, data }
//     waiting   { code, reason, delay }         disconnected; the next attempt is in `delay` ms
//     dropped   { data }                        a message to the server that will not go out
//     closed    { code, reason }                ended for good; what is sent now is dropped

const FIRST_DELAY = 500; // ms, and twice as much after each attempt that fails, ...
const LONGEST_DELAY = 15_000; // ... up to this. A random part of it is waited.
const STEADY = 5000; // ms that a connection has to last for the delays to begin anew
const OPEN_TIMEOUT = 15_000; // ms for an attempt; triows itself gives a handshake 10 s
const BUFFERED = 1 << 20; // bytes that the browser may hold; what is more waits here
const POLL = 50; // ms between two looks whether the browser holds less: no event tells

// Those that say nothing about the page or what it has sent: the server went away or failed,
// the network broke. After 1000, 1008 and the like another attempt would end in the same way.
const COMING_BACK = new Set([1001, 1005, 1006, 1011, 1012, 1013, 1014, 1015]);

/** Return whether one comes back after this close code. */
export function comesBack(code) {
  return COMING_BACK.has(code) || (code >= 4000 && code <= 4499);
}

export class Connection extends EventTarget {
  /** Where each topic stands here, a Map of `{ epoch, offset }`; null without history. */
  positions = new Map();

  #url; #options; #state; #socket; #openedAt; #isGreeting;
  #timer; // of the state: to give an attempt up, to begin the next one, or to look for room
  #silent; // the timer that runs while no message comes
  #attempt = 0; // the number of the current one: what belongs to an earlier one is ignored
  #failures = 0; // attempts, and connections that did not last, one after the other
  #queue = []; #ended = new AbortController();

  /**
   * Connect, and stay connected until `close()` or a close code that means it.
   *
   * `url` is relative to the page; or a function, async if it likes, that is called with
   * `positions` before each attempt and returns it, with a fresh token for example. `protocols`
   * are the subprotocols to offer. `queue` messages to the server may wait; if there are more,
   * `overflow` says which one is dropped: "drop_oldest" or "drop_newest". After `silence` ms
   * without a message from the server the connection is replaced; 0 if it need not send any.
   */
  constructor(url, { protocols = [], queue = 100, overflow = "drop_oldest", silence = 0 } = {}) {
    super();
    if (!["drop_oldest", "drop_newest"].includes(overflow)) throw new RangeError(overflow);
    [this.#url, this.#options] = [url, { protocols, queue, overflow, silence }];
    // A URL, or a subprotocol, that is wrong now will always be.
    try { this.#open(); } catch (error) { this.#drop(); throw error; }
    const { signal } = this.#ended;
    // Being offline is no reason to leave: the server may be on this machine.
    const moved = () => this.reconnect("the network has changed");
    // A page that is looked at does not wait, and the timers of one that is not are slow.
    const seen = () => !document.hidden && this.#state === "waiting" && this.#open();
    globalThis.addEventListener?.("online", moved, { signal });
    globalThis.document?.addEventListener("visibilitychange", seen, { signal });
  }

  /** "connecting", "open", "waiting" for the next attempt, or "closed" for good. */
  get state() { return this.#state; }
  /** How many messages wait to be sent. */
  get queued() { return this.#queue.length; }

  /** Send a message: now, or when there is a connection. With a connection some may be lost. */
  send(data) {
    if (this.#state === "closed") return this.#tell("dropped", { data });
    if (this.#isGreeting) return this.#socket.send(data);
    this.#queue.push(data);
    this.#flush();
    if (this.#queue.length <= this.#options.queue) return;
    const isOldest = this.#options.overflow === "drop_oldest";
    this.#tell("dropped", { data: isOldest ? this.#queue.shift() : this.#queue.pop() });
  }

  /** Give up a connection that may be dead without anybody knowing, and come back. */
  reconnect(reason = "reconnect()") {
    this.#failures = 0;
    if (this.#state !== "closed") this.#lost(1006, reason);
  }

  /** End it for good, with a code that pages may use: 1000, or 3000 to 4999. */
  close(code = 1000, reason = "") {
    if (this.#state !== "closed") this.#end(code, reason, [code, reason]);
  }

  #open() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#lost(1006, "nobody answered"), OPEN_TIMEOUT);
    [this.#state, this.#openedAt] = ["connecting", Infinity];
    const attempt = ++this.#attempt;
    if (typeof this.#url !== "function") return this.#connect(this.#url);
    const ask = async () => this.#url(this.positions); // What it throws is heard of later.
    const current = (step) => (value) => { if (attempt === this.#attempt) step(value); };
    const failed = (error) => this.#lost(1006, String(error));
    ask().then(current((url) => this.#connect(url))).catch(current(failed));
  }

  #connect(given) {
    const url = new URL(given, globalThis.location?.href);
    url.protocol = url.protocol.replace(/^http/, "ws");
    const known = [...this.positions.values()].filter(({ epoch }) => epoch !== null);
    // Of several topics the function knows what to say.
    if (known.length === 1) for (const key in known[0]) url.searchParams.set(key, known[0][key]);
    const socket = this.#socket = new WebSocket(url, this.#options.protocols);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.#opened(socket.protocol);
    socket.onmessage = ({ data }) => this.#received(data);
    socket.onclose = ({ code, reason }) => this.#lost(code, reason);
  }

  #opened(protocol) {
    clearTimeout(this.#timer);
    this.#await();
    [this.#state, this.#openedAt] = ["open", performance.now()];
    // What a listener sends now, perhaps to say who is there, goes before what has waited.
    this.#isGreeting = true;
    this.#tell("open", { protocol });
    this.#isGreeting = false;
    this.#flush();
  }

  #flush() {
    if (this.#state !== "open") return;
    clearTimeout(this.#timer);
    // A socket that is closing takes messages too, and drops them.
    const hasRoom = () => this.#socket.readyState === 1 && this.#socket.bufferedAmount < BUFFERED;
    while (this.#queue.length && hasRoom()) this.#socket.send(this.#queue.shift());
    if (this.#queue.length) this.#timer = setTimeout(() => this.#flush(), POLL);
  }

  #await() {
    clearTimeout(this.#silent);
    const { silence } = this.#options;
    if (silence) this.#silent = setTimeout(() => this.#lost(1006, "silence"), silence);
  }

  #received(data) {
    this.#await();
    const frame = parsed(data);
    const { topic, epoch, offset } = frame;
    if (topic && "presence" in frame) return this.#tell("presence", frame);
    if (!topic || epoch === undefined) return this.#tell("message", { data }); // It is the app's.
    const resumed = this.positions.has(topic);
    this.positions.set(topic, { epoch, offset });
    const body = "base64" in frame ? bytes(frame.base64) : frame.data;
    if (!frame.joined) return this.#tell("message", { data: body, topic, epoch, offset });
    this.#tell("joined", { topic, epoch, offset, recovered: frame.recovered, resumed });
    if (resumed && !frame.recovered && this.#state === "open") this.#tell("gap", { topic });
  }

  #lost(code, reason) {
    if (!comesBack(code)) return this.#end(code, reason);
    this.#drop();
    if (performance.now() - this.#openedAt >= STEADY) this.#failures = 0;
    const delay = Math.random() * Math.min(FIRST_DELAY * 2 ** this.#failures++, LONGEST_DELAY);
    this.#state = "waiting";
    this.#timer = setTimeout(() => this.#open(), delay);
    this.#tell("waiting", { code, reason, delay });
  }

  #drop(how = []) {
    const old = this.#socket ?? {};
    old.close?.(...how); // It throws if there is no such code, and nothing has happened.
    old.onopen = old.onmessage = old.onclose = null;
    this.#socket = undefined;
    this.#attempt++;
    for (const timer of [this.#timer, this.#silent]) clearTimeout(timer);
  }

  #end(code, reason, how) {
    this.#drop(how);
    this.#state = "closed";
    this.#ended.abort();
    for (const data of this.#queue.splice(0)) this.#tell("dropped", { data });
    this.#tell("closed", { code, reason });
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

function parsed(data) {
  try { return (typeof data === "string" && JSON.parse(data)) || {}; } catch { return {}; }
}

const bytes = (base64) => Uint8Array.from(atob(base64), (char) => char.charCodeAt(0)).buffer;
