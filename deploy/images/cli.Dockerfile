# The command `billow`: makes streams, pulls weights, and asks a running system. docker build -f deploy/images/cli.Dockerfile .
# Its first layers are those of service.Dockerfile, and are shared with it.
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
RUN uv sync --frozen --quiet --no-install-workspace --package billow-cli
COPY . ./
RUN uv sync --frozen --quiet --no-editable --package billow-cli && rm /opt/billow/.lock && mkdir -p /opt/billow/share/samples \
    && cp -r models /opt/billow/share/models && python -m compileall -q /opt/billow/share/models \
    && cp samples/receipt-cafe.jpg /opt/billow/share/samples/

FROM ${PYTHON}
RUN useradd --uid 10001 --home-dir /tmp --no-create-home billow && install -d -o billow -g billow /var/cache/billow /var/cache/billow/models
COPY --from=build /opt/billow /opt/billow
ENV PATH=/opt/billow/bin:$PATH HOME=/tmp BILLOW_MODELS=/opt/billow/share/models BILLOW_MODEL_CACHE=/var/cache/billow/models \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /tmp
USER 10001:10001
CMD ["billow", "--help"]
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="billow/cli" org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.description="Billow, the command: streams, weights, documents, replays."
