// Questions, in writing or aloud, and answers that are spoken.
"use strict";

const asking = document.querySelector("[data-ask]");
if (asking) {
  document.documentElement.classList.add("scripted");
  const LONGEST_S = 28, RATE = 16000;
  const ask = (name) => asking.querySelector(`[data-${name}]`);
  const aloud = ask("speak-question"), file = ask("spoken-question"), say = ask("say");
  const label = aloud.textContent;
  let recorder = null, chunks = [], gathered = 0;

  function asWav() {
    const view = new DataView(new ArrayBuffer(44 + 2 * gathered));
    const word = (at, text) => { for (let i = 0; i < text.length; i++) view.setUint8(at + i, text.charCodeAt(i)); };
    word(0, "RIFF"); view.setUint32(4, 36 + 2 * gathered, true); word(8, "WAVEfmt "); view.setUint32(16, 16, true);
    view.setUint16(20, 1, true); view.setUint16(22, 1, true); view.setUint32(24, RATE, true); view.setUint32(28, 2 * RATE, true);
    view.setUint16(32, 2, true); view.setUint16(34, 16, true); word(36, "data"); view.setUint32(40, 2 * gathered, true);
    let at = 44;
    for (const chunk of chunks) for (const value of chunk) { view.setInt16(at, value, true); at += 2; }
    return new File([view], "question.wav", { type: "audio/wav" });
  }

  function stop() {
    if (!recorder) return;
    recorder.close();
    recorder = null;
    aloud.textContent = label;
    say.textContent = "";
    const sent = new DataTransfer();
    sent.items.add(asWav());
    file.files = sent.files;
    if (ask("typed")) ask("typed").value = "";
    ask("send").click();
  }

  aloud.hidden = false;
  aloud.addEventListener("click", async () => {
    if (recorder) return stop();
    chunks = [];
    gathered = 0;
    try {
      recorder = await openMicrophone(asking.dataset.worklet, (samples) => {
        const values = new Int16Array(samples);
        chunks.push(values);
        gathered += values.length;
        if (gathered > LONGEST_S * RATE) stop();
      });
    } catch {
      say.textContent = asking.dataset.refused;
      return;
    }
    aloud.textContent = asking.dataset.stop;
    say.textContent = asking.dataset.listening;
  });

  asking.addEventListener("htmx:afterRequest", () => { file.value = ""; });
  asking.addEventListener("htmx:beforeRequest", () => { say.textContent = ""; });
  for (const name of ["htmx:sendError", "htmx:responseError"]) {
    asking.addEventListener(name, () => { say.textContent = asking.dataset.failed; });
  }
  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.target.id !== "answer") return;
    const answer = event.target.querySelector("[data-aloud]");
    const wanted = ask("speak-answer");
    if (answer && wanted && wanted.checked) answer.play().catch(() => {});
  });
  addEventListener("pagehide", () => { if (recorder) recorder.close(); });
}
