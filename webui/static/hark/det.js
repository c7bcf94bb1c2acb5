// The DET plot, and the dial that chooses a threshold by its false alarms a day.
"use strict";

const section = document.getElementById("det");
const chart = section.querySelector("svg.det");
const data = JSON.parse(document.getElementById("det-data").textContent);
const MARGIN = { left: 58, right: 14, top: 12, bottom: 44 };
const NONE = 44; // width of the band left of the logarithmic axis, for no false alarms at all
let chosen = null;
for (const drawn of section.querySelectorAll("svg.det, .legend")) drawn.removeAttribute("hidden");

function scales(width, height) {
  const left = MARGIN.left + NONE, right = width - MARGIN.right;
  const low = Math.log10(data.lowest / 1.5);
  const high = Math.log10(data.most);
  const x = (alarms) => alarms > 0 ? left + (right - left) * Math.min(1, Math.max(0, (Math.log10(alarms) - low) / (high - low))) : MARGIN.left + NONE / 2;
  const y = (missed) => MARGIN.top + (height - MARGIN.top - MARGIN.bottom) * (1 - Math.min(missed, data.top) / data.top);
  return { x, y, low, high, left, right, bottom: height - MARGIN.bottom };
}

function draw() {
  const width = Math.max(280, chart.parentElement.clientWidth - 36), height = Math.round(Math.min(380, Math.max(260, width * 0.5)));
  chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const at = scales(width, height);
  const parts = [element("rect", { class: "none", x: MARGIN.left, y: MARGIN.top, width: NONE, height: at.bottom - MARGIN.top })];
  const step = data.top > 0.5 ? 0.2 : data.top > 0.2 ? 0.1 : 0.02;
  for (let missed = 0; missed <= data.top + 1e-9; missed += step) {
    parts.push(element("path", { class: "tick", d: `M${MARGIN.left} ${at.y(missed)}H${at.right}` }));
    parts.push(element("text", { x: MARGIN.left - 6, y: at.y(missed) + 4, "text-anchor": "end" }, `${Math.round(100 * missed)} %`));
  }
  const decades = at.high - at.low;
  for (let power = Math.floor(at.low); power <= at.high; power += 1) {
    for (const digit of decades < 1.2 ? [1, 2, 5] : [1, 3]) {
      const alarms = digit * 10 ** power, x = at.x(alarms);
      if (Math.log10(alarms) < at.low || Math.log10(alarms) > at.high) continue;
      parts.push(element("path", { class: "tick", d: `M${x} ${MARGIN.top}V${at.bottom}` }));
      parts.push(element("text", { x, y: at.bottom + 16, "text-anchor": "middle" }, String(Number(alarms.toPrecision(1)))));
    }
  }
  parts.push(element("text", { x: MARGIN.left + NONE / 2, y: at.bottom + 16, "text-anchor": "middle" }, data.words.none));
  parts.push(element("path", { class: "axis", d: `M${MARGIN.left} ${MARGIN.top}V${at.bottom}H${at.right}` }));
  parts.push(element("text", { x: (MARGIN.left + at.right) / 2, y: height - 6, "text-anchor": "middle" }, data.words.x));
  parts.push(element("text", { x: 11, y: (MARGIN.top + at.bottom) / 2, "text-anchor": "middle", transform: `rotate(-90 11 ${(MARGIN.top + at.bottom) / 2})` }, data.words.y));
  for (const curve of data.curves) parts.push(element("path", { class: `curve ${curve.kind}`, d: line(curve, at) }));
  if (chosen) {
    parts.push(element("path", { class: "chosen", d: `M${at.x(chosen.x)} ${MARGIN.top}V${at.bottom}` }));
    for (const curve of data.curves) {
      const missed = chosen.y[curve.kind];
      if (missed !== null && missed !== undefined) parts.push(element("circle", { class: `dot ${curve.kind}`, cx: at.x(chosen.x), cy: at.y(missed), r: 5 }));
    }
  }
  chart.replaceChildren(...parts);
}

// A step curve. Between two thresholds, it shows the worse value of each: the misses of the higher threshold and the
// false alarms of the lower one.
function line(curve, at) {
  let path = "";
  curve.alarms.forEach((alarms, index) => {
    const missed = curve.missed[index];
    if (missed === null || alarms > data.most || (path && curve.missed[index - 1] >= data.top)) return;
    const x = at.x(alarms).toFixed(1), y = at.y(missed).toFixed(1);
    path += path ? `V${y}` : `M${index ? at.right : x} ${y}`;
    if (missed < data.top) path += `H${x}`;
  });
  return path;
}

function choose(point) {
  chosen = point;
  const said = {
    ...point.words, count: point.count,
    all: point.missed.all.value, "all-interval": point.missed.all.interval,
    clean: point.missed.clean.value, "clean-interval": point.missed.clean.interval,
    noisy: point.missed.noisy.value, "noisy-interval": point.missed.noisy.interval,
    similar: point.similar.value, "similar-interval": point.similar.interval,
  };
  for (const place of section.querySelectorAll("[data-dial]")) {
    const text = said[place.dataset.dial];
    if (text !== undefined && place.textContent !== String(text)) place.textContent = text;
  }
  section.querySelector("[data-dial=how]").classList.toggle("warning", point.extrapolated);
  section.querySelector("[data-dial=link]").href = `${section.dataset.bundle}?fa_per_day=${point.rate}`;
  for (const link of document.querySelectorAll("a[data-at-dial]")) link.search = `?fa_per_day=${point.rate}`;
  document.dispatchEvent(new CustomEvent("dial", { detail: point.rate }));
  draw();
}

const dial = document.getElementById("dial");
if (dial) {
  const select = document.getElementById("fa_per_day");
  section.querySelector("[data-with-script]").hidden = false;
  section.querySelector("[data-without-script]").hidden = true;
  dial.value = select.selectedIndex;
  const turned = () => {
    const point = data.points[Number(dial.value)];
    dial.setAttribute("aria-valuetext", point.words.setting);
    choose(point);
  };
  dial.addEventListener("input", turned);
  dial.addEventListener("change", () => {
    const address = new URL(location.href);
    address.searchParams.set("fa_per_day", data.points[Number(dial.value)].rate);
    history.replaceState(history.state, "", address);
  });
  turned();
} else draw();

let drawnFor = 0;
new ResizeObserver(() => {
  if (chart.parentElement.clientWidth === drawnFor) return;
  drawnFor = chart.parentElement.clientWidth;
  draw();
}).observe(section);
