// Asks a server with trusted documents for what is not among them.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

const { ROSTER_GRAPHQL: url, ROSTER_TOKEN: token, ROSTER_CUSTOMER: customer } = process.env;
const [document] = Object.values(JSON.parse(readFileSync(new URL('generated/persisted-documents.json', import.meta.url), 'utf8')));
const sha256Hash = createHash('sha256').update(document).digest('hex');

async function ask(request) {
  const response = await fetch(url, {
    method: 'POST',
    headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
    body: JSON.stringify({ ...request, variables: { customer } }),
  });
  return response.json();
}

const trusted = {
  'the id of a document': { documentId: `sha256:${sha256Hash}` },
  'its hash, as persisted queries send it': { extensions: { persistedQuery: { version: 1, sha256Hash } } },
  'its id in place of the hash': { extensions: { persistedQuery: { version: 1, sha256Hash: `sha256:${sha256Hash}` } } },
  'its text': { query: document },
};
for (const [what, request] of Object.entries(trusted)) {
  const { data, errors } = await ask(request);
  assert.ok(data?.customer.users.nodes.length, `${what}: ${JSON.stringify(errors)}`);
}

const { data, errors } = await ask({ query: '{ viewer { subject } }' });
assert.equal(data ?? undefined, undefined);
assert.equal(errors[0].extensions.code, 'PERSISTED_QUERY_NOT_SUPPORTED');
console.log('the document runs by its id, hash and text; no other runs');
