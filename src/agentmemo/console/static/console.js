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

  // Where the reader is: the part under the pointer or with the focus. It and what stands before it keep still.
  const part = (element) => element && element.closest && element.closest("main [data-part]");
  let pointed = null;
  const last = (parts) => {
    const focused = part(document.activeElement);
    return Math.max(parts.indexOf(pointed), parts.indexOf(focused), ...parts.map((p, n) => (edited(p) ? n : -1)));
  };
  const edited = (p) => [...p.querySelectorAll("input, textarea, select")].some((field) =>
    field.type === "radio" ? field.checked !== field.defaultChecked
      : field.tagName === "SELECT" ? [...field.options].some((o) => o.selected !== o.defaultSelected)
        : field.type !== "hidden" && field.value !== field.defaultValue);

  const show = () => {
    if (!fresh) return;
    const parts = [...document.querySelectorAll("main [data-part]")];
    const still = last(parts);
    let left = false;
    parts.forEach((old, place) => {
      const next = fresh.getElementById(old.id);
      if (!next) return;
      const copy = document.importNode(next, true);
      for (const open of old.querySelectorAll("details[open][id]")) {
        const same = [...copy.querySelectorAll("details[id]")].find((d) => d.id === open.id);
        if (same) same.open = true;
      }
      if (old.isEqualNode(copy)) return;
      if (place <= still) left = true;
      else old.replaceWith(copy);
    });
    const sprite = document.getElementById("sprite"), symbols = fresh.getElementById("sprite");
    for (const symbol of symbols ? symbols.children : []) {
      if (!document.getElementById(symbol.id)) sprite.append(document.importNode(symbol, true));
    }
    status.textContent = held ? `${held} new${left ? ", shown when you move on" : ""}` : "";
    if (!left) {
      fresh = null;
      held = 0;
    }
  };

  const load = async () => {
    if (asking) { again = true; return; }
    asking = true;
    try {
      const answer = await fetch(location.href, { headers: { "Agentmemo-Live": "1" }, credentials: "same-origin" });
      if (answer.redirected) { stream.close(); status.textContent = "You are signed out"; return; }
      if (!answer.ok) return;
      fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      show();
      if (!fresh && !document.querySelector("main [data-moving]")) stream.close();
    } finally {
      asking = false;
      if (again) { again = false; load(); }
    }
  };

  stream.addEventListener("change", (event) => { held += JSON.parse(event.data).new; load(); });
  stream.addEventListener("end", () => stream.close());
  document.addEventListener("pointerover", (event) => { pointed = part(event.target); if (fresh) show(); });
  document.addEventListener("pointerout", (event) => { if (!event.relatedTarget) { pointed = null; show(); } });
  document.addEventListener("focusin", () => { if (fresh) show(); });
  document.addEventListener("focusout", () => setTimeout(() => { if (fresh) show(); }));
})();
