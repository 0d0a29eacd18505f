// GraphiQL keeps tabs and history in local storage. With shouldPersistHeaders
// off it leaves request headers out of the tabs, but not out of the history,
// so a bearer token would stay in the browser after the page is closed. This
// storage drops the headers of everything that is written.

const ownPrefix = 'graphiql:';
const historyKeys = ['graphiql:queries', 'graphiql:favorites'];

/**
 * Returns a storage for GraphiQL that never keeps request headers. History
 * entries read back from an earlier visit get presetHeaders instead: choosing
 * an entry replaces the text of the Headers tab, and without them it would be
 * emptied. They may be undefined.
 */
export function storageWithoutHeaders(presetHeaders) {
  const ownKeys = () => Object.keys(localStorage).filter((key) => key.startsWith(ownPrefix));
  return {
    getItem(key) {
      const value = localStorage.getItem(key);
      return historyKeys.includes(key) ? replaceHeaders(value, presetHeaders) : value;
    },
    setItem(key, value) {
      localStorage.setItem(key, historyKeys.includes(key) ? replaceHeaders(value, null) : value);
    },
    removeItem: (key) => localStorage.removeItem(key),
    clear: () => ownKeys().forEach((key) => localStorage.removeItem(key)),
    get length() {
      return ownKeys().length;
    },
  };
}

function replaceHeaders(json, headers) {
  if (json === null) {
    return null;
  }
  try {
    return JSON.stringify(JSON.parse(json), (key, value) => (key === 'headers' ? headers : value));
  } catch {
    // Not ours to repair; better to lose the history than to keep a header.
    return null;
  }
}
