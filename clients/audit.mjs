// Runs the audits of graphql-http, the reference suite of the GraphQL-over-HTTP
// specification. A notice or a warning counts as a failure.
import { serverAudits } from 'graphql-http';

const { ROSTER_GRAPHQL: url, ROSTER_TOKEN: token } = process.env;

const audits = serverAudits({
  url,
  fetchFn(input, init) {
    const headers = new Headers(init?.headers);
    headers.set('Authorization', `Bearer ${token}`);
    return fetch(input, { ...init, headers });
  },
});

const counts = { ok: 0, notice: 0, warn: 0, error: 0 };
for (const audit of audits) {
  const result = await audit.fn();
  counts[result.status]++;
  if (result.status !== 'ok') {
    console.log(`${result.status} ${result.id} ${result.name}: ${result.reason}`);
  }
  await result.response?.body?.cancel().catch(() => {}); // most bodies have been read already
}

console.log(Object.entries(counts).map(([status, count]) => `${count} ${status}`).join(', '));
process.exitCode = audits.length === 61 && counts.ok === 61 ? 0 : 1;
