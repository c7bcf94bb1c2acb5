// On every page: one sound at a time, no double submits, and helpers of the other scripts.
"use strict";

document.addEventListener("play", (event) => {
  for (const other of document.querySelectorAll("audio")) if (other !== event.target) other.pause();
}, true);

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post" || event.defaultPrevented) return;
  setTimeout(() => { for (const part of form.elements) if (part.localName === "button") part.disabled = true; });
});

// The Back button restores the page from the cache; its buttons must work again.
addEventListener("pageshow", () => { for (const button of document.querySelectorAll("form button, button[form]")) button.disabled = false; });

// <button data-play="ADDRESS">: a sound that is fetched on demand.
let player = null;
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-play]");
  if (!button) return;
  if (player) player.pause();
  player = new Audio(button.dataset.play);
  player.addEventListener("error", () => { button.title = button.dataset.failed || ""; button.textContent = "✕"; });
  player.play();
});

// Menus close when a link in them is followed, on a click elsewhere, and on Escape; a passage's form on Escape.
function closeMenus(event) {
  for (const menu of document.querySelectorAll(event.type === "click" ? "details.menu[open]" : "details.menu[open], .passage details[open]")) {
    if (event.type === "click" && menu.contains(event.target) && !event.target.closest("a")) continue;
    if (event.type === "keydown" && menu.contains(document.activeElement)) menu.querySelector("summary").focus();
    menu.open = false;
  }
}
document.addEventListener("click", closeMenus);
document.addEventListener("keydown", (event) => { if (event.key === "Escape") closeMenus(event); });

// Makes an SVG element.
function element(name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// Sends a form of these fields; returns the answer's JSON, or throws its message.
async function post(address, fields) {
  const form = new FormData();
  form.set("csrfmiddlewaretoken", document.querySelector("[name=csrfmiddlewaretoken]").value);
  for (const [name, value] of Object.entries(fields)) form.set(name, value);
  const answer = await fetch(address, { method: "POST", body: form, headers: { Accept: "application/json" } });
  const content = await answer.json().catch(() => ({ what: `${answer.status} ${answer.statusText}`, why: "", what_to_do: "" }));
  if (!answer.ok) throw new Error(`${content.what} ${content.why} ${content.what_to_do}`);
  return content;
}

// Converts times, which the server writes in UTC, to the reader's time zone, always on a 24-hour clock.
const padded = (...parts) => parts.map((part) => String(part).padStart(2, "0"));
const dayOf = (time) => padded(time.getFullYear(), time.getMonth() + 1, time.getDate()).join("-");
const clockOf = (time) => padded(time.getHours(), time.getMinutes()).join(":");
// A length of time [s] as h:mm:ss.
const timeOf = (seconds) => [Math.floor(seconds / 3600), ...padded(Math.floor(seconds / 60 % 60), Math.floor(seconds % 60))].join(":");
function inOwnZone(part) {
  for (const place of part.querySelectorAll("time[data-moment]")) {
    const time = new Date(place.dateTime);
    place.textContent = place.dataset.moment === "day" ? dayOf(time) : `${dayOf(time)} ${clockOf(time)}`;
  }
}
inOwnZone(document);
document.addEventListener("htmx:load", (event) => inOwnZone(event.target));
