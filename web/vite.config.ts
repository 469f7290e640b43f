import { defineConfig } from "vite";

// The names carry no hashes: the bundle is committed, and the server names its files one by one.
export default defineConfig({
  base: "/",
  build: {
    outDir: "../src/isthmus/web/static",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: false,
    assetsInlineLimit: 0,
    rollupOptions: {
      output: {
        entryFileNames: "explorer.js",
        assetFileNames: (asset) => (asset.names[0]?.endsWith(".css") ? "explorer.css" : "[name][extname]"),
      },
    },
  },
  server: { proxy: { "/explore": "http://127.0.0.1:8642", "/healthz": "http://127.0.0.1:8642" } },
});
