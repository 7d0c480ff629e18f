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

// Long work says how far it is: the file on its way, then what the server tells line by line, the last
// of which is the page to show.
for (const form of document.querySelectorAll("form[data-progress]")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const bar = document.createElement("progress");
    const said = document.createElement("output");
    bar.setAttribute("aria-label", form.querySelector("button").textContent);
    form.append(bar, said);
    form.querySelector("button").disabled = true;
    const request = new XMLHttpRequest();
    const show = (html) => {
      const fresh = new DOMParser().parseFromString(html, "text/html").getElementById("main");
      if (!fresh) { location.assign(request.responseURL || location.href); return; }
      localTimes(fresh);
      main.replaceChildren(...fresh.childNodes);
      main.scrollIntoView();
    };
    const told = () => (request.getResponseHeader("content-type") ?? "").includes("ndjson");
    const lines = () => request.responseText.split("\n").slice(0, -1).map((line) => JSON.parse(line));
    request.upload.onprogress = (step) => {
      if (step.lengthComputable && step.loaded < step.total) bar.value = step.loaded / step.total;
      else bar.removeAttribute("value");
    };
    request.onprogress = () => {
      const last = told() && lines().findLast((line) => line.text);
      if (last) { bar.value = last.share; said.textContent = last.text; }
    };
    request.onload = () => {
      if (told()) show(lines().at(-1)?.page ?? "");
      else show(request.responseText);
    };
    // Cut off, by a restart for example: what was done stays, and the page shows it.
    request.onerror = () => { location.reload(); };
    request.open("POST", form.action);
    request.setRequestHeader("Accept", "application/x-ndjson");
    const fields = new FormData(form);
    request.send(form.enctype === "multipart/form-data" ? fields : new URLSearchParams(fields));
  });
}

localTimes(document);
