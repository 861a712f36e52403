// The page of a directory: search and facets over its datasets.

const MOST_ROWS = 200;
const element = (id) => document.getElementById(id);
const datasets = JSON.parse(element("datasets").textContent);
const chosen = new Map();

function matches(dataset, words) {
  for (const [facet, value] of chosen) {
    if (value && dataset.facets[facet] !== value) return false;
  }
  const text = dataset.id.toLowerCase();
  return words.every((word) => text.includes(word));
}

function showRows(found) {
  const rows = found.slice(0, MOST_ROWS).map((dataset) => {
    const row = document.createElement("li");
    const link = document.createElement("a");
    link.href = dataset.page;
    link.textContent = dataset.id;
    const summary = document.createElement("span");
    summary.textContent = dataset.summary;
    row.append(link, summary);
    return row;
  });
  element("results").replaceChildren(...rows);
  const more = found.length > MOST_ROWS ? `, the first ${MOST_ROWS} are listed` : "";
  const noun = datasets.length === 1 ? "dataset" : "datasets";
  element("count").textContent = `${found.length} of ${datasets.length} ${noun}${more}`;
}

function countsOf(facet, words) {
  const before = chosen.get(facet);
  chosen.set(facet, "");
  const counts = new Map();
  for (const dataset of datasets) {
    const value = dataset.facets[facet];
    if (value && matches(dataset, words)) counts.set(value, (counts.get(value) ?? 0) + 1);
  }
  chosen.set(facet, before);
  return counts;
}

function update() {
  const words = element("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  showRows(datasets.filter((dataset) => matches(dataset, words)));
  for (const select of document.querySelectorAll("select[data-facet]")) {
    const counts = countsOf(select.dataset.facet, words);
    for (const option of select.options) {
      if (!option.value) continue;
      const count = counts.get(option.value) ?? 0;
      option.textContent = `${option.value} (${count})`;
      option.disabled = count === 0 && option.value !== select.value;
    }
  }
}

for (const select of document.querySelectorAll("select[data-facet]")) {
  select.addEventListener("change", () => {
    chosen.set(select.dataset.facet, select.value);
    update();
  });
}
element("search").addEventListener("input", update);
element("controls").hidden = false;
update();
