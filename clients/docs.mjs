// Checks that every snippet of docs/clients.md that names a file stands in it.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

const read = (path) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');

let snippets = 0;
for (const [, path, snippet] of read('docs/clients.md').matchAll(/^```\w+ (clients\/\S+)\n([^]*?)^```$/gm)) {
  assert.ok(read(path).includes(snippet), `this is not in ${path}:\n${snippet}`);
  snippets++;
}
assert.ok(snippets > 0);
console.log(`${snippets} snippets are what ran`);
