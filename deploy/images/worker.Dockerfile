# Workers, each with one model: docker build -f deploy/images/worker.Dockerfile --build-arg VARIANT=cpu .
#   cpu              OpenVINO and onnxruntime
#   onnx-gpu         onnxruntime with CUDA 13 and cuDNN 9 out of wheels; the host's driver must be 580 or newer
#   tensorflow-gpu   TensorFlow with CUDA 12 and cuDNN 9 out of wheels; the host's driver must be 525 or newer
# Two images for GPUs, since no process can load CUDA 12 and 13. Stages as in service.Dockerfile: the last one, and `dev`.
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS members
COPY . /checkout
RUN cd /checkout && find . -name pyproject.toml -o -name uv.lock | xargs tar -c | tar -x -C "$(mkdir /members && echo /members)"

FROM ${PYTHON} AS build
ARG UV_VERSION=0.13.9
ENV UV_PYTHON_DOWNLOADS=never UV_PROJECT_ENVIRONMENT=/opt/billow UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 \
    UV_NO_PROGRESS=1 PATH=/opt/billow/bin:/opt/uv/bin:$PATH
RUN python3 -m venv /opt/uv && /opt/uv/bin/python -m pip install --quiet --no-cache-dir "uv==${UV_VERSION}"
WORKDIR /src
COPY --from=members /members ./
ARG VARIANT=cpu
# The wheels of CUDA are gigabytes: what was downloaded does not stay in the layer.
RUN uv sync --frozen --quiet --no-cache --no-install-workspace --package billow-worker --extra "${VARIANT}"
COPY . ./

FROM build AS dev
ARG VARIANT=cpu
# The import compiles what a restart reads, Python's own modules too; what is edited later is compiled each time.
RUN uv export --frozen --quiet --only-group reload --output-file /tmp/reload.txt \
    && uv sync --frozen --quiet --package billow-worker --extra "${VARIANT}" \
    && uv pip install --quiet --python /opt/billow --requirement /tmp/reload.txt \
    && python -c "import billow.runtime.reload, billow.services.worker.__main__" && python -m compileall -q models \
    && useradd --uid 10001 --home-dir /tmp --no-create-home billow \
    && mkdir -p /run/billow /var/cache/billow/models && chown -R billow:billow /src /run/billow /var/cache/billow
ENV HOME=/tmp BILLOW_READY_FILE=/run/billow/ready BILLOW_MODELS=/src/models BILLOW_MODEL_CACHE=/var/cache/billow/models \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
HEALTHCHECK --interval=5s --timeout=3s --start-period=300s CMD ["test", "-f", "/run/billow/ready"]
CMD ["python", "-m", "billow.runtime.reload", "billow.services.worker", "/src"]

FROM build AS install
ARG VARIANT=cpu
RUN uv sync --frozen --quiet --no-editable --package billow-worker --extra "${VARIANT}" \
    && rm /opt/billow/.lock \
    && mkdir /opt/billow/share && cp -r models /opt/billow/share/models && python -m compileall -q /opt/billow/share/models

FROM ${PYTHON}
RUN useradd --uid 10001 --home-dir /tmp --no-create-home billow \
    && install -d -o billow -g billow /run/billow /var/cache/billow /var/cache/billow/models
COPY --from=install /opt/billow /opt/billow
# A base image may come without the bytecode of Python's own modules, and nobody could write it later.
RUN /opt/billow/bin/python -c "import billow.services.worker.__main__"
ENV PATH=/opt/billow/bin:$PATH HOME=/tmp BILLOW_READY_FILE=/run/billow/ready BILLOW_MODELS=/opt/billow/share/models \
    BILLOW_MODEL_CACHE=/var/cache/billow/models NVIDIA_DRIVER_CAPABILITIES=compute,utility PYTHONDONTWRITEBYTECODE=1
WORKDIR /tmp
USER 10001:10001
# Loading a model and warming it up takes longest on a GPU.
HEALTHCHECK --interval=10s --timeout=3s --start-period=300s CMD ["test", "-f", "/run/billow/ready"]
CMD ["python", "-m", "billow.services.worker"]
ARG VARIANT=cpu
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="billow/worker-${VARIANT}" org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.description="Billow, a worker that serves the model named by BILLOW_MODEL (${VARIANT})."
