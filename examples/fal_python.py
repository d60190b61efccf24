"""fal's own Python client, pointed at Latentcast.

pip install fal-client && FAL_KEY=none python examples/fal_python.py
"""

import os

import fal_client
import fal_client.client

# Its hosts can be set by environment, but then it insists on https; see docs/clients.md.
server = os.environ.get("LATENTCAST_URL", "http://127.0.0.1:8080")
fal_client.client.RUN_URL_FORMAT = f"{server}/"
fal_client.client.QUEUE_URL_FORMAT = f"{server}/queue/"

result = {}
for event in fal_client.stream("local/sdxl", {"prompt": "a beautiful sunset"}):
    if "preview" in event:
        print(f"preview after step {event['preview']['step'] + 1} of {event['preview']['total_steps']}")
    result = event
print(f"streamed {result['image']['width']} × {result['image']['height']}, seed {result['seed']}")

answer = fal_client.subscribe("local/sdxl", {"prompt": "a beautiful sunset", "seed": result["seed"]})
print(f"queued {answer['image']['width']} × {answer['image']['height']}")
