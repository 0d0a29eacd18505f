// The preset of PostGraphile, as its documentation recommends for production: the
// amber preset, no GraphiQL, a pool that sets the statement timeout once for each
// connection, and the bearer token verified in grafast.context. No pgSettings are
// set, which spares PostGraphile the transaction around every request that
// row-level security would need.
import jwt from "jsonwebtoken";
import pg from "pg";
import { makePgService } from "postgraphile/adaptors/pg";
import { PostGraphileAmberPreset } from "postgraphile/presets/amber";

const { BENCH_DATABASE_URL, BENCH_JWT_SECRET, BENCH_JWT_ISSUER, BENCH_JWT_AUDIENCE, BENCH_POOL } = process.env;

const pool = new pg.Pool({
  connectionString: BENCH_DATABASE_URL,
  max: Number(BENCH_POOL),
  statement_timeout: 9000,
});
pool.on("error", () => {});
pool.on("connect", (client) => client.on("error", () => {}));

function caller(request) {
  const [scheme, token] = (request?.headers.authorization ?? "").split(" ");
  if (scheme !== "Bearer") {
    throw Object.assign(new Error("no token"), { statusCode: 401 });
  }
  return jwt.verify(token, BENCH_JWT_SECRET, {
    algorithms: ["HS256"],
    issuer: BENCH_JWT_ISSUER,
    audience: BENCH_JWT_AUDIENCE,
  });
}

/** @type {GraphileConfig.Preset} */
export default {
  extends: [PostGraphileAmberPreset],
  pgServices: [makePgService({ pool, schemas: ["public"] })],
  grafserv: { graphqlPath: "/graphql", graphiql: false, watch: false, websockets: false },
  grafast: {
    explain: false,
    context({ node }) {
      const claims = caller(node?.req);
      if (!claims.authorities?.includes("ROLE_ADMIN")) {
        throw Object.assign(new Error("forbidden"), { statusCode: 403 });
      }
      return { caller: claims.sub };
    },
  },
};
