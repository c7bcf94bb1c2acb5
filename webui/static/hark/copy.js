// Buttons that copy: <button data-copy="id of an input" data-copied="the button's label afterwards">.
"use strict";

async function copy(text, source) {
  if (navigator.clipboard && window.isSecureContext) {
    await navigator.clipboard.writeText(text);
    return true;
  }
  // Plain HTTP from another machine: no clipboard, only the selection.
  source.focus();
  source.select();
  return document.execCommand("copy");
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-copy]");
  const source = button && document.getElementById(button.dataset.copy);
  if (!source) return;
  try {
    if (await copy(source.value ?? source.textContent, source)) button.textContent = button.dataset.copied;
  } catch {
    source.focus();
    source.select();  // so that Ctrl-C copies it
  }
});

for (const field of document.querySelectorAll("input[data-select]")) {
  field.addEventListener("focus", () => field.select());
}
