// Collects the microphone's samples into messages of 80 ms at 16 kHz and 16 bits. Resamples from the device's rate,
// since not every browser lets a page choose the rate of a microphone.
"use strict";

const RATE = 16000;
const MESSAGE = 1280;
const ZEROS = 16; // of the sinc on each side, at the lower of the two rates
const SPACE = 8192; // samples stored for the filter and the next block

class Microphone extends AudioWorkletProcessor {
  constructor() {
    super();
    this.step = sampleRate / RATE; // input samples for each output sample
    this.cut = 0.94 * Math.min(1, 1 / this.step);
    this.reach = Math.ceil(ZEROS / Math.min(1, 1 / this.step));
    this.past = new Float32Array(SPACE);
    this.filled = this.reach; // silence before the first sample
    this.at = this.reach; // position of the next output sample in them
    this.samples = new Int16Array(MESSAGE);
    this.gathered = 0;
  }

  process(inputs) {
    const channel = inputs[0][0];
    if (!channel) return true;
    if (this.step === 1) {
      for (const value of channel) this.give(value);
      return true;
    }
    this.past.set(channel, this.filled);
    this.filled += channel.length;
    while (this.at + this.reach < this.filled) {
      this.give(this.between());
      this.at += this.step;
    }
    const done = Math.floor(this.at) - this.reach;
    if (this.filled > SPACE / 2 && done > 0) {
      this.past.copyWithin(0, done, this.filled);
      this.filled -= done;
      this.at -= done;
    }
    return true;
  }

  // A windowed sinc at a position between samples (Smith, "Digital Audio Resampling").
  between() {
    const middle = Math.floor(this.at);
    let sum = 0;
    for (let index = middle - this.reach + 1; index <= middle + this.reach; index++) {
      const away = index - this.at;
      const x = Math.PI * away * this.cut;
      const sinc = x === 0 ? 1 : Math.sin(x) / x;
      const window = 0.5 + 0.5 * Math.cos(Math.PI * Math.max(-1, Math.min(1, away / this.reach)));
      sum += this.past[index] * sinc * window;
    }
    return sum * this.cut;
  }

  give(value) {
    this.samples[this.gathered++] = Math.max(-32768, Math.min(32767, Math.round(value * 32768)));
    if (this.gathered === MESSAGE) {
      this.port.postMessage(this.samples.slice().buffer);
      this.gathered = 0;
    }
  }
}

registerProcessor("microphone", Microphone);
