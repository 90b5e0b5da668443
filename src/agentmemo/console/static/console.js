// A run's page follows its run. The page is whole without this file; it only fetches itself again.
"use strict";
(() => {
  const main = document.querySelector("main[data-live]");
  if (!main || !window.EventSource) return;

  const status = document.createElement("p");
  status.className = "news";
  status.setAttribute("role", "status");
  main.after(status);
  const stream = new EventSource(main.dataset.live);
  let fresh = null; // the newest page, until all of it is shown
  let held = 0;     // what arrived since the reader last saw everything
  let asking = false;
  let again = false;
  let pointer = null;

  // Where the reader is: the row under the pointer and the field with the focus, each with its place.
  const place = () => {
    const under = pointer && document.elementFromPoint(...pointer);
    const row = under && under.closest("main [data-part] [id], main [data-part]");
    const field = document.activeElement && document.activeElement.closest("main [data-part] *");
    const top = (element) => element && Math.round(element.getBoundingClientRect().top);
    return JSON.stringify([row && row.id, top(row), top(field)]);
  };
  const changed = (field) =>
    field.type === "hidden" ? false
      : field.type === "radio" || field.type === "checkbox" ? field.checked !== field.defaultChecked
      : field.tagName === "SELECT" ? field.selectedIndex !== Math.max(0, [...field.options].findIndex((o) => o.defaultSelected))
        : field.value !== field.defaultValue;
  const inUse = (part) =>
    part.contains(document.activeElement) || [...part.querySelectorAll("input, textarea, select")].some(changed);

  // Put the new part in, and back out if that would move what the reader looks at. Nothing is painted in between.
  const swap = (old, copy) => {
    if (inUse(old)) return false;
    const before = place();
    old.replaceWith(copy);
    if (place() === before) return true;
    copy.replaceWith(old);
    return false;
  };

  const show = () => {
    if (!fresh) return;
    const symbols = fresh.getElementById("sprite");
    for (const symbol of symbols ? symbols.children : []) {
      if (!document.getElementById(symbol.id)) {
        document.getElementById("sprite").append(document.importNode(symbol, true));
      }
    }
    let left = false;
    for (const old of document.querySelectorAll("main [data-part]")) {
      const next = fresh.getElementById(old.id);
      if (!next) continue;
      const copy = document.importNode(next, true);
      for (const open of old.querySelectorAll("details[open][id]")) {
        const same = [...copy.querySelectorAll("details[id]")].find((details) => details.id === open.id);
        if (same) same.open = true;
      }
      if (!old.isEqualNode(copy) && !swap(old, copy)) left = true;
    }
    if (held) status.textContent = `${held} new${left ? ", shown when you move on" : ""}`;
    if (!left) {
      fresh = null;
      held = 0;
    }
  };

  const load = async () => {
    if (asking) {
      again = true;
      return;
    }
    asking = true;
    try {
      const answer = await fetch(location.href, { headers: { "Agentmemo-Live": "1" }, credentials: "same-origin" });
      if (answer.redirected) {
        stream.close();
        status.textContent = "You are signed out";
      } else if (answer.ok) {
        fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
        if (!fresh.querySelector("main [data-moving]")) stream.close();
        show();
      }
    } finally {
      asking = false;
      if (again) {
        again = false;
        load();
      }
    }
  };

  stream.addEventListener("change", (event) => {
    held += JSON.parse(event.data).new;
    load();
  });
  stream.addEventListener("end", () => stream.close());
  document.addEventListener("pointermove", (event) => { pointer = [event.clientX, event.clientY]; }, { passive: true });
  document.addEventListener("pointerover", (event) => { pointer = [event.clientX, event.clientY]; show(); });
  document.documentElement.addEventListener("pointerleave", () => { pointer = null; show(); });
  document.addEventListener("focusout", () => setTimeout(show));
})();
