// Uploads of recordings in chunks: a broken connection or a closed page costs at most one chunk.
"use strict";

const form = document.getElementById("upload");
const words = form.dataset;
const CHUNK = 4e6; // bytes
const WAIT_S = [1, 2, 4, 8, 15, 15, 30, 30, 60, 60]; // before each retry; after the last one, the upload fails
const list = form.querySelector("[data-files]");
const pause = (seconds) => new Promise((resolve) => { setTimeout(resolve, 1000 * seconds); });
const token = () => form.querySelector("[name=csrfmiddlewaretoken]").value;
const mb = (bytes) => (bytes / 1e6).toFixed(1) + " MB";

// Finds this browser's unfinished uploads after a reload, by name, length and date of the file.
const key = (file) => `hark-upload:${words.user}:${file.name}:${file.size}:${file.lastModified}`;
const remembered = (file) => { try { return localStorage.getItem(key(file)); } catch { return null; } };
const remember = (file, id) => { try { localStorage.setItem(key(file), id); } catch { /* private windows */ } };
const forget = (file) => { try { localStorage.removeItem(key(file)); } catch { /* private windows */ } };

class Refused extends Error {
  constructor(content, status) {
    super([content.what, content.why, content.what_to_do].filter(Boolean).join(" ") || String(status));
    this.content = content;
    this.status = status;
  }
}

// Returns the server's answer; throws Refused if it declines, TypeError if it cannot be reached.
async function ask(method, address, body, type) {
  const headers = { Accept: "application/json", "X-CSRFToken": token() };
  if (type) headers["Content-Type"] = type;
  const answer = await fetch(address, { method, body, headers });
  const content = await answer.json().catch(() => ({ what: `${answer.status} ${answer.statusText}` }));
  if (!answer.ok) throw new Refused(content, answer.status);
  return content;
}

// Sends as above, and retries while the server is unreachable or busy.
async function insist(row, method, address, body, type) {
  for (let failures = 0; ; failures++) {
    try {
      return await ask(method, address, body, type);
    } catch (error) {
      const passing = !(error instanceof Refused) || [429, 502, 503, 504].includes(error.status);
      if (!passing || failures >= WAIT_S.length) throw error;
      row.say(error instanceof Refused ? words.wordBusy : words.wordAgain);
      await pause(WAIT_S[failures]);
    }
  }
}

// The chosen files in the order of sending: {file, seconds, item, and the line's texts}.
let chosen = [];
let sending = false;

function made(name, text, className) {
  const node = document.createElement(name);
  if (text) node.textContent = text;
  if (className) node.className = className;
  return node;
}

// A line of the list: name, size, length, and buttons for its order; during the upload a bar and its state.
function rowOf(file) {
  const item = made("li"), bar = made("progress"), said = made("span", "", "small faint number"), acts = made("div", "", "acts");
  const act = (sign, word, run) => {
    const button = made("button", sign, "quiet");
    button.type = "button";
    button.setAttribute("aria-label", `${word}: ${file.name}`);
    button.addEventListener("click", () => { run(); button.focus(); });
    acts.append(button);
    return button;
  };
  const row = { file, seconds: 0, item };
  const move = (by) => {
    const at = chosen.indexOf(row), to = at + by;
    if (to < 0 || to >= chosen.length) return;
    chosen.splice(to, 0, ...chosen.splice(at, 1));
    arrange();
  };
  row.up = act("↑", words.wordUp, () => move(-1));
  row.down = act("↓", words.wordDown, () => move(1));
  act("✕", words.wordRemove, () => { chosen = chosen.filter((other) => other !== row); arrange(); form.elements.audio.focus(); });
  bar.max = Math.max(1, file.size);
  bar.value = 0;
  bar.hidden = true;
  bar.setAttribute("aria-label", file.name);
  item.append(made("b", file.name), acts, bar, said);
  // Reorder by dragging.
  item.draggable = true;
  item.addEventListener("dragstart", (event) => { item.classList.add("dragged"); event.dataTransfer.setData("text/plain", file.name); });
  item.addEventListener("dragend", () => item.classList.remove("dragged"));
  item.addEventListener("dragover", (event) => {
    const from = chosen.findIndex((other) => other.item.classList.contains("dragged"));
    if (from < 0 || sending) return;
    event.preventDefault();
    const to = chosen.indexOf(row);
    if (from !== to) { chosen.splice(to, 0, ...chosen.splice(from, 1)); arrange(); }
  });
  Object.assign(row, {
    describe() { said.textContent = [mb(file.size), row.seconds ? timeOf(row.seconds) : ""].filter(Boolean).join(" · "); },
    begin() { bar.hidden = false; acts.hidden = true; item.draggable = false; said.className = "small faint number"; said.textContent = words.wordWaiting; },
    at(bytes) { bar.value = bytes; said.textContent = `${mb(bytes)} / ${mb(file.size)} ${words.wordSending}`; },
    say(text) { said.textContent = text; },
    fail(text) { said.textContent = text; said.className = "small error"; bar.hidden = true; acts.hidden = false; item.draggable = true; },
    done(address) {
      bar.value = bar.max;
      said.textContent = words.wordDone + " ";
      if (!address) return;
      const link = made("a", words.wordOpen);
      link.href = address;
      said.append(link);
    },
  });
  row.describe();
  return row;
}

function arrange() {
  list.replaceChildren(...chosen.map((row) => row.item));
  list.hidden = !chosen.length;
  chosen.forEach((row, index) => { row.up.disabled = index === 0; row.down.disabled = index === chosen.length - 1; });
}

// Adds files to those already chosen. Shows, before the upload, how long they are and which are too long.
function add(files) {
  if (sending) return;
  chosen = chosen.filter((row) => !row.sent);
  for (const file of files) {
    if (chosen.some((row) => key(row.file) === key(file))) continue;
    const row = rowOf(file);
    chosen.push(row);
    row.measured = lengthOf(file).then((seconds) => {
      row.seconds = seconds;
      if (sending) return;
      row.describe();
      if (seconds > Number(words.mostSeconds)) row.fail(words.wordLong);
    });
  }
  form.elements.audio.value = "";
  form.elements.audio.required = false; // the list has the files
  arrange();
}
form.elements.audio.addEventListener("change", () => add([...form.elements.audio.files]));

// Seconds of audio in a file if this browser can read it; else 0, and the server finds out.
function lengthOf(file) {
  return new Promise((resolve) => {
    const media = document.createElement(file.type.startsWith("video/") ? "video" : "audio");
    const address = URL.createObjectURL(file);
    const found = (seconds) => { URL.revokeObjectURL(address); resolve(Number.isFinite(seconds) ? seconds : 0); };
    media.addEventListener("loadedmetadata", () => found(media.duration), { once: true });
    media.addEventListener("error", () => found(0), { once: true });
    setTimeout(found, 5000, 0);
    media.preload = "metadata";
    media.src = address;
  });
}

// Sends a whole file; returns the server's record of it.
async function send(file, seconds, row) {
  if (file.size > Number(words.most)) throw new Error(words.wordLarge);
  if (seconds > Number(words.mostSeconds)) throw new Error(words.wordLong);
  let upload = null;
  const id = remembered(file);
  if (id) {
    upload = await insist(row, "GET", `${words.begin}/${id}`).catch((error) => {
      if (error instanceof Refused && error.status === 404) return null; // forgotten after a day
      throw error;
    });
    if (upload && upload.size !== file.size) upload = null;
    if (upload && upload.offset) row.say(`${words.wordResumed} ${mb(upload.offset)}`);
  }
  if (!upload) {
    upload = await insist(row, "POST", words.begin, JSON.stringify({ name: file.name, size: file.size }), "application/json");
    remember(file, upload.id);
  }
  let at = upload.offset;
  while (at < file.size) {
    row.at(at);
    const chunk = file.slice(at, at + Math.min(CHUNK, upload.chunk));
    try {
      at = (await insist(row, "PATCH", `${upload.address}?offset=${at}`, chunk, "application/octet-stream")).offset;
    } catch (error) {
      // The last answer was lost: the error gives the offset to continue from.
      if (!(error instanceof Refused) || error.status !== 409 || error.content.offset === at) throw error;
      at = error.content.offset;
    }
  }
  row.at(at);
  return upload;
}

function options() {
  const value = (name) => form.elements[name].value;
  const speakers = value("speakers");
  return {
    engine: value("engine"),
    language: value("language").trim() || null,
    speakers: Number(speakers) || null,
    diarize: speakers !== "none",
    summarize: form.elements.summarize.checked,
  };
}

async function conclude(sent, row) {
  const [first, ...others] = sent;
  const body = JSON.stringify({ options: options(), with: others.map((one) => one.upload.id) });
  const taken = await insist(row, "POST", `${first.upload.address}/done`, body, "application/json");
  for (const one of sent) { forget(one.file); one.row.sent = true; one.row.done(taken.address); }
  return taken;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const rows = chosen.filter((row) => !row.sent);
  if (!rows.length) { form.elements.audio.required = true; form.reportValidity(); return; }
  const button = form.querySelector("[data-send]");
  const say = form.querySelector("[data-say]");
  const end = () => { sending = button.disabled = false; };
  sending = button.disabled = true;
  say.textContent = "";
  say.className = "";
  for (const row of rows) row.begin();
  const together = form.elements.together.checked && rows.length > 1;
  await Promise.all(rows.map((row) => row.measured));
  const sent = [], taken = [];
  let failed = 0;
  if (together && rows.reduce((sum, row) => sum + row.seconds, 0) > Number(words.mostSeconds)) {
    for (const row of rows) row.fail(words.wordTogether);
    end();
    return;
  }
  for (const row of rows) {
    try {
      const one = { file: row.file, row, upload: await send(row.file, row.seconds, row) };
      sent.push(one);
      if (!together) taken.push(await conclude([one], row));
    } catch (error) {
      failed += 1;
      row.fail(error.message);
    }
  }
  if (together && !failed) {
    try {
      taken.push(await conclude(sent, sent[0].row));
    } catch (error) {
      failed += 1;
      rows[0].fail(error.message);
    }
  }
  end();
  if (taken.length === 1 && !failed) {
    location.assign(taken[0].address);
    return;
  }
  if (!failed) say.textContent = words.wordAll;
  if (taken.length && document.getElementById("recordings")) window.htmx.ajax("GET", words.rows, { target: "#recordings", swap: "innerHTML" });
});

// Files can be dropped anywhere on the page.
const zone = form.querySelector("[data-drop]");
for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    zone.classList.toggle("over", kind === "dragover" || kind === "dragenter");
    if (kind === "drop") add([...event.dataTransfer.files]);
  });
}

// ---- the microphone: recordings join the list

document.documentElement.classList.add("scripted");
const record = form.querySelector("[data-record]"), recorded = form.querySelector("[data-recording]");
const PUT_TOGETHER = 750; // messages of 80 ms: older ones are merged into blobs, which need no memory
const takes = new WeakSet(); // files that exist nowhere else
let microphone = null, heard = [], bytes = 0;

function stopRecording() {
  if (!microphone) return;
  microphone.close();
  microphone = null;
  record.textContent = `● ${words.wordRecord}`;
  recorded.textContent = "";
  const now = new Date();
  const name = `${words.wordRecording} ${dayOf(now)} ${clockOf(now).replace(":", ".")}.wav`;
  if (!bytes) return;
  const take = asWav(heard, name);
  takes.add(take);
  add([take]);
}
record.addEventListener("click", async () => {
  if (microphone) return stopRecording();
  if (sending) return;
  heard = [];
  bytes = 0;
  try {
    microphone = await openMicrophone(words.worklet, (samples) => {
      bytes += samples.byteLength;
      heard.push(samples);
      if (heard.length > PUT_TOGETHER) heard = [new Blob(heard)];
      const seconds = bytes / 2 / RATE;
      recorded.textContent = timeOf(seconds);
      if (seconds >= Number(words.mostSeconds) - 1) stopRecording();
    });
    record.textContent = `■ ${words.wordStop}`;
  } catch {
    recorded.textContent = words.wordRefused;
  }
});
addEventListener("pagehide", () => { if (microphone) microphone.close(); });
addEventListener("beforeunload", (event) => {
  if (microphone || sending || chosen.some((row) => takes.has(row.file) && !row.sent)) event.preventDefault();
});
