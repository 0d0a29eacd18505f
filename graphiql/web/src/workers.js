// The editor's workers, bundled with the page. GraphiQL ships set-up modules
// of its own, but one does not survive Vite's bundling and the other loads the
// workers from a CDN. This must run before the editor is created.
import EditorWorker from 'monaco-editor/esm/vs/editor/editor.worker.js?worker';
import JsonWorker from 'monaco-editor/esm/vs/language/json/json.worker.js?worker';
import GraphQLWorker from 'monaco-graphql/esm/graphql.worker.js?worker';

const byLabel = { json: JsonWorker, graphql: GraphQLWorker };

globalThis.MonacoEnvironment = {
  getWorker: (_moduleId, label) => new (byLabel[label] ?? EditorWorker)(),
};
