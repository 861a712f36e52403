// Bundles the scripts of the pages into the Python package. numcodecs' WebAssembly decoders stay out: a page with a
// strict content security policy may not run them, and says so where a dataset needs one.

import { build } from "esbuild";

const withoutWebAssembly = {
  name: "without-webassembly",
  setup(plugin) {
    plugin.onResolve({ filter: /^numcodecs\// }, (found) => ({ path: found.path, namespace: "absent" }));
    plugin.onLoad({ filter: /.*/, namespace: "absent" }, () => ({ contents: "export default undefined;" }));
  },
};

await build({
  entryPoints: { dataset: "src/page.js", directory: "src/index.js" },
  outdir: process.argv[2] ?? "../esgvzarr/pages/static",
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2022",
  charset: "ascii",
  legalComments: "none",
  logLevel: "warning",
  plugins: [withoutWebAssembly],
});
