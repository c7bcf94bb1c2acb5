// Uploads of recordings, in pieces: a broken connection, or a page that was closed, costs one piece and no more.
"use strict";

const form = document.getElementById("upload");
const words = form.dataset;
const PIECE = 4e6; // bytes
const WAIT_S = [1, 2, 4, 8, 15, 15, 30, 30, 60, 60]; // before each new attempt; then it has failed
const list = form.querySelector("[data-files]");
const pause = (seconds) => new Promise((resolve) => { setTimeout(resolve, 1000 * seconds); });
const token = () => form.querySelector("[name=csrfmiddlewaretoken]").value;
const mb = (bytes) => (bytes / 1e6).toFixed(1) + " MB";

// What this browser has begun is found again after a reload: by name, length and date of the file.
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

// An answer of the server; throws Refused where it says no, TypeError where it cannot be reached.
async function ask(method, address, body, type) {
  const headers = { Accept: "application/json", "X-CSRFToken": token() };
  if (type) headers["Content-Type"] = type;
  const answer = await fetch(address, { method, body, headers });
  const content = await answer.json().catch(() => ({ what: `${answer.status} ${answer.statusText}` }));
  if (!answer.ok) throw new Refused(content, answer.status);
  return content;
}

// The same, again and again while the server cannot be reached, or is busy.
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

// A line of the list: name, bar, what happens.
function rowOf(file) {
  const item = document.createElement("li");
  const name = document.createElement("b");
  const bar = document.createElement("progress");
  const said = document.createElement("span");
  name.textContent = file.name;
  bar.max = Math.max(1, file.size);
  bar.value = 0;
  bar.setAttribute("aria-label", file.name);
  said.className = "small faint number";
  said.textContent = words.wordWaiting;
  item.append(name, bar, said);
  list.append(item);
  return {
    item,
    at(bytes) { bar.value = bytes; said.textContent = `${mb(bytes)} / ${mb(file.size)} ${words.wordSending}`; },
    say(text) { said.textContent = text; },
    fail(text) { said.textContent = text; said.className = "small error"; },
    done(address) {
      bar.value = bar.max;
      said.textContent = words.wordDone + " ";
      if (address) {
        const link = document.createElement("a");
        link.href = address;
        link.textContent = words.wordOpen;
        said.append(link);
      }
    },
  };
}

// Seconds of sound in a file, as far as this browser can read it; else 0, and the server finds out.
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

// Sends all of a file; gives what the server knows of it then.
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
    const piece = file.slice(at, at + Math.min(PIECE, upload.chunk));
    try {
      at = (await insist(row, "PATCH", `${upload.address}?offset=${at}`, piece, "application/octet-stream")).offset;
    } catch (error) {
      // The last answer was lost: it says where to go on.
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
  const made = await insist(row, "POST", `${first.upload.address}/done`, body, "application/json");
  for (const one of sent) { forget(one.file); one.row.done(made.address); }
  return made;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const files = [...form.elements.audio.files];
  if (!files.length) return;
  const button = form.querySelector("button");
  const say = form.querySelector("[data-say]");
  button.disabled = true;
  say.textContent = "";
  say.className = "";
  list.replaceChildren();
  list.hidden = false;
  const rows = files.map((file) => rowOf(file));
  const together = form.elements.together.checked && files.length > 1;
  const lengths = await Promise.all(files.map(lengthOf));
  const sent = [], made = [];
  let failed = 0;
  if (together && lengths.reduce((sum, seconds) => sum + seconds, 0) > Number(words.mostSeconds)) {
    for (const row of rows) row.fail(words.wordTogether);
    button.disabled = false;
    return;
  }
  for (const [number, file] of files.entries()) {
    const row = rows[number];
    try {
      const one = { file, row, upload: await send(file, lengths[number], row) };
      sent.push(one);
      if (!together) made.push(await conclude([one], row));
    } catch (error) {
      failed += 1;
      row.fail(error.message);
    }
  }
  if (together && !failed) {
    try {
      made.push(await conclude(sent, sent[0].row));
    } catch (error) {
      failed += 1;
      rows[0].fail(error.message);
    }
  }
  button.disabled = false;
  if (made.length === 1 && !failed) {
    location.assign(made[0].address);
    return;
  }
  if (!failed) { say.textContent = words.wordAll; form.reset(); }
  if (made.length && document.getElementById("recordings")) window.htmx.ajax("GET", words.rows, { target: "#recordings", swap: "innerHTML" });
});

// Files can be dropped anywhere on the field.
const zone = form.querySelector("[data-drop]");
for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  zone.addEventListener(kind, (event) => {
    event.preventDefault();
    zone.classList.toggle("over", kind === "dragenter" || kind === "dragover");
    if (kind === "drop") form.elements.audio.files = event.dataTransfer.files;
  });
}
