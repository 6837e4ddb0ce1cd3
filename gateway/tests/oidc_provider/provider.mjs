// A certified OpenID provider (`oidc-provider`) whose keys and weather a test decides.
//
//   node provider.mjs FOLDER      FOLDER holds the node_modules of package.json beside this file
//
// Prints one line, {"issuer": …, "control": …}, and ends when its standard input is closed, so
// that it never outlives the test. The issuer has the provider's own discovery document, key set
// and token endpoint; nothing of them is made here. The control endpoint takes JSON by POST:
//
//   /keys      {"publish": [1, 2], "sign": 2}   Key sets by number, each an RSA and an EC key, made
//                                               when first named. `sign` is one of `publish`.
//   /listen    {"open": false}                  Closes the issuer's port, or opens the same again.
//   /answers   {"to": ["jwks"], "kind": "html"} What comes instead of the provider's own answer
//                                               (GARBAGE below); "own" for its own.
//              {"to": ["jwks"], "after_ms": 8000}  Its own answer, as it is when the request comes,
//                                               sent that much later.
//   /counts    {}                               Answers with the requests so far, by path.

import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { generateKeyPairSync } from 'node:crypto';
import { join } from 'node:path';
import { Readable, pipeline } from 'node:stream';
import { pathToFileURL } from 'node:url';

const HOST = '127.0.0.1';
const TOKEN_LIFETIME_SECONDS = 12 * 3600;
/** More than anybody should read of a key set. */
const HUGE_BYTES = 64 * 1024 * 1024;
/** What the names in `to` and `/counts` stand for. */
const PATHS = { '/.well-known/openid-configuration': 'discovery', '/jwks': 'jwks', '/token': 'token' };
/** While the port was closed, the system may have lent it to a client for a moment. */
const REOPEN = { attempts: 100, pause_ms: 50 };

const folder = process.argv[2];
const resolve = createRequire(pathToFileURL(join(folder, 'package.json'))).resolve;
const { Provider } = await import(pathToFileURL(resolve('oidc-provider')));

const counts = { discovery: 0, jwks: 0, token: 0, elsewhere: 0 };
let answers = { to: [], kind: 'own', after_ms: 0 };
let provider;
let issuer;
let elsewhere;

// --- Keys -----------------------------------------------------------------------------------

const generations = new Map();

function keysOf(generation) {
  if (!generations.has(generation)) {
    const make = (type, options, alg) => {
      const key = generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' });
      return { ...key, kid: `${alg}-${generation}`, alg, use: 'sig' };
    };
    generations.set(generation, [
      make('rsa', { modulusLength: 2048 }, 'RS256'),
      make('ec', { namedCurve: 'P-256' }, 'ES256'),
    ]);
  }
  return generations.get(generation);
}

/** Where the provider would keep what it must remember: its JWTs carry all that they need. */
class NoStore {
  async upsert() {}
  async find() {}
  async consume() {}
  async destroy() {}
}

/** A provider that publishes these keys and signs with those of `sign`. */
function publish({ publish: wanted, sign }) {
  provider = new Provider(issuer, {
    adapter: NoStore,
    jwks: { keys: wanted.flatMap(keysOf) },
    clients: [
      {
        client_id: 'load',
        client_secret: 'known-to-the-test',
        grant_types: ['client_credentials'],
        redirect_uris: [],
        response_types: [],
        token_endpoint_auth_method: 'client_secret_post',
      },
    ],
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        // urn:api:RS256 and urn:api:ES256: one audience, two ways to sign (RFC 8707, RFC 9068).
        getResourceServerInfo: (_context, indicator) => {
          const alg = indicator.split(':').pop();
          return {
            scope: 'users:read',
            audience: 'api',
            accessTokenFormat: 'jwt',
            accessTokenTTL: TOKEN_LIFETIME_SECONDS,
            jwt: { sign: { alg, kid: `${alg}-${sign}` } },
          };
        },
      },
    },
    ttl: { ClientCredentials: TOKEN_LIFETIME_SECONDS },
  });
}

// --- The issuer -----------------------------------------------------------------------------

const text = (response, type, body) => response.writeHead(200, { 'content-type': type }).end(body);
const json = (response, value) => text(response, 'application/json', JSON.stringify(value));

/** What to answer with instead, by kind. */
const GARBAGE = {
  html: (response) => text(response, 'text/html', '<!doctype html><title>Sign in</title>'),
  truncated: (response) => text(response, 'application/json', '{"keys":[{"kty":"RSA","kid":"RS256-1","n":"'),
  empty_body: (response) => text(response, 'application/json', ''),
  empty_set: (response) => json(response, { keys: [] }),
  no_set: (response) => json(response, { keys: 'none', error: 'temporarily_unavailable' }),
  no_usable_key: (response) => json(response, { keys: [{ kty: 'oct', k: 'c2VjcmV0' }, { kty: 'RSA', use: 'enc' }] }),
  error_500: (response) => response.writeHead(500).end('{"keys":[]}'),
  cut_off: (response) => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': 1000 });
    response.write('{"keys":[', () => response.destroy());
  },
  huge: (response) => {
    const piece = Buffer.alloc(64 * 1024, ' ');
    const pieces = function* () {
      yield '{"keys":[';
      for (let sent = 0; sent < HUGE_BYTES; sent += piece.length) yield piece;
      yield ']}';
    };
    response.writeHead(200, { 'content-type': 'application/json' });
    // Whoever reads hangs up in the middle, which is no error here.
    pipeline(Readable.from(pieces()), response, () => {});
  },
  redirect: (response) => response.writeHead(302, { location: elsewhere }).end(),
  // Keys of somebody else, vouched for by a document about somebody else.
  other_issuer: (response) => json(response, { issuer: `${issuer}/other`, jwks_uri: elsewhere, keys: [] }),
};

function serve(request, response) {
  const name = PATHS[request.url];
  if (name) counts[name] += 1;
  const { to, kind, after_ms: afterMs } = answers;
  if (!to.includes(name)) {
    provider.callback()(request, response);
  } else if (kind !== 'own') {
    GARBAGE[kind](response);
  } else {
    // An answer that is under way knows nothing of a rotation that comes meanwhile.
    const answering = provider.callback();
    setTimeout(() => answering(request, response), afterMs);
  }
}

// A client that hangs up in the middle of an answer is no error here.
const issuerServer = createServer(serve).on('clientError', (_error, socket) => socket.destroy());

function listen(server, port) {
  return new Promise((done, failed) => {
    server.once('error', failed);
    server.listen(port, HOST, () => {
      server.off('error', failed);
      done(server.address().port);
    });
  });
}

async function reopen() {
  const { port } = new URL(issuer);
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await listen(issuerServer, Number(port));
    } catch (error) {
      if (attempt === REOPEN.attempts) throw error;
      await new Promise((later) => setTimeout(later, REOPEN.pause_ms));
    }
  }
}

async function close() {
  const closed = new Promise((done) => issuerServer.close(done));
  issuerServer.closeAllConnections();
  await closed;
}

// --- Control --------------------------------------------------------------------------------

const COMMANDS = {
  '/keys': (wanted) => publish(wanted),
  '/listen': ({ open }) => (open ? reopen() : close()),
  '/answers': ({ to, kind = 'own', after_ms = 0 }) => {
    if (kind !== 'own' && !GARBAGE[kind]) throw new Error(`no such kind: ${kind}`);
    answers = { to, kind, after_ms };
  },
  '/counts': () => {},
};

async function control(request, response) {
  if (request.url === '/elsewhere') {
    counts.elsewhere += 1;
    json(response, { keys: [] });
    return;
  }
  try {
    const body = (await request.toArray()).join('');
    await COMMANDS[request.url](JSON.parse(body));
    json(response, counts);
  } catch (error) {
    response.writeHead(400).end(String(error.stack));
  }
}

const controlPort = await listen(createServer(control), 0);
// By another name, so that it is another host.
elsewhere = `http://localhost:${controlPort}/elsewhere`;
issuer = `http://${HOST}:${await listen(issuerServer, 0)}`;
publish({ publish: [1], sign: 1 });
process.stdout.write(`${JSON.stringify({ issuer, control: `http://${HOST}:${controlPort}` })}\n`);

process.stdin.resume().on('end', () => process.exit()).on('error', () => process.exit());
