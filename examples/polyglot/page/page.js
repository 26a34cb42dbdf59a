// Shows the results that /events streams.
//
// EventSource connects again by itself, and sends the id of the last event that it has received. So
// the stream continues there. This page does the same where EventSource gives up: after an answer
// with an error, and after a long silence.

/** The server sends something every 2 s. */
const SILENCE_MS = 7000;
/** The pause before the page itself connects again. */
const RETRY_MS = 1000;
/** The values in a chart. */
const CHARTED = 60;
/** The lines in the list of what has happened. */
const LINES = 12;

const STATES = {
  connecting: "Connecting",
  live: "Live",
  waiting: "Waiting for Styx",
  reconnecting: "Reconnecting",
  failed: "Stopped",
};

/** The elements of a sensor that change. */
const NUMBERS = ["b", ".min", ".mean", ".max", ".low", ".high"];
const PARTS = [...NUMBERS, ".count", "title", ".area", ".line", ".newest"];

const main = document.querySelector("main");
const find = (selector) => main.querySelector(selector);
const number = new Intl.NumberFormat("en");
const clock = new Intl.DateTimeFormat("en", { timeStyle: "medium", hour12: false });

let state = "connecting";
let received = 0;
let missed = 0;
let doubled = 0;
let reconnects = 0;
/** The number of the next result; undefined before the first one. */
let next;
/** The id of the last event. */
let lastId = new URLSearchParams(location.search).get("start");
let source;
/** Ends a connection that is silent. */
let watchdog;
/** By name: the newest result, the values of the chart, and the elements. */
const sensors = new Map();

function connect() {
  source?.close();
  const stream = new EventSource(
    lastId ? `/events?start=${encodeURIComponent(lastId)}` : "/events",
  );
  source = stream;
  stream.onopen = heard;
  stream.onmessage = ({ data, lastEventId }) => {
    heard();
    lastId = lastEventId;
    receive(JSON.parse(data));
  };
  stream.addEventListener("ping", heard);
  // Whether the web server reads the log at present.
  stream.addEventListener("styx", ({ data }) => {
    heard();
    if (data === "connected") {
      show("live", next === undefined ? "connected" : `live again after result ${next - 1}`);
    } else {
      show("waiting", "the web server waits for Styx");
    }
  });
  stream.addEventListener("failed", ({ data }) => {
    clearTimeout(watchdog);
    stream.close();
    show("failed", `the results cannot be read: ${data}`);
  });
  stream.onerror = () => {
    lost("the web server does not answer");
    if (stream.readyState === EventSource.CLOSED && state !== "failed") {
      setTimeout(connect, RETRY_MS);
    }
  };
  heard();
}

/** The connection works: wait for the next sign of it. */
function heard() {
  clearTimeout(watchdog);
  watchdog = setTimeout(() => {
    lost("the web server is silent");
    connect();
  }, SILENCE_MS);
}

function lost(why) {
  if (state !== "reconnecting" && state !== "failed") {
    reconnects += 1;
    show("reconnecting", why);
  }
}

/** Results have consecutive numbers, so a gap or a repetition is seen. */
function receive(result) {
  const { reading, sensor, celsius } = result;
  if (next !== undefined && reading < next) {
    doubled += 1;
    draw();
    return;
  }
  missed += reading - (next ?? reading);
  next = reading + 1;
  received += 1;
  if (!sensors.has(sensor)) {
    sensors.set(sensor, { values: [], ...card(sensor) });
  }
  const shown = sensors.get(sensor);
  shown.result = result;
  shown.isNew = true;
  shown.values.push(celsius);
  if (shown.values.length > CHARTED) {
    shown.values.shift();
  }
  draw();
}

/** Changes the state, and adds a line to what has happened. */
function show(to, why) {
  if (to === state) {
    return;
  }
  state = to;
  const line = document.createElement("li");
  const time = document.createElement("time");
  time.textContent = clock.format(new Date());
  line.append(time, why);
  find("#events").prepend(line);
  find("#events").children[LINES]?.remove();
  find("#state .text").textContent = STATES[state];
  main.dataset.state = state;
  draw();
}

let isDrawing = false;

/** Draws at most 20 times a second, also while the page is hidden. */
function draw() {
  if (!isDrawing) {
    isDrawing = true;
    setTimeout(() => {
      isDrawing = false;
      drawNow();
    }, 50);
  }
}

function drawNow() {
  const counts = { received, missed, doubled, reconnects };
  for (const [name, count] of Object.entries(counts)) {
    find(`#${name}`).textContent = number.format(count);
    main.dataset[name] = count;
  }
  find("#missed").classList.toggle("wrong", missed > 0);
  find("#doubled").classList.toggle("wrong", doubled > 0);
  find("#empty").hidden = received > 0;
  for (const shown of sensors.values()) {
    if (shown.isNew) {
      shown.isNew = false;
      drawSensor(shown);
    }
  }
}

/** The elements of a new sensor. */
function card(name) {
  const item = document.querySelector("#sensor").content.cloneNode(true).firstElementChild;
  item.dataset.sensor = name;
  item.querySelector("h3").textContent = name;
  const parts = {};
  for (const part of PARTS) {
    parts[part] = item.querySelector(part);
  }
  // In the order of their names, whichever comes first.
  const cards = [...find("#sensors").children];
  const after = cards.find(({ dataset }) => dataset.sensor > name);
  find("#sensors").insertBefore(item, after ?? null);
  return { item, parts };
}

function drawSensor({ item, parts, result, values }) {
  const low = Math.min(...values);
  const high = Math.max(...values);
  const { celsius, count, mean, min, max } = result;
  for (const [index, value] of [celsius, min, mean, max, low, high].entries()) {
    parts[NUMBERS[index]].textContent = value.toFixed(1);
  }
  parts[".count"].textContent = number.format(count);
  item.dataset.count = count;

  // The newest value is at the right edge. The first ones do not fill the width yet.
  const gap = 240 / Math.max(values.length - 1, 11);
  const x = (index) => 240 - (values.length - 1 - index) * gap;
  const y = (value) => (high === low ? 32 : 61 - ((value - low) / (high - low)) * 58);
  const points = values.map((value, index) => `${x(index).toFixed(1)},${y(value).toFixed(1)}`);
  parts[".line"].setAttribute("d", `M${points.join("L")}`);
  parts[".area"].setAttribute("d", `M${x(0).toFixed(1)},64L${points.join("L")}L240,64Z`);
  parts[".newest"].style.top = `${(y(celsius) / 64) * 100}%`;
  const range = `between ${low.toFixed(1)} and ${high.toFixed(1)} °C`;
  parts.title.textContent = `the last ${values.length} values, ${range}`;
}

connect();
