# Ringlet in a container:
#
#   docker build -t ringlet .
#   docker run ringlet                      # trains on two ranks
#
#   docker build -t ringlet-cuda --target cuda .
#   docker run --gpus all ringlet-cuda train
#
# docs/library.md has more.

# What it is built with.
FROM debian:12-slim AS source
WORKDIR /src
COPY scripts/setup scripts/setup
RUN scripts/setup && rm -rf /var/lib/apt/lists/*
COPY . .

FROM source AS build-cpu
# For processors other than the builder's; x86-64-v4 is for those with AVX-512.
ARG RINGLET_MARCH=x86-64-v3
RUN cmake --preset release -DRINGLET_TESTS=OFF -DRINGLET_CUDA=OFF \
      -DRINGLET_MARCH=$RINGLET_MARCH \
    && cmake --build --preset release --target ringlet allreduce_perf \
    && cmake --install build/release --prefix /opt/ringlet

# NVIDIA's libraries, from PyPI.
FROM debian:12-slim AS nvidia
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/nvidia
RUN /opt/nvidia/bin/pip install --no-cache-dir nvidia-cuda-runtime \
      nvidia-cublas nvidia-cudnn-cu13 nvidia-nccl-cu13

FROM source AS build-cuda
ARG RINGLET_MARCH=x86-64-v3
COPY --from=nvidia /opt/nvidia /opt/nvidia
# CMake finds the packages by this Python.
ENV PATH=/opt/nvidia/bin:$PATH
RUN pip install --no-cache-dir nvidia-cuda-nvcc nvidia-cuda-cccl nvidia-nvtx
RUN cmake --preset release -DRINGLET_TESTS=OFF -DRINGLET_CUDA=ON \
      -DRINGLET_NCCL=ON -DRINGLET_MARCH=$RINGLET_MARCH \
    && cmake --build --preset release --target ringlet allreduce_perf \
    && cmake --install build/release --prefix /opt/ringlet

# What it runs with.
FROM debian:12-slim AS runtime
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
      libdnnl2 libfmt9 libgomp1 libpng16-16 libssl3 libturbojpeg0 \
      openmpi-bin \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home ringlet
# Docker may forbid processes to read each other's memory, which Open MPI else
# tries with messages on one host.
ENV OMPI_MCA_btl_vader_single_copy_mechanism=none
USER ringlet
WORKDIR /home/ringlet
ENTRYPOINT ["ringlet"]
CMD ["launch", "-np", "2", "--", "train"]

FROM runtime AS cuda
# The libraries lie where they lay for the build: the programs look there.
COPY --from=nvidia /opt/nvidia /opt/nvidia
COPY --from=build-cuda /opt/ringlet /usr/local
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility

FROM runtime AS cpu
COPY --from=build-cpu /opt/ringlet /usr/local
