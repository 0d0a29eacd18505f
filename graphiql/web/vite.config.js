import { defineConfig } from 'vite';

export default defineConfig({
  // Relative addresses let the page be mounted under any prefix.
  base: './',
  worker: { format: 'es' },
  build: {
    // Everything is a file of its own: the page's policy allows scripts from
    // the server only, and hashed files can be cached for good.
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 6000,
    license: { fileName: 'LICENSES.md' },
    rolldownOptions: {
      // Dozens of libraries start their modules with "use client" and the like,
      // which mean nothing in a bundle; the warnings would hide the real ones.
      onLog: (level, log, handle) => log.code !== 'MODULE_LEVEL_DIRECTIVE' && handle(level, log),
    },
    sourcemap: false,
    target: 'es2022',
  },
});
