#!/bin/sh
# Makes what the fleet of compose.cluster.yaml needs to trust itself, once: a certificate authority, the NATS servers' certificate, and a
# key for each role. In production these come from your own authority; docs/cluster-nats.md says what each of them is for.
#
# make-keys.sh [FOLDER [POOL …]]: where pools are named, the nodes of each have a key of their own, and take no work of others.
set -eu
keys=${1:-/keys}
[ $# -eq 0 ] || shift
if [ -e "$keys/nats/users.conf" ]; then exit 0; fi
umask 077
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

certify() { openssl "$@" 2>"$work/said" || { cat "$work/said" >&2; exit 1; }; }
certify req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj /CN=latentcast-fleet \
  -keyout "$work/ca.key" -out "$work/ca.crt"
certify req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=nats \
  -keyout "$work/server.key" -out "$work/server.csr"
printf 'subjectAltName=DNS:nats-1,DNS:nats-2,DNS:nats-3\nextendedKeyUsage=serverAuth,clientAuth\n' >"$work/extensions"
certify x509 -req -in "$work/server.csr" -CA "$work/ca.crt" -CAkey "$work/ca.key" -CAcreateserial -days 3650 \
  -extfile "$work/extensions" -out "$work/server.crt"

cp "$work/ca.crt" "$work/server.crt" "$work/server.key" "$keys/nats/"

# NATS knows each role by the public half of a key, and lets it do what the layout of a fleet asks for. Who has the seed is that role.
cd /app
nodes=node
[ $# -eq 0 ] || nodes=$(printf 'node-%s ' "$@")
pools=$(IFS=,; printf %s "$*")
node dist/main.js cluster permissions ${pools:+--pool "$pools"} >"$work/users.conf"
node --input-type=module -e '
  import { nkeys } from "@nats-io/transport-node";
  for (const role of process.argv.slice(1)) {
    const key = nkeys.createUser();
    console.log(role, key.getPublicKey(), Buffer.from(key.getSeed()).toString());
  }' operator gateway $nodes server >"$work/keys"
while read -r role public seed; do
  sed -i "s/user: \"${LATENTCAST_CLUSTER:-lc}-$role\", password: [^ ]*/nkey: $public/" "$work/users.conf"
  # A process that is gateway and node at once: there is none here.
  if [ "$role" = server ]; then continue; fi
  mkdir -p "$keys/$role"
  cp "$work/ca.crt" "$keys/$role/ca.crt"
  printf '%s\n' "$seed" >"$keys/$role/creds"
  # The user that the server runs as.
  chown -R 10001 "$keys/$role"
done <"$work/keys"
# Last: with this file all of it is there.
mv "$work/users.conf" "$keys/nats/users.conf"
