// <div data-tabs> with sections, each with a heading: one is shown at a time, chosen by a tab. Without scripts all are.
"use strict";

for (const place of document.querySelectorAll("[data-tabs]")) {
  const sections = [...place.children];
  const list = document.createElement("div");
  list.className = "tabs";
  list.setAttribute("role", "tablist");
  const tabs = sections.map((section) => {
    const heading = section.querySelector("h2");
    const tab = document.createElement("button");
    tab.type = "button";
    tab.id = `tab-${section.id}`;
    tab.textContent = heading.textContent;
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-controls", section.id);
    heading.hidden = true;
    section.setAttribute("role", "tabpanel");
    section.setAttribute("aria-labelledby", tab.id);
    return tab;
  });
  const choose = (wanted) => sections.forEach((section, index) => {
    section.hidden = index !== wanted;
    tabs[index].setAttribute("aria-selected", String(index === wanted));
    tabs[index].tabIndex = index === wanted ? 0 : -1;
  });
  list.append(...tabs);
  list.addEventListener("click", (event) => { if (tabs.includes(event.target)) choose(tabs.indexOf(event.target)); });
  list.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = (tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length;
    choose(next);
    tabs[next].focus();
  });
  place.prepend(list);
  // An address or a link may lead into a section that is hidden.
  const follow = () => {
    const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    const found = target ? sections.findIndex((section) => section.contains(target)) : -1;
    if (found < 0) return;
    choose(found);
    list.scrollIntoView();
  };
  choose(0);
  follow();
  addEventListener("hashchange", follow);
  document.addEventListener("click", (event) => { // the same link a second time changes no address
    const link = event.target.closest("a[href^='#']");
    if (link && link.hash === location.hash) follow();
  });
}
