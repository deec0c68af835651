#!/usr/bin/env bash
# The documentation's pages: docs_bundle.sh REFERENCE_HTML OUT. The viewers come through npm at fixed versions, are
# checked by SHA-512 and kept in OUT.cache, so that a second build needs no network. Where npm or its registry cannot
# be had, the plain reference page is all there is, and it is served in the viewers' place.
set -euo pipefail
reference="$1" out="$2"
pages="$(cd "$(dirname "$0")/pages" && pwd)"
mkdir -p "$out.cache"
cache="$(cd "$out.cache" && pwd)"

# name version sha512
viewers=(
	"swagger-ui-dist 5.35.0 534eaba4cb56f55dd73c638179a993512af4674f63317e0826e00da44fc465b021c341bc0a0c2bcd4e18997927fe1d3008336c5dd19aad334d1c2dec53cc9551"
	"redoc 2.5.4 33a8d6846d6aa019c7e93166cc99ecb72099f3b1e6398fd4cc39bbf261e262284476557f61c4bda203a8d4d94496724c78bb32c4715edb215ce2c3631d3ac005"
)

good() { [ -f "$1" ] && echo "$2  $1" | sha512sum --check --status; }

# The package's archive, into the cache. The checksum decides, whoever delivered it.
fetch() {
	local name="$1" version="$2" sum="$3" file="$cache/$1.tgz"
	good "$file" "$sum" && return 0
	command -v npm >/dev/null || { echo "documentation: npm is not installed"; return 1; }
	if ! (cd "$cache" && timeout 60 npm pack --silent --cache "$cache/npm" --fetch-retries 1 \
		--fetch-timeout 20000 "$name@$version" >/dev/null 2>&1 </dev/null); then
		echo "documentation: npm cannot get $name $version"
		return 1
	fi
	mv "$cache/$name-$version.tgz" "$file"
	good "$file" "$sum" && return 0
	rm -f "$file"
	echo "documentation: $name $version does not have the expected checksum"
	return 1
}

unpack() {
	local file="$cache/$1.tgz" path
	shift
	for path in "$@"; do
		tar -xzOf "$file" "package/$path" >"$out.new/assets/$(basename "$path")"
	done
}

fetch_all() {
	local viewer name version sum
	for viewer in "${viewers[@]}"; do
		read -r name version sum <<<"$viewer"
		fetch "$name" "$version" "$sum" || return 1
	done
}

rm -rf "$out.new"
mkdir -p "$out.new/assets" "$out.new/reference"
cp "$reference" "$out.new/reference/index.html"
cp "$pages/reference.css" "$out.new/assets/"
if fetch_all; then
	mkdir -p "$out.new/swagger" "$out.new/redoc"
	unpack swagger-ui-dist swagger-ui.css swagger-ui-bundle.js
	unpack redoc bundles/redoc.standalone.js
	cp "$pages/swagger-start.js" "$out.new/assets/"
	cp "$pages/swagger.html" "$out.new/swagger/index.html"
	cp "$pages/redoc.html" "$out.new/redoc/index.html"
else
	echo "documentation: the plain reference page stands in; 'make docs-again' tries once more"
fi
rm -rf "$out" "$cache/npm"
mv "$out.new" "$out"
