// Reloads the first page of the list when newer mail has come. The page works without this.
"use strict";
(() => {
  const list = document.querySelector("[data-newest]");
  if (!list) return;
  const url = "/inbox/newest?to=" + encodeURIComponent(list.dataset.to);
  setInterval(async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch(url);
      if (answer.ok && (await answer.text()) !== list.dataset.newest) location.reload();
    } catch {
      // The gateway is restarting; the next turn asks again.
    }
  }, 3000);
})();
