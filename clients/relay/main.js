// Renders Users.jsx as an app would, presses its button, and looks into the store.
require('@babel/register')({ extensions: ['.jsx'], cache: false });

const assert = require('node:assert/strict');
const { Suspense, act, createElement } = require('react');
const { RelayEnvironmentProvider } = require('react-relay');
const { create } = require('react-test-renderer');
const { createEnvironment } = require('./environment.js');
const { CustomerPage } = require('./Users.jsx');

const { ROSTER_GRAPHQL: url, ROSTER_TOKEN: token, ROSTER_CUSTOMER: id } = process.env;
globalThis.IS_REACT_ACT_ENVIRONMENT = true;

async function main() {
  const environment = createEnvironment(url, token);
  const app = createElement(
    RelayEnvironmentProvider,
    { environment },
    createElement(Suspense, null, createElement(CustomerPage, { id })),
  );
  const page = await act(async () => create(app));
  const rows = () => page.root.findAllByType('li').map((row) => row.children.join(''));
  const showing = async (count) => {
    for (const deadline = Date.now() + 10_000; rows().length !== count; ) {
      assert.ok(Date.now() < deadline, `${rows().length} rows are shown, not ${count}`);
      await act(() => new Promise(setImmediate));
    }
    return rows();
  };

  // The first part, then the next below it.
  const first = await showing(10);
  await act(async () => page.root.findByType('button').props.onClick());
  const both = await showing(20);
  assert.deepEqual(both.slice(0, 10), first);

  // Every user is one record of the store, under its id.
  const records = Object.values(environment.getStore().getSource().toJSON());
  const users = records.filter((record) => record.__typename === 'User');
  assert.equal(users.length, 20);
  assert.ok(users.every((user) => user.__id === user.id));

  await act(async () => page.unmount());
  console.log(`usePaginationFragment showed ${first.length} users, then ${both.length}`);
}

// Relay keeps a timer for what it may still need; nothing will.
main().then(() => process.exit());
