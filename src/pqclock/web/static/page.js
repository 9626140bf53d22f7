// Keeps pages live: one stream of events while the tab is looked at, times that stay true, the choice of light or dark.
// Without it everything works by links and forms.
(() => {
  "use strict";
  const root = document.documentElement;
  const kept = localStorage.getItem("pqclock-theme");
  if (kept === "light" || kept === "dark") root.dataset.theme = kept;

  const UNITS = [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]];
  const span = (seconds) => {
    const whole = Math.floor(Math.abs(seconds));
    const first = UNITS.findIndex(([, size]) => whole >= size);
    if (first < 0) return null;
    const [unit, size] = UNITS[first];
    const next = UNITS[first + 1];
    const rest = next ? Math.floor((whole % size) / next[1]) : 0;
    return `${Math.floor(whole / size)}${unit}${rest ? rest + next[0] : ""}`;
  };
  // The times are the database's: its clock and the one here may differ.
  const offset = () => Date.parse(document.body.dataset.now || "") - Number(document.body.dataset.shownAt);
  const tell = () => {
    const now = Date.now() + offset();
    if (Number.isNaN(now)) return;
    for (const place of document.querySelectorAll("time [data-relative]")) {
      const seconds = (Date.parse(place.closest("time").dateTime) - now) / 1000;
      const text = span(seconds);
      const words = text === null ? "now" : seconds > 0 ? `in ${text}` : `${text} ago`;
      if (place.textContent !== words) place.textContent = words;
    }
  };
  const shown = () => { document.body.dataset.shownAt = String(Date.now()); tell(); };

  let stream = null;
  let pending = false;
  const state = (text) => {
    const place = document.getElementById("live-state");
    if (place) { place.textContent = text; place.dataset.state = text; }
  };
  // What could not be had is asked for again: nobody is to take old data for the present.
  let again = null;
  const failed = () => {
    state("waiting");
    clearTimeout(again);
    again = setTimeout(refresh, 3000);
  };
  const refresh = () => {
    if (document.hidden) { pending = true; return; }
    htmx.trigger("#live", "pqclock:changed");
  };
  const open = () => {
    if (stream || document.hidden || !document.getElementById("live")?.hasAttribute("hx-get")) return;
    stream = new EventSource("events");
    stream.addEventListener("changed", refresh);
    stream.onopen = () => state("live");
    stream.onerror = () => {
      if (stream?.readyState !== EventSource.CLOSED) return;
      stream = null;
      failed();
      setTimeout(open, 5000);
    };
    if (pending) { pending = false; refresh(); }
  };
  const close = () => {
    if (stream) { stream.close(); stream = null; pending = true; state("paused"); }
  };

  document.addEventListener("DOMContentLoaded", () => {
    // What somebody has opened stays open.
    Idiomorph.defaults.callbacks.beforeAttributeUpdated = (name, node) => name !== "open" || node.tagName !== "DETAILS";
    shown();
    setInterval(tell, 1000);
    document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
    addEventListener("pagehide", close);
    addEventListener("pageshow", open);
    for (const name of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) {
      document.body.addEventListener(name, failed);
    }
    document.body.addEventListener("htmx:afterSwap", () => {
      clearTimeout(again);
      if (stream) state("live");
      const place = document.getElementById("live");
      if (place && place.dataset.now) document.body.dataset.now = place.dataset.now;
      shown();
    });
    document.getElementById("theme")?.addEventListener("click", () => {
      const dark = root.dataset.theme
        ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
      root.dataset.theme = dark ? "light" : "dark";
      localStorage.setItem("pqclock-theme", root.dataset.theme);
    });
    // The keys of the menu: g, then the first letter.
    let waiting = false;
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || /^(input|select|textarea)$/i.test(event.target.tagName)) return;
      if (waiting) {
        waiting = false;
        document.querySelector(`nav a[data-key="${CSS.escape(event.key)}"]`)?.click();
      } else if (event.key === "g") {
        waiting = true;
        setTimeout(() => { waiting = false; }, 1500);
      } else if (event.key === "/") {
        const field = document.querySelector("form.filters input");
        if (field) { event.preventDefault(); field.focus(); }
      }
    });
    open();
  });
})();
