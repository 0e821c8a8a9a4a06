const form = document.getElementById("form");
const text = document.getElementById("text");
const state = document.getElementById("state");
const log = document.getElementById("log");

// The page came from the host and port that the socket is on.
const socket = new WebSocket(new URL("/shout", location.href.replace(/^http/, "ws")));

function setOpen(isOpen, what) {
  state.textContent = what;
  for (const element of form.elements) element.disabled = !isOpen;
}

socket.onopen = () => setOpen(true, "connected");
socket.onclose = (event) => setOpen(false, `closed with ${event.code} ${event.reason}`);
socket.onmessage = (event) => {
  const line = document.createElement("li");
  line.textContent = event.data;
  log.append(line);
};

form.onsubmit = (event) => {
  event.preventDefault();
  socket.send(text.value);
  text.value = "";
  text.focus();
};
