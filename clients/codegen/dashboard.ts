// A page of a dashboard, typed from the query to the answer.
import { graphql } from './generated/gql.js';
import type { TypedDocumentString } from './generated/graphql.js';

const dashboard = graphql(`
  query Dashboard($customer: ID!, $page: PageInput, $filter: UserFilter, $orderBy: UserOrder) {
    customer(id: $customer) {
      id
      name
      users(page: $page, filter: $filter, orderBy: $orderBy) {
        totalCount
        totalPages
        pageInfo { hasNextPage hasPreviousPage }
        nodes {
          id number firstName lastName email status createdAt lastPasswordResetAt
          subrole { id displayName }
          authorities { id name }
        }
      }
    }
  }
`);

const { ROSTER_GRAPHQL = '', ROSTER_TOKEN = '', ROSTER_CUSTOMER = '', ROSTER_TRUSTED } = process.env;

interface Answer<Result> {
  data?: Result | null;
  errors?: { message: string; extensions: { code: string } }[];
}

async function execute<Result, Variables>(document: TypedDocumentString<Result, Variables>, variables: Variables): Promise<Result> {
  const response = await fetch(ROSTER_GRAPHQL, {
    method: 'POST',
    headers: {
      Accept: 'application/graphql-response+json',
      Authorization: `Bearer ${ROSTER_TOKEN}`,
      'Content-Type': 'application/json',
    },
    // A server with trusted documents needs the id only.
    body: JSON.stringify(ROSTER_TRUSTED ? { documentId: document.__meta__?.hash, variables } : { query: document, variables }),
  });
  const { data, errors } = (await response.json()) as Answer<Result>;
  if (errors?.[0] || !data) {
    throw new Error(`${errors?.[0]?.extensions.code}: ${errors?.[0]?.message}`);
  }
  return data;
}

const { customer } = await execute(dashboard, {
  customer: ROSTER_CUSTOMER,
  page: { number: 2, size: 10 },
  filter: { status: { in: ['ACTIVE', 'INVITED'] } },
  orderBy: { field: 'NAME', direction: 'ASC' },
});
if (customer?.users.nodes.length !== 10) {
  throw new Error(`page 2 has ${customer?.users.nodes.length} users`);
}
for (const { number, firstName, lastName, createdAt, subrole } of customer.users.nodes.slice(0, 2)) {
  console.log(number.toFixed(), firstName, lastName, createdAt.slice(0, 10), subrole?.displayName ?? '-');
}
console.log(`page 2 of ${customer.users.totalPages} of ${customer.name}`);
