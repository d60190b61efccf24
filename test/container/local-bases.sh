#!/usr/bin/env bash
# Makes stand-ins for the Dockerfile's two base images out of Debian packages and this machine's Node, for machines that reach a
# package mirror but no image registry. Bases that the engine has already are left alone.
set -euo pipefail
cd "$(dirname "$0")/../.."

node_image=$(sed -n 's/^ARG NODE_IMAGE=//p' Dockerfile)
python_image=$(sed -n 's/^ARG PYTHON_IMAGE=//p' Dockerfile)
if docker image inspect "$node_image" "$python_image" >/dev/null 2>&1; then exit 0; fi
# The real ones where they can be had.
if timeout 300 docker pull -q "$node_image" && timeout 300 docker pull -q "$python_image"; then exit 0; fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
# A tree made earlier saves a minute and a half.
cache=${LATENTCAST_BASE_CACHE:-$work/debian.tar}
if [ ! -s "$cache" ]; then
  debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv bookworm "$root" >"$work/log" 2>&1 ||
    { tail -20 "$work/log"; exit 1; }
  rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/usr/share/{doc,man,locale}
  tar -C "$root" -cf "$cache" .
else
  mkdir -p "$root" && tar -C "$root" -xf "$cache"
fi

# The machine's own certificate authorities, in case its network puts one of them in the way.
rm -rf "$root/etc/ssl/certs" && cp -rL /etc/ssl/certs "$root/etc/ssl/certs"
ln -sf ../../bin/python3 "$root/usr/local/bin/python3"
ln -sf ../../bin/python3 "$root/usr/local/bin/python"

changes=()
for variable in PIP_CERT PIP_FIND_LINKS; do
  value=${!variable:-}
  if [ -z "$value" ]; then continue; fi
  changes+=(--change "ENV $variable=$value")
  if [ -d "$value" ]; then mkdir -p "$root/$value" && cp -r "$value/." "$root/$value/"; fi
done
tar -C "$root" -c . | docker import "${changes[@]}" --change 'CMD ["python3"]' - "$python_image"

modules=$(dirname "$(dirname "$(dirname "$(readlink -f "$(command -v npm)")")")")
install -D "$(readlink -f "$(command -v node)")" "$root/usr/local/bin/node"
mkdir -p "$root/usr/local/lib/node_modules"
cp -r "$modules/npm" "$root/usr/local/lib/node_modules/npm"
ln -sf ../lib/node_modules/npm/bin/npm-cli.js "$root/usr/local/bin/npm"
tar -C "$root" -c . | docker import --change 'ENV NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt' \
  --change 'CMD ["node"]' - "$node_image"
