// Writes the table of the built page for dashboard.c: node embed.mjs DIR HEADER
// Each file is included by the assembler (.incbin) as it is and, where that makes it smaller, compressed.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { constants, gzipSync } from 'node:zlib';

const TYPES = {
	'.html': 'text/html; charset=utf-8',
	'.js': 'text/javascript; charset=utf-8',
	'.css': 'text/css; charset=utf-8',
	'.svg': 'image/svg+xml',
};

const [dir, header] = process.argv.slice(2);
if (!dir || !header) throw new Error('usage: node embed.mjs DIR HEADER');

function files(below) {
	return readdirSync(join(dir, below), { withFileTypes: true }).flatMap((e) => {
		const path = below ? `${below}/${e.name}` : e.name;
		return e.isDirectory() ? files(path) : [path];
	});
}

// The names become strings of C and of the assembler: nothing that either would read in its own way.
const plain = (s) => {
	if (!/^[\w./-]+$/.test(s)) throw new Error(`${s}: only letters, digits, ".", "_", "-" and "/" may stand in a path`);
	return s;
};

const rows = [];
const blobs = [];
function blob(file) {
	const name = `dashboard_blob_${blobs.length / 2}`;
	blobs.push(
		`__asm__(".pushsection .rodata\\n.balign 16\\n${name}:\\n.incbin \\"${plain(file)}\\"\\n.popsection\\n");`,
		`extern const unsigned char ${name}[];`,
	);
	return name;
}

// In the order of strcmp(): dashboard.c searches by halves.
const order = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
for (const path of files('')
	.filter((f) => !f.endsWith('.gz'))
	.sort(order)) {
	const type = TYPES[extname(path)];
	if (!type) throw new Error(`${path}: no content type is known for it`);
	const data = readFileSync(join(dir, path));
	const etag = createHash('sha256').update(data).digest('hex').slice(0, 20);
	const small = gzipSync(data, { level: constants.Z_BEST_COMPRESSION });
	const gzip = small.length < data.length * 0.9;
	if (gzip) writeFileSync(join(dir, `${path}.gz`), small);
	const pack = gzip ? `${blob(join(dir, `${path}.gz`))}, ${small.length}` : '0, 0';
	rows.push(`\t{ "/${plain(path)}", "${type}", "\\"${etag}\\"", ${blob(join(dir, path))}, ${data.length}, ${pack} },`);
}
if (!rows.some((r) => r.includes('"/index.html"'))) throw new Error(`${dir} holds no index.html`);

writeFileSync(
	header,
	[
		'/* Made by web/dashboard/embed.mjs from the built page. */',
		...blobs,
		'static const struct dashboard_file dashboard_files[] = {',
		...rows,
		'};',
		'',
	].join('\n'),
);
