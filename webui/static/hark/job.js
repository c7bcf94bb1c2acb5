// The page of a running job: updates over WebSocket, or by polling every second if that cannot connect.
"use strict";

const page = document.getElementById("job");
let last = 0;
let failures = 0;
let ended = page.dataset.going !== "true";
const title = document.title;
const series = {};

// Redirect to the result if the job ends while the page is open.
const result = page.querySelector("[data-result]");
if (location.hash === "#over") {
  history.replaceState(null, "", location.pathname);
  if (result) location.replace(result.href);
}

// Browsers let only secure pages ask for permission.
const tell = page.querySelector("[data-tell]");
let told = false;
if (tell && "Notification" in window && Notification.permission !== "denied") {
  tell.hidden = false;
  tell.addEventListener("click", async () => {
    told = await Notification.requestPermission() === "granted";
    tell.hidden = told || Notification.permission === "denied";
  });
}

function notify(words) {
  if (!told || !document.hidden) return;
  try { new Notification(title, { body: words }); } catch { /* not available to pages on phones */ }
}

function clock(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const minutes = Math.floor(whole / 60);
  return minutes ? `${minutes} min ${String(whole % 60).padStart(2, "0")} s` : `${whole} s`;
}

function show(news) {
  last = news.last;
  for (const event of news.events) hear(event);
  const job = news.job;
  const state = page.querySelector("[data-state]");
  state.textContent = job.state_words;
  state.className = "state " + job.state;
  if (job.message && job.going) page.querySelector("[data-message]").textContent = job.message;
  const bar = page.querySelector("progress");
  bar.hidden = !job.going;
  const reached = done(job);
  if (reached === null) bar.removeAttribute("value"); else bar.value = reached;
  const left = job.eta_s !== null && job.eta_s >= 1 ? `${clock(job.eta_s)} ${page.dataset.left}` : "";
  page.querySelector("[data-eta]").textContent = job.going ? [left, leftInAll(job)].filter(Boolean).join(", ") : "";
  mark(job);
  document.title = job.going && reached !== null ? `${Math.floor(100 * reached)} % ${title}` : title;
  if (!job.going && !ended) { ended = true; notify(job.state_words); location.hash = "over"; location.reload(); }
}

const begun = {};
let latest = 0;
let estimate = null; // the newest one of the whole run: made at its beginning and after each stage

function leftInAll(job) {
  if (!estimate) return "";
  const left = estimate.time + estimate.seconds - Date.now() / 1000;
  if (left < (job.eta_s || 0)) return page.dataset.late;
  return page.dataset.whole.replace("#", left < 90 ? clock(left) : `${Math.ceil(left / 60)} min`);
}

// The finished fraction of the whole run, from its estimate and the time left in this stage; it does not exceed the
// fraction at the end of the stage. Without an estimate, the finished fraction of the stage, or null.
function done(job) {
  if (!estimate) return job.total > 0 ? job.done / job.total : null;
  const taken = Math.max(0, Date.now() / 1000 - estimate.time);
  const ofTheRest = taken / Math.max(estimate.seconds, taken + (job.eta_s || 0), 1);
  return Math.min(0.99, estimate.stage_done, estimate.done + (1 - estimate.done) * ofTheRest);
}

function mark(job) {
  const items = [...page.querySelectorAll("[data-stage]")];
  const at = items.findIndex((item) => item.dataset.stage === job.stage);
  items.forEach((item, index) => {
    const past = index < at || job.state === "done";
    item.className = past ? "past" : index === at ? (job.going ? "now" : job.state === "cancelled" ? "stopped" : "broken") : "";
    const start = begun[item.dataset.stage];
    const next = items.slice(index + 1).map((later) => begun[later.dataset.stage]).find((time) => time);
    const time = item.querySelector(".time");
    if (start && next) time.textContent = clock(next - start);
    else if (start && index === at && job.going) time.textContent = clock(Date.now() / 1000 - start);
    else if (start && job.state === "done") time.textContent = clock(latest - start);
  });
}

function hear(event) {
  latest = event.time;
  if (event.event === "stage") {
    if (begun[event.name] === undefined) begun[event.name] = event.time;
    write(event.message, "info", event.time);
  } else if (event.event === "log") write(event.message, event.level, event.time);
  else if (event.event === "error") write(event.what + " " + event.why, "warning", event.time);
  else if (event.event === "estimate") estimate = event;
  else if (event.event === "metric") {
    (series[event.name] = series[event.name] || []).push(event.value);
    draw(event.name);
  }
}

function write(text, level, time) {
  const item = document.createElement("li");
  item.className = level;
  const at = new Date(time * 1000);
  item.textContent = `${clockOf(at)}:${padded(at.getSeconds())}  ${text}`;
  const log = page.querySelector(".log");
  const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 4;
  log.append(item);
  if (atEnd) log.scrollTop = log.scrollHeight;
}

function draw(name) {
  const chart = page.querySelector(`svg[data-metric="${name}"]`);
  if (!chart) return;
  chart.closest("figure").hidden = false;
  const values = series[name];
  const width = 330, height = 120;
  const highest = Math.max(...values, 1e-9);
  const points = values.map((value, index) => {
    const x = values.length > 1 ? 44 + (width - 54) * index / (values.length - 1) : width / 2;
    return `${x.toFixed(1)},${(10 + (height - 24) * (1 - value / highest)).toFixed(1)}`;
  });
  chart.replaceChildren(
    element("path", { class: "axis", d: `M44 10V${height - 14}H${width - 10}` }),
    element("text", { x: 38, y: 16, "text-anchor": "end" }, String(Number(highest.toPrecision(2)))),
    element("text", { x: 38, y: height - 12, "text-anchor": "end" }, "0"),
    points.length > 1 ? element("polyline", { class: "curve", points: points.join(" ") })
      : element("circle", { class: "dot", cx: points[0].split(",")[0], cy: points[0].split(",")[1], r: 3 }),
  );
  chart.setAttribute("aria-label", `${name}: ${values[values.length - 1].toPrecision(3)}`);
}

function connect() {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  const socket = new WebSocket(`${scheme}//${location.host}${page.dataset.socket}`);
  let opened = false;
  socket.addEventListener("open", () => { opened = true; failures = 0; socket.send(JSON.stringify({ after: last, language: document.documentElement.lang })); });
  socket.addEventListener("message", (message) => show(JSON.parse(message.data)));
  socket.addEventListener("close", (event) => {
    if (ended) return;
    failures += 1;
    if (event.code === 4401 || (!opened && failures > 1)) ask();
    else setTimeout(connect, 1000);
  });
}

async function ask() {
  let more = false;
  try {
    const answer = await fetch(`${page.dataset.events}?after=${last}`, { headers: { Accept: "application/json" } });
    if (answer.ok) {
      const news = await answer.json();
      show(news);
      more = news.more;
    } else if (answer.status === 404 || answer.redirected) return;
  } catch { /* the server is away; it may come back */ }
  if (more) ask(); else if (!ended) setTimeout(ask, 1000);
}

if (ended) ask(); else connect();
