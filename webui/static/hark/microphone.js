// The microphone, at 16 kHz whatever the device has: `hear` gets 16-bit samples, 80 ms at a time.
"use strict";

async function openMicrophone(worklet, hear) {
  const wish = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: true };
  const stream = await navigator.mediaDevices.getUserMedia({ audio: wish });
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
  return { close };
}
