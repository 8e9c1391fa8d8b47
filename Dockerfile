# syntax=docker/dockerfile:1
#
# Two images of the same service (docs/operations.md tells sizes and how to build):
#   docker build --target slim  .   engines bert and embedded, without libtorch
#   docker build --target torch .   libtorch 2.4.0 on CPUs, or on GPUs with
#                                   --build-arg TORCH_CUDA=cu121 (or cu118)
# Both run as 65532, need no writable root, and hold the model of `model/`.

ARG RUST_VERSION=1.95.0

# --- tools -------------------------------------------------------------------------
FROM rust:${RUST_VERSION}-slim-bookworm AS chef
# jemalloc and librdkafka are built with make, librdkafka against the OpenSSL that the base image has.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libssl-dev make pkg-config \
    && rm -rf /var/lib/apt/lists/*
# Builds dependencies apart from the sources, in a layer that only Cargo.lock changes.
RUN cargo install cargo-chef --version 0.1.78 --locked
WORKDIR /src

FROM chef AS recipe
COPY . .
RUN cargo chef prepare --recipe-path recipe.json

# --- what both images run on ---------------------------------------------------------
FROM gcr.io/distroless/cc-debian12:nonroot AS runtime
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="Pounce" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.base.name="gcr.io/distroless/cc-debian12:nonroot"
ENV POUNCE_MODEL=/model \
    POUNCE_GRPC_ADDR=0.0.0.0:50051 \
    POUNCE_HTTP_ADDR=0.0.0.0:9464
EXPOSE 50051 9464
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/pounce"]
CMD ["serve"]

# --- slim --------------------------------------------------------------------------
FROM chef AS build-slim
COPY --from=recipe /src/recipe.json .
RUN cargo chef cook --release --locked --features bridge-kafka --recipe-path recipe.json
COPY . .
RUN cargo build --release --locked --features bridge-kafka --bin pounce

FROM runtime AS slim
LABEL org.opencontainers.image.description="Streaming sentiment over gRPC, engines in Rust alone"
COPY --from=build-slim /src/target/release/pounce /usr/local/bin/pounce
COPY model/*.json model/model.safetensors model/model.onnx /model/

# --- torch -------------------------------------------------------------------------
FROM chef AS build-torch
# Debian's stable release moves these only for security: pinning would break the build
# on the day of a fix.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates curl g++ python3 python3-pip unzip \
    && rm -rf /var/lib/apt/lists/*
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
ARG TORCH_CUDA=cpu
COPY scripts/libtorch.py scripts/libtorch.txt scripts/
# The script finds a libtorch that lies in .cache, or fetches the CPU's by its SHA-256.
RUN if [ "${TORCH_CUDA}" != cpu ]; then \
        mkdir -p .cache \
        && curl -fsSL -o /tmp/libtorch.zip "https://download.pytorch.org/libtorch/${TORCH_CUDA}/libtorch-cxx11-abi-shared-with-deps-2.4.0%2B${TORCH_CUDA}.zip" \
        && unzip -q /tmp/libtorch.zip -d .cache \
        && rm /tmp/libtorch.zip; \
    fi \
    && python3 scripts/libtorch.py
COPY --from=recipe /src/recipe.json .
RUN cargo chef cook --release --locked --features torch,bridge-kafka --recipe-path recipe.json
COPY . .
RUN cargo build --release --locked --features torch,bridge-kafka --bin pounce \
    && mkdir /libtorch \
    && cp -a .cache/libtorch/lib/*.so* /libtorch/ \
    && rm -f /libtorch/libtorch_python.so \
    # Libraries alone: libtorch.so is a line of text where libtorch came from PyPI.
    && find /libtorch -name '*.so*' -type f -size +1k -exec strip --strip-unneeded {} +

FROM runtime AS torch
LABEL org.opencontainers.image.description="Streaming sentiment over gRPC, libtorch engine"
COPY --from=build-torch /libtorch /opt/libtorch
COPY --from=build-torch /src/target/release/pounce /usr/local/bin/pounce
COPY model/*.json model/model.safetensors /model/
ENV POUNCE_ENGINE=torch \
    LD_LIBRARY_PATH=/opt/libtorch \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
