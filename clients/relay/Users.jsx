// A list of a customer's users that grows by ten at a press.
import { graphql, useLazyLoadQuery, usePaginationFragment } from 'react-relay';

export function CustomerPage({ id }) {
  const { customer } = useLazyLoadQuery(
    graphql`
      query UsersQuery($id: ID!) {
        customer(id: $id) {
          name
          ...Users_customer
        }
      }
    `,
    { id },
  );
  return customer && <Users customer={customer} />;
}

function Users({ customer }) {
  const { data, hasNext, loadNext } = usePaginationFragment(
    graphql`
      fragment Users_customer on Customer
      @refetchable(queryName: "UsersNextQuery")
      @argumentDefinitions(
        count: { type: "Int", defaultValue: 10 }
        cursor: { type: "String" }
        order: { type: "UserOrder", defaultValue: { field: NAME, direction: ASC } }
      ) {
        users(first: $count, after: $cursor, orderBy: $order) @connection(key: "Users_users") {
          edges {
            node {
              id
              number
              firstName
              lastName
              createdAt
            }
          }
        }
      }
    `,
    customer,
  );
  return (
    <>
      <ul>
        {data.users.edges.map(({ node }) => (
          <li key={node.id}>{node.firstName} {node.lastName}</li>
        ))}
      </ul>
      {hasNext && <button onClick={() => loadNext(10)}>More</button>}
    </>
  );
}
