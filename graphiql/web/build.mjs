// Builds the page with Vite and writes it, compressed, to the directory given
// as argument (default: ../dist). index.html stays as it is, because the
// server fills it in; every other file becomes name.gz.
import { appendFile, cp, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import { build } from 'vite';

// What is bundled without being a package of its own, so that Vite knows no
// licence of it: the fonts inside GraphiQL's style sheet and what Monaco has
// copied from others. The font packages are installed for their licences only;
// they are pinned to the releases that hold the same fonts as the style sheet.
const alsoBundled = [
  ['Fira Code 5.002 (OFL-1.1)', '@fontsource/fira-code/LICENSE'],
  ['Roboto 2.137 (Apache-2.0)', '@fontsource/roboto/LICENSE'],
  ['Third-party code within monaco-editor', 'monaco-editor/ThirdPartyNotices.txt'],
];

const web = import.meta.dirname;
const target = resolve(process.argv[2] ?? join(web, '..', 'dist'));
const plain = await mkdtemp(join(tmpdir(), 'roster-graphiql-'));

try {
  await build({ root: web, logLevel: 'warn', build: { outDir: plain, emptyOutDir: true } });
  for (const [title, file] of alsoBundled) {
    const text = await readFile(join(web, 'node_modules', file), 'utf8');
    // Indented, the texts stay as they are, whatever Markdown they look like.
    const block = text.trimEnd().replaceAll('\r\n', '\n').replace(/^(?=.)/gm, '    ');
    await appendFile(join(plain, 'LICENSES.md'), `\n## ${title}\n\n${block}\n`);
  }
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
