// urql with Graphcache, its normalised cache.
import assert from 'node:assert/strict';
import { Client, fetchExchange, gql } from '@urql/core';
import { cacheExchange } from '@urql/exchange-graphcache';
import { relayPagination } from '@urql/exchange-graphcache/extras';

const { ROSTER_GRAPHQL: url, ROSTER_TOKEN: token, ROSTER_CUSTOMER: customer } = process.env;

let requests = 0;
let renamed; // a last name that the answers are to change, as if someone had edited the user
const client = new Client({
  url,
  preferGetMethod: false, // keeps search words out of URLs, which proxies log
  fetchOptions: { headers: { Authorization: `Bearer ${token}` } },
  async fetch(input, init) {
    requests++;
    const response = await fetch(input, init);
    return renamed ? new Response((await response.text()).replaceAll(`"${renamed}"`, '"Changed"'), response) : response;
  },
  exchanges: [
    cacheExchange({
      keys: { Viewer: () => 'viewer' }, // there is one
      // Parts by cursor become one list; a numbered page stays a list of its own.
      resolvers: { Customer: { users: relayPagination() } },
    }),
    fetchExchange,
  ],
});

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

async function users(query, variables) {
  const { data, error } = await client.query(query, { customer, ...variables });
  if (error) {
    throw error;
  }
  return data.customer.users;
}

// A page, then the next; going back costs no request.
const first = await users(numbered, { page: { number: 1, size: 10 } });
const second = await users(numbered, { page: { number: 2, size: 10 } });
const pages = [...first.nodes, ...second.nodes].map((user) => user.id);
assert.equal(new Set(pages).size, 20);
assert.ok(first.totalCount > 20);
assert.deepEqual(await users(numbered, { page: { number: 1, size: 10 } }), first);
assert.equal(requests, 2);

// The next part by cursor is appended.
const { pageInfo } = await users(byCursor, { first: 10 });
const { edges } = await users(byCursor, { first: 10, after: pageInfo.endCursor });
assert.deepEqual(edges.map((edge) => edge.node.id), pages);

// A user in several lists is one entity: a change shows in all of them.
const [{ id, lastName }] = first.nodes;
renamed = lastName;
const found = await users(numbered, { filter: { id: { eq: id } } });
renamed = undefined;
assert.equal(found.nodes[0].lastName, 'Changed');
const before = requests;
assert.equal((await users(numbered, { page: { number: 1, size: 10 } })).nodes[0].lastName, 'Changed');
assert.equal((await users(byCursor, { first: 10 })).edges[0].node.lastName, 'Changed');
assert.equal(requests, before);

// Only a count is a list without edges.
const counted = await users(gql`query Count($customer: ID!) { customer(id: $customer) { id users(filter: { enabled: true }) { totalCount } } }`);
assert.ok(counted.totalCount > 0);

// Errors carry a code.
const { error } = await client.query(numbered, { customer, page: { number: 0 } });
assert.equal(error.graphQLErrors[0].extensions.code, 'BAD_USER_INPUT');
assert.deepEqual(await users(numbered, { page: { number: 2, size: 10 } }), second);

const stranger = new Client({ url, exchanges: [fetchExchange] });
const unknown = await stranger.query(gql`{ viewer { subject } }`);
assert.equal(unknown.error?.graphQLErrors[0].extensions.code, 'UNAUTHENTICATED');

console.log(`pages 1 and 2, ${edges.length} users by cursor, one entity in 3 lists, error codes`);
