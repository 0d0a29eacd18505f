// Starts servers, runs the checks one after the other, and counts. See ./run.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), 'roster-clients-'));
const roster = join(scratch, 'roster');
const manifest = join(here, 'codegen/generated/persisted-documents.json');
const stepTimeout = 180_000;

const processes = [];
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    stop();
    process.exit(1);
  });
}

function stop() {
  processes.forEach((child) => child.kill());
  rmSync(scratch, { recursive: true, force: true });
}

// Runs a command to its end and gives what it printed.
function command(folder, env, name, ...args) {
  return new Promise((resolve, reject) => {
    const child = spawn(name, args, {
      cwd: join(here, folder),
      env: { ...process.env, ...env, PATH: join(here, 'node_modules/.bin') + delimiter + process.env.PATH },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: stepTimeout,
    });
    processes.push(child);
    const output = [];
    child.stdout.on('data', (data) => output.push(data));
    child.stderr.on('data', (data) => output.push(data));
    child.on('error', reject);
    child.on('close', (code, signal) => {
      const text = Buffer.concat(output).toString().trim();
      if (code === 0) {
        resolve(text);
      } else {
        reject(new Error(`${name} ${args.join(' ')} ended with ${signal ?? code}:\n${text}`));
      }
    });
  });
}

// Starts a server on a port of its own and gives what the clients need to know.
async function serve(...args) {
  const server = spawn(roster, ['demo', '--json', '--users', '500', '--listen', '127.0.0.1:0', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  processes.push(server);
  const log = [];
  server.stderr.on('data', (data) => log.push(data));
  const facts = await new Promise((resolve, reject) => {
    createInterface(server.stdout).once('line', (line) => resolve(JSON.parse(line)));
    server.once('close', () => reject(new Error(`the server did not start:\n${Buffer.concat(log)}`)));
  });
  return {
    ROSTER_URL: facts.url,
    ROSTER_GRAPHQL: facts.graphql,
    ROSTER_TOKEN: facts.tokens.admin,
    ROSTER_CUSTOMER: facts.customers.at(-1).id, // the generated ones come last; they have some pages of users
  };
}

const checks = {
  async docs(run) {
    return run('.', 'node', 'docs.mjs');
  },
  async audit(run) {
    return run('.', 'node', 'audit.mjs');
  },
  async codegen(run) {
    await run('codegen', 'graphql-codegen');
    await run('codegen', 'tsc');
    await run('codegen', 'node', 'check.mjs');
    return run('codegen', 'node', 'generated/js/dashboard.js');
  },
  // The manifest that codegen wrote is what a server with trusted documents reads.
  async trusted() {
    const env = await serve('--trusted-documents', manifest);
    await command('codegen', { ...env, ROSTER_TRUSTED: 'yes' }, 'node', 'generated/js/dashboard.js');
    return command('codegen', env, 'node', 'trusted.mjs');
  },
  async relay(run) {
    await run('relay', 'relay-compiler');
    return run('relay', 'node', 'main.js');
  },
  async apollo(run) {
    return run('apollo', 'node', 'main.mjs');
  },
  async urql(run) {
    return run('urql', 'node', 'main.mjs');
  },
  async genqlient(run) {
    const generated = join(here, 'genqlient/generated.go');
    const committed = readFileSync(generated, 'utf8');
    await run('genqlient', 'go', 'tool', 'genqlient');
    if (readFileSync(generated, 'utf8') !== committed) {
      throw new Error('generated.go was not up to date; it is now');
    }
    return run('genqlient', 'go', 'run', '.');
  },
};

const failed = [];
try {
  await command('..', {}, 'go', 'build', '-o', roster, '.');
  const env = await serve();
  const schema = await fetch(`${env.ROSTER_URL}/schema.graphqls`);
  writeFileSync(join(here, 'schema.graphql'), await schema.text());

  const run = (folder, ...rest) => command(folder, env, ...rest);
  for (const [name, check] of Object.entries(checks)) {
    const start = performance.now();
    const line = (verdict, text) => {
      const seconds = ((performance.now() - start) / 1000).toFixed(1);
      console.log(`${verdict.padEnd(6)} ${name.padEnd(9)} ${seconds.padStart(5)} s  ${text}`);
    };
    try {
      line('ok', (await check(run)).split('\n').at(-1));
    } catch (error) {
      failed.push(name);
      line('FAILED', error.message);
    }
  }
} finally {
  stop();
}

console.log(`${Object.keys(checks).length - failed.length} passed, ${failed.length} failed`);
process.exitCode = failed.length > 0 ? 1 : 0;
