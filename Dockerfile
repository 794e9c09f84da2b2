# Two targets: `serve` answers predictions and has no torch in it; `train` runs the worker.
#   docker build --target serve -t espalier:serve .
#   docker build --target train -t espalier:train .
# `make images` does the same with docker or podman; docs/guides/containers.md has sizes and what is inside.
# EXTRA=gpu takes onnxruntime-gpu with the CUDA libraries it needs instead of onnxruntime.
# BASE is any Debian or Ubuntu with Python 3.11 to 3.13 in its packages.
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS base
RUN --mount=type=bind,source=deploy/images,target=/mnt/images sh /mnt/images/system.sh
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    BENTOML_DO_NOT_TRACK=true \
    ORT_DISABLE_TELEMETRY=1 \
    BENTOML_HOME=/tmp/bentoml \
    HOME=/tmp \
    ESPALIER_HOME=/data
WORKDIR /app

# pip, which no image that runs has in it.
FROM ${BASE} AS pip
RUN apt-get update && apt-get install --yes --no-install-recommends python3-pip-whl

# What writes down what an image is made of; thrown away.
FROM base AS sbom
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca.crt,target=/run/secrets/ca.crt \
    --mount=type=bind,from=pip,source=/usr/share/python-wheels,target=/mnt/wheels \
    --mount=type=bind,source=deploy/images,target=/mnt/images \
    sh /mnt/images/pip.sh /opt/sbom --no-deps --requirement /mnt/images/tools.txt

FROM base AS train
ARG EXTRA=cpu
# The dependencies alone first: they change seldom, our code and its README often.
COPY pyproject.toml constraints.txt ./
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca.crt,target=/run/secrets/ca.crt \
    --mount=type=bind,from=pip,source=/usr/share/python-wheels,target=/mnt/wheels \
    --mount=type=bind,source=deploy/images,target=/mnt/images \
    sh /mnt/images/packages.sh "${EXTRA},train,postgres,heic,otel"
COPY README.md LICENSE ./
COPY service service
COPY adapters adapters
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca.crt,target=/run/secrets/ca.crt \
    --mount=type=bind,from=pip,source=/usr/share/python-wheels,target=/mnt/wheels \
    --mount=type=bind,from=sbom,source=/opt/sbom,target=/opt/sbom \
    --mount=type=bind,source=deploy/images,target=/mnt/images \
    sh /mnt/images/code.sh
LABEL org.opencontainers.image.title="Espalier" \
    org.opencontainers.image.description="Teaches frozen backbones new tasks: the training worker" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="0.1.0"
USER 10001:10001
ENTRYPOINT ["tini", "--"]
CMD ["espalier", "worker"]

# Building the embedded backbone takes torch; using it does not.
FROM train AS exported
# Both precisions of the one for images, as which is the default is a setting of the container that runs; and texts.
RUN export ESPALIER_HOME=/tmp/home \
    && ESPALIER_PRECISION=int8 espalier init \
    && espalier backbones export tf_efficientnet_lite0 /tmp/backbones \
    && espalier backbones export tf_efficientnet_lite0-int8 /tmp/backbones \
    && espalier backbones export minilm /tmp/backbones

# Alone, so that --build-context backbones=FOLDER puts another folder in its place, and nothing above is built.
FROM scratch AS backbones
COPY --from=exported /tmp/backbones /

FROM base AS serve
ARG EXTRA=cpu
COPY pyproject.toml constraints.txt ./
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca.crt,target=/run/secrets/ca.crt \
    --mount=type=bind,from=pip,source=/usr/share/python-wheels,target=/mnt/wheels \
    --mount=type=bind,source=deploy/images,target=/mnt/images \
    sh /mnt/images/packages.sh "${EXTRA},postgres,heic,otel"
COPY --from=backbones / /opt/espalier/backbones
ENV ESPALIER_BACKBONE_BUNDLE=/opt/espalier/backbones
COPY README.md LICENSE ./
COPY service service
COPY adapters adapters
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca.crt,target=/run/secrets/ca.crt \
    --mount=type=bind,from=pip,source=/usr/share/python-wheels,target=/mnt/wheels \
    --mount=type=bind,from=sbom,source=/opt/sbom,target=/opt/sbom \
    --mount=type=bind,source=deploy/images,target=/mnt/images \
    sh /mnt/images/code.sh
LABEL org.opencontainers.image.title="Espalier" \
    org.opencontainers.image.description="Answers for heads that were taught to frozen backbones: the serving process" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="0.1.0"
USER 10001:10001
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:3000/readyz', timeout=4)"]
ENTRYPOINT ["tini", "--"]
CMD ["bentoml", "serve", "service.app:Espalier", "--host", "0.0.0.0", "--port", "3000"]
