// Live transcription: the microphone to the server; words, detections and answers back.
"use strict";

const page = document.getElementById("live");
const part = (name) => page.querySelector(`[data-${name}]`);
const form = part("form");
let socket = null, microphone = null, ended = false, failed = false, saved = false;
let heard = []; // the samples of this session: buffers; older ones are merged into blobs, which the browser can store on disk
const PUT_TOGETHER = 750; // messages of 80 ms: a minute

const say = (text, ...more) => part("state").replaceChildren(text, ...more);
const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;

function made(name, text, ...more) {
  const node = document.createElement(name);
  node.append(text, ...more);
  return node;
}

function linked(text, address) {
  const node = made("a", text);
  node.href = address;
  return node;
}

function assist(...content) {
  part("nothing").hidden = true;
  part("assist").prepend(made("li", "", ...content));
}

function hear(news) {
  if (news.ready) say(`${page.dataset.listening} (${news.engine})`);
  if (news.partial) part("partial").textContent = news.partial.text;
  if (news.final) {
    const log = part("finals");
    const time = made("span", clock(news.final.start_s) + " ");
    time.className = "faint small number";
    log.append(made("p", time, news.final.text));
    log.scrollTop = log.scrollHeight;
    part("partial").textContent = "";
  }
  if (news.event) assist(made("b", news.event.phrase), ` ${page.dataset.heard} ${clock(news.event.time_s)}`);
  if (news.answer) {
    const question = made("span", `“${news.answer.question}” `);
    question.className = "faint";
    const places = news.answer.citations.map((one) => linked(`${one.speaker ? one.speaker + ", " : ""}${one.name} ${clock(one.start_s)}`, `${one.address}#t=${one.start_s.toFixed(3)}`));
    assist(question, made("b", news.answer.text), " ", ...places.flatMap((place) => [place, " "]));
  }
  if (!news.ended) failed = Boolean(news.error); // other messages show that the session continues
  if (news.error) say(`${news.error.what} ${news.error.why} ${news.error.what_to_do}`);
  if (news.saved) saved = true;
  if (news.saved) say(page.dataset.saved + " ", linked(page.dataset.open, news.saved.address));
  if (news.ended) { ended = true; if (!failed && !part("state").querySelector("a")) say(page.dataset.ended); }
}

function toggle(on) {
  part("start").hidden = on;
  part("stop").hidden = !on;
  part("keeping").hidden = on || !heard.length;
  part("keep").hidden = saved;
  for (const field of form.elements) field.disabled = on;
}

function closeMicrophone() {
  if (microphone) microphone.close();
  microphone = null;
}

part("start").addEventListener("click", async () => {
  part("start").disabled = true;
  try {
    microphone = await openMicrophone(page.dataset.worklet, (samples) => {
      if (!socket || socket.readyState !== WebSocket.OPEN) return;
      socket.send(samples);
      heard.push(samples);
      if (heard.length > PUT_TOGETHER) heard = [new Blob(heard)];
    });
  } catch {
    say(page.dataset.refused);
    return;
  } finally {
    part("start").disabled = false;
  }
  const values = new FormData(form);
  const start = {
    engine: values.get("engine"), language: values.get("language").trim() || null, answer: values.has("answer"),
    save: values.has("save"), detectors: values.getAll("detector").map(Number),
  };
  ended = failed = saved = false;
  heard = [];
  part("finals").replaceChildren();
  part("assist").replaceChildren();
  say(page.dataset.loading);
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  socket = new WebSocket(`${scheme}//${location.host}${page.dataset.socket}`);
  socket.addEventListener("open", () => socket.send(JSON.stringify({ start })));
  socket.addEventListener("message", (message) => hear(JSON.parse(message.data)));
  socket.addEventListener("close", (event) => {
    closeMicrophone();
    toggle(false);
    if (!ended && !(failed && event.wasClean)) say(page.dataset.lost);
  });
  toggle(true);
  part("stop").disabled = false;
});

part("stop").addEventListener("click", () => {
  part("stop").disabled = true;
  closeMicrophone();
  say(page.dataset.ending);
  if (socket && socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ stop: true }));
});

// ---- the transcript after Stop, which exists only on this page until the user takes it

const text = () => [...part("finals").children].map((line) => line.textContent).join("\n") + "\n";

part("copy").addEventListener("click", async () => {
  await navigator.clipboard.writeText(text());
  say(page.dataset.copied);
});
part("download").addEventListener("click", () => {
  const link = linked("", URL.createObjectURL(new Blob([text()], { type: "text/plain" })));
  link.download = `${part("keeping").dataset.name}.txt`;
  link.click();
});
part("keep").addEventListener("click", async () => {
  part("keep").disabled = true;
  say("…");
  const sent = new FormData(part("keeping"));
  sent.set("audio", asWav(heard, `${part("keeping").dataset.name}.wav`));
  for (const name of ["engine", "language"]) sent.set(name, form.elements[name].value);
  try {
    const answer = await fetch(part("keeping").action, { method: "POST", body: sent, headers: { Accept: "application/json" } });
    if (!answer.ok) {
      const error = await answer.json();
      throw new Error(`${error.what} ${error.why} ${error.what_to_do}`);
    }
    saved = part("keep").hidden = true;
    say(page.dataset.saved + " ", linked(page.dataset.open, answer.url));
  } catch (error) {
    say(error instanceof TypeError || error instanceof SyntaxError ? page.dataset.unsent : error.message);
  } finally {
    part("keep").disabled = false;
  }
});
// Ask before leaving with words that the user has not taken yet, during a session or after it.
let taken = 0;
const lines = () => part("finals").children.length;
for (const name of ["copy", "download"]) part(name).addEventListener("click", () => { taken = lines(); });
addEventListener("beforeunload", (event) => {
  const kept = saved || form.elements.save.checked && socket && socket.readyState === WebSocket.OPEN;
  if (!kept && lines() > taken) event.preventDefault();
});
addEventListener("pagehide", closeMicrophone);
