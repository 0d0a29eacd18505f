// Builds the page with Vite and writes it, compressed, to the directory given
// as argument (default: ../dist). index.html stays as it is, because the
// server fills it in; every other file becomes name.gz.
import { cp, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import { build } from 'vite';

const web = import.meta.dirname;
const target = resolve(process.argv[2] ?? join(web, '..', 'dist'));
const plain = await mkdtemp(join(tmpdir(), 'roster-graphiql-'));

try {
  await build({ root: web, logLevel: 'warn', build: { outDir: plain, emptyOutDir: true } });
  // Start empty, or a file of an older build would stay and be embedded.
  await rm(target, { recursive: true, force: true });

  const entries = await readdir(plain, { recursive: true, withFileTypes: true });
  for (const entry of entries.filter((entry) => entry.isFile())) {
    const from = join(entry.parentPath, entry.name);
    const to = join(target, from.slice(plain.length));
    await mkdir(dirname(to), { recursive: true });
    if (entry.name === 'index.html') {
      await cp(from, to);
    } else {
      // zlib writes no time and no name, so equal input gives equal bytes.
      await writeFile(`${to}.gz`, gzipSync(await readFile(from), { level: 9 }));
    }
  }
} finally {
  await rm(plain, { recursive: true, force: true });
}
