import { Connection } from "/triows/triows.js";

const $ = (id) => document.getElementById(id);
const LINES = 300; // that are kept

let name = sessionStorage.getItem("name"); // of this tab
let room; // where we are
let connection; // to the room
let known = {}; // who was in the room when we asked
let changes = {}; // who has come since then, and null for who has gone

// The list of rooms, each with where it is and how many are in it.

new Connection("/rooms").addEventListener("message", ({ detail }) => {
  const { room, url, here } = JSON.parse(detail.data);
  const link = $("rooms").querySelector(`[href="#${room}"]`) ?? document.createElement("a");
  link.href = `#${room}`;
  link.dataset.url = url;
  link.replaceChildren(room, element("b", here || ""));
  $("rooms").append(...[...$("rooms").children, link].sort((a, b) => (a.hash < b.hash ? -1 : 1)));
  enter();
});

/** Enter the room that the address names, once we know where it is and who we are. */
function enter() {
  const wanted = location.hash.slice(1) || "lobby";
  const link = $("rooms").querySelector(`[href="#${CSS.escape(wanted)}"]`);
  if (!name || !link || wanted === room) return;
  $("rooms").querySelector("[aria-current]")?.removeAttribute("aria-current");
  link.setAttribute("aria-current", "page");
  room = wanted;
  connection?.close();
  connection = open(new Connection(`${link.dataset.url}?${new URLSearchParams({ name })}`));
}

function open(connection) {
  const on = (type, listener) =>
    connection.addEventListener(type, ({ detail }) => listener(detail));

  on("open", () => state("open", "connected"));
  on("joined", ({ resumed }) => {
    if (!resumed) $("log").replaceChildren();
    changes = {};
    connection.send('"who"');
  });
  on("gap", () => note("Some messages are missing here."));
  on("message", ({ topic, data }) => {
    if (topic) return said(data);
    known = JSON.parse(data).here;
    present();
  });
  on("presence", ({ presence, member, data }) => {
    changes[member] = presence === "join" ? data : null;
    present();
  });
  on("waiting", waiting);
  on("dropped", ({ data }) => note(`Not sent: ${JSON.parse(data).say ?? data}`));
  on("closed", ({ code, reason }) => state("closed", `closed: ${code} ${reason}`));
  return connection;
}

// What is shown

function said(message) {
  const time = new Date(message.at * 1000).toLocaleTimeString([], { timeStyle: "short" });
  const line = element("li", avatar(message.name));
  line.append(element("small", `${message.name}, ${time}`), element("q", message.text));
  line.classList.toggle("mine", message.name === name);
  show(line);
}

function note(text) {
  const line = element("li", text);
  line.className = "note";
  show(line);
}

function show(line) {
  $("log").append(line);
  if ($("log").children.length > LINES) $("log").firstElementChild.remove();
  line.scrollIntoView();
}

function present() {
  const names = Object.values({ ...known, ...changes }).flatMap((data) => data?.name ?? []);
  $("here").replaceChildren(
    ...names.sort().map((name) => {
      const line = element("li", avatar(name));
      line.append(name);
      return line;
    }),
  );
}

function waiting() {
  const { queued } = connection;
  state("waiting", queued ? `coming back, ${queued} to send` : "coming back");
}

function state(kind, text) {
  $("state").className = kind;
  $("state").textContent = text;
}

function avatar(name) {
  const round = element("span", [...name][0].toUpperCase());
  const hue = [...name].reduce((sum, char) => sum + char.codePointAt(0) * 47, 0) % 360;
  round.className = "avatar";
  round.style.setProperty("--hue", hue);
  return round;
}

function element(tag, content) {
  const made = document.createElement(tag);
  made.append(content);
  return made;
}

// What is typed

$("say").onsubmit = (event) => {
  event.preventDefault();
  if (!connection) return;
  connection.send(JSON.stringify({ say: $("text").value }));
  if (connection.queued) waiting();
  $("text").value = "";
};

$("who").onclose = () => {
  name = $("name").value.trim();
  if (!name) return $("who").showModal();
  sessionStorage.setItem("name", name);
  $("text").focus();
  enter();
};

addEventListener("hashchange", enter);
if (!name) $("who").showModal();
