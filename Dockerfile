# Latentcast in one image: orchestrator, worker and everything they need except the weights.
#
#   docker build -t latentcast .                                    torch as published on PyPI: CUDA 13
#   docker build -t latentcast --build-arg TORCH_INDEX_URL=… .      torch for older drivers, or (a tenth of the size) for none;
#                                                                   docs/deployment.md says where the address comes from
#
# The torch wheels bring the CUDA libraries; from the host only the driver is needed, through the NVIDIA container runtime.
# Layers go from what changes rarely to what changes often, so that a change in src/ or python/ rebuilds in seconds.
ARG NODE_IMAGE=node:22-bookworm-slim
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${NODE_IMAGE} AS node-packages
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN --mount=type=cache,target=/root/.npm npm ci --omit=dev --ignore-scripts

FROM ${NODE_IMAGE} AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN --mount=type=cache,target=/root/.npm npm ci --ignore-scripts
COPY . .
RUN npm run build

# A fleet's gateways need neither Python nor a model: docker build --target gateway -t latentcast-gateway .
FROM ${NODE_IMAGE} AS gateway
RUN apt-get update && apt-get install -y --no-install-recommends tini && rm -rf /var/lib/apt/lists/* \
  && useradd --uid 10001 --create-home latentcast \
  && install -d -o latentcast -g latentcast /data /cache
WORKDIR /app
COPY --from=node-packages /app/node_modules ./node_modules
COPY docker/ready.mjs ./docker/
COPY package.json ./
COPY --from=build /app/dist ./dist
ENV NODE_ENV=production \
  LATENTCAST_ROLE=gateway \
  LATENTCAST_HOST=0.0.0.0 \
  LATENTCAST_PORT=8080 \
  LATENTCAST_DATA_DIR=/data \
  LATENTCAST_CACHE_DIR=/cache
USER latentcast
VOLUME ["/cache", "/data"]
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=1m --retries=3 CMD ["node", "/app/docker/ready.mjs"]
ENTRYPOINT ["tini", "--", "node", "/app/dist/main.js"]
CMD ["serve"]

FROM ${PYTHON_IMAGE} AS python-packages
# Empty is PyPI. An index of pytorch.org offers the same torch built for another CUDA version, or for none; torch comes from there
# alone, so that a version it does not have ends the build instead of bringing PyPI's.
ARG TORCH_INDEX_URL=
COPY python/requirements.txt /tmp/requirements.txt
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_COMPILE=1
RUN --mount=type=cache,target=/root/.cache/pip python3 -m venv /opt/venv \
  && if [ -n "$TORCH_INDEX_URL" ]; then \
    /opt/venv/bin/pip install --index-url "$TORCH_INDEX_URL" "$(grep '^torch==' /tmp/requirements.txt)"; fi \
  && /opt/venv/bin/pip install -r /tmp/requirements.txt
# Compiles the third of the packages' modules that a worker imports, and those that torch compiles models with. The user below may
# not: each start of a worker would take ten seconds longer.
COPY python/latentcast_worker/libraries.py /tmp/
RUN cd /tmp && PYTHONDONTWRITEBYTECODE= /opt/venv/bin/python -c "import libraries, torch._inductor.compile_fx; libraries.import_libraries()"

FROM ${PYTHON_IMAGE}
# tini reaps what dies below the server: compile helpers and data loaders of a worker that was killed. The compiler builds the
# launchers of compiled UNet blocks; without one the worker runs them uncompiled, a tenth slower.
RUN apt-get update && apt-get install -y --no-install-recommends tini gcc libc6-dev && rm -rf /var/lib/apt/lists/* \
  && useradd --uid 10001 --create-home latentcast \
  && install -d -o latentcast -g latentcast /data /cache
COPY --from=node-packages /usr/local/bin/node /usr/local/bin/node
COPY --from=python-packages /opt/venv /opt/venv
WORKDIR /app
COPY --from=node-packages /app/node_modules ./node_modules
COPY models ./models
COPY docker/ready.mjs ./docker/
COPY package.json ./
COPY python/latentcast_worker ./python/latentcast_worker
COPY python/requirements.txt ./python/
COPY --from=build /app/dist ./dist

# 0.0.0.0 needs LATENTCAST_API_KEYS, or LATENTCAST_ALLOW_ANONYMOUS=1 where the network in front decides who may come.
ENV NODE_ENV=production \
  LATENTCAST_HOST=0.0.0.0 \
  LATENTCAST_PORT=8080 \
  LATENTCAST_MODEL=stabilityai/stable-diffusion-xl-base-1.0 \
  LATENTCAST_PYTHON=/opt/venv/bin/python \
  LATENTCAST_DATA_DIR=/data \
  LATENTCAST_CACHE_DIR=/cache \
  HF_HOME=/cache/huggingface
USER latentcast
# Weights (7 GB for SDXL) and compiled kernels; queue, results and uploads. /tmp is the third place that is written to.
VOLUME ["/cache", "/data"]
EXPOSE 8080
# A first start downloads the weights; Docker counts no failure within the start period.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30m --retries=3 CMD ["node", "/app/docker/ready.mjs"]
ENTRYPOINT ["tini", "--", "node", "/app/dist/main.js"]
CMD ["serve"]
