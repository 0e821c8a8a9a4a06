// Tests of triows.js with sockets and a clock that do as they are told.
//
// It runs in any place that has the globals of a page: run(await import("/triows/triows.js"))
// resolves to { name: "what is wrong" } of the tests that fail, "" of those that pass.

const later = globalThis.setTimeout; // the real one: time for promises to settle
const RealSocket = globalThis.WebSocket;
const settled = () => new Promise((resolve) => later(resolve));

class FakeSocket {
  static all = [];

  constructor(url, protocols) {
    this.url = String(url);
    this.protocols = protocols;
    this.protocol = protocols[0] ?? "";
    this.readyState = 0;
    this.bufferedAmount = 0;
    this.sent = [];
    FakeSocket.all.push(this);
  }

  send(data) {
    this.sent.push(data);
  }

  close(code = 1005, reason = "") {
    if (code !== 1000 && code !== 1005 && code < 3000) throw new RangeError("no such code");
    this.readyState = 3;
    this.closedWith = code;
  }

  // What the server does:

  accept() {
    this.readyState = 1;
    this.onopen?.();
    return this;
  }

  say(data) {
    this.onmessage?.({ data: typeof data === "object" && data.topic ? JSON.stringify(data) : data });
    return this;
  }

  end(code, reason = "") {
    this.readyState = 3;
    this.onclose?.({ code, reason });
  }
}

class FakeClock {
  now = 0;
  timers = new Map();
  #last = 0;

  setTimeout = (call, delay) => {
    this.timers.set(++this.#last, { call, at: this.now + delay });
    return this.#last;
  };

  clearTimeout = (id) => this.timers.delete(id);

  advance(ms) {
    const end = this.now + ms;
    for (;;) {
      const due = [...this.timers].filter(([, { at }]) => at <= end);
      if (!due.length) break;
      const [id, { call, at }] = due.sort((a, b) => a[1].at - b[1].at)[0];
      this.timers.delete(id);
      this.now = at;
      call();
    }
    this.now = end;
  }
}

function equal(actual, expected) {
  const [a, b] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (a !== b) throw new Error(`${a} is not ${b}`);
}

/** What a test has: a way to connect, the newest socket, the events so far, and the clock. */
function world({ Connection }) {
  FakeSocket.all = [];
  const clock = new FakeClock();
  const events = [];
  const { setTimeout, clearTimeout } = clock;
  const performance = { now: () => clock.now };
  const fakes = { WebSocket: FakeSocket, setTimeout, clearTimeout, performance };
  const saved = Object.keys(fakes).map((name) => [
    name,
    Object.getOwnPropertyDescriptor(globalThis, name),
  ]);
  for (const [name, value] of Object.entries(fakes)) {
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  }
  const random = Math.random;
  Math.random = () => 1;
  let connection;
  return {
    clock,
    events,
    sockets: FakeSocket.all,
    last: () => FakeSocket.all.at(-1),
    types: () => events.map(([type]) => type),
    connect(url = "ws://there/rooms/blue", options = undefined, listeners = {}) {
      connection = new Connection(url, options);
      for (const [type, listener] of Object.entries(listeners)) {
        connection.addEventListener(type, ({ detail }) => listener(detail, connection));
      }
      const types = "open message joined gap presence waiting dropped closed".split(" ");
      for (const type of types) {
        connection.addEventListener(type, ({ detail }) => events.push([type, detail]));
      }
      return connection;
    },
    end() {
      connection?.close();
      Math.random = random;
      for (const [name, own] of saved) {
        if (own) Object.defineProperty(globalThis, name, own);
        else delete globalThis[name];
      }
    },
  };
}

const joined = (offset, recovered = true, epoch = "e") => ({
  topic: "t",
  joined: true,
  epoch,
  offset,
  recovered,
});

const tests = {
  "a URL is made absolute, and subprotocols are offered"({ connect, last, events }) {
    connect("https://there/rooms/blue?name=joe", { protocols: ["v2", "v1"] });
    equal(last().url, "wss://there/rooms/blue?name=joe");
    equal(last().protocols, ["v2", "v1"]);
    last().accept();
    equal(events, [["open", { protocol: "v2" }]]);
  },

  "mistakes are thrown at once"({ connect, sockets, clock }) {
    globalThis.WebSocket = RealSocket; // which knows most of them
    const wrong = [
      ["http://[", {}],
      ["ftp://127.0.0.1", {}],
      ["ws://127.0.0.1/#there", {}],
      ["ws://127.0.0.1", { protocols: ["not one"] }],
      ["ws://127.0.0.1", { overflow: "none" }],
    ];
    for (const [url, options] of wrong) {
      let error;
      try {
        connect(url, options);
      } catch (caught) {
        error = caught;
      }
      equal(error instanceof Error, true);
    }
    equal([sockets.length, clock.timers.size], [0, 0]);
  },

  "what the app sends is handed on as it came"({ connect, last, events }) {
    connect();
    const messages = ["hello", "", "5", "null", "[1]", '{"topic": 7}', '{"topic": "t"}', "{"];
    last().accept();
    for (const message of messages) last().say(message);
    equal(last().binaryType, "arraybuffer");
    const binary = new ArrayBuffer(3);
    last().say(binary);
    equal(events.slice(1), [...messages, binary].map((data) => ["message", { data }]));
    equal(events.at(-1)[1].data === binary, true);
  },

  "what comes from a topic says so"({ connect, last, events }) {
    const { positions } = connect();
    last().accept().say(joined(4));
    equal(positions.get("t"), { epoch: "e", offset: 4 });
    last().say({ topic: "t", epoch: "e", offset: 5, data: { a: 1 } });
    last().say({ topic: "t", epoch: "e", offset: 7, base64: "AP8=" });
    last().say({ topic: "t", presence: "join", member: "m", data: "joe" });
    equal(positions.get("t"), { epoch: "e", offset: 7 });
    equal([...new Uint8Array(events[3][1].data)], [0, 255]);
    events[3][1].data = null;
    equal(events.slice(1), [
      ["joined", { topic: "t", epoch: "e", offset: 4, recovered: true, resumed: false }],
      ["message", { data: { a: 1 }, topic: "t", epoch: "e", offset: 5 }],
      ["message", { data: null, topic: "t", epoch: "e", offset: 7 }],
      ["presence", { topic: "t", presence: "join", member: "m", data: "joe" }],
    ]);
  },

  "it resumes after the last message that it had"({ connect, clock, last, types }) {
    connect("ws://there/rooms/blue?name=joe");
    last().accept().say(joined(4)).say({ topic: "t", epoch: "e", offset: 5, data: 1 });
    last().end(1006);
    clock.advance(500);
    equal(last().url, "ws://there/rooms/blue?name=joe&epoch=e&offset=5");
    last().accept().say(joined(5));
    equal(types(), ["open", "joined", "message", "waiting", "open", "joined"]);
  },

  "a gap is told, after an interruption or in between"({ connect, clock, last, events }) {
    connect();
    last().accept().say(joined(4, false)); // The first is none: older messages are forgotten.
    last().say(joined(9, false));
    last().end(1001);
    clock.advance(500);
    last().accept().say(joined(0, false, "f"));
    equal(events.filter(([type]) => type === "gap"), [["gap", { topic: "t" }], ["gap", { topic: "t" }]]);
    last().end(1001);
    clock.advance(1000);
    equal(last().url, "ws://there/rooms/blue?epoch=f&offset=0");
  },

  "a topic without history is not resumed, and always has a gap"(the) {
    the.connect();
    the.last().accept().say(joined(null, false, null));
    the.last().end(1006);
    the.clock.advance(500);
    equal(the.last().url, "ws://there/rooms/blue");
    the.last().accept().say(joined(null, false, null));
    equal(the.types().at(-1), "gap");
  },

  async "of several topics a function says where they stand"({ connect, clock, last }) {
    const seen = [];
    connect(async (positions) => {
      seen.push([...positions]);
      return `ws://there/?token=${seen.length}`;
    });
    await settled();
    last().accept().say(joined(4)).say({ ...joined(6), topic: "u" });
    last().end(4401, "expired");
    clock.advance(500);
    await settled();
    equal(last().url, "ws://there/?token=2");
    equal(seen[1], [["t", { epoch: "e", offset: 4 }], ["u", { epoch: "e", offset: 6 }]]);
  },

  async "a function that fails is asked again"({ connect, clock, events, sockets }) {
    connect(() => {
      throw new Error("no token");
    });
    await settled();
    equal(events, [["waiting", { code: 1006, reason: "Error: no token", delay: 500 }]]);
    clock.advance(500);
    await settled();
    equal([events.length, sockets.length], [2, 0]);
  },

  async "a function that answers too late is not heard"({ connect, sockets }) {
    let answer;
    const connection = connect(() => new Promise((resolve) => (answer = resolve)));
    connection.close();
    answer("ws://there/");
    await settled();
    equal(sockets.length, 0);
  },

  "it comes back after these codes, and no others"({ comesBack }) {
    const codes = Array.from({ length: 4001 }, (_, i) => i + 1000).filter(comesBack);
    const own = Array.from({ length: 500 }, (_, i) => i + 4000);
    equal(codes, [1001, 1005, 1006, 1011, 1012, 1013, 1014, 1015, ...own]);
  },

  "a code that means it ends it"({ connect, clock, last, events, sockets }) {
    const connection = connect();
    last().accept().end(4500, "go away");
    equal(connection.state, "closed");
    equal(events.at(-1), ["closed", { code: 4500, reason: "go away" }]);
    clock.advance(100_000);
    equal([sockets.length, clock.timers.size], [1, 0]);
  },

  "delays grow up to a bound, and a part of each is waited"({ connect, last, clock, events }) {
    connect();
    for (let i = 0; i < 7; i++) {
      last().end(1006);
      clock.advance(15_000);
    }
    const delays = events.map(([, { delay }]) => delay);
    equal(delays, [500, 1000, 2000, 4000, 8000, 15_000, 15_000]);
    Math.random = () => 0.25;
    last().end(1006);
    equal(events.at(-1)[1].delay, 3750);
  },

  "delays begin anew when a connection has lasted"({ connect, last, clock, events }) {
    connect();
    for (const lasted of [0, 4999, 5000]) {
      last().accept();
      clock.advance(lasted);
      last().end(1011);
      clock.advance(15_000);
    }
    const delays = events.filter(([type]) => type === "waiting").map(([, { delay }]) => delay);
    equal(delays, [500, 1000, 500]);
  },

  "an attempt that nobody answers is given up"({ connect, last, clock, sockets, events }) {
    connect();
    clock.advance(15_000);
    equal(sockets[0].closedWith, 1005);
    equal(events, [["waiting", { code: 1006, reason: "nobody answered", delay: 500 }]]);
    clock.advance(500);
    sockets[0].accept().end(4500); // Nobody listens to it any more.
    last().accept();
    equal(events.slice(1).map(([type]) => type), ["open"]);
    clock.advance(100_000);
    equal(sockets.length, 2);
  },

  "messages wait for a connection, in order"({ connect, last, clock }) {
    const connection = connect();
    connection.send("1");
    connection.send("2");
    equal([last().sent, connection.queued], [[], 2]);
    last().accept();
    connection.send("3");
    equal([last().sent, connection.queued], [["1", "2", "3"], 0]);
    last().readyState = 2; // It would take a message, and drop it.
    connection.send("4");
    last().end(1001);
    connection.send("5");
    clock.advance(500);
    equal(last().accept().sent, ["4", "5"]);
  },

  "of too many messages the oldest is dropped"({ connect, last, events }) {
    const connection = connect(undefined, { queue: 2 });
    for (const data of ["1", "2", "3"]) connection.send(data);
    equal([events, connection.queued], [[["dropped", { data: "1" }]], 2]);
    equal(last().accept().sent, ["2", "3"]);
  },

  "or the newest"({ connect, last, events }) {
    const connection = connect(undefined, { queue: 2, overflow: "drop_newest" });
    for (const data of ["1", "2", "3"]) connection.send(data);
    equal(events, [["dropped", { data: "3" }]]);
    equal(last().accept().sent, ["1", "2"]);
  },

  "what a listener sends when it is open goes first"({ connect, last }) {
    const connection = connect(undefined, {}, { open: (_, self) => self.send("a token") });
    connection.send("waits");
    equal(last().accept().sent, ["a token", "waits"]);
  },

  "messages wait while the browser holds too much"({ connect, last, clock }) {
    const connection = connect();
    last().accept().bufferedAmount = 1 << 20;
    connection.send("1");
    clock.advance(1000);
    connection.send("2");
    equal([last().sent, connection.queued], [[], 2]);
    last().bufferedAmount = 1;
    clock.advance(50);
    equal([last().sent, connection.queued], [["1", "2"], 0]);
    equal(clock.timers.size, 0);
  },

  "close() is for good, in whatever state"({ connect, last, clock, events, sockets }) {
    const steps = [() => {}, () => last().accept(), () => last().end(1006)];
    for (let count = 0; count < steps.length; count++) {
      const connection = connect();
      for (const step of steps.slice(0, count + 1)) step();
      const socket = last();
      const number = sockets.length;
      connection.close(4001, "bye");
      connection.close();
      equal([connection.state, events.at(-1)], ["closed", ["closed", { code: 4001, reason: "bye" }]]);
      if (count < 2) equal(socket.closedWith, 4001);
      const told = events.length;
      socket.accept().say("late").end(1006);
      globalThis.dispatchEvent?.(new Event("online"));
      clock.advance(100_000);
      equal([events.length, sockets.length, clock.timers.size], [told, number, 0]);
    }
  },

  "what waits when it is closed is dropped, and what comes after"({ connect, events }) {
    const connection = connect();
    connection.send("1");
    connection.close();
    connection.send("2");
    equal(events, [
      ["dropped", { data: "1" }],
      ["closed", { code: 1000, reason: "" }],
      ["dropped", { data: "2" }],
    ]);
  },

  "a code that pages may not use is refused, and nothing has happened"({ connect, last, types }) {
    const connection = connect();
    last().accept();
    let error;
    try {
      connection.close(1006);
    } catch (caught) {
      error = caught;
    }
    equal([error?.message, connection.state], ["no such code", "open"]);
    last().say("still here");
    equal(types(), ["open", "message"]);
  },

  "a listener may close it"({ connect, last, types, clock }) {
    const connection = connect(undefined, {}, { open: (_, self) => self.close() });
    connection.send("waits");
    equal([last().accept().sent, connection.state], [[], "closed"]);
    equal(types(), ["dropped", "closed", "open"]); // as events nest
    equal(clock.timers.size, 0);
  },

  "a listener may close it when a topic has been joined"({ connect, last, types }) {
    let times = 0;
    connect(undefined, {}, { joined: (_, self) => ++times === 2 && self.close() });
    last().accept().say(joined(4)).say(joined(9, false));
    equal(types(), ["open", "joined", "closed", "joined"]); // as events nest, and no gap
  },

  "another network: the connection is replaced"({ connect, last, clock, events, sockets }) {
    if (!globalThis.dispatchEvent) return;
    connect();
    last().accept();
    globalThis.dispatchEvent(new Event("online"));
    equal(sockets[0].closedWith, 1005);
    equal(events.at(-1), ["waiting", { code: 1006, reason: "the network has changed", delay: 500 }]);
    sockets[0].say("late");
    clock.advance(500);
    last().accept();
    equal(events.map(([type]) => type), ["open", "waiting", "open"]);
  },

  "reconnect() replaces the connection, in whatever state"({ connect, last, clock, events }) {
    const connection = connect();
    for (const step of [() => {}, () => last().accept(), () => last().end(1006)]) {
      step();
      const socket = last();
      connection.reconnect();
      socket.accept().say("late");
      equal(events.at(-1), ["waiting", { code: 1006, reason: "reconnect()", delay: 500 }]);
      clock.advance(500);
      equal([connection.state, last() === socket], ["connecting", false]);
    }
    connection.reconnect("a word of the page's");
    equal(events.at(-1)[1].reason, "a word of the page's");
    connection.close();
    const told = events.length;
    connection.reconnect();
    equal([connection.state, events.length, clock.timers.size], ["closed", told, 0]);
  },

  "a connection without any message for too long is replaced"({ connect, last, clock, events }) {
    const connection = connect(undefined, { silence: 30_000 });
    clock.advance(10_000); // An attempt has a bound of its own.
    last().accept();
    clock.advance(29_999);
    last().say("");
    clock.advance(29_999);
    last().say(joined(4));
    clock.advance(29_999);
    equal(connection.state, "open");
    const socket = last();
    clock.advance(1);
    equal(socket.closedWith, 1005);
    equal(events.at(-1), ["waiting", { code: 1006, reason: "silence", delay: 500 }]);
    clock.advance(500);
    equal(last().url, "ws://there/rooms/blue?epoch=e&offset=4");
    last().accept();
    connection.close();
    equal(clock.timers.size, 0);
  },

  "without that option it may be silent for ever"({ connect, last, clock }) {
    const connection = connect();
    last().accept();
    clock.advance(100_000_000);
    equal([connection.state, clock.timers.size], ["open", 0]);
  },

  "a page that is looked at does not wait"({ connect, last, sockets, clock }) {
    if (!globalThis.document) return;
    const connection = connect();
    last().accept();
    const look = () => document.dispatchEvent(new Event("visibilitychange"));
    look();
    equal([connection.state, sockets.length], ["open", 1]);
    last().end(1006);
    look();
    look();
    equal([connection.state, sockets.length], ["connecting", 2]);
    clock.advance(14_999);
    equal(sockets.length, 2);
  },
};

export async function run(module) {
  const results = {};
  for (const [name, test] of Object.entries(tests)) {
    const the = world(module);
    try {
      await test({ ...the, ...module });
      results[name] = "";
    } catch (error) {
      results[name] = String(error);
    } finally {
      the.end();
    }
  }
  return results;
}
