// zarrita and its `ReferenceStore`, in Node, as a browser would. Segments one by one, as `seg-000/<variable>`. Masking, unpacking and time
// are the page's work.
import { readFileSync, writeFileSync } from "node:fs";
import * as zarr from "zarrita";
import ReferenceStore from "@zarrita/storage/ref";

const job = JSON.parse(readFileSync(process.argv[2], "utf8"));

async function read({ collection, dataset_id, variable }) {
  const item = await (await fetch(`${job.stac}/collections/${collection}/items/${dataset_id}`)).json();
  const document = await (await fetch(item.assets.reference_file.href)).json();
  const root = zarr.root(await ReferenceStore.fromSpec(document));
  const groups = JSON.parse(document.refs[".zattrs"]).esgvzarr_segments ?? ["."];
  const parts = [];
  for (const group of groups) {
    const array = await zarr.open.v2(root.resolve(`${group}/${variable}`), { kind: "array" });
    const { _FillValue: missing = null, scale_factor: scale = 1, add_offset: offset = 0 } = array.attrs;
    const fill = array.dtype === "float32" ? Math.fround(missing) : missing;
    const { data, shape } = await zarr.get(array);
    parts.push({ shape, data: Array.from(data, (value) => (missing !== null && value === fill ? null : value * scale + offset)) });
  }
  const steps = parts.reduce((sum, { shape }) => sum + shape[0], 0);
  return { variables: { [variable]: { shape: [steps, ...parts[0].shape.slice(1)], data: parts.flatMap(({ data }) => data) } } };
}

const results = {};
for (const one of job.cases) {
  try {
    results[one.name] = await read(one);
  } catch (error) {
    results[one.name] = { fails: `${error.name}: ${error.message}` };
  }
}
const installed = JSON.parse(readFileSync("package-lock.json", "utf8")).packages;
const versions = ["zarrita", "@zarrita/storage"].map((name) => `${name} ${installed[`node_modules/${name}`].version}`);
writeFileSync(job.out, JSON.stringify({ versions: [...versions, `Node ${process.versions.node}`], results }));
