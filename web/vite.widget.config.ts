import { defineConfig } from "vite";

// One file that a notebook can load as a module; its styles are those of the page.
export default defineConfig({
  publicDir: false,
  build: {
    outDir: "../src/isthmus/web/static",
    emptyOutDir: false,
    target: "es2022",
    modulePreload: false,
    lib: { entry: "src/widget.ts", formats: ["es"], fileName: () => "widget.js" },
  },
});
