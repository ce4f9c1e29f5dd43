# One recipe for every service on the CPU: docker build -f deploy/images/service.Dockerfile --build-arg SERVICE=ocr .
#   last stage   production: the locked packages and nothing that builds
#   dev          the sources under /src, installed in place, and a reloader: a synced file is running within seconds
# No `RUN --mount`: it needs BuildKit, which Debian's docker does not have.
ARG PYTHON=python:3.11-slim-bookworm

# What the members ask for, without their sources: an edited file does not install the packages of others again.
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
# Once for all services, so that their images share this layer: the command needs what any of them needs.
RUN UV_COMPILE_BYTECODE=0 UV_PROJECT_ENVIRONMENT=/tmp/warm uv sync --frozen --quiet --no-install-workspace --package billow-cli \
    && rm -r /tmp/warm
ARG SERVICE
RUN test -n "${SERVICE}" || { echo "Say which: --build-arg SERVICE=ocr" >&2; exit 1; }
RUN uv sync --frozen --quiet --no-install-workspace --package "billow-${SERVICE}"
COPY . ./

FROM build AS dev
ARG SERVICE
# The import compiles what a restart reads, Python's own modules too; what is edited later is compiled each time.
RUN uv export --frozen --quiet --only-group reload --output-file /tmp/reload.txt \
    && uv sync --frozen --quiet --package "billow-${SERVICE}" \
    && uv pip install --quiet --python /opt/billow --requirement /tmp/reload.txt \
    && python -c "import billow.runtime.reload, billow.services.${SERVICE}.__main__" \
    && useradd --uid 10001 --home-dir /tmp --no-create-home billow \
    && mkdir -p /run/billow && chown -R billow:billow /src /run/billow
ENV HOME=/tmp BILLOW_READY_FILE=/run/billow/ready BILLOW_MODELS=/src/models SERVICE=${SERVICE} PYTHONDONTWRITEBYTECODE=1 \
    BILLOW_DRAIN=1
USER 10001:10001
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s CMD ["test", "-f", "/run/billow/ready"]
CMD ["sh", "-c", "exec python -m billow.runtime.reload billow.services.${SERVICE} /src"]

FROM build AS install
ARG SERVICE
RUN uv sync --frozen --quiet --no-editable --package "billow-${SERVICE}" && rm /opt/billow/.lock

FROM ${PYTHON}
RUN useradd --uid 10001 --home-dir /tmp --no-create-home billow && install -d -o billow -g billow /run/billow
COPY --from=install /opt/billow /opt/billow
ARG SERVICE
# A base image may come without the bytecode of Python's own modules, and nobody could write it later.
RUN /opt/billow/bin/python -c "import billow.services.${SERVICE}.__main__"
ENV PATH=/opt/billow/bin:$PATH HOME=/tmp BILLOW_READY_FILE=/run/billow/ready SERVICE=${SERVICE} PYTHONDONTWRITEBYTECODE=1
WORKDIR /tmp
USER 10001:10001
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s CMD ["test", "-f", "/run/billow/ready"]
# The shell knows the service and becomes Python: signals reach the process itself.
CMD ["sh", "-c", "exec python -m billow.services.${SERVICE}"]
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="billow/${SERVICE}" org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.description="Billow, service ${SERVICE}: receipts and invoices in as events, their fields out."
