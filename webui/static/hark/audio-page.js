// The page of a transcript: links audio and words. Without this script it can still be read and played.
"use strict";

const page = document.getElementById("transcript");
const part = (name) => page.querySelector(`[data-${name}]`);
const sound = part("player"), canvas = part("wave"), passages = part("passages");
const said = page.dataset;
const duration = Number(said.duration), unsureBelow = Number(said.unsure);
const calm = window.matchMedia("(prefers-reduced-motion: reduce)");
let words = []; // {node, start, end, sure, text}, in order of time
let version = Number(said.version), segments = [], current = null, matches = [], match = -1;
let anchor = null; // the word where a keyboard selection began

document.documentElement.classList.add("scripted");

// ---- words

function wordNode(word) {
  const node = document.createElement("span");
  const [text, start, end, sure] = word;
  node.className = sure < unsureBelow ? "word unsure" : "word";
  node.tabIndex = -1;
  node.textContent = text;
  node.dataset.start = start;
  if (sure < unsureBelow) node.title = `${Math.round(100 * sure)} % ${said.wordSure}`;
  return { node, start, end, sure, text };
}

function fill(item, segment) {
  const place = item.querySelector("[data-words]");
  const corrected = !item.querySelector("[data-edited]").hidden; // a person has checked it, so no word is unsure
  if (!segment.words.length) {
    place.textContent = segment.text;
    return [];
  }
  const made = segment.words.map(([text, start, end, sure]) => wordNode([text, start, end, corrected ? 1 : sure]));
  place.replaceChildren(...made.flatMap((word, index) => (index ? [" ", word.node] : [word.node])));
  return made;
}

function gather() {
  words = [...page.querySelectorAll(".passage")].flatMap((item) => item.words || []);
  const first = words.find((word) => word.node.tabIndex === 0);
  if (!first && words.length) words[0].node.tabIndex = 0;
  words.sort((one, other) => one.start - other.start);
  part("unsure-next").hidden = !words.some((word) => word.sure < unsureBelow);
}

async function load() {
  const answer = await fetch(said.wordsAddress, { headers: { Accept: "application/json" } });
  if (!answer.ok || !passages) return;
  const content = await answer.json();
  segments = content.segments;
  version = content.version;
  for (const item of passages.children) {
    const segment = segments[Number(item.dataset.number)];
    if (segment) item.words = fill(item, segment);
    const edit = item.querySelector("[data-edit]");
    if (edit) edit.hidden = false;
  }
  gather();
  fromAddress();
}

// ---- playing

function seek(time, play) {
  sound.currentTime = Math.min(Math.max(0, time), duration);
  if (play) sound.play().catch(() => {});
  show();
}

function wordAt(time) {
  let low = 0, high = words.length - 1, found = null;
  while (low <= high) {
    const middle = (low + high) >> 1;
    if (words[middle].start <= time + 0.02) { found = words[middle]; low = middle + 1; } else high = middle - 1;
  }
  return found && time < found.end + 0.4 ? found : null;
}

function show() {
  const now = sound.currentTime > 0 || !sound.paused ? wordAt(sound.currentTime) : null;
  if (now !== current) {
    if (current) current.node.classList.remove("now");
    if (now) {
      now.node.classList.add("now");
      if (part("follow").checked && !sound.paused) follow(now.node);
    }
    current = now;
  }
  draw();
}

function follow(node) {
  const box = node.getBoundingClientRect();
  const bar = page.querySelector(".dock").getBoundingClientRect();
  if (box.top < 60 || box.bottom > bar.top - 40) {
    node.scrollIntoView({ block: "center", behavior: calm.matches ? "auto" : "smooth" });
  }
}

function frame() {
  show();
  if (!sound.paused) requestAnimationFrame(frame);
}
sound.addEventListener("play", frame);
for (const name of ["seeked", "pause", "timeupdate"]) sound.addEventListener(name, show);

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-seek]");
  if (!button) return;
  seek(Number(button.dataset.seek), true);
  if (event.detail) button.blur(); // with a mouse: so that the space bar pauses instead of pressing the button again
});

// ---- the bar

const BACK_S = 5;
const toggle = part("toggle"), position = part("position"), speed = part("speed");
const toggleWords = { true: toggle.getAttribute("aria-label"), false: toggle.dataset.pause };

function showBar() {
  toggle.textContent = sound.paused ? "▶" : "❚❚";
  toggle.setAttribute("aria-label", toggleWords[sound.paused]);
  part("clock").textContent = timeOf(sound.currentTime);
  position.value = sound.currentTime;
  position.setAttribute("aria-valuetext", timeOf(sound.currentTime));
}
for (const name of ["play", "pause", "seeked", "timeupdate"]) sound.addEventListener(name, showBar);

function playOrPause() {
  if (sound.paused) sound.play().catch(() => {}); else sound.pause();
}
toggle.addEventListener("click", playOrPause);
part("back").addEventListener("click", () => seek(sound.currentTime - BACK_S, false));
position.addEventListener("input", () => seek(Number(position.value), false));
speed.addEventListener("change", () => { sound.defaultPlaybackRate = sound.playbackRate = Number(speed.value); });

// The space bar plays and pauses, unless it types or presses the focused element.
const TAKES_SPACE = "input, textarea, select, button, summary, a, [contenteditable]";
document.addEventListener("keydown", (event) => {
  if (event.key !== " " || event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
  if (event.target.closest(TAKES_SPACE)) return;
  event.preventDefault();
  if (!event.repeat) playOrPause();
});

if (passages) {
  passages.addEventListener("click", (event) => {
    const node = event.target.closest(".word");
    if (node && window.getSelection().isCollapsed) {
      reach(node, false);
      seek(Number(node.dataset.start), true);
    }
  });
  // One tab stop for all words; arrows move between them.
  passages.addEventListener("keydown", (event) => {
    const node = event.target.closest(".word");
    if (!node) return;
    if (event.key === "Enter") {
      event.preventDefault();
      seek(Number(node.dataset.start), true);
      return;
    }
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 10, ArrowUp: -10 }[event.key];
    if (!step) return;
    event.preventDefault();
    const at = words.findIndex((word) => word.node === node);
    const next = words[Math.min(Math.max(0, at + step), words.length - 1)];
    const selection = window.getSelection();
    if (event.shiftKey) { // selects words with the keyboard
      if (!anchor) anchor = node;
      const back = anchor.compareDocumentPosition(next.node) & Node.DOCUMENT_POSITION_PRECEDING;
      selection.setBaseAndExtent(anchor, back ? 1 : 0, next.node, back ? 0 : 1);
    } else {
      anchor = null;
      selection.removeAllRanges();
    }
    reach(next.node, true);
  });
}

function reach(node, focus) {
  for (const word of words) if (word.node.tabIndex === 0) word.node.tabIndex = -1;
  node.tabIndex = 0;
  if (focus) { node.focus(); follow(node); }
}

function fromAddress() {
  const time = /^#t=([0-9.]+)$/.exec(location.hash);
  if (!time) return;
  const start = () => seek(Number(time[1]), false);
  if (sound.readyState > 0) start(); else sound.addEventListener("loadedmetadata", start, { once: true });
  const word = wordAt(Number(time[1])) || words.find((one) => one.start >= Number(time[1]) - 0.05);
  if (word) word.node.scrollIntoView({ block: "center" });
}
addEventListener("hashchange", fromAddress);

if (passages) part("shade").addEventListener("change", (event) => page.classList.toggle("unshaded", !event.target.checked));

let unsureAt = -1;
if (passages) part("unsure-next").addEventListener("click", () => {
  const unsure = words.filter((word) => word.sure < unsureBelow);
  if (!unsure.length) return;
  unsureAt = (unsureAt + 1) % unsure.length;
  const word = unsure[unsureAt];
  part("unsure-said").textContent = `${unsureAt + 1} ${said.wordOf} ${unsure.length}: “${word.text}”, ${Math.round(100 * word.sure)} %`;
  reach(word.node, false);
  word.node.scrollIntoView({ block: "center" });
  seek(Math.max(0, word.start - 0.5), true);
});

// ---- the waveform

let peaks = [];

// The value of a colour variable in this theme: a canvas knows neither variables nor light-dark().
function colour(name) {
  canvas.style.color = `var(--${name})`;
  return getComputedStyle(canvas).color;
}

function draw() {
  const context = canvas.getContext("2d");
  const [accent, faint, second] = ["accent", "faint", "second"].map(colour);
  const { width, height } = canvas;
  const at = duration ? sound.currentTime / duration : 0;
  context.clearRect(0, 0, width, height);
  const highest = Math.max(0.02, ...peaks);
  const step = width / Math.max(1, peaks.length);
  peaks.forEach((peak, index) => {
    context.fillStyle = index / peaks.length < at ? accent : faint;
    const half = 1 + (height / 2 - 3) * peak / highest;
    context.fillRect(index * step, height / 2 - half, Math.max(0.6, step * 0.8), 2 * half);
  });
  context.fillStyle = second;
  context.fillRect(at * width - 1, 0, 3, height);
}

async function loadOutline() {
  const answer = await fetch(said.waveform, { headers: { Accept: "application/json" } });
  if (answer.ok) peaks = (await answer.json()).peaks;
  draw();
}
canvas.addEventListener("click", (event) => {
  const box = canvas.getBoundingClientRect();
  seek(duration * (event.clientX - box.left) / box.width, true);
});
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

// ---- finding words

function find() {
  for (const word of words) word.node.classList.remove("match", "chosen");
  const wanted = part("find").value.toLowerCase().split(/\s+/).map(bare).filter(Boolean);
  matches = [];
  match = -1;
  if (wanted.length) {
    for (const item of page.querySelectorAll(".passage")) {
      const texts = (item.words || []).map((word) => bare(word.text.toLowerCase()));
      for (let start = 0; start + wanted.length <= texts.length; start++) {
        const fits = wanted.every((word, index) => (index === wanted.length - 1 ? texts[start + index].startsWith(word) : texts[start + index] === word));
        if (fits) matches.push(item.words.slice(start, start + wanted.length));
      }
    }
  }
  for (const group of matches) for (const word of group) word.node.classList.add("match");
  part("next").hidden = !matches.length;
  part("found").textContent = !wanted.length ? "" : matches.length ? String(matches.length) : said.wordNone;
}
const bare = (word) => word.replace(/^[^\p{L}\p{N}]+|[^\p{L}\p{N}]+$/gu, "");

function next() {
  if (!matches.length) return;
  for (const word of matches[match] || []) word.node.classList.remove("chosen");
  match = (match + 1) % matches.length;
  for (const word of matches[match]) word.node.classList.add("chosen");
  matches[match][0].node.scrollIntoView({ block: "center", behavior: calm.matches ? "auto" : "smooth" });
  part("found").textContent = `${match + 1} ${said.wordOf} ${matches.length}`;
}
if (passages) {
  part("find").addEventListener("input", find);
  part("find").addEventListener("keydown", (event) => { if (event.key === "Enter") { event.preventDefault(); next(); } });
  part("next").addEventListener("click", next);
}

// ---- a detector of selected words

const chosen = part("selected");
if (chosen) {
  document.addEventListener("selectionchange", () => {
    const selection = window.getSelection();
    const inside = passages && !selection.isCollapsed && passages.contains(selection.anchorNode) && passages.contains(selection.focusNode);
    const picked = inside ? words.filter((word) => selection.containsNode(word.node, true)).map((word) => word.text) : [];
    chosen.hidden = !picked.length || picked.length > 12;
    if (chosen.hidden) return;
    const phrase = picked.map(bare).filter(Boolean).join(" ");
    part("selected-words").textContent = `“${phrase}”`;
    part("train").href = `${said.new}?${new URLSearchParams({ phrase, language: said.language || "en" })}`;
  });
}

// ---- corrections

function button(text, name) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = name;
  made.textContent = text;
  return made;
}

function correct(item) {
  const number = Number(item.dataset.number);
  const place = item.querySelector("[data-words]"), edit = item.querySelector("[data-edit]");
  const field = document.createElement("textarea");
  const note = document.createElement("p");
  const save = button(said.wordSave, ""), cancel = button(said.wordCancel, "quiet");
  const box = document.createElement("div");
  const row = document.createElement("div");
  field.value = segments[number].text;
  field.rows = Math.max(2, Math.ceil(field.value.length / 60));
  field.maxLength = 5000;
  field.dataset.before = field.value;
  field.setAttribute("aria-label", said.wordField);
  note.className = "help";
  note.textContent = said.wordEmpty;
  note.setAttribute("role", "status");
  row.className = "row";
  row.append(save, cancel);
  box.append(field, note, row);
  place.hidden = edit.hidden = true;
  place.after(box);
  field.focus();
  field.setSelectionRange(0, 0); // the start, even if not all of it is visible
  field.scrollTop = 0;
  let seen = 0; // the version with another user's text, after which the page is reloaded
  const close = () => {
    box.remove();
    if (seen) location.reload();
    place.hidden = edit.hidden = false;
    edit.focus();
  };
  cancel.addEventListener("click", close);
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) save.click();
  });
  save.addEventListener("click", async () => {
    save.disabled = true;
    let answer, content;
    try {
      answer = await fetch(said.change.replace(/0$/, number), {
        method: "POST",
        headers: { Accept: "application/json", "X-CSRFToken": said.token },
        body: new URLSearchParams({ text: field.value, start: item.dataset.start, version: seen || version }),
      });
      content = await answer.json();
    } catch {
      note.className = "error";
      note.textContent = said.wordLost;
      save.disabled = false;
      return;
    }
    if (answer.status === 409 && content.version !== undefined) {
      // Show the other person's text; saving again is the user's decision.
      seen = content.version;
      note.className = "error";
      note.textContent = `${content.what} ${said.wordNow} “${content.text}”`;
    } else if (!answer.ok) {
      note.className = "error";
      note.textContent = `${content.what} ${content.why} ${content.what_to_do}`;
    } else if (content.segment === null) {
      field.dataset.before = field.value;
      location.reload(); // the numbers of all later passages have changed
    } else {
      if (!seen) version = content.version; // other passages may have changed too
      segments[number] = { ...segments[number], ...content.segment };
      item.querySelector("[data-edited]").hidden = false;
      undoable();
      item.words = fill(item, segments[number]);
      const summary = document.querySelector("[data-outdated]");
      if (summary) summary.hidden = false;
      document.body.dispatchEvent(new Event("corrected")); // updates the summary
      gather();
      close();
      offerElsewhere(item, content.elsewhere);
    }
    save.disabled = false;
  });
}
// Reload after a job's changes, unless the user stays because unsaved text would be lost.
document.body.addEventListener("job-over", () => location.reload());
// Ask before losing unsaved text.
addEventListener("beforeunload", (event) => {
  for (const field of page.querySelectorAll("textarea[data-before]")) if (field.value !== field.dataset.before) event.preventDefault();
  for (const field of page.querySelectorAll(".who form input")) if (field.value !== field.defaultValue) event.preventDefault();
});
if (passages) passages.addEventListener("click", (event) => {
  const edit = event.target.closest("[data-edit]");
  if (edit) correct(edit.closest(".passage"));
});

// A corrected word may be wrong in other passages, too.
function offerElsewhere(item, elsewhere) {
  const form = part("elsewhere");
  form.hidden = !elsewhere;
  part("offered").textContent = elsewhere ? elsewhere.told : "";
  if (!elsewhere) return;
  for (const name of ["heard", "said"]) form.elements[name].value = elsewhere[name];
  form.elements.besides.value = item.dataset.number;
  form.querySelector("span").textContent = elsewhere.told;
  item.append(form);
}

// Keep the form for a passage's speaker clear of the bar.
function clearOfBar(event) {
  const asked = event.target.closest(".acts details[open]");
  const covered = asked ? asked.getBoundingClientRect().bottom - page.querySelector(".dock").getBoundingClientRect().top : 0;
  if (covered > 0) window.scrollBy(0, covered);
}
if (passages) {
  passages.addEventListener("toggle", clearOfBar, true);
  passages.addEventListener("htmx:afterSettle", clearOfBar);
}

// Offer Undo for a change made without reloading the page.
function undoable() {
  page.querySelector("[data-undo]").hidden = false;
  for (const told of page.querySelectorAll(".notice")) told.remove(); // remove the notices of earlier changes
  for (const field of page.querySelectorAll("input[name=version]")) field.value = version;
}

// ---- editing a speaker's name in place

function nameButton(place) {
  const made = button(place.textContent, "link name");
  made.dataset.speaker = place.dataset.speaker;
  made.title = said.wordRename;
  place.replaceWith(made);
}

function renameHere(made) {
  const form = document.createElement("form"), field = document.createElement("input"), note = document.createElement("span");
  field.value = field.defaultValue = made.textContent;
  field.maxLength = 100;
  field.setAttribute("aria-label", said.wordName);
  note.className = "small error";
  note.setAttribute("role", "status");
  form.append(field, button(said.wordSave, "quiet"), note);
  form.querySelector("button").type = "submit";
  made.hidden = true;
  made.after(form);
  field.select();
  const close = () => { form.remove(); made.hidden = false; made.focus(); };
  field.addEventListener("keydown", (event) => { if (event.key === "Escape") close(); });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      const answer = await fetch(said.rename, {
        method: "POST",
        headers: { Accept: "application/json", "X-CSRFToken": said.token },
        body: new URLSearchParams({ speaker: made.dataset.speaker, name: field.value, version }),
      });
      const content = await answer.json();
      if (!answer.ok) throw new Error(`${content.what} ${content.why} ${content.what_to_do}`);
      for (const other of page.querySelectorAll("[data-speaker]")) {
        const { speaker } = other.dataset;
        if (speaker !== made.dataset.speaker) continue;
        if (other.matches("input")) other.value = content.names[speaker]; else other.textContent = content.shown[speaker];
      }
      version = content.version;
      undoable();
      close();
    } catch (error) {
      note.textContent = error instanceof TypeError || error instanceof SyntaxError ? said.wordLost : error.message;
    }
  });
}
if (said.rename) {
  for (const place of page.querySelectorAll(".who b[data-speaker]")) nameButton(place);
  page.addEventListener("click", (event) => {
    const made = event.target.closest(".who button.name");
    if (made) renameHere(made);
  });
}

load();
loadOutline();
