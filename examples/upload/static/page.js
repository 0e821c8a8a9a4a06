const PIECE = 256 * 1024; // bytes of a message
const AHEAD = 4 * PIECE; // bytes that may be on their way

const drop = document.getElementById("drop");
const input = document.getElementById("files");
const uploads = document.getElementById("uploads");

function addRow(file) {
  const row = document.createElement("li");
  const name = document.createElement("span");
  const state = document.createElement("span");
  const progress = document.createElement("progress");
  name.className = "name";
  name.textContent = file.name;
  state.className = "state";
  state.textContent = "connecting";
  progress.max = file.size || 1;
  progress.value = 0;
  row.append(name, state, progress);
  uploads.prepend(row);
  return { row, state, progress };
}

function upload(file) {
  const { row, state, progress } = addRow(file);
  const path = `/upload/${file.size}/${encodeURIComponent(file.name)}`;
  const socket = new WebSocket(new URL(path, location.href.replace(/^http/, "ws")));
  let sent = 0;
  let received = 0;

  function sendMore() {
    // A browser would take all at once, and keep it in memory until it is sent.
    while (sent < file.size && sent - received < AHEAD) {
      const piece = file.slice(sent, sent + PIECE);
      socket.send(piece);
      sent += piece.size;
    }
  }

  socket.onopen = sendMore;
  socket.onmessage = (event) => {
    const message = JSON.parse(event.data);
    received = message.received ?? file.size;
    progress.value = message.stored ? progress.max : received;
    state.textContent = message.stored ? "stored" : `${Math.floor((100 * received) / file.size)} %`;
    row.classList.toggle("stored", "stored" in message);
    sendMore();
  };
  socket.onclose = (event) => {
    if (row.classList.contains("stored")) return;
    row.classList.add("failed");
    state.textContent = event.reason || "the connection was lost";
  };
}

input.onchange = () => {
  [...input.files].forEach(upload);
  input.value = "";
};

// The label takes what is dropped on it, which a browser would open otherwise.
drop.ondragover = (event) => {
  event.preventDefault();
  drop.classList.add("over");
};
drop.ondragleave = () => drop.classList.remove("over");
drop.ondrop = (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  [...event.dataTransfer.files].forEach(upload);
};
