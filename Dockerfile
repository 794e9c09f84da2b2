# Two targets: `serve` answers predictions and has no torch in it; `train` runs the worker.
#   docker build --target serve -t espalier:serve .
#   docker build --target train -t espalier:train .
# EXTRA=gpu takes onnxruntime-gpu with the CUDA libraries it needs instead of onnxruntime.
# BASE is any Debian or Ubuntu with Python 3.11 to 3.13 in its packages.
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS base
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 python3-venv tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home espalier \
    && install --directory --owner espalier --group espalier /data
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    BENTOML_DO_NOT_TRACK=true \
    ESPALIER_HOME=/data
WORKDIR /app
# The dependencies alone first: they change seldom, our code and its README often.
COPY pyproject.toml constraints.txt ./
RUN python3 -m venv /opt/venv && touch README.md

FROM base AS train
ARG EXTRA=cpu
RUN pip install --quiet --constraint constraints.txt ".[${EXTRA},train,postgres,heic]"
COPY README.md LICENSE ./
COPY service service
COPY adapters adapters
RUN pip install --quiet --no-deps --editable . && python -m compileall -q service adapters
USER espalier
ENTRYPOINT ["tini", "--"]
CMD ["espalier", "worker"]

# Building the embedded backbone takes torch; using it does not.
FROM train AS backbone
ENV ESPALIER_HOME=/tmp/home
# Both precisions: which one is the default is a setting of the container that runs.
RUN ESPALIER_PRECISION=int8 espalier init \
    && espalier backbones export tf_efficientnet_lite0 /tmp/backbones \
    && espalier backbones export tf_efficientnet_lite0-int8 /tmp/backbones

FROM base AS serve
ARG EXTRA=cpu
RUN pip install --quiet --constraint constraints.txt ".[${EXTRA},postgres,heic]"
COPY README.md LICENSE ./
COPY service service
COPY adapters adapters
RUN pip install --quiet --no-deps --editable . && python -m compileall -q service adapters
COPY --from=backbone /tmp/backbones /opt/espalier/backbones
ENV ESPALIER_BACKBONE_BUNDLE=/opt/espalier/backbones
USER espalier
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:3000/readyz', timeout=4)"]
ENTRYPOINT ["tini", "--"]
CMD ["bentoml", "serve", "service.app:Espalier", "--host", "0.0.0.0", "--port", "3000"]
