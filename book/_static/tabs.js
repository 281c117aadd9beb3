/* Neighbouring sections whose headings carry the class `tab` become tabs. Without this script, and on paper, they stand
   one below the other; a link to anything in a section opens its tab. */
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const groups = [];
  for (const section of document.querySelectorAll("section.tab")) {
    const last = groups.at(-1);
    if (last?.at(-1) === section.previousElementSibling) last.push(section);
    else groups.push([section]);
  }
  for (const sections of groups.filter((group) => group.length > 1)) makeTabs(sections);
});

function makeTabs(sections) {
  const list = document.createElement("div");
  list.className = "tabs";
  list.setAttribute("role", "tablist");
  const buttons = sections.map((section, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.id = `tab-${section.id}`;
    button.setAttribute("role", "tab");
    button.setAttribute("aria-controls", section.id);
    button.textContent = section.querySelector("h2, h3").firstChild.textContent;
    section.setAttribute("role", "tabpanel");
    section.setAttribute("aria-labelledby", button.id);
    button.addEventListener("click", () => {
      history.replaceState(null, "", `#${section.id}`);
      open(i);
    });
    button.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = buttons[(i + step + buttons.length) % buttons.length];
      next.click();
      next.focus();
    });
    return button;
  });
  list.append(...buttons);
  sections[0].before(list);

  function open(chosen) {
    buttons.forEach((button, i) => {
      button.setAttribute("aria-selected", i === chosen);
      button.tabIndex = i === chosen ? 0 : -1;
      sections[i].classList.toggle("closed", i !== chosen);
    });
  }

  function follow() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const i = sections.findIndex((section) => target && section.contains(target));
    open(i < 0 ? 0 : i);
    if (i >= 0) (target === sections[i] ? list : target).scrollIntoView();
  }
  window.addEventListener("hashchange", follow);
  follow();
}
