// zarrita and its `ReferenceStore`, in Node, as a browser would.
//
// Reads one array; masking, scaling and time are the page's own work.
import { readFileSync, writeFileSync } from "node:fs";
import * as zarr from "zarrita";
import ReferenceStore from "@zarrita/storage/ref";

const job = JSON.parse(readFileSync(process.argv[2], "utf8"));

async function read({ collection, dataset_id, variable }) {
  const item = await (await fetch(`${job.stac}/collections/${collection}/items/${dataset_id}`)).json();
  const store = await ReferenceStore.fromSpec(await (await fetch(item.assets.reference_file.href)).json());
  const array = await zarr.open.v2(zarr.root(store).resolve(variable), { kind: "array" });
  const { data, shape } = await zarr.get(array);
  const missing = array.attrs._FillValue ?? array.attrs.missing_value;
  return { variables: { [variable]: { shape, data: Array.from(data, (value) => (value === Math.fround(missing) ? null : value)) } } };
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
writeFileSync(job.out, JSON.stringify({ versions, python: `Node ${process.versions.node}`, results }));
