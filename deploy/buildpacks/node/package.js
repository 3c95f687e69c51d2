// Answers one question about package.json for the shell.  usage: node package.js FILE QUESTION
'use strict';
const fs = require('fs');
const [file, question] = process.argv.slice(2);
let p;
try {
	p = JSON.parse(fs.readFileSync(file, 'utf8').replace(/^\uFEFF/, ''));
	if (p === null || typeof p !== 'object' || Array.isArray(p)) throw new Error('it is not an object');
} catch (e) {
	process.stderr.write(e.message + '\n');
	process.exit(3);
}
const text = (v) => (typeof v === 'string' ? v : '');
const script = (name) => text(p.scripts && p.scripts[name]).trim();
const count = (o) => (o && typeof o === 'object' ? Object.keys(o).length : 0);
const answers = {
	check: () => '',
	start() {
		// `npm start` keeps a second Node.js of 40 MiB in memory for the life of the app: a plain command is run itself.
		const s = script('start');
		if (!s) return '';
		if (script('prestart') || script('poststart') || !/^node [^&|;<>`$()\n]+$/.test(s)) return 'npm start';
		return 'exec ' + s;
	},
	main: () => text(p.main),
	engine: () => text(p.engines && p.engines.node),
	dependencies: () => String(count(p.dependencies) + count(p.optionalDependencies)),
	devDependencies: () => String(count(p.devDependencies)),
	// npm's own hooks around an installation may need what is in devDependencies.
	hooks: () => ['preinstall', 'install', 'postinstall', 'prepare'].filter(script).join(' '),
};
const ask = answers[question];
process.stdout.write(ask ? ask() : question.startsWith('script:') ? script(question.slice(7)) : '');
