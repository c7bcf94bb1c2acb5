// Live detection from the microphone over WebSocket: level, scores, and a flash and a sound at a detection.
"use strict";

const SHOWN = 250; // scores: twenty seconds
const BEFORE_S = 2.5; // seconds of audio before a marked detection
const PEAK_S = 2.5; // a detection is reported as soon as it passes the threshold; its score may rise for this long
const KEPT = 750; // messages of 80 ms from the microphone: a minute
const FLASH_MS = 1500;
const BEEP = { hertz: 880, seconds: 0.12, gain: 0.15 };
const QUIETEST_DB = -60; // re full scale, the start of the meter

function button(text, act) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = "quiet";
  made.textContent = text;
  made.addEventListener("click", () => { made.disabled = true; act(made); });
  return made;
}

const inBrackets = (score) => `(${score.toFixed(2)})`;

function logLine(list, text, ...more) {
  const item = document.createElement("li");
  item.append(text + " ", ...more);
  list.prepend(item);
}

class Live {
  constructor(panel) {
    this.panel = panel;
    this.words = panel.dataset;
    this.socket = this.microphone = null;
    this.threshold = 0.5;
    this.rate = Number(panel.dataset.rate); // false alarms per day; 0 for the detector's default
    this.attempt = 0; // changes if the user stops or restarts while the microphone is being opened
    this.forget();
    this.part("listen").addEventListener("click", () => this.listen());
    this.part("stop").addEventListener("click", () => this.stop());
    const missed = this.part("missed");
    if (missed) missed.addEventListener("click", async () => {
      missed.disabled = true;
      await this.keep("missed", this.now, this.before(this.now));
      missed.disabled = false;
    });
  }

  part(name) { return this.panel.querySelector(`[data-${name}]`); }
  say(text) { this.part("state").textContent = text; }

  forget() {
    this.scores = [];
    this.hits = [];
    // The last minute of this session, and the number of its samples sent to the server. Marked audio is sent from here,
    // so that a mark needs no open connection and belongs to the right session.
    this.blocks = [];
    this.sent = this.now = 0;
    this.ready = false;
  }

  async listen() {
    const address = this.words.socket;
    this.stop();
    this.say(this.words.loading);
    this.part("listen").hidden = true;
    const attempt = this.attempt;
    let opened;
    try {
      opened = await openMicrophone(this.words.worklet, (samples) => this.give(samples));
    } catch {
      this.part("listen").hidden = false;
      return this.say(this.words.refused);
    }
    if (attempt !== this.attempt) return opened.close();
    this.microphone = opened;
    this.forget();
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = this.socket = new WebSocket(`${scheme}//${location.host}${address}`);
    socket.addEventListener("message", (message) => { if (socket === this.socket) this.hear(JSON.parse(message.data)); });
    socket.addEventListener("close", (event) => {
      if (socket !== this.socket) return;
      this.stop();
      if (!(this.failed && event.wasClean)) this.say(this.words.lost);
    });
    this.failed = false;
    this.toggle(true);
  }

  give(samples) {
    if (!this.microphone) return; // closed, but results of earlier audio still arrive
    this.meter(samples);
    if (!this.ready || this.socket.readyState !== WebSocket.OPEN) return;
    this.socket.send(samples);
    this.blocks.push(new Int16Array(samples));
    this.sent += samples.byteLength / 2;
    if (this.blocks.length > KEPT) this.blocks.shift();
  }

  meter(samples) {
    const peak = new Int16Array(samples).reduce((most, value) => Math.max(most, Math.abs(value)), 1);
    this.part("level").value = Math.max(0, 20 * Math.log10(peak / 32768) - QUIETEST_DB);
  }

  hear(news) {
    this.failed = Boolean(news.error); // other messages show that the stream continues
    if (news.error) {
      return this.say(`${news.error.what} ${news.error.why} ${news.error.what_to_do}`);
    }
    if (news.threshold !== undefined) {
      this.threshold = news.threshold;
      this.draw();
    }
    if (news.ready) {
      this.ready = true;
      this.say("");
      this.lamp(false);
      this.turn();
    }
    if (!news.scores) return;
    this.now = news.time_s;
    this.scores = this.scores.concat(news.scores).slice(-SHOWN);
    for (const hit of news.detections) this.hit(hit);
    const last = this.hits.at(-1), most = Math.max(...news.scores);
    if (last && this.now <= last.time_s + PEAK_S && most > last.peak) {
      last.peak = most;
      last.shown.textContent = inBrackets(most);
    }
    this.draw();
  }

  hit(hit) {
    this.hits.push(hit);
    this.lamp(true);
    if (this.part("sound").checked) this.microphone.beep(BEEP);
    const sound = this.before(hit.time_s);
    const mark = this.words.mark ? [button(this.words.alarm, async (pressed) => {
      if (await this.keep("false_alarm", hit.time_s, sound)) pressed.textContent = this.words.kept;
      else pressed.disabled = false;
    })] : [];
    hit.peak = hit.score;
    hit.shown = document.createElement("span");
    hit.shown.textContent = inBrackets(hit.score);
    logLine(this.part("hits"), `${this.words.heard} ${hit.time_s.toFixed(1)} s`, hit.shown, " ", ...mark);
  }

  lamp(hit) {
    const lamp = this.part("lamp");
    lamp.hidden = false;
    lamp.classList.toggle("hit", hit);
    lamp.textContent = hit ? this.words.hit : this.words.say;
    clearTimeout(this.fading);
    if (hit) this.fading = setTimeout(() => this.lamp(false), FLASH_MS);
  }

  draw() {
    const x = (index) => 600 * index / SHOWN, y = (score) => 130 - 120 * score;
    const first = this.now - this.scores.length * 0.08, line = y(this.threshold);
    this.part("chart").removeAttribute("hidden"); // SVG elements have no property for it
    this.part("chart").replaceChildren(
      element("path", { class: "axis", d: "M0 130H600" }),
      element("line", { class: "tick", x1: 0, x2: 600, y1: line, y2: line, "stroke-dasharray": "4 4" }),
      element("text", { x: 596, y: line < 24 ? line + 14 : line - 5, "text-anchor": "end" }, `${this.words.threshold} ${this.threshold.toFixed(2)}`),
      element("polyline", { class: "curve", points: this.scores.map((score, index) => `${x(index).toFixed(1)},${y(score).toFixed(1)}`).join(" ") }),
      ...this.hits.filter((hit) => hit.time_s > first).map((hit) => element("circle", { class: "dot", cx: x((hit.time_s - first) / 0.08), cy: y(hit.score), r: 5 })),
    );
  }

  // Sets the threshold for this many false alarms per day, now and in later sessions.
  turn(rate = this.rate) {
    this.rate = rate;
    if (this.rate && this.ready && this.socket && this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ fa_per_day: this.rate }));
  }

  before(time) {
    const all = new Int16Array(this.blocks.reduce((sum, block) => sum + block.length, 0));
    this.blocks.reduce((at, block) => { all.set(block, at); return at + block.length; }, 0);
    const end = Math.max(0, Math.round(time * RATE) - (this.sent - all.length));
    return asWav([all.slice(Math.max(0, end - BEFORE_S * RATE), end)], "live.wav");
  }

  async keep(verdict, time, sound) {
    const fields = { verdict, start_s: 0, end_s: (sound.size - WAV_HEADER) / 2 / RATE, audio: sound };
    try {
      await post(this.words.mark, fields);
      this.say(`${time.toFixed(1)} s: ${this.words.kept}`);
      return true;
    } catch (error) {
      this.say(error.message);
      return false;
    }
  }

  stop() {
    this.attempt += 1;
    const { socket, microphone } = this;
    this.socket = this.microphone = null;
    if (microphone) microphone.close();
    if (socket) socket.close();
    clearTimeout(this.fading);
    this.part("lamp").hidden = true;
    this.part("level").value = 0;
    this.toggle(false);
  }

  toggle(on) {
    this.part("listen").hidden = on;
    this.part("stop").hidden = !on;
    if (on && this.part("missed")) this.part("missed").hidden = false; // it stays visible, so that misses before Stop can be marked afterwards
  }
}

const lives = [...document.querySelectorAll("[data-live]")].map((panel) => new Live(panel));

// The dial of a result page (det.js) moves the threshold of its live detector.
document.addEventListener("dial", (event) => { for (const live of lives) live.turn(Number(event.detail)); });

// <button data-try="SOCKET">: listens without training, in a panel that was hidden until then.
document.addEventListener("click", (event) => {
  const pressed = event.target.closest("[data-try]");
  if (!pressed) return;
  const [live] = lives;
  live.panel.hidden = false;
  live.panel.dataset.socket = pressed.dataset.try;
  live.part("listen").hidden = false;
  live.listen();
});

// Stop when the typed phrase is no longer the one being tried.
document.addEventListener("htmx:afterSwap", (event) => {
  if (event.target.id !== "advice") return;
  const [live] = lives;
  const now = event.target.querySelector("[data-try]");
  if (now && now.dataset.try === live.panel.dataset.socket) return;
  live.stop();
  live.panel.hidden = true;
});
