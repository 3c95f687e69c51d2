import { defineConfig } from 'vite';

// The page is served under "default-src 'self'": nothing may be inlined, neither scripts nor pictures as data: URLs.
const target = process.env.TULOU_URL ?? 'http://127.0.0.1:8099';

export default defineConfig({
	base: '/',
	publicDir: 'public',
	build: {
		outDir: process.env.DASHBOARD_OUT ?? 'dist',
		emptyOutDir: true,
		assetsInlineLimit: 0,
		modulePreload: { polyfill: false },
		target: 'es2021',
		reportCompressedSize: false,
	},
	esbuild: { jsx: 'automatic', jsxImportSource: 'preact', legalComments: 'none' },
	server: { proxy: { '/v1': { target, changeOrigin: true }, '/version': { target, changeOrigin: true } } },
	test: { include: ['test/**/*.test.ts'] },
});
