"""The part of a listing with which a visitor changes the folder: a form, and a script.

Rule: the form works without the script, for choosing and uploading files. The script adds: files
and whole folders can be dropped anywhere on the page; each upload shows its progress, speed and
time left, and has a button to cancel it; an upload whose connection breaks is resumed (by tus 1.0,
see `site.uploads.resumable`); new folders can be made; and entries can be deleted, after a
confirmation. The page's Content-Security-Policy allows this script by its digest.
"""

from __future__ import annotations

FORM = """\
<section id="upload" aria-label="Upload">
<form method="post" enctype="multipart/form-data" action="./">
<label>Files to upload <input type="file" name="file" multiple required></label>
<button>Upload</button>
</form>
</section>
"""

# The attribute data-rights of the section has the visitor's rights, as words.
UPLOAD_SCRIPT = """
(() => {
const CHUNK = 16 << 20, PATIENCE = [1, 2, 4, 8, 15, 30];
const section = document.querySelector("#upload"), form = section.querySelector("form");
const rights = section.dataset.rights.split(" ");
const make = (name, text = "", set = {}) =>
  Object.assign(document.createElement(name), {textContent: text}, set);
const size = bytes => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let power = 0;
  while (bytes >= 1024 && power < 4) { bytes /= 1024; power += 1; }
  return `${bytes.toFixed(power && bytes < 100 ? 1 : 0)} ${units[power]}`;
};
const time = seconds => seconds < 90 ? `${Math.ceil(seconds)} s`
  : seconds < 5400 ? `${Math.ceil(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
const pause = seconds => new Promise(done => setTimeout(done, 1000 * seconds));
const url = path => "./" + path.split("/").map(encodeURIComponent).join("/");
const list = make("ul"), status = make("p");
status.setAttribute("role", "status");
section.append(status, list);

class Failed extends Error {}

const send = (method, where, headers, content, onProgress, control) =>
  new Promise((done, fail) => {
    const request = new XMLHttpRequest();
    request.open(method, where);
    for (const name in headers) request.setRequestHeader(name, headers[name]);
    request.upload.onprogress = event => onProgress && onProgress(event.loaded);
    request.onload = () => done(request);
    request.onerror = request.ontimeout = () => fail(new Error("The connection broke."));
    request.onabort = () => fail(new Failed("Cancelled."));
    control.abort = () => request.abort();
    request.send(content);
  });

const TUS = {"Tus-Resumable": "1.0.0"};
const why = request => {
  const found = /<p class="detail">(.*?)<.p>/.exec(request.responseText);
  const text = found && new DOMParser().parseFromString(found[1], "text/html").body.textContent;
  return new Failed(text || `${request.status} ${request.statusText}`);
};

async function upload(file, path, row) {
  const cut = path.lastIndexOf("/") + 1, folder = path.slice(0, cut), name = path.slice(cut);
  const key = ["portico", location.pathname + path, file.size, file.lastModified].join(" ");
  const coded = btoa(String.fromCharCode(...new TextEncoder().encode(name)));
  let where = localStorage.getItem(key), offset = 0, tries = 0;
  while (true) {
    if (row.control.cancelled) throw new Failed("Cancelled.");
    try {
      if (where) {
        const answer = await send("HEAD", where, TUS, null, null, row.control);
        if (answer.status === 200) offset = +answer.getResponseHeader("Upload-Offset");
        else if (answer.status === 404) where = null;
        else throw why(answer);
      }
      if (!where) {
        const headers = {...TUS, "Upload-Length": file.size};
        headers["Upload-Metadata"] = `filename ${coded}`;
        if (!row.replaces) headers["If-None-Match"] = "*";
        const begin = () => send("POST", url(folder) || "./", headers, null, null, row.control);
        let answer = await begin();
        if (answer.status === 412 && rights.includes("replace")) {
          if (!confirm(`Replace ${path}?`)) throw new Failed("Left as it is.");
          row.replaces = true;
          delete headers["If-None-Match"];
          answer = await begin();
        }
        if (answer.status === 412) throw new Failed("There is a file of that name already.");
        if (answer.status !== 201) throw why(answer);
        where = new URL(answer.getResponseHeader("Location"), location.href).href;
        localStorage.setItem(key, where);
        offset = 0;
      }
      row.show(offset);
      do {
        const headers = {...TUS, "Upload-Offset": offset,
          "Content-Type": "application/offset+octet-stream"};
        const chunk = file.slice(offset, offset + CHUNK);
        const answer = await send("PATCH", where, headers, chunk,
          loaded => row.show(offset + loaded), row.control);
        if (answer.status === 409) throw new Error("Out of step.");
        if (answer.status >= 500 && answer.status !== 507) throw new Error("Later.");
        if (answer.status !== 204) throw why(answer);
        offset = +answer.getResponseHeader("Upload-Offset");
        tries = 0;
        row.show(offset);
      } while (offset < file.size);
      localStorage.removeItem(key);
      return;
    } catch (problem) {
      if (problem instanceof Failed) {
        localStorage.removeItem(key);
        if (row.control.cancelled && where)
          send("DELETE", where, TUS, null, null, {}).catch(() => {});
        throw problem;
      }
      const seconds = PATIENCE[Math.min(tries, PATIENCE.length - 1)];
      tries += 1;
      row.say(`${problem.message} Going on in ${seconds} s ...`);
      await Promise.race([pause(seconds), new Promise(done => row.control.abort = done)]);
    }
  }
}

function newRow(path, total) {
  const item = make("li"), bar = make("progress", "", {max: total || 1, value: 0});
  const text = make("span"), button = make("button", "Cancel", {type: "button"});
  const control = {abort: () => {}, cancelled: false};
  bar.setAttribute("aria-label", path);
  button.onclick = () => { control.cancelled = true; control.abort(); };
  item.append(make("bdi", path), bar, text, button);
  list.append(item);
  let since = performance.now(), from = null;
  return {
    control,
    replaces: false,
    say: words => { text.textContent = words; },
    show(sent) {
      bar.value = total ? sent : 1;
      if (from === null || sent < from) { from = sent; since = performance.now(); }
      const rate = 1000 * (sent - from) / (performance.now() - since + 1);
      text.textContent = `${size(sent)} of ${size(total)}` +
        (rate > 0 && sent < total ? `, ${size(rate)}/s, ${time((total - sent) / rate)} left` : "");
    },
    end(words, failed) {
      text.textContent = words;
      item.className = failed ? "failed" : "done";
      bar.remove();
      button.remove();
    },
  };
}

const waiting = [];
let under = 0, failed = 0, stored = 0;

function next() {
  while (under < 3 && waiting.length) {
    const {file, path} = waiting.shift(), row = newRow(path, file.size);
    under += 1;
    upload(file, path, row)
      .then(() => { stored += 1; row.end(`${size(file.size)}, stored.`); })
      .catch(problem => { failed += 1; row.end(problem.message, true); })
      .finally(() => { under -= 1; next(); });
  }
  const left = under + waiting.length;
  status.textContent = left ? `Uploading ${left} ${left === 1 ? "file" : "files"} ...`
    : `${stored} stored` + (failed ? `, ${failed} not.` : ".");
  if (!left && stored && !failed) location.reload();
}

const add = files => { waiting.push(...files); if (files.length) next(); };

async function entries(entry, path) {
  if (entry.isFile) {
    const file = await new Promise((done, fail) => entry.file(done, fail));
    return [{file, path: path + entry.name}];
  }
  const reader = entry.createReader(), found = [];
  while (true) {
    const some = await new Promise((done, fail) => reader.readEntries(done, fail));
    if (!some.length) return found;
    for (const one of some) found.push(...await entries(one, `${path}${entry.name}/`));
  }
}

if (rights.includes("create")) {
  const input = form.querySelector("input"), folder = make("input", "", {type: "file"});
  folder.webkitdirectory = true;
  folder.setAttribute("aria-label", "A folder to upload");
  const chosen = box => add([...box.files].map(
    file => ({file, path: file.webkitRelativePath || file.name})));
  input.onchange = () => { chosen(input); form.reset(); };
  folder.onchange = () => { chosen(folder); folder.value = ""; };
  form.querySelector("button").remove();
  const makes = make("button", "New folder", {type: "button"});
  makes.onclick = async () => {
    const name = prompt("Name of the new folder");
    if (!name) return;
    const answer = await send("PUT", url(name) + "/", {}, null, null, {}).catch(problem => problem);
    if (answer.status === 201) location.reload();
    else status.textContent = answer.status ? why(answer).message : answer.message;
  };
  const label = make("label", "or a folder ");
  label.append(folder);
  form.append(label, makes);
  section.prepend(make("p", "Drop files and folders anywhere on this page."));
  addEventListener("dragover", event => {
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  addEventListener("dragleave", event => {
    if (!event.relatedTarget) document.body.classList.remove("dropping");
  });
  addEventListener("drop", async event => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    const items = [...event.dataTransfer.items].filter(item => item.kind === "file");
    const dropped = items.map(item => [item.webkitGetAsEntry(), item.getAsFile()]);
    for (const [entry, file] of dropped)
      add(entry ? await entries(entry, "") : [{file, path: file.name}]);
  });
  addEventListener("beforeunload", event => { if (under) event.preventDefault(); });
} else form.remove();

if (rights.includes("delete"))
  for (const link of document.querySelectorAll("#list tbody th a")) {
    const button = make("button", "Delete", {type: "button"});
    button.setAttribute("aria-label", `Delete ${link.textContent}`);
    button.onclick = async () => {
      if (!confirm(`Delete ${link.textContent}?`)) return;
      const where = link.href.split("?")[0];
      const answer = await send("DELETE", where, {}, null, null, {}).catch(problem => problem);
      if (answer.status === 204) link.closest("tr").remove();
      else status.textContent = answer.status ? why(answer).message : answer.message;
    };
    link.closest("tr").lastElementChild.append(button);
  }
})();
"""


def upload_part(rights: frozenset[str]) -> str:
    """Return the HTML for a visitor with these rights; "" if the visitor may change nothing."""
    given = " ".join(sorted(rights & {"create", "replace", "delete"}))
    if not given:
        return ""
    return FORM.replace("<section", f'<section data-rights="{given}"', 1)
