// Tries a detector on a file, which the server scores as a whole; live.js does so on the microphone.
"use strict";

const page = document.getElementById("try");
const part = (name) => page.querySelector(`[data-${name}]`);
const AFTER_S = 0.2; // seconds of audio after a marked detection

let heard = null;
const file = () => part("upload").elements.audio.files[0];

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
    await post(page.dataset.mark, { audio: file(), verdict, start_s: Math.max(0, start), end_s: Math.min(end, heard.seconds) });
    pressed.textContent = page.dataset.kept;
  } catch (error) {
    tell(error.message, true);
    pressed.disabled = false;
  }
}

const peak = (hit) => heard.scores.reduce((most, score, index) => {
  const time = (index + 1) * heard.frame_s;
  return time >= hit.time_s && time <= hit.time_s + PEAK_S ? Math.max(most, score) : most;
}, hit.score);

part("upload").addEventListener("submit", async (event) => {
  event.preventDefault();
  const send = part("upload").querySelector("button");
  send.disabled = true;
  part("result").hidden = true; // the shown result is of the previous file
  tell("…");
  part("file-hits").replaceChildren();
  part("player").pause();
  try {
    heard = await post(page.dataset.file, { audio: file() });
    part("result").hidden = false;
    drawFile();
    part("player").src = URL.createObjectURL(file());
    tell(heard.detections.length ? "" : page.dataset.none);
    for (const hit of [...heard.detections].reverse()) {
      const mark = page.dataset.mark ? [button(page.dataset.alarm, (pressed) => keep("false_alarm", hit.time_s - BEFORE_S, hit.time_s + AFTER_S, pressed))] : [];
      logLine(part("file-hits"), `${page.dataset.heard} ${hit.time_s.toFixed(1)} s ${inBrackets(peak(hit))}`, ...mark);
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

part("missed-here")?.addEventListener("click", (event) => {
  const at = part("player").currentTime;
  event.target.disabled = true;
  keep("missed", at - BEFORE_S, at + AFTER_S + 0.3, event.target).finally(() => { event.target.disabled = false; });
});
