// Records a phrase repeatedly: a hint, a countdown, a few seconds, their problems, keep or discard.
"use strict";

const page = document.getElementById("record");
const part = (name) => page.querySelector(`[data-${name}]`);
const WALK_S = 5;
const hints = JSON.parse(page.dataset.hints);
const wanted = Number(page.dataset.seconds) * RATE;
let number = 0, microphone = null, chunks = null, gathered = 0, ended = null, take = null;

const pause = (seconds) => new Promise((resolve) => { setTimeout(resolve, 1000 * seconds); });
const say = (text) => { part("now").textContent = text || "\u00a0"; };

function ask() {
  const over = number >= hints.length;
  part("hint").textContent = over ? page.dataset.done : hints[number].shown;
  part("number").textContent = over ? "" : `${number + 1} ${page.dataset.of} ${hints.length}`;
  part("start").hidden = part("skip").hidden = over;
  part("start").disabled = part("skip").disabled = false;
  part("take").hidden = true;
  say("");
  if (over) stop();
}

async function open() {
  if (microphone) return;
  microphone = await openMicrophone(page.dataset.worklet, (samples) => hear(new Int16Array(samples)));
}

function stop() {
  if (!microphone) return;
  microphone.close();
  microphone = null;
  part("meter").replaceChildren();
}

function hear(samples) {
  let peak = 0;
  for (const value of samples) peak = Math.max(peak, Math.abs(value) / 32768);
  const level = Math.max(0, 1 + 20 * Math.log10(Math.max(1e-3, peak)) / 60); // 60 dB are shown
  const name = peak > 0.985 ? "level loud" : peak < 0.01 ? "level low" : "level";
  part("meter").replaceChildren(element("rect", { class: name, x: 0, y: 0, width: (600 * level).toFixed(0), height: 16 }));
  if (!chunks) return;
  chunks.push(samples);
  gathered += samples.length;
  if (gathered >= wanted) ended();
}

function drawTake(pieces) {
  const path = [];
  const bars = 300, step = gathered / bars;
  const all = new Int16Array(gathered);
  let at = 0;
  for (const piece of pieces) { all.set(piece, at); at += piece.length; }
  for (let bar = 0; bar < bars; bar++) {
    let peak = 0;
    for (let i = Math.floor(bar * step); i < Math.floor((bar + 1) * step); i++) peak = Math.max(peak, Math.abs(all[i]) / 32768);
    path.push(`M${2 * bar + 1} ${(40 - 1 - 38 * peak).toFixed(1)}V${(40 + 1 + 38 * peak).toFixed(1)}`);
  }
  part("wave").replaceChildren(element("path", { class: "wave", d: path.join("") }));
}

function problems(words, good) {
  part("problems").replaceChildren(...words.map((text) => {
    const item = document.createElement("li");
    if (good) item.className = "good";
    item.textContent = text;
    return item;
  }));
}

part("start").addEventListener("click", async () => {
  part("start").disabled = part("skip").disabled = true;
  part("take").hidden = true;
  try {
    await open();
  } catch {
    ask();
    return say(page.dataset.refused);
  }
  if (hints[number].away) for (let left = WALK_S; left > 0; left--) { say(`${page.dataset.walk} … ${left}`); await pause(1); }
  say(page.dataset.speak);
  const recorded = new Promise((resolve) => { ended = resolve; });
  gathered = 0;
  chunks = [];
  await recorded;
  const pieces = chunks;
  chunks = null;
  say(`${page.dataset.listening} …`);
  const audio = asWav(pieces, "take.wav");
  drawTake(pieces);
  if (part("player").src) URL.revokeObjectURL(part("player").src);
  part("player").src = URL.createObjectURL(audio);
  part("take").hidden = false;
  take = { audio, take: crypto.randomUUID(), hint: hints[number].words, phrase: page.dataset.phrase, language: page.dataset.language };
  part("keep-it").disabled = true;
  part("discard").disabled = false;
  try {
    const found = await post(page.dataset.check, { audio });
    problems(found.problems.length ? found.problems : [page.dataset.fine], !found.problems.length);
    part("keep-it").disabled = !found.usable;
  } catch (error) {
    problems([error.message]);
  }
  say("");
  (part("keep-it").disabled ? part("discard") : part("keep-it")).focus();
});

part("keep-it").addEventListener("click", async () => {
  part("keep-it").disabled = part("discard").disabled = true;
  try {
    await post(page.dataset.keep, take);
  } catch (error) {
    problems([error.message]);
    part("keep-it").disabled = part("discard").disabled = false;
    return;
  }
  number += 1;
  ask();
  window.htmx.trigger("#takes", "kept");
  part("start").focus();
});

part("discard").addEventListener("click", () => { ask(); part("start").focus(); });
part("skip").addEventListener("click", () => { number += 1; ask(); });
addEventListener("pagehide", stop);
ask();
