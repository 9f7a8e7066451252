// iron-session on Node's own HTTP server: sessions in encrypted cookies.

import { createServer } from 'node:http';
import { getIronSession } from 'iron-session';

const options = { cookieName: 'session', password: 'a password of at least 32 characters, made up' };

const server = createServer(async (request, response) => {
  const session = await getIronSession(request, response, options);
  if (request.method === 'POST' && request.url === '/sign-in') {
    session.user = 'alice';
    await session.save();
    response.end();
  } else if (request.url === '/session' && session.user) {
    response.setHeader('Content-Type', 'application/json');
    response.end(JSON.stringify({ status: 'ok', user: session.user }));
  } else {
    response.statusCode = 401;
    response.end();
  }
});

const [host, port] = process.argv[2].split(':');
server.listen(Number(port), host);
