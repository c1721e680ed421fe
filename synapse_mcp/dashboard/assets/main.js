// Which page is shown: the part of the address behind #, so that no request tells what one looks at.

import { fill } from "./dom.js";
import { ask, onReturn } from "./live.js";
import { datasetsPage, deploymentsPage, modelsPage, runPage, runsPage } from "./pages.js";

const content = document.getElementById("content");
const PAGES = { runs: runsPage, models: modelsPage, deployments: deploymentsPage, datasets: datasetsPage };
let leave = () => {};

function show() {
  leave();
  leave = () => {};
  const [path, search = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [name = "runs", id] = path.split("/").map(decodeURIComponent);
  const chosen = PAGES[name] ? name : "runs";
  for (const link of document.querySelectorAll("#pages a")) {
    if (link.getAttribute("href") === `#/${chosen}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  leave = chosen === "runs" && id ? runPage(content, id) : PAGES[chosen](content, new URLSearchParams(search));
}

addEventListener("hashchange", () => {
  fill(content);
  show();
  scrollTo(0, 0);
  // Where a reader of screens goes on reading.
  (content.querySelector("h1") || content).focus({ preventScroll: true });
});
onReturn(show);
show();
ask("/api/overview").then(
  (told) => document.getElementById("line").setAttribute("title", `${told.home}, profile ${told.profile}, ${told.version}`),
  () => {},
);
