#!/bin/bash
# The buildpacks on real trees, as an unprivileged user, without the node.  Speaks TAP.
# npm's registry is used when it answers; what needs it is skipped, and says so, when it does not.
set -u
cd "$(dirname "$0")/../.." || exit 1
examples=$PWD/deploy/examples
work=$(mktemp -d /tmp/tulou-buildpacks.XXXXXX)
chmod 755 "$work"
# The tree itself may lie where an unprivileged user cannot look.
cp -a deploy/buildpacks "$work/packs"
packs=$work/packs
pids=()
cleanup() {
	[ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null
	rm -rf "$work"
}
trap cleanup EXIT
n=0 bad=0
check() { # NAME CONDITION...
	n=$((n + 1))
	local name=$1
	shift
	if "$@" >/dev/null 2>&1; then echo "ok $n - $name"; else
		bad=1
		echo "not ok $n - $name"
		tail -n 15 "$work/log" 2>/dev/null | sed 's/^/  # /'
	fi
}
skip() {
	n=$((n + 1))
	echo "ok $n - $1 # SKIP $2"
}
as_tenant() {
	local drop=()
	[ "$(id -u)" -ne 0 ] || drop=(setpriv --reuid 1000 --regid 1000 --clear-groups)
	"${drop[@]}" env -i PATH=/usr/local/bin:/usr/bin:/bin "$@"
}
# fresh NAME: an empty app, cache and env in $work/NAME; fixture files come from the caller.
fresh() {
	app=$work/$1/app cache=$work/$1/cache env=$work/$1/env
	mkdir -p "$app" "$cache" "$env"
}
compile() { # PACK → $work/log, its exit code
	[ "$(id -u)" -ne 0 ] || chown -R 1000:1000 "$app" "$cache" "$env"
	as_tenant "$packs/$1/bin/compile" "$app" "$cache" "$env" >"$work/log" 2>&1
}
refused() { ! compile "$1" && grep -q "$2" "$work/log"; }
web() { as_tenant "$packs/$1/bin/release" "$app" | sed -n 's/^  web: //p'; }
web_is() { [ "$(web "$1")" = "$2" ]; }
# Starts the web process of an app that lives in $app instead of /app, and waits until it answers.
serve() { # COMMAND
	local port=$((20000 + RANDOM % 20000)) i
	(cd "$app" && as_tenant PORT=$port PATH="$app/.venv/bin:$app/node_modules/.bin:/usr/bin:/bin" bash -c "$1" >"$work/log" 2>&1) &
	pids+=($!)
	url=http://127.0.0.1:$port
	for ((i = 0; i < 100; i++)); do
		curl -fs -o /dev/null --max-time 2 "$url/healthz" && return 0
		sleep 0.1
	done
	return 1
}
detected() { # the first pack in the order that says yes
	local pack
	while read -r pack; do
		as_tenant "$packs/$pack/bin/detect" "$app" >/dev/null && echo "$pack" && return
	done < <(grep -v '^#' "$packs/order")
}

for example in static python node; do
	fresh detect-$example
	cp -a "$examples/$example/." "$app"
	check "the $example example is for the $example buildpack" test "$(detected)" = $example
done
fresh detect-empty
check "an empty tree is for none" test -z "$(detected)"

# --- static
fresh static
cp -a "$examples/static/." "$app"
printf secret >"$app/.env"
check "static: compiles the example" compile static
sed -i "s|/app|$app|g; s|/tmp/.deflate|$work/static/deflate|" "$app/.tulou/lighttpd.conf"
mkdir -m 777 "$work/static/deflate"
check "static: lighttpd serves it" serve "exec /usr/sbin/lighttpd -D -f .tulou/lighttpd.conf"
is() { [ "$(curl -s -o /dev/null -w "%{$2}" --max-time 5 "$url$1")" = "$3" ]; }
check "static: the index has its type" is / content_type "text/html; charset=utf-8"
check "static: styles are compressed" bash -c "curl -s --compressed -D - -o /dev/null $url/assets/style.css | grep -qi 'content-encoding: gzip'"
check "static: a range is a 206" test "$(curl -s -o /dev/null -r 0-9 -w '%{http_code} %{size_download}' "$url/assets/house.svg")" = "206 10"
check "static: the site's own 404 page" bash -c "curl -s $url/nowhere | grep -q 'No such room'"
for path in /.env /.tulou/lighttpd.conf /tulou.yaml; do
	check "static: $path is not served" is $path http_code 403
done
check "static: .. does not leave the site" bash -c "! curl -s --path-as-is $url/../../../../etc/passwd | grep -q root:"
fresh static-one
echo x >"$app/index.html"
one() { compile static && grep -q ' 1 file, ' "$work/log"; }
check "static: one file is one" one
fresh static-none
echo x >"$app/page.html"
check "static: without index.html it says so" refused static "no index.html"

# --- procfile
fresh procfile
printf '# nothing\n' >"$app/Procfile"
check "procfile: an empty one is refused with an example" refused procfile "names no process"
printf 'web: ./server\n' >"$app/Procfile"
check "procfile: a good one passes" compile procfile

# --- python
fresh python
cp -a "$examples/python/." "$app"
check "python: compiles the example without network" compile python
check "python: python app.py is guessed" web_is python '"exec python app.py"'
check "python: it answers" serve "exec python app.py"
check "python: the API answers" bash -c "curl -s '$url/api/time?zone=Asia/Tokyo' | grep -q '\"offset_minutes\": 540'"
check "python: bytecode is there" test -f "$app/__pycache__/app.cpython-311.pyc"

# A wheel made here stands for what an index would give.
fresh python-wheel
mkdir "$app/vendor"
python3 - "$app/vendor/greeter-1.0-py3-none-any.whl" <<'PY'
import sys, zipfile
with zipfile.ZipFile(sys.argv[1], "w") as z:
    z.writestr("greeter.py", "def greet():\n    return 'hello from a wheel'\n")
    z.writestr("greeter-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: greeter\nVersion: 1.0\n")
    z.writestr("greeter-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    z.writestr("greeter-1.0.dist-info/RECORD", "greeter.py,,\ngreeter-1.0.dist-info/METADATA,,\ngreeter-1.0.dist-info/WHEEL,,\ngreeter-1.0.dist-info/RECORD,,\n")
PY
printf -- '--no-index\n--find-links vendor\ngreeter==1.0\n' >"$app/requirements.txt"
printf 'import greeter\nprint(greeter.greet())\n' >"$app/main.py"
check "python: requirements are installed into .venv" compile python
check "python: and can be used" bash -c "'$app/.venv/bin/python' '$app/main.py' | grep -q wheel"
printf -- '--no-index\ngreeter==2.0\n' >"$app/requirements.txt"
check "python: a version that is not there is named" refused python "did not find a package or version"
printf 'a b c\n' >"$app/requirements.txt"
check "python: a line that is no requirement is named" refused python "does not understand"
fresh python-guess
printf 'from flask import Flask\napp = Flask(__name__)\n' >"$app/app.py"
check "python: Flask without gunicorn runs the file" web_is python '"exec python app.py"'
fresh python-none
printf '' >"$app/requirements.txt"
check "python: nothing to start is refused with an example" refused python "Nothing says how to start"

# --- node
fresh node-none
echo '{"name":"x"}' >"$app/package.json"
check "node: nothing to start is refused with an example" refused node "Nothing says how to start"
echo '{"name": oops' >"$app/package.json"
check "node: a broken package.json is refused" refused node "package.json cannot be read"
fresh node-plain
echo '{"name":"x","scripts":{"start":"node a.js --flag"}}' >"$app/package.json"
check "node: no dependencies need no registry" compile node
check "node: a plain start command runs without npm" web_is node '"exec node a.js --flag"'
echo '{"name":"x","scripts":{"start":"A=1 node a.js && true"}}' >"$app/package.json"
check "node: any other start command runs by npm start" web_is node '"npm start"'
echo '{"name":"x"}' >"$app/package.json"
echo >"$app/index.js"
check "node: index.js is guessed" web_is node '"exec node index.js"'

if timeout 30 env npm_config_cache="$work/ping" npm ping >/dev/null 2>&1; then
	fresh node
	cp -a "$examples/node/." "$app"
	check "node: npm ci of the express example" compile node
	check "node: it answers" serve "exec node server.js"
	check "node: the API takes a note" bash -c "curl -s -H 'content-type: application/json' -d '{\"name\":\"a\",\"text\":\"b\"}' $url/api/notes | grep -q '\"id\":2'"
	rm -rf "$app/node_modules"
	check "node: the second build takes node_modules from the cache" bash -c "$(declare -f compile as_tenant); app=$app cache=$cache env=$env packs=$packs work=$work; compile node && grep -q 'comes from the cache' $work/log && test -d $app/node_modules/express"
	sed -i 's/"express": "^4[^"]*"/"express": "^3.0.0"/' "$app/package.json"
	check "node: a lock file that does not match is refused with the next step" refused node "does not match package.json"

	# A second popular framework, with a build step whose tools must be gone afterwards.
	fresh node-build
	cat >"$app/package.json" <<'JSON'
{ "name": "built", "private": true, "scripts": { "build": "tsc -p .", "start": "node out/server.js" },
  "dependencies": { "fastify": "^4.28.0" }, "devDependencies": { "typescript": "^5.4.0" } }
JSON
	echo '{ "compilerOptions": { "outDir": "out", "module": "commonjs", "target": "es2022", "skipLibCheck": true, "types": [] }, "files": ["server.ts"] }' >"$app/tsconfig.json"
	cat >"$app/server.ts" <<'TS'
declare const process: { env: Record<string, string> };
import fastify from 'fastify';
const app = fastify();
app.get('/healthz', async () => ({ ok: true }));
app.listen({ port: Number(process.env.PORT), host: '0.0.0.0' });
TS
	check "node: fastify in TypeScript is installed and built" compile node
	check "node: what only the build needed is gone" test ! -e "$app/node_modules/typescript"
	check "node: the built server answers" serve "exec node out/server.js"
	echo 'const x: number = "no";' >"$app/server.ts"
	check "node: a failed build script fails the build" refused node "The script build failed"
	fresh node-missing
	echo '{"name":"x","scripts":{"start":"node a.js"},"dependencies":{"express":"99999.0.0"}}' >"$app/package.json"
	check "node: a version that is not there is named" refused node "did not find a package or version"
else
	skip "node: builds with dependencies" "the npm registry does not answer"
fi
echo "1..$n"
exit $bad
