// Detects a phrase in a browser, as detect.py does, for detect.html. It needs its bundle, and onnxruntime-web in the
// folder ort/ next to it. This file is the page's program, the worklet that reads the microphone, and a module with the
// rules of detection, which tests compare with detect.py's: change both.

const SCHEMA = 1;
const ORT = "ort/ort.wasm.bundle.min.mjs";
const FLUSH_S = 0.32; // silence added after the end of a recording, so that a phrase at its very end is scored
const BLOCK_CHUNKS = 375; // model chunks a call when audio is not live: 30 s
export const REARM = 1.0; // logits by which a score must have risen since its lowest after a detection
export const WINDOW_FRAMES = 35; // the one of detect.py
const ZEROS = 16; // of the resampler's sinc on each side, at the lower of the two rates
const PASSED = 0.94; // of the band that the lower rate has

/** Average causally over the model's outputs; `before` holds the preceding ones. */
export function smoothScores(raw, before) {
  const all = [...before, ...raw];
  const frames = before.length + 1;
  return Float32Array.from(raw, (_, i) => {
    let sum = 0;
    for (let k = 0; k < frames; k++) sum += all[i + k];
    return sum / frames;
  });
}

export function logit(score) {
  const clipped = Math.min(Math.max(score, 1e-9), 1 - 1e-9);
  return Math.log(clipped) - Math.log1p(-clipped);
}

/** Turns the scores of a stream into detections, as the class of the same name in detect.py. */
export class Trigger {
  constructor(threshold, refractoryFrames) {
    this.threshold = threshold;
    this.refractoryFrames = refractoryFrames;
    this.frames = 0; // scores given so far
    this.quietUntil = 0;
    this.quietAtMost = 0;
    this.highest = Infinity; // level of the last detection
    this.lowest = -Infinity; // level since then
  }

  /** Return the indices of detections in these scores, which continue the stream. */
  fired(scores) {
    const found = [];
    const threshold = Math.fround(this.threshold); // scores are 32-bit
    scores.forEach((score, index) => {
      const level = logit(score);
      this.lowest = Math.min(this.lowest, level);
      const frame = this.frames + index;
      if (score < threshold) return;
      const quiet = frame < this.quietUntil;
      const fires = !quiet && level >= this.lowest + REARM;
      if (fires) {
        found.push(index);
        this.quietAtMost = frame + Math.max(this.refractoryFrames, WINDOW_FRAMES);
      }
      if (fires || (quiet && level > this.highest)) {
        this.highest = level;
        this.lowest = Infinity;
        this.quietUntil = Math.min(frame + this.refractoryFrames, this.quietAtMost);
      }
    });
    this.frames += scores.length;
    return found;
  }
}

/** Return the threshold for a target number of false alarms a day, interpolated between the manifest's entries. */
export function thresholdFor(manifest, faPerDay) {
  const table = [...manifest.thresholds].sort((a, b) => a.fa_per_day - b.fa_per_day);
  const rates = table.map((row) => Math.log(row.fa_per_day));
  const levels = table.map((row) => logit(row.threshold));
  const [lowest, highest] = [table[0].fa_per_day, table.at(-1).fa_per_day];
  if (faPerDay !== undefined && !(lowest <= faPerDay && faPerDay <= highest)) {
    throw new RangeError(`the bundle was calibrated for ${lowest} to ${highest} false alarms per day`);
  }
  const rate = Math.log(faPerDay ?? manifest.default_fa_per_day);
  const next = rates.findIndex((one) => one >= rate);
  let level = next < 0 ? levels.at(-1) : levels[next];
  if (next > 0) {
    const part = (rate - rates[next - 1]) / (rates[next] - rates[next - 1]);
    level = levels[next - 1] + part * (levels[next] - levels[next - 1]);
  }
  return 1 / (1 + Math.exp(-level));
}

/** Resamples a stream: not every browser lets a page choose the rate of a microphone. A windowed sinc, interpolated
    between samples (Smith, "Digital Audio Resampling"). */
export class Resampler {
  constructor(from, to) {
    this.step = from / to; // input samples for each output sample
    const lower = Math.min(1, 1 / this.step);
    this.cut = PASSED * lower;
    this.reach = Math.ceil(ZEROS / lower);
    this.past = new Float32Array(this.reach); // silence before the first sample
    this.at = this.reach; // position of the next output sample in them
  }

  /** Return the output samples that these samples, which continue the stream, complete. */
  process(samples) {
    if (this.step === 1) return samples;
    const all = new Float32Array(this.past.length + samples.length);
    all.set(this.past);
    all.set(samples, this.past.length);
    const found = [];
    for (; this.at + this.reach < all.length; this.at += this.step) found.push(this.between(all));
    const done = Math.max(0, Math.floor(this.at) - this.reach);
    this.past = all.slice(done);
    this.at -= done;
    return found;
  }

  between(all) {
    const middle = Math.floor(this.at);
    let sum = 0;
    for (let index = middle - this.reach + 1; index <= middle + this.reach; index++) {
      const away = index - this.at;
      const x = Math.PI * away * this.cut;
      const sinc = x === 0 ? 1 : Math.sin(x) / x;
      const near = 0.5 + 0.5 * Math.cos(Math.PI * Math.max(-1, Math.min(1, away / this.reach)));
      sum += all[index] * sinc * near;
    }
    return sum * this.cut;
  }
}

/** Scores one stream of 16 kHz audio. */
export class Detector {
  /** `read(name)` returns the bytes of a file of the bundle; `ort` is onnxruntime-web. */
  static async load(read, ort, modelName = "model.onnx") {
    const manifest = JSON.parse(new TextDecoder().decode(await read("manifest.json")));
    if (manifest.schema !== SCHEMA) throw new Error(`manifest.json has schema ${manifest.schema}, this page knows ${SCHEMA}`);
    if (!(modelName in manifest.files)) modelName = "model.onnx";  // a large one has 8-bit weights already
    const model = await read(modelName);
    if (globalThis.crypto?.subtle) {
      const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", model));
      const hex = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
      if (hex !== manifest.files[modelName]) throw new Error(`${modelName} does not have the digest that the manifest gives`);
    }
    const session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
    const detector = new Detector(manifest, ort, session);
    // After one receptive field of silence any state has become the state of silence.
    const silence = new Float32Array(Math.ceil(manifest.receptive_samples / detector.chunk) * detector.chunk);
    const empty = new ort.Tensor("float32", new Float32Array(manifest.state_size), [1, manifest.state_size]);
    const { scores, state } = await detector.run(silence, empty);
    detector.silentState = state;
    detector.silentScores = new Array(manifest.smoothing_frames - 1).fill(scores.at(-1));
    detector.reset();
    return detector;
  }

  constructor(manifest, ort, session) {
    this.manifest = manifest;
    this.ort = ort;
    this.session = session;
    this.chunk = manifest.chunk_samples;
    this.sampleRate = manifest.sample_rate;
    this.threshold = thresholdFor(manifest);
  }

  /** Begin a new stream, preceded by silence. */
  reset() {
    this.state = this.silentState;
    this.before = this.silentScores;
    this.pending = new Float32Array(0);
    this.trigger = new Trigger(this.threshold, Math.round(this.manifest.refractory_s / this.manifest.score_period_s));
  }

  async run(samples, state) {
    const audio = new this.ort.Tensor("float32", samples, [1, samples.length]);
    const result = await this.session.run({ audio, state });
    return { scores: [...result.score.data], state: result.new_state };
  }

  /** Process the next samples of a stream; return its new smoothed scores, and detections as {time_s, score}. */
  async process(samples) {
    const clean = Float32Array.from(samples, (x) => (Number.isFinite(x) ? x : 0));
    const joined = new Float32Array(this.pending.length + clean.length);
    joined.set(this.pending);
    joined.set(clean, this.pending.length);
    const usable = Math.floor(joined.length / this.chunk) * this.chunk;
    this.pending = joined.slice(usable);
    const raw = [];
    for (let start = 0; start < usable; start += this.chunk * BLOCK_CHUNKS) {
      const block = joined.slice(start, Math.min(usable, start + this.chunk * BLOCK_CHUNKS));
      const { scores, state } = await this.run(block, this.state);
      this.state = state;
      raw.push(...scores);
    }
    const scores = smoothScores(raw, this.before);
    const all = [...this.before, ...raw];
    this.before = all.slice(all.length - this.before.length);
    const heardBefore = this.trigger.frames;
    this.trigger.threshold = this.threshold;
    const detections = this.trigger.fired(scores).map((index) => ({
      time_s: (heardBefore + index + 1) * this.manifest.score_period_s,
      score: scores[index],
    }));
    return { scores, detections };
  }

  /** Process the silence that completes a recording's last scores. */
  finish() {
    const flush = Math.round(FLUSH_S * this.sampleRate);
    const odd = (this.pending.length + flush) % this.chunk;
    return this.process(new Float32Array(flush + (odd ? this.chunk - odd : 0)));
  }
}

// Recordings for a portal, if the user has switched that on: as pipeline/serving/wakes.py does.

const KEPT_S = 2.5;
const MARGIN = 1.5;
const SETTLED_S = 1;
const APART_S = 3;

/** Finds activations and near misses in a stream of samples and scores. */
export class WakeWatch {
  constructor(threshold, manifest) {
    this.threshold = threshold;
    this.near = 1 / (1 + Math.exp(MARGIN - logit(threshold)));
    this.period = manifest.score_period_s;
    this.kept = Math.round(KEPT_S * manifest.sample_rate);
    this.recent = new Float32Array(0);
    this.now = this.quietUntil = this.peak = 0; // seconds
    this.nearly = null;
  }

  /** Process samples, the scores that they complete, and detections in these; return {kind, score, audio} or null. */
  process(samples, scores, detections) {
    const joined = new Float32Array(this.recent.length + samples.length);
    joined.set(this.recent);
    joined.set(samples, this.recent.length);
    this.recent = joined.slice(-this.kept);
    this.now += scores.length * this.period;
    if (detections.length) {
      this.nearly = null;
      return this.sent({ kind: "wake", score: detections.at(-1).score, audio: this.recent });
    }
    const best = Math.max(0, ...scores);
    if (best >= this.near && best < this.threshold && !(best <= this.nearly?.score)) {
      this.nearly = { kind: "near_miss", score: best, audio: this.recent };
      this.peak = this.now;
    }
    if (!this.nearly || this.now - this.peak < SETTLED_S) return null;
    const found = this.nearly;
    this.nearly = null;
    return this.sent(found);
  }

  sent(wake) {
    if (this.now < this.quietUntil) return null;
    this.quietUntil = this.now + APART_S;
    return wake;
  }
}

/** Return samples as a 16-bit WAV file. */
export function wavOf(samples, rate) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (at, letters) => [...letters].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples.length, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  samples.forEach((x, i) => view.setInt16(44 + 2 * i, Math.round(32767 * Math.min(1, Math.max(-1, x))), true));
  return view.buffer;
}

/** Send a result of {@link WakeWatch} to a portal; return why it was refused, or "". Never throws. */
export async function sendWake(wake, rate, address, token) {
  try {
    const form = new FormData();
    form.set("kind", wake.kind);
    form.set("score", wake.score.toFixed(4));
    form.set("device", "browser");
    form.set("audio", new Blob([wavOf(wake.audio, rate)], { type: "audio/wav" }), "wake.wav");
    const answer = await fetch(address, { method: "POST", body: form, headers: { Authorization: `Bearer ${token}` } });
    return answer.ok ? "" : (await answer.json().catch(() => ({}))).what ?? `The portal answered ${answer.status}.`;
  } catch (error) {
    return `The portal cannot be reached: ${error.message}.`;
  }
}

// The page.

function page() {
  const part = (id) => document.getElementById(id);
  const say = (state, text) => {
    document.body.dataset.state = state;
    part("status").textContent = text;
  };
  const explain = (what, whatToDo) => {
    part("problem").textContent = `${what} ${whatToDo}`;
    part("problem").hidden = false;
  };
  let detector = null;
  let watch = null; // of what is sent
  let microphone = null; // while it listens: { context, stream }

  async function read(name) {
    const answer = await fetch(name, { cache: "no-cache" });
    if (!answer.ok) throw new Error(`${name} is missing from the folder that this page lies in`);
    return new Uint8Array(await answer.arrayBuffer());
  }

  async function load() {
    say("loading", "Loading the detector …");
    part("problem").hidden = true;
    part("listen").disabled = part("file").disabled = true;
    let ort;
    try {
      ort = await import(new URL(ORT, import.meta.url).href);
    } catch (error) {
      const how = "./hark bundle-web BUNDLE fetches it and makes a folder with everything in it.";
      explain(`onnxruntime-web is missing: there is no ${ORT} next to this page, or it cannot be loaded (${error.message}).`, how);
      return say("failed", "Not loaded.");
    }
    ort.env.wasm.numThreads = 1; // more need headers that a plain server does not send
    try {
      detector = await Detector.load(read, ort, part("model").value);
    } catch (error) {
      explain(`The detector cannot be loaded: ${error.message}.`, "Unpack the bundle again.");
      return say("failed", "Not loaded.");
    }
    document.title = part("phrase").textContent = detector.manifest.phrase;
    if (!part("rate").value) part("rate").value = detector.manifest.default_fa_per_day;
    setThreshold();
    part("listen").disabled = part("file").disabled = false;
    say("ready", "Ready.");
  }

  function setThreshold() {
    if (!detector) return;
    let refused = "";
    try {
      detector.threshold = thresholdFor(detector.manifest, Number(part("rate").value));
    } catch (error) {
      refused = ` (unchanged: ${error.message})`;
    }
    part("threshold").textContent = `threshold ${detector.threshold.toFixed(3)}${refused}`;
    part("mark").style.left = `${100 * detector.threshold}%`;
  }

  function showScore(score) {
    part("bar").style.width = `${100 * score}%`;
    part("score").setAttribute("aria-valuenow", score.toFixed(2));
  }

  function showDetection(where, hit) {
    const item = document.createElement("li");
    Object.assign(item.dataset, { where, time: hit.time_s, score: hit.score });
    const minutes = Math.floor(hit.time_s / 60);
    const seconds = (hit.time_s % 60).toFixed(2).padStart(5, "0");
    const clock = where === "microphone" ? new Date().toLocaleTimeString() : where;
    item.textContent = `${clock} · ${minutes}:${seconds} · score ${hit.score.toFixed(3)}`;
    part("detections").prepend(item);
  }

  async function listen() {
    if (!navigator.mediaDevices) {
      return explain("This page cannot use the microphone.", "Open it at http://localhost or over https.");
    }
    part("problem").hidden = true;
    part("listen").disabled = true;
    let context, stream;
    try {
      const plain = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
      stream = await navigator.mediaDevices.getUserMedia({ audio: plain });
      context = new AudioContext(); // of the device's rate: Firefox connects no microphone to any other
      await context.audioWorklet.addModule(import.meta.url);
      const options = { channelCount: 1, channelCountMode: "explicit", processorOptions: { size: detector.chunk, rate: detector.sampleRate } };
      const blocks = new AudioWorkletNode(context, "hark-blocks", options);
      blocks.port.onmessage = inOrder(({ data }) => hearLive(data));
      context.createMediaStreamSource(stream).connect(blocks).connect(context.destination); // which gets silence
      await context.resume();
    } catch (error) {
      stream?.getTracks().forEach((track) => track.stop());
      context?.close();
      part("listen").disabled = false;
      return explain(`The microphone cannot be used: ${error.message}.`, "Plug one in, allow it for this page, or try another browser.");
    }
    detector.reset();
    watch = null;
    microphone = { context, stream };
    part("listen").disabled = false;
    part("listen").textContent = "Stop";
    say("listening", `Listening for “${detector.manifest.phrase}”.`);
  }

  function stop() {
    if (!microphone) return;
    microphone.stream.getTracks().forEach((track) => track.stop());
    microphone.context.close();
    microphone = null;
    part("listen").textContent = "Start listening";
    showScore(0);
    say("ready", "Stopped.");
  }

  async function hearLive(samples) {
    if (!microphone) return;
    const { scores, detections } = await detector.process(samples);
    if (scores.length) showScore(scores.at(-1));
    for (const hit of detections) showDetection("microphone", hit);
    if (!part("send").checked) return void (watch = null);
    if (watch?.threshold !== detector.threshold) watch = new WakeWatch(detector.threshold, detector.manifest);
    const wake = watch.process(samples, scores, detections);
    if (!wake) return;
    const refused = sendWake(wake, detector.sampleRate, part("address").value, part("token").value);
    refused.then((why) => (part("sent").textContent = why ? `Not sent. ${why}` : `Sent: ${wake.kind}`)); // meanwhile it listens
  }

  async function hearFile(file) {
    stop();
    part("problem").hidden = true;
    part("listen").disabled = part("file").disabled = true;
    say("busy", `Processing ${file.name} …`);
    try {
      // Decoding gives the rate of the context.
      const context = new OfflineAudioContext(1, 1, detector.sampleRate);
      const audio = await context.decodeAudioData(await file.arrayBuffer());
      const channels = Array.from({ length: audio.numberOfChannels }, (_, n) => audio.getChannelData(n));
      const mono = channels[0].map((_, i) => channels.reduce((sum, one) => sum + one[i], 0) / channels.length);
      detector.reset();
      let count = 0;
      const show = ({ detections }) => {
        count += detections.length;
        for (const hit of detections) showDetection(file.name, hit);
      };
      const step = 10 * detector.sampleRate;
      for (let start = 0; start < mono.length; start += step) {
        show(await detector.process(mono.subarray(start, start + step)));
        say("busy", `Processing ${file.name}: ${Math.round((100 * start) / mono.length)} %`);
        await new Promise((resume) => setTimeout(resume)); // so that the page is drawn
      }
      show(await detector.finish());
      say("ready", `${file.name}: detected ${count} ${count === 1 ? "time" : "times"}.`);
    } catch (error) {
      explain(`${file.name} cannot be played: ${error.message}.`, "Choose a recording that this browser can play.");
      say("ready", "Ready.");
    }
    part("listen").disabled = part("file").disabled = false;
  }

  part("listen").addEventListener("click", () => (microphone ? stop() : listen()));
  part("rate").addEventListener("input", setThreshold);
  part("model").addEventListener("change", () => {
    stop();
    load();
  });
  part("file").addEventListener("change", (event) => {
    if (event.target.files.length) hearFile(event.target.files[0]);
    event.target.value = "";
  });
  for (const kind of ["dragover", "drop"]) document.addEventListener(kind, (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    const [file] = event.dataTransfer.files;
    if (file && detector && !part("file").disabled) hearFile(file);
  });
  load();
}

/** Serialize calls of an asynchronous handler. */
function inOrder(handle) {
  let last = Promise.resolve();
  return (thing) => {
    last = last.then(() => handle(thing)).catch((error) => console.error(error));
  };
}

// This file is also the worklet: it sends the microphone's audio at the model's rate, in blocks of its size.

if (typeof registerProcessor === "function") {
  registerProcessor(
    "hark-blocks",
    class extends AudioWorkletProcessor {
      constructor({ processorOptions }) {
        super();
        this.block = new Float32Array(processorOptions.size);
        this.filled = 0;
        this.resampler = new Resampler(sampleRate, processorOptions.rate);
      }

      process([[samples]]) {
        for (const sample of this.resampler.process(samples ?? [])) {
          this.block[this.filled++] = sample;
          if (this.filled === this.block.length) {
            this.port.postMessage(this.block);
            this.filled = 0;
          }
        }
        return true;
      }
    },
  );
} else if (globalThis.document?.getElementById("detections")) {
  page(); // in another site's page, this file is only a module
}
