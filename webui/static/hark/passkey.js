// <form data-passkey="create|get" data-options="JSON">: makes or uses a passkey before the form is sent.
"use strict";

for (const form of document.querySelectorAll("form[data-passkey]")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button"), making = form.dataset.passkey === "create";
    const credential = form.querySelector("input[name$=credential]");
    button.disabled = true;
    form.querySelector("[data-said]").textContent = "";
    try {
      const { publicKey } = JSON.parse(form.dataset.options);
      const found = making
        ? await navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(publicKey) })
        : await navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(publicKey) });
      credential.value = JSON.stringify(found.toJSON());
      form.submit();
    } catch (error) {
      form.querySelector("[data-said]").textContent = `${form.dataset.refused} ${error.message}`;
      button.disabled = false;
    }
  });
}
