# The one image of every party: installed code, and no keys, no data, no root.
#
#   docker compose build
#   docker compose build --build-arg BASE_IMAGE=REGISTRY/python:3.11-slim
#   docker build --build-context wheels=DIR .    # DIR: wheels to prefer to pip's index
#
# Where pip's index has PyTorch with CUDA only, the image is several times larger: put
# PyTorch's CPU wheel into DIR, or its CPU index into --build-arg PIP_EXTRA_INDEX_URL.

ARG BASE_IMAGE=python:3.11-slim

FROM scratch AS wheels

FROM ${BASE_IMAGE} AS builder
ARG PIP_EXTRA_INDEX_URL=
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /opt/unseen
RUN python3 -m venv /opt/venv
COPY LICENSE pyproject.toml requirements.lock ./
# Editable, as everywhere: the code comes later, so that a change of it installs nothing
# anew. pyproject.toml names a README.md, which no process reads.
RUN --mount=type=bind,from=wheels,target=/wheels \
    --mount=type=cache,target=/pip-cache \
    touch README.md \
    && pip install --disable-pip-version-check --no-compile --find-links /wheels \
        --cache-dir /pip-cache --constraint requirements.lock --editable .
# What no process of a deployment needs: Ray simulates clients, uv and pip install, and
# libraries bring their own tests, some with private keys. What is left is compiled on all
# cores, and here, because the root of a container is read-only; PyTorch brings a file for
# newer Pythons, with which that ends in an error.
RUN pip uninstall --disable-pip-version-check --yes ray uv \
    && cd /opt/venv/lib/python3*/site-packages \
    && rm -rf Crypto/SelfTest torch/include torch/test pip pip-*.dist-info \
    && find torch/bin -type f ! -name torch_shm_manager -delete \
    && find pandas pyarrow scipy sklearn sympy -type d -name tests -prune \
        -exec rm -rf {} + \
    && { python3 -m compileall -qq -j 0 "$PWD" || true; }
COPY . .
# Readable by any uid, whatever the umask of the checkout was.
RUN python3 -m compileall -q "$PWD" && chmod -R a+rX .

FROM ${BASE_IMAGE}
ARG REVISION=unknown
LABEL org.opencontainers.image.title="unseen" \
      org.opencontainers.image.description="Federated learning on data nobody sees" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${REVISION}"
# A uid of the user's choice has no entry in /etc/passwd: USER and HOME replace it.
ENV FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION=1 \
    FLWR_DISABLE_UPDATE_CHECK=1 \
    FLWR_TELEMETRY_ENABLED=0 \
    HOME=/tmp \
    PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1 \
    USER=unseen
COPY --from=builder /opt/venv /opt/venv
COPY --from=builder /opt/unseen /opt/unseen
USER 10001:10001
WORKDIR /tmp
ENTRYPOINT ["unseen"]
CMD ["--help"]
