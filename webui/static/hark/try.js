// Tries a detector: the microphone over WebSocket, or a file that the server hears whole.
"use strict";

const page = document.getElementById("try");
const part = (name) => page.querySelector(`[data-${name}]`);
const SHOWN = 250; // scores: twenty seconds
const BEFORE_S = 2.5, AFTER_S = 0.2; // around a hit that is marked
const KEPT = 750; // messages of 80 ms from the microphone: a minute

function button(text, act) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = "quiet";
  made.textContent = text;
  made.addEventListener("click", () => { made.disabled = true; act(made); });
  return made;
}

function line(list, text, ...more) {
  const item = document.createElement("li");
  item.append(text + " ", ...more);
  list.prepend(item);
}

// ---- microphone

let socket = null, microphone = null, scores = [], threshold = 0.5, now = 0, hits = [];

function drawLive() {
  const x = (index) => 600 * index / SHOWN, y = (score) => 130 - 120 * score;
  const first = now - scores.length * 0.08;
  part("live").replaceChildren(
    element("path", { class: "axis", d: "M0 130H600" }),
    element("line", { class: "tick", x1: 0, x2: 600, y1: y(threshold), y2: y(threshold), "stroke-dasharray": "4 4" }),
    element("polyline", { class: "curve", points: scores.map((score, index) => `${x(index).toFixed(1)},${y(score).toFixed(1)}`).join(" ") }),
    ...hits.filter((hit) => hit.time_s > first).map((hit) => element("circle", { class: "dot", cx: x((hit.time_s - first) / 0.08), cy: y(hit.score), r: 5 })),
  );
}

// The last minute of this listening, and how many samples of it the server has had in all. What is marked is sent from
// here, so a mark needs no open connection, and belongs to the listening in which it was heard.
let blocks = [], sent = 0;

function remember(samples) {
  blocks.push(new Int16Array(samples));
  sent += samples.byteLength / 2;
  if (blocks.length > KEPT) blocks.shift();
}

function before(time) {
  const all = new Int16Array(blocks.reduce((sum, block) => sum + block.length, 0));
  blocks.reduce((at, block) => { all.set(block, at); return at + block.length; }, 0);
  const end = Math.max(0, Math.round(time * RATE) - (sent - all.length));
  return asWav([all.slice(Math.max(0, end - BEFORE_S * RATE), end)], "live.wav");
}

async function keepLive(verdict, time, sound) {
  const fields = { verdict, start_s: 0, end_s: (sound.size - WAV_HEADER) / 2 / RATE, audio: sound };
  try {
    await post(page.dataset.mark, fields);
    say(`${time.toFixed(1)} s: ${page.dataset.kept}`);
    return true;
  } catch (error) {
    say(error.message);
    return false;
  }
}

function hear(news) {
  if (news.error) return say(`${news.error.what} ${news.error.why} ${news.error.what_to_do}`);
  if (news.ready) { threshold = news.threshold; return; }
  now = news.time_s;
  scores = scores.concat(news.scores).slice(-SHOWN);
  for (const hit of news.detections) {
    hits.push(hit);
    const sound = before(hit.time_s);
    line(part("hits"), `${page.dataset.heard} ${hit.time_s.toFixed(1)} s (${hit.score.toFixed(2)})`,
      button(page.dataset.alarm, async (pressed) => {
        if (await keepLive("false_alarm", hit.time_s, sound)) pressed.textContent = page.dataset.kept;
        else pressed.disabled = false;
      }));
  }
  drawLive();
}

function say(text) { part("state").textContent = text; }

async function listen() {
  try {
    microphone = await openMicrophone(page.dataset.worklet, (samples) => {
      if (!socket || socket.readyState !== WebSocket.OPEN) return;
      socket.send(samples);
      remember(samples);
    });
  } catch {
    return say(page.dataset.refused);
  }
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  socket = new WebSocket(`${scheme}//${location.host}${page.dataset.socket}`);
  socket.addEventListener("message", (message) => hear(JSON.parse(message.data)));
  socket.addEventListener("close", () => { if (microphone) { stop(); say(page.dataset.lost); } });
  scores = []; hits = []; blocks = []; sent = now = 0; say("");
  toggle(true);
}

function stop() {
  if (microphone) microphone.close();
  microphone = null;
  if (socket) socket.close();
  toggle(false);
}

function toggle(on) {
  part("listen").hidden = on;
  part("stop").hidden = !on;
  if (on) part("missed").hidden = false; // it stays: what was missed before Stop can be marked after it
}

part("listen").addEventListener("click", listen);
part("stop").addEventListener("click", stop);
part("missed").addEventListener("click", async () => {
  part("missed").disabled = true;
  await keepLive("missed", now, before(now));
  part("missed").disabled = false;
});

// ---- a file

let heard = null;

async function post(address, fields) {
  const form = new FormData(part("upload"));
  for (const [name, value] of Object.entries(fields || {})) form.set(name, value);
  const answer = await fetch(address, { method: "POST", body: form, headers: { Accept: "application/json" } });
  const content = await answer.json().catch(() => ({ what: `${answer.status} ${answer.statusText}`, why: "", what_to_do: "" }));
  if (!answer.ok) throw new Error(`${content.what} ${content.why} ${content.what_to_do}`);
  return content;
}

function drawFile() {
  const x = (time) => 600 * time / heard.seconds, y = (score) => 170 - 160 * score;
  const width = 600 / heard.peaks.length;
  const wave = heard.peaks.map((peak, index) => `M${(index * width).toFixed(2)} ${(90 - 80 * peak).toFixed(1)}V${(90.5 + 80 * peak).toFixed(1)}`).join("");
  part("wave").replaceChildren(
    element("path", { class: "wave", d: wave }),
    element("line", { class: "tick", x1: 0, x2: 600, y1: y(heard.threshold), y2: y(heard.threshold), "stroke-dasharray": "4 4" }),
    element("polyline", { class: "curve", points: heard.scores.map((score, index) => `${x((index + 1) * heard.frame_s).toFixed(1)},${y(score).toFixed(1)}`).join(" ") }),
    ...heard.detections.map((hit) => element("circle", { class: "dot", cx: x(hit.time_s), cy: y(hit.score), r: 6 })),
  );
}

function tell(text, wrong = false) {
  part("words").textContent = text;
  part("words").className = wrong ? "error" : "";
}

async function keep(verdict, start, end, pressed) {
  try {
    await post(page.dataset.mark, { verdict, start_s: Math.max(0, start), end_s: Math.min(end, heard.seconds) });
    pressed.textContent = page.dataset.kept;
  } catch (error) {
    tell(error.message, true);
    pressed.disabled = false;
  }
}

part("upload").addEventListener("submit", async (event) => {
  event.preventDefault();
  const send = part("upload").querySelector("button");
  send.disabled = true;
  part("result").hidden = true; // what is there is of the file before
  tell("…");
  part("file-hits").replaceChildren();
  part("player").pause();
  try {
    heard = await post(page.dataset.file);
    part("result").hidden = false;
    drawFile();
    part("player").src = URL.createObjectURL(part("upload").querySelector("input[type=file]").files[0]);
    tell(heard.detections.length ? "" : page.dataset.none);
    for (const hit of [...heard.detections].reverse()) {
      line(part("file-hits"), `${page.dataset.heard} ${hit.time_s.toFixed(1)} s (${hit.score.toFixed(2)})`,
        button(page.dataset.alarm, (pressed) => keep("false_alarm", hit.time_s - BEFORE_S, hit.time_s + AFTER_S, pressed)));
    }
  } catch (error) {
    tell(error.message, true);
  } finally {
    send.disabled = false;
  }
});

part("wave").addEventListener("click", (event) => {
  if (!heard) return;
  const box = part("wave").getBoundingClientRect();
  part("player").currentTime = heard.seconds * (event.clientX - box.left) / box.width;
  part("player").play();
});

part("missed-here").addEventListener("click", (event) => {
  const at = part("player").currentTime;
  event.target.disabled = true;
  keep("missed", at - BEFORE_S, at + AFTER_S + 0.3, event.target).finally(() => { event.target.disabled = false; });
});
