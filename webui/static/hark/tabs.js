// <div data-tabs> with sections: shows one at a time, chosen by a tab, which is named after data-tab or the heading.
// <div data-tabs-beside="(media query)"> with a main section and a column of others: if the query matches, the main
// section is always shown, next to one of the others; elsewhere its tab is the first. Without scripts all are shown.
"use strict";

for (const place of document.querySelectorAll("[data-tabs], [data-tabs-beside]")) {
  const beside = place.dataset.tabsBeside ? window.matchMedia(place.dataset.tabsBeside) : null;
  const column = beside ? place.lastElementChild : place;
  const main = beside ? place.firstElementChild : null;
  const sections = [...(main ? [main] : []), ...column.children];
  const list = document.createElement("div");
  list.className = "tabs";
  list.setAttribute("role", "tablist");
  const tabs = sections.map((section) => {
    const tab = document.createElement("button");
    tab.type = "button";
    tab.id = `tab-${section.id}`;
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-controls", section.id);
    section.setAttribute("role", "tabpanel");
    section.setAttribute("aria-labelledby", tab.id);
    tab.textContent = section.dataset.tab;
    if (!section.dataset.tab) {
      const heading = section.querySelector("h2");
      tab.textContent = heading.textContent;
      heading.hidden = true;
    }
    return tab;
  });
  const always = (section) => section === main && beside.matches;
  let chosen = 0;
  const choose = (wanted) => {
    chosen = always(sections[wanted]) ? Math.min(wanted + 1, sections.length - 1) : wanted;
    sections.forEach((section, index) => {
      section.hidden = index !== chosen && !always(section);
      tabs[index].hidden = always(section);
      tabs[index].setAttribute("aria-selected", String(index === chosen));
      tabs[index].tabIndex = index === chosen ? 0 : -1;
    });
    list.hidden = tabs.filter((tab) => !tab.hidden).length < 2;
  };
  // The choice stays while the page is open, even after a form has reloaded it.
  const kept = `tab of ${location.pathname}`;
  const take = (wanted) => { choose(wanted); sessionStorage.setItem(kept, sections[wanted].id); };
  list.append(...tabs);
  list.addEventListener("click", (event) => { if (tabs.includes(event.target)) take(tabs.indexOf(event.target)); });
  list.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const shown = tabs.filter((tab) => !tab.hidden);
    const next = shown[(shown.indexOf(document.activeElement) + step + shown.length) % shown.length];
    take(tabs.indexOf(next));
    next.focus();
  });
  column.prepend(list);
  // A URL or a link may point into a hidden section.
  const follow = () => {
    const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    const found = target ? sections.findIndex((section) => section.contains(target)) : -1;
    if (found < 0) return;
    if (!always(sections[found])) choose(found);
    (sections[found] === main ? target : list).scrollIntoView();
  };
  choose(Math.max(0, sections.findIndex((section) => section.id && section.id === sessionStorage.getItem(kept))));
  follow();
  if (beside) beside.addEventListener("change", () => choose(chosen));
  addEventListener("hashchange", follow);
  document.addEventListener("click", (event) => { // a repeated link does not change the URL
    const link = event.target.closest("a[href^='#']");
    if (link && link.hash === location.hash) follow();
  });
}
