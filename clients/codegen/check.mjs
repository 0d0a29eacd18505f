// Checks what codegen wrote: no `any` beside the preset's own helpers, and a
// manifest of the documents by their hash.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

const read = (name) => readFileSync(new URL(`generated/${name}`, import.meta.url), 'utf8');

const helpers = [
  'return (documents as any)[source] ?? {};',
  'public __meta__?: Record<string, any> | undefined;',
  'constructor(value: string, __meta__?: Record<string, any> | undefined) {',
];
const code = (read('gql.ts') + read('graphql.ts')).replace(/\/\*[^]*?\*\//g, '');
assert.deepEqual(code.split('\n').map((line) => line.trim()).filter((line) => /\bany\b/.test(line)), helpers);

const manifest = Object.entries(JSON.parse(read('persisted-documents.json')));
assert.equal(manifest.length, 1);
for (const [id, document] of manifest) {
  assert.equal(id, `sha256:${createHash('sha256').update(document).digest('hex')}`);
}
