// Keys and the countdown of the inbox. Everything works without this file, by mouse and by Tab.
"use strict";
(() => {
  const main = document.getElementById("main");
  const KEPT = "agentmemo-keys";
  const on = () => localStorage.getItem(KEPT) !== "off";

  // The list of keys, with the switch that turns them off (WCAG 2.1.4).
  const help = document.createElement("details");
  help.id = "keys";
  help.className = "gap";
  help.innerHTML = `<summary>Keys</summary>
    <label class="line"><input type="checkbox" id="keys-on"> Single keys work, while no text field has the focus</label>
    <dl class="kv">
      <dt><kbd>j</kbd> <kbd>k</kbd></dt><dd>next and previous question; <kbd>Enter</kbd> opens it</dd>
      <dt><kbd>1</kbd> to <kbd>5</kbd></dt><dd>choose a suggested action; <kbd>Enter</kbd> sends it</dd>
      <dt><kbd>a</kbd> <kbd>e</kbd></dt><dd>choose to approve, or to approve with changes; <kbd>Enter</kbd> sends it</dd>
      <dt><kbd>r</kbd></dt><dd>reject: write the reason, then <kbd>Ctrl</kbd> <kbd>Enter</kbd></dd>
      <dt><kbd>c</kbd> <kbd>h</kbd> <kbd>d</kbd> <kbd>m</kbd></dt><dd>take it, snooze, delegate, comment</dd>
      <dt><kbd>u</kbd></dt><dd>back to the inbox</dd>
      <dt><kbd>?</kbd></dt><dd>this list</dd>
    </dl>
    <p class="dim">A key only chooses; what is sent needs a second, different one.</p>`;
  main.append(help);
  const box = document.getElementById("keys-on");
  const show = () => {
    box.checked = on();
    document.documentElement.classList.toggle("keys", on());
  };
  box.addEventListener("change", () => {
    localStorage.setItem(KEPT, box.checked ? "on" : "off");
    show();
  });
  show();

  const typing = (element) =>
    element && element.matches("input:not([type=radio], [type=checkbox]), textarea, select, [contenteditable]");
  const focus = (id, inside) => {
    const found = document.getElementById(id);
    if (!found) return false;
    if (found.tagName === "DETAILS") found.open = true;
    (inside ? found.querySelector(inside) : found).focus();
    return true;
  };
  const comment = () => document.getElementById("comment");
  // Who refuses says why; the server insists on it as well.
  const needReason = () => {
    const chosen = document.querySelector("#decide [name=act]:checked");
    if (comment()) comment().required = Boolean(chosen && chosen.hasAttribute("data-reason"));
  };
  document.addEventListener("change", needReason);
  const choose = (key) => {
    const radio = document.querySelector(`#decide [data-key="${key}"]`);
    if (!radio) return false;
    radio.checked = true;
    radio.focus();
    needReason();
    if (key === "r") focus("comment");
    if (key === "e") focus("do-edit", "textarea");
    return true;
  };
  const move = (step) => {
    const links = [...document.querySelectorAll(".rows .q")];
    if (!links.length) return false;
    const at = links.findIndex((link) => link.closest("li").contains(document.activeElement));
    links[at < 0 ? (step > 0 ? 0 : links.length - 1) : Math.max(0, Math.min(links.length - 1, at + step))].focus();
    return true;
  };
  const acts = {
    j: () => move(1),
    k: () => move(-1),
    c: () => focus("do-claim"),
    h: () => focus("do-snooze", "select"),
    d: () => focus("do-delegate", "select, textarea"),
    m: () => focus("do-comment", "textarea"),
    u: () => document.getElementById("up") && (document.getElementById("up").click(), true),
    "?": () => focus("keys", "input"),
  };

  document.addEventListener("keydown", (event) => {
    const form = document.getElementById("decide");
    const inForm = form && form.contains(document.activeElement);
    if (event.key === "Enter" && inForm && (event.ctrlKey || event.metaKey || event.shiftKey || document.activeElement.type === "radio")) {
      // Held down, it is the key that chose, and no second one.
      event.preventDefault();
      if (!event.repeat) form.requestSubmit();
      return;
    }
    if (!on() || event.ctrlKey || event.metaKey || event.altKey || event.repeat || typing(document.activeElement)) return;
    const act = acts[event.key] || (/^[1-5aer]$/.test(event.key) && (() => choose(event.key)));
    if (act && act()) event.preventDefault();
  });

  // The countdown goes on while the page stands; the server's next word counts more.
  const started = new WeakMap();
  const words = (seconds) => {
    const units = [["d", 86400, "h", 3600], ["h", 3600, "min", 60], ["min", 60, "s", 1]];
    for (const [unit, size, lower, below] of units) {
      if (seconds >= size) {
        const rest = Math.floor((seconds % size) / below);
        return `${Math.floor(seconds / size)} ${unit}${rest ? ` ${rest} ${lower}` : ""}`;
      }
    }
    return `${Math.max(0, Math.floor(seconds))} s`;
  };
  // It is spoken as each of these parts of the time begins, and not while it runs.
  const PARTS = [["Half of the time is over", 0.5], ["80 % of the time is over", 0.2], ["The time is over", 0]];
  const spoken = document.createElement("p");
  spoken.className = "vh";
  spoken.setAttribute("role", "status");
  let told = null;
  const speak = (left, whole) => {
    const begun = PARTS.filter(([, part]) => left <= part * whole).length;
    if (told !== null && begun > told) {
      spoken.textContent = `${PARTS[begun - 1][0]}${left > 0 ? `, ${words(left)} left` : ""}.`;
    }
    told = begun;
  };
  const tick = () => {
    const clock = document.querySelector("[data-left]");
    if (!clock) return;
    if (!started.has(clock)) started.set(clock, performance.now());
    const left = clock.dataset.left - (performance.now() - started.get(clock)) / 1000;
    clock.textContent = words(left);
    speak(left, clock.dataset.whole);
  };
  const first = document.querySelector("[data-left]");
  if (first) {
    main.after(spoken);
    speak(first.dataset.left, first.dataset.whole);
  }
  setInterval(tick, 5000);
})();
