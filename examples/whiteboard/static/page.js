import { Connection } from "/triows/triows.js";

const COLOURS = ["#1c232b", "#c9382c", "#e0912b", "#2f9e5b", "#2b6fd0", "#8a4fc4"];
const WIDTHS = [4, 10, 24];
const INTERVAL = 40; // milliseconds between two lines of a stroke
const POINTS = 50; // of a line, at the most
const HISTORY = 5000; // lines that a board remembers

const form = document.getElementById("pens");
const state = document.getElementById("state");
const canvas = document.getElementById("board");
const context = canvas.getContext("2d");
context.lineCap = context.lineJoin = "round";

function addChoices(name, values, property, style) {
  for (const [i, value] of values.entries()) {
    const input = document.createElement("input");
    Object.assign(input, { type: "radio", name, value, checked: i === 0, ariaLabel: value });
    input.style.setProperty(property, style(value));
    document.getElementById(`${name}s`).append(input);
  }
}

addChoices("colour", COLOURS, "--colour", (colour) => colour);
addChoices("width", WIDTHS, "--width", (width) => `${width * 0.75}px`);

function clear() {
  context.clearRect(0, 0, canvas.width, canvas.height);
}

function draw(line) {
  context.strokeStyle = line.colour;
  context.lineWidth = line.width;
  context.beginPath();
  const [[x, y], ...others] = line.points;
  context.moveTo(x, y);
  // A path without any length is not drawn, so a dot has a little.
  context.lineTo(x + 0.01, y);
  for (const point of others) context.lineTo(...point);
  context.stroke();
}

// The connection: what it brings is drawn, first of all what was drawn before.

const board = decoded(location.hash.slice(1)) || "first";
const connection = new Connection(`/boards/${encodeURIComponent(board)}`);
let lines = []; // that are on the board, in its order

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // as somebody has typed it: "100%"
  }
}

function setOpen(isOpen, what) {
  state.textContent = what;
  state.classList.toggle("open", isOpen);
  canvas.classList.toggle("closed", !isOpen);
}

const on = (type, listener) => connection.addEventListener(type, ({ detail }) => listener(detail));

on("joined", ({ recovered }) => {
  // If pieces are missing it begins anew: what follows is all that the board remembers.
  if (!recovered) lines = [];
  // What was drawn here and has got lost on its way goes too.
  clear();
  lines.forEach(draw);
  setOpen(true, `board “${board}”`);
});
on("message", ({ data }) => {
  if (data.type === "wipe") {
    lines = [];
    clear();
  } else {
    lines.push(data);
    if (lines.length > HISTORY) lines.shift();
    draw(data);
  }
});
on("waiting", () => setOpen(false, "connecting again"));
on("closed", ({ code, reason }) => setOpen(false, `closed: ${reason || code}`));

window.onhashchange = () => location.reload();

// The pen: it draws at once, and tells of it every few milliseconds. What it has told comes back,
// and is drawn again, over whatever the board had before.

let points = []; // since it last told, and the one before
let timer = null;

const pen = () => ({ type: "line", colour: form.colour.value, width: Number(form.width.value) });

function send(drawn) {
  // What is drawn while nobody can see it is gone once the board comes back.
  if (connection.state === "open") connection.send(JSON.stringify(drawn));
}

function tell() {
  send({ ...pen(), points });
  points = points.slice(-1);
}

function add(event) {
  const { left, top, width, height } = canvas.getBoundingClientRect();
  const inside = (value, size) => Math.round(size * Math.min(1, Math.max(0, value)));
  points.push([
    inside((event.clientX - left) / width, canvas.width),
    inside((event.clientY - top) / height, canvas.height),
  ]);
  draw({ ...pen(), points: points.slice(-2) });
  if (points.length === POINTS) tell();
}

function lift() {
  clearInterval(timer);
  timer = null;
  if (points.length > 1) tell();
}

canvas.onpointerdown = (event) => {
  if (event.button !== 0 || timer !== null) return;
  canvas.setPointerCapture(event.pointerId);
  points = [];
  add(event);
  tell();
  timer = setInterval(() => points.length > 1 && tell(), INTERVAL);
};

canvas.onpointermove = (event) => timer !== null && add(event);
canvas.onpointerup = canvas.onpointercancel = () => timer !== null && lift();

// A line of somebody else's may come before it, so this page too is wiped once it comes back.
document.getElementById("wipe").onclick = () => send({ type: "wipe" });
