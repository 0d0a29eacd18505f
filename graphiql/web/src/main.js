import './workers.js';
import 'graphiql/style.css';
import './page.css';

import { createGraphiQLFetcher } from '@graphiql/toolkit';
import { GraphiQL } from 'graphiql';
import { createElement } from 'react';
import { createRoot } from 'react-dom/client';

import { storageWithoutHeaders } from './storage.js';

const root = document.getElementById('graphiql');
const { endpoint, query, headers } = root.dataset;

// The initial values win over what an earlier visit stored, so that Play
// answers at once; unset, they leave the stored tabs as they were.
const preset = {};
if (query) {
  // GraphiQL would open one more tab whenever the stored ones lack the query.
  localStorage.removeItem('graphiql:tabState');
  preset.initialQuery = query;
  // Variables kept from another query would be sent along with this one.
  preset.initialVariables = '';
}
if (headers) {
  preset.initialHeaders = headers;
  // New tabs, and stored ones, which hold no headers, get them too.
  preset.defaultHeaders = headers;
}

// Without incremental delivery, which the server does not offer, every request
// asks for application/graphql-response+json.
const send = createGraphiQLFetcher({ url: endpoint, enableIncrementalDelivery: false });

// GraphiQL asks for the schema before its Headers tab exists, hence without
// the headers that the tab will hold. Every other request sends what it shows.
const fetcher = (params, options) => {
  const early = params.operationName === 'IntrospectionQuery' && !options?.headers;
  return send(params, early && headers ? { ...options, headers: JSON.parse(headers) } : options);
};

// Monaco outlines letters that look like others, and takes the dotless i of
// Turkish names for one of those. Invisible characters stay outlined. GraphiQL
// loads Monaco itself, but must wait: no editor may be there before this is set.
import('monaco-graphql/esm/monaco-editor.js').then(({ editor }) => {
  editor.onDidCreateEditor((created) => {
    created.updateOptions({ unicodeHighlight: { ambiguousCharacters: false } });
  });

  createRoot(root).render(
    createElement(GraphiQL, {
      fetcher,
      shouldPersistHeaders: false,
      storage: storageWithoutHeaders(headers || undefined),
      ...preset,
    }),
  );
});
