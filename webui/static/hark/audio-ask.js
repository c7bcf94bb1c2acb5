// Typed and recorded questions, and spoken answers.
"use strict";

const asking = document.querySelector("[data-ask]");
if (asking) {
  document.documentElement.classList.add("scripted");
  const MAX_DURATION_S = 28;
  const ask = (name) => asking.querySelector(`[data-${name}]`);
  const aloud = ask("speak-question"), file = ask("spoken-question"), say = ask("say");
  const label = aloud.textContent;
  let recorder = null, chunks = [], gathered = 0;

  function stop() {
    if (!recorder) return;
    recorder.close();
    recorder = null;
    aloud.textContent = label;
    say.textContent = "";
    const sent = new DataTransfer();
    sent.items.add(asWav(chunks, "question.wav"));
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
        chunks.push(samples);
        gathered += samples.byteLength / 2;
        if (gathered > MAX_DURATION_S * RATE) stop();
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
