// Everything works without this; it only makes things nicer.
"use strict";

const localTimes = (root) => {
  const lang = document.documentElement.lang;
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    time.title = time.dateTime;
    time.textContent = at.toLocaleString(lang === "ru" ? "ru-RU" : "en-GB",
      { dateStyle: "medium", timeStyle: "medium" });
  }
};

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.confirm && !window.confirm(button.dataset.confirm)) event.preventDefault();
  if (button.dataset.copy) {
    navigator.clipboard?.writeText(document.getElementById(button.dataset.copy).textContent)
      .then(() => { button.textContent = "✓"; });
  }
});

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    document.querySelector(".find input")?.focus();
  }
});

// A page that shows what changes reads itself again, but never under the hands of its reader.
const main = document.getElementById("main");
const refresh = async () => {
  const busy = document.hidden || main.contains(document.activeElement)
    || main.querySelector("details[open]") || String(window.getSelection()) !== "";
  if (busy) return;
  try {
    const answer = await fetch(location.href);
    if (!answer.ok || answer.redirected) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById("main");
    if (!fresh) return;
    localTimes(fresh);
    main.replaceChildren(...fresh.childNodes);
  } catch { /* The next turn tries again. */ }
};
if (main?.dataset.live) window.setInterval(refresh, Number(main.dataset.live) * 1000);

// On a narrow screen the menu is a strip.
document.querySelector(".side [aria-current]")?.scrollIntoView({ inline: "center", block: "nearest" });

// Long uploads say how far they are.
for (const form of document.querySelectorAll("form[data-progress]")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const bar = document.createElement("progress");
    bar.max = 1;
    form.append(bar);
    form.querySelector("button").disabled = true;
    const request = new XMLHttpRequest();
    request.upload.onprogress = (step) => {
      if (step.lengthComputable && step.loaded < step.total) bar.value = step.loaded / step.total;
      else bar.removeAttribute("value");
    };
    request.onload = () => {
      const page = new DOMParser().parseFromString(request.responseText, "text/html");
      const fresh = page.getElementById("main");
      if (!fresh) { location.assign(request.responseURL || location.href); return; }
      localTimes(fresh);
      main.replaceChildren(...fresh.childNodes);
      main.scrollIntoView();
    };
    request.onerror = () => { location.reload(); };
    request.open("POST", form.action);
    request.send(new FormData(form));
  });
}

localTimes(document);
