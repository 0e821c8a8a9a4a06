const COLOURS = ["#1c232b", "#c9382c", "#e0912b", "#2f9e5b", "#2b6fd0", "#8a4fc4"];
const WIDTHS = [4, 10, 24];
const INTERVAL = 40; // milliseconds between two lines of a stroke

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

function draw(line) {
  if (line.type === "wipe") {
    context.clearRect(0, 0, canvas.width, canvas.height);
    return;
  }
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

// The socket: what it brings is drawn, first of all what was drawn before.

const board = decodeURIComponent(location.hash.slice(1)) || "first";
const url = new URL(`/boards/${encodeURIComponent(board)}`, location.href.replace(/^http/, "ws"));
let socket;

function setOpen(isOpen, what) {
  state.textContent = what;
  state.classList.toggle("open", isOpen);
  canvas.classList.toggle("closed", !isOpen);
}

function connect() {
  socket = new WebSocket(url);
  socket.onopen = () => {
    draw({ type: "wipe" });
    setOpen(true, `board “${board}”`);
  };
  socket.onmessage = (event) => draw(JSON.parse(event.data));
  socket.onclose = () => {
    setOpen(false, "connecting again");
    setTimeout(connect, 500 + 1000 * Math.random());
  };
}

connect();
window.onhashchange = () => location.reload();

// The pen: it draws at once, and tells of it every few milliseconds.

let points = []; // since it last told, and the one before
let timer = null;

const pen = () => ({ type: "line", colour: form.colour.value, width: Number(form.width.value) });

function send(drawn) {
  // What is drawn while nobody can see it is gone once the board comes back.
  if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(drawn));
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
  if (points.length === 100) tell();
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

document.getElementById("wipe").onclick = () => {
  draw({ type: "wipe" });
  send({ type: "wipe" });
};
