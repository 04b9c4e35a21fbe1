"""The script of listings: it adds a filter, and shows dates in the reader's time zone.

Rule: the page is complete without the script, so only the script adds these. The page's
Content-Security-Policy allows this script by its digest.
"""

from __future__ import annotations

# The names of the rows are read once, so 5,000 rows are filtered in a few milliseconds.
SCRIPT = """
(() => {
const two = number => String(number).padStart(2, "0");
for (const time of document.querySelectorAll("#list time")) {
  const at = new Date(time.dateTime);
  time.title = time.dateTime.replace("T", " ").replace("Z", " UTC");
  time.firstChild.data =
    `${String(at.getFullYear()).padStart(4, "0")}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  time.lastChild.textContent = ` ${two(at.getHours())}:${two(at.getMinutes())}`;
}
document.querySelector("thead span").remove();
const fold = text => text.normalize("NFKD").replace(/\\p{M}/gu, "").toLowerCase();
const names = [...document.querySelectorAll("#list tbody a")]
  .map(link => [link.closest("tr"), fold(link.textContent)]);
if (names.length < 8) return;
const counts = document.querySelector("main > footer > span"), all = [...counts.childNodes];
const box = document.createElement("input");
Object.assign(box, {type: "search", placeholder: "Filter", title: "Filter by name (press /)"});
box.setAttribute("aria-label", "Filter by name");
const filter = () => {
  const words = fold(box.value).split(" ");
  let found = 0;
  for (const [row, name] of names) {
    row.hidden = !words.every(word => name.includes(word));
    found += !row.hidden;
  }
  const shown = `${found.toLocaleString("en")} of ${names.length.toLocaleString("en")}`;
  counts.replaceChildren(...(box.value ? [shown] : all));
};
box.addEventListener("input", filter);
document.addEventListener("keydown", event => {
  if (event.key === "/" && document.activeElement !== box) {
    event.preventDefault();
    box.focus();
  }
});
counts.setAttribute("role", "status");
counts.after(box);
if (box.value) filter();
})();
"""
