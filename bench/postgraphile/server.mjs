// Serves PostGraphile as a library on Node's own HTTP server, one process for
// each core, which is how its documentation runs it in production.
import cluster from "node:cluster";
import { createServer } from "node:http";
import { grafserv } from "postgraphile/grafserv/node";
import { postgraphile } from "postgraphile";

const workers = Number(process.env.BENCH_WORKERS);

if (cluster.isPrimary && workers > 1) {
  for (let i = 0; i < workers; i++) cluster.fork();
  cluster.on("exit", () => process.exit(1));
} else {
  const { default: preset } = await import("./graphile.config.mjs");
  const serv = postgraphile(preset).createServ(grafserv);
  const server = createServer();
  await serv.addTo(server);
  server.listen(Number(process.env.BENCH_PORT), "127.0.0.1");
}
