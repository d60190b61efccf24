#!/bin/sh
# The same with nothing but curl.  sh examples/curl.sh
set -eu
server="${LATENTCAST_URL:-http://127.0.0.1:8080}"
json='content-type: application/json'

echo "# one answer"
curl -fsS "$server/" -H "$json" -d '{"prompt":"a beautiful sunset","seed":42}' | cut -c 1-120

echo "# a stream"
curl -fsSN "$server/stream" -H "$json" -d '{"prompt":"a beautiful sunset","seed":42}' | cut -c 1-120

echo "# through the queue"
id=$(curl -fsS "$server/queue" -H "$json" -d '{"prompt":"a beautiful sunset"}' | sed 's/.*"request_id":"\([^"]*\)".*/\1/')
curl -fsSN "$server/requests/$id/events" | cut -c 1-120
curl -fsS "$server/requests/$id/status"
