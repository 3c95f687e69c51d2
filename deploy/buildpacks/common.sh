# What the buildpacks share; sourced by bash.  Output is in Heroku's style:
#   "-----> " a step, seven blanks a detail, " !     " something the app's owner must read.
# Runs in the build sandbox: uid 1000, host's /usr read-only, BUILD_DIR is /app, everything writable is a bounded tmpfs.

set -euo pipefail
umask 022
export LC_ALL=C.UTF-8

topic() { printf -- '-----> %s\n' "$*"; }
info() { printf '       %s\n' "$*"; }
warn() { printf ' !     %s\n' "$@"; }
# fail LINE...: the lines for the owner, then the end.
fail() {
	printf ' !\n'
	printf ' !     %s\n' "$@"
	printf ' !\n'
	exit 1
}
indent() { sed -u 's/^/       /'; }

# words COMMAND...: runs it with its output indented.  What it leaves running may hold the output open, and is not waited for.
words() {
	local status=0 out reader left=20
	exec {out}> >(indent)
	reader=$!
	"$@" >&"$out" 2>&1 {out}>&- || status=$?
	exec {out}>&-
	while kill -0 "$reader" 2>/dev/null; do
		if [ $((left -= 1)) -lt 0 ]; then
			warn "A process was left running in the background: it ends with the build."
			kill "$reader" 2>/dev/null || true
			break
		fi
		sleep 0.05
	done
	return "$status"
}

# Programs want a home they can write to; the sandbox may have none.
if [ ! -w "${HOME:-/nonexistent}" ]; then
	HOME=${TMPDIR:-/tmp}/home
	export HOME
	mkdir -p "$HOME"
fi

# Exports the config vars in ENV_DIR ($1), one file each, for the build, but none that would change the tools themselves.
export_env_dir() {
	local file name
	[ -d "${1-}" ] || return 0
	for file in "$1"/*; do
		name=${file##*/}
		[[ -f $file && $name =~ ^[A-Za-z_][A-Za-z0-9_]*$ ]] || continue
		case $name in
		PATH | HOME | TMPDIR | GIT_* | LD_* | BASH_ENV | ENV | SHELLOPTS | IFS | LC_ALL | PYTHONHOME | PORT) continue ;;
		esac
		export "$name=$(<"$file")"
	done
}

# Succeeds when Procfile ($1/Procfile) has process type $2.
procfile_has() { [ -f "$1/Procfile" ] && grep -qE "^$2[[:space:]]*:" "$1/Procfile"; }

# A key of everything that decides what is installed: files and words given.
key_of() {
	local word
	for word in "$@"; do
		if [ -f "$word" ]; then sha256sum <"$word"; else printf '%s\n' "$word"; fi
	done | sha256sum | cut -c1-40
}

# cache_save DIR NAME KEY: packs DIR into the cache, compressed, as both live in memory.  A failure only costs time later.
cache_save() {
	rm -f "$CACHE_DIR/$2.tar.zst" "$CACHE_DIR/$2.key"
	if tar -C "$1/.." -cf - "${1##*/}" | zstd -q -1 -T1 -o "$CACHE_DIR/$2.tar.zst"; then
		printf '%s\n' "$3" >"$CACHE_DIR/$2.key"
	else
		rm -f "$CACHE_DIR/$2.tar.zst"
	fi
}

# cache_restore PARENT NAME KEY: unpacks what cache_save packed into PARENT; fails when there is nothing under that key.
cache_restore() {
	[ -f "$CACHE_DIR/$2.key" ] && [ "$(<"$CACHE_DIR/$2.key")" = "$3" ] || return 1
	zstd -q -dc "$CACHE_DIR/$2.tar.zst" | tar -C "$1" -xf -
}

# cache_bound MIB NAME...: drops the named parts of the cache, in this order, until it fits.
cache_bound() {
	local limit=$1 name
	shift
	for name in "$@"; do
		[ "$(du -sm "$CACHE_DIR" | cut -f1)" -gt "$limit" ] || return 0
		rm -rf "${CACHE_DIR:?}/$name" "$CACHE_DIR/$name.tar.zst" "$CACHE_DIR/$name.key"
	done
}

# yaml_string TEXT: a double-quoted YAML scalar, which is what a JSON string is.
yaml_string() {
	local s=$1
	s=${s//\\/\\\\}
	s=${s//\"/\\\"}
	printf '"%s"' "$s"
}
