const state = document.getElementById("state");
const machines = document.getElementById("machines");
const rows = new Map();

function addRow(name) {
  const row = document.createElement("div");
  const term = document.createElement("dt");
  const bar = document.createElement("dd");
  const value = document.createElement("dd");
  term.textContent = name;
  bar.className = "bar";
  bar.append(document.createElement("i"));
  value.className = "value";
  row.append(term, bar, value);
  machines.append(row);
  rows.set(name, { fill: bar.firstChild, value });
  return rows.get(name);
}

function show({ name, load, watching }) {
  if (watching !== undefined) {
    state.textContent = `${watching} watching`;
    return;
  }
  const { fill, value } = rows.get(name) ?? addRow(name);
  fill.style.width = `${load}%`;
  // From green to red.
  fill.style.backgroundColor = `hsl(${140 - 1.4 * load} 55% 45%)`;
  value.textContent = `${Math.round(load)} %`;
}

function connect() {
  // The page came from the host and port that the socket is on.
  const socket = new WebSocket(new URL("/load", location.href.replace(/^http/, "ws")));
  socket.onopen = () => state.classList.add("open");
  socket.onmessage = (event) => show(JSON.parse(event.data));
  socket.onclose = () => {
    state.classList.remove("open");
    state.textContent = "connecting again";
    setTimeout(connect, 500 + 1000 * Math.random());
  };
}

connect();
