// Keys, and the time the page was visible. Without this the page still takes votes; it just measures no time.
"use strict";
(() => {
  const form = document.getElementById("vote");
  const undo = document.getElementById("undo");
  const keys = document.getElementById("keys");
  const opened = performance.now();
  const TOO_SOON_MS = 300; // a key held or struck twice must not vote on what was not read

  let visible = 0;
  let since = document.visibilityState === "visible" ? opened : null;
  document.addEventListener("visibilitychange", () => {
    if (since !== null) visible += performance.now() - since;
    since = document.visibilityState === "visible" ? performance.now() : null;
  });

  let isSent = false;
  const once = (event) => {
    if (event.submitter && event.submitter.formMethod === "dialog") return; // Enter: no vote
    if (isSent) event.preventDefault();
    isSent = true;
    const running = since === null ? 0 : performance.now() - since;
    if (form) document.getElementById("seconds").value = ((visible + running) / 1000).toFixed(2);
  };
  for (const one of [form, undo]) if (one) one.addEventListener("submit", once);
  window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

  if (keys) {
    document.getElementById("keys-line").hidden = false;
    try { keys.checked = localStorage.getItem("keys") !== "off"; } catch { /* no storage: the keys stay on */ }
    keys.addEventListener("change", () => {
      try { localStorage.setItem("keys", keys.checked ? "on" : "off"); } catch { /* it holds for this page */ }
    });
  }
  const CHOICES = { 1: "first", 2: "second", t: "tie", b: "both_bad", s: "skipped" };
  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.tagName === "TEXTAREA";
    if (isTyping && event.key === "Escape") event.target.blur();
    if (isTyping || event.repeat || event.ctrlKey || event.altKey || event.metaKey || (keys && !keys.checked)) return;
    if (performance.now() - opened < TOO_SOON_MS) return;
    const choice = CHOICES[event.key];
    if (choice && form) {
      form.requestSubmit(form.querySelector(`button[value="${choice}"]`));
    } else if (event.key === "u" && undo) {
      undo.requestSubmit();
    } else if (event.key === "r" && form) {
      document.getElementById("comment").focus();
    } else {
      return;
    }
    event.preventDefault();
  });
})();
