'use strict';
const $ = (id) => document.getElementById(id);
const element = (tag, text) => Object.assign(document.createElement(tag), { textContent: text });

async function load() {
  const { items } = await (await fetch('api/notes')).json();
  $('notes').replaceChildren(...items.map((n) => {
    const li = document.createElement('li');
    li.append(element('p', n.text), element('small', `${n.name} · ${new Date(n.at).toLocaleString()}`));
    return li;
  }));
  const a = await (await fetch('api/about')).json();
  $('about').textContent = `${a.app} ${a.release} · instance ${a.instance} · Node.js ${a.node} · ` +
    `${a.requests} requests · ${(a.memory_bytes / 1048576).toFixed(0)} MiB`;
}

$('form').addEventListener('submit', async (event) => {
  event.preventDefault();
  const body = JSON.stringify(Object.fromEntries(new FormData($('form'))));
  const answer = await fetch('api/notes', { method: 'POST', headers: { 'content-type': 'application/json' }, body });
  const result = await answer.json();
  $('said').textContent = answer.ok ? 'Thank you.' : result.error;
  if (answer.ok) $('form').elements.text.value = '';
  await load();
});
load().catch((e) => { $('about').textContent = `The API does not answer: ${e.message}`; });
