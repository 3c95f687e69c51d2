'use strict';
// A guest book: a page, a JSON API, notes in memory.  Shows what an app on Tulou needs: it listens on $PORT on all
// addresses, answers /healthz, keeps connections open for the front door, and leaves cleanly at SIGTERM.
const path = require('node:path');
const express = require('express');
const compression = require('compression');

const NOTES_MAX = 200; // memory is bounded; the oldest note goes
const TEXT_MAX = 280;
const NAME_MAX = 40;

const started = Date.now();
let served = 0;
let nextId = 2;
const notes = [{ id: 1, name: 'Tulou', text: 'Welcome. This note lives in the memory of one sandboxed instance.', at: new Date().toISOString() }];

const app = express();
app.disable('x-powered-by');
app.set('trust proxy', true);
app.use((req, res, next) => { served++; next(); });
app.get('/healthz', (req, res) => res.type('text').send('ok\n'));
app.use(compression());
app.use(express.static(path.join(__dirname, 'public'), { maxAge: '5m' }));
app.use('/api', express.json({ limit: '4kb' }));

app.get('/api/notes', (req, res) => res.json({ items: notes.slice().reverse() }));
app.post('/api/notes', (req, res) => {
  const { name, text } = req.body ?? {};
  const bad = (field, max) => res.status(422).json({ error: `${field} must be 1 to ${max} characters of text`, field });
  if (typeof name !== 'string' || !name.trim() || name.length > NAME_MAX) return bad('name', NAME_MAX);
  if (typeof text !== 'string' || !text.trim() || text.length > TEXT_MAX) return bad('text', TEXT_MAX);
  const note = { id: nextId++, name: name.trim(), text: text.trim(), at: new Date().toISOString() };
  notes.push(note);
  if (notes.length > NOTES_MAX) notes.shift();
  console.log(`note ${note.id} added, ${notes.length} kept`);
  res.status(201).location(`/api/notes/${note.id}`).json(note);
});
app.get('/api/notes/:id', (req, res) => {
  const note = notes.find((n) => String(n.id) === req.params.id);
  return note ? res.json(note) : res.status(404).json({ error: 'there is no such note' });
});
app.get('/api/about', (req, res) => res.json({
  app: process.env.TULOU_APP ?? 'guest book',
  release: process.env.TULOU_RELEASE ?? 'local',
  instance: process.env.TULOU_INSTANCE ?? '-',
  node: process.version,
  uptime_seconds: Math.round((Date.now() - started) / 1000),
  requests: served,
  memory_bytes: process.memoryUsage.rss(),
}));

app.use((req, res) => res.status(404).json({ error: 'not found', path: req.path }));
// Four arguments make it express's error handler: a body that is not JSON ends here.
app.use((err, req, res, next) => {
  if (res.headersSent) return next(err);
  const status = err.status ?? 500;
  if (status >= 500) console.error(err);
  res.status(status).json({ error: status >= 500 ? 'something went wrong here' : err.message });
});

const server = app.listen(Number(process.env.PORT ?? 3000), '0.0.0.0', () => {
  console.log(`listening on port ${server.address().port}`);
});
// Longer than the front door keeps an idle connection, so that never both ends decide at once.
server.keepAliveTimeout = 95_000;
server.headersTimeout = 100_000;

process.on('SIGTERM', () => {
  console.log('SIGTERM: no new connections, finishing what is in flight');
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
