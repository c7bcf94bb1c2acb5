// The library: selection of all clips of a page, and of the part of a clip to cut out.
"use strict";

const everything = document.querySelector("[data-all]");
if (everything) {
  const boxes = [...document.querySelectorAll("#chosen input[name=clip]")];
  const all = everything.querySelector("input");
  everything.hidden = false;
  const show = () => {
    const chosen = boxes.filter((box) => box.checked).length;
    all.checked = chosen === boxes.length;
    all.indeterminate = chosen > 0 && chosen < boxes.length;
  };
  all.addEventListener("change", () => { for (const box of boxes) box.checked = all.checked; });
  for (const box of boxes) box.addEventListener("change", show);
  show(); // the Back button restores the page as it was left
}

const trim = document.getElementById("trim");
if (trim) {
  const WIDTH = 600, HEIGHT = 120;
  const seconds = Number(trim.dataset.seconds);
  const wave = trim.querySelector("[data-wave]"), player = trim.querySelector("[data-player]");
  const start = document.getElementById("start_s"), end = document.getElementById("end_s");
  const hear = trim.querySelector("[data-part]");
  const x = (time) => (WIDTH * time / seconds).toFixed(2);
  let outline = "", playing = null;

  function draw() {
    const from = Number(start.value), to = Number(end.value);
    const line = (time, name) => element("line", { class: name, x1: x(time), x2: x(time), y1: 0, y2: HEIGHT });
    const whole = Math.abs(to - from) >= seconds - 0.001;
    wave.replaceChildren(
      element("rect", { class: "part", x: x(Math.min(from, to)), y: 0, width: whole ? 0 : x(Math.abs(to - from)), height: HEIGHT }),
      element("path", { class: "wave", d: outline }),
      line(from, "bound"), line(to, "bound"), line(player.currentTime || 0, "at"),
    );
  }

  // Fetched completely, so that it can be played from anywhere.
  async function loadAudio() {
    const answer = await fetch(player.src);
    if (answer.ok) player.src = URL.createObjectURL(await answer.blob());
  }

  async function load() {
    const answer = await fetch(trim.dataset.outline, { headers: { Accept: "application/json" } });
    if (!answer.ok) return;
    const { peaks } = await answer.json();
    const highest = Math.max(0.02, ...peaks);
    outline = peaks.map((peak, index) => {
      const at = (WIDTH * (index + 0.5) / peaks.length).toFixed(2), half = 1 + 55 * peak / highest;
      return `M${at} ${(60 - half).toFixed(1)}V${(60 + half).toFixed(1)}`;
    }).join("");
    draw();
  }

  const timeAt = (event) => {
    const box = wave.getBoundingClientRect();
    return Math.min(seconds, Math.max(0, seconds * (event.clientX - box.left) / box.width));
  };
  let pressed = null;
  wave.addEventListener("pointerdown", (event) => { pressed = timeAt(event); wave.setPointerCapture(event.pointerId); });
  wave.addEventListener("pointermove", (event) => {
    if (pressed === null) return;
    const now = timeAt(event);
    if (Math.abs(now - pressed) < seconds / 100) return;
    start.value = Math.min(pressed, now).toFixed(3);
    end.value = Math.max(pressed, now).toFixed(3);
    draw();
  });
  wave.addEventListener("pointerup", (event) => {
    if (pressed !== null && Math.abs(timeAt(event) - pressed) < seconds / 100) player.currentTime = pressed;
    pressed = null;
  });
  for (const field of [start, end]) field.addEventListener("input", draw);
  // "timeupdate" fires four times a second, too rarely to stop in time.
  function follow() {
    if (playing !== null && player.currentTime >= playing) player.pause();
    draw();
    if (!player.paused) requestAnimationFrame(follow);
  }
  player.addEventListener("play", follow);
  player.addEventListener("seeked", draw);
  hear.hidden = false;
  hear.addEventListener("click", () => {
    player.currentTime = Math.min(Number(start.value), Number(end.value));
    playing = Math.max(Number(start.value), Number(end.value));
    player.play();
  });
  player.addEventListener("pause", () => { playing = null; });
  load();
  loadAudio();
}
