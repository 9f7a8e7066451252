// express with express-session in Redis, whose address is the variable REDIS_URL.

import express from 'express';
import session from 'express-session';
import { RedisStore } from 'connect-redis';
import { createClient } from 'redis';

const client = createClient({ url: process.env.REDIS_URL });
await client.connect();

const app = express();
app.disable('etag');
app.disable('x-powered-by');
app.use(
  session({
    secret: 'a secret, made up',
    // A session is written only if it has changed, and a request does not extend it.
    store: new RedisStore({ client, disableTouch: true }),
    resave: false,
    saveUninitialized: false,
  }),
);
app.post('/sign-in', (request, response) => {
  request.session.user = 'alice';
  response.send('ok');
});
app.get('/session', (request, response) => {
  const { user } = request.session;
  if (user) {
    response.json({ status: 'ok', user });
  } else {
    response.status(401).end();
  }
});

const [host, port] = process.argv[2].split(':');
app.listen(Number(port), host);
