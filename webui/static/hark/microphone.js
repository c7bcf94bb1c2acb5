// The microphone at 16 kHz, whatever the device's rate: `hear` gets 16-bit samples, 80 ms at a time. The returned object
// has `close()`, and `beep({ hertz, seconds, gain })`.
"use strict";

const RATE = 16000, WAV_HEADER = 44; // samples a second, bytes

// A WAV file of 16-bit samples in buffers or blobs.
function asWav(parts, name) {
  const size = parts.reduce((sum, part) => sum + (part.byteLength ?? part.size), 0);
  const header = new DataView(new ArrayBuffer(WAV_HEADER));
  const text = (at, letters) => [...letters].forEach((letter, index) => header.setUint8(at + index, letter.charCodeAt(0)));
  text(0, "RIFF"); header.setUint32(4, WAV_HEADER - 8 + size, true); text(8, "WAVEfmt ");
  header.setUint32(16, 16, true); header.setUint16(20, 1, true); header.setUint16(22, 1, true);
  header.setUint32(24, RATE, true); header.setUint32(28, 2 * RATE, true); header.setUint16(32, 2, true); header.setUint16(34, 16, true);
  text(36, "data"); header.setUint32(40, size, true);
  return new File([header, ...parts], name, { type: "audio/wav" });
}

async function openMicrophone(worklet, hear) {
  const constraints = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: true };
  const stream = await navigator.mediaDevices.getUserMedia({ audio: constraints });
  const audio = new AudioContext();
  const close = () => {
    for (const track of stream.getTracks()) track.stop();
    audio.close();
  };
  try {
    await audio.audioWorklet.addModule(worklet);
    const node = new AudioWorkletNode(audio, "microphone", { numberOfOutputs: 0 });
    audio.createMediaStreamSource(stream).connect(node);
    node.port.addEventListener("message", (message) => hear(message.data));
    node.port.start();
  } catch (error) {
    close();
    throw error;
  }
  const beep = ({ hertz, seconds, gain }) => {
    const tone = new OscillatorNode(audio, { frequency: hertz }), quiet = new GainNode(audio, { gain });
    tone.connect(quiet).connect(audio.destination);
    tone.start();
    tone.stop(audio.currentTime + seconds);
  };
  return { close, beep };
}
