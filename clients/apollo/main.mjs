// Apollo Client with its normalised cache.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { ApolloClient, ApolloLink, CombinedGraphQLErrors, HttpLink, InMemoryCache, gql } from '@apollo/client';
import { PersistedQueryLink } from '@apollo/client/link/persisted-queries';
import { relayStylePagination } from '@apollo/client/utilities';
import { filter, firstValueFrom, shareReplay, timeout } from 'rxjs';

const { ROSTER_GRAPHQL: uri, ROSTER_TOKEN: token, ROSTER_CUSTOMER: customer } = process.env;

// Lists are told apart by these arguments. A numbered page is a list of its own,
// so it replaces what is shown; parts by cursor are appended to one list.
const lists = relayStylePagination(['page', 'filter', 'orderBy']);

const cache = new InMemoryCache({
  possibleTypes: { Node: ['Customer', 'User', 'Subrole'] },
  typePolicies: {
    Query: { fields: { customers: relayStylePagination(['page', 'search']) } },
    Customer: { fields: { users: lists } },
    Viewer: { keyFields: [] }, // there is one
  },
});

// Sends the hash of a document first, and the document only if the server asks for it.
const persisted = new PersistedQueryLink({
  sha256: (text) => createHash('sha256').update(text).digest('hex'),
});

// What went over the wire, for the checks below.
const requests = [];
const http = new HttpLink({
  uri,
  headers: { Authorization: `Bearer ${token}` },
  fetch(input, init) {
    requests.push(JSON.parse(init.body));
    return fetch(input, init);
  },
});

const client = new ApolloClient({ cache, link: ApolloLink.from([persisted, http]) });

const numbered = gql`
  query Numbered($customer: ID!, $page: PageInput, $filter: UserFilter) {
    customer(id: $customer) {
      id
      users(page: $page, filter: $filter) {
        totalCount
        nodes { id firstName lastName subrole { id displayName } authorities { id name } }
      }
    }
  }
`;

const byCursor = gql`
  query ByCursor($customer: ID!, $first: Int!, $after: String) {
    customer(id: $customer) {
      id
      users(first: $first, after: $after) {
        edges { node { id firstName lastName } }
        pageInfo { hasNextPage endCursor }
      }
    }
  }
`;

async function page(number) {
  const { data } = await client.query({ query: numbered, variables: { customer, page: { number, size: 10 } } });
  return data.customer.users.nodes;
}

// A page, then the next; going back costs no request.
const first = await page(1);
const second = await page(2);
assert.equal(new Set([...first, ...second].map((user) => user.id)).size, 20);
const before = requests.length;
assert.deepEqual(await page(1), first);
assert.equal(requests.length, before);

// The next part by cursor is appended to what is shown.
const shown = client.watchQuery({ query: byCursor, variables: { customer, first: 10 } });
const results = shown.pipe(shareReplay(1));
const showing = (count) => firstValueFrom(results.pipe(filter(({ data }) => data?.customer.users.edges.length === count), timeout(10_000)));
const part = (await showing(10)).data.customer.users;
await shown.fetchMore({ variables: { after: part.pageInfo.endCursor } });
const { edges } = (await showing(20)).data.customer.users;
assert.deepEqual(edges.map((edge) => edge.node.id), [...first, ...second].map((user) => user.id));

// A user in several lists is one entity: a change shows in all of them.
const [{ id }] = first;
const search = { query: numbered, variables: { customer, filter: { id: { eq: id } } } };
await client.query(search);
const entities = cache.extract();
assert.equal(Object.keys(entities).filter((key) => key.includes(id)).length, 1);
assert.equal(JSON.stringify(entities).split(`{"__ref":"User:${id}"}`).length - 1, 3);
cache.modify({ id: `User:${id}`, fields: { lastName: () => 'Changed' } });
assert.equal((await page(1))[0].lastName, 'Changed');
assert.equal(client.readQuery(search).customer.users.nodes[0].lastName, 'Changed');

// Only a count is a list without edges.
const { data } = await client.query({
  query: gql`query Count($customer: ID!) { customer(id: $customer) { id users(filter: { enabled: true }) { totalCount } } }`,
  variables: { customer },
});
assert.ok(data.customer.users.totalCount > 0);

// A document that the server does not know goes over the wire once, then its hash will do.
const viewer = gql(`query Viewer${Date.now()} { viewer { subject authorities } }`);
requests.length = 0;
await client.query({ query: viewer });
await client.query({ query: viewer, fetchPolicy: 'network-only' });
assert.deepEqual(requests.map((request) => 'query' in request), [false, true, false]);

// Errors carry a code.
const refused = await page(0).catch((error) => error);
assert.ok(CombinedGraphQLErrors.is(refused));
assert.equal(refused.errors[0].extensions.code, 'BAD_USER_INPUT');

const stranger = new ApolloClient({ cache: new InMemoryCache(), link: new HttpLink({ uri }) });
const unknown = await stranger.query({ query: viewer }).catch((error) => error);
assert.ok(CombinedGraphQLErrors.is(unknown));
assert.equal(unknown.errors[0].extensions.code, 'UNAUTHENTICATED');

console.log(`pages 1 and 2, ${edges.length} users by cursor, one entity in 3 lists, persisted queries, error codes`);
client.stop();
