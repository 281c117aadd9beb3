# The command line with its pinned versions, for the CPU. What it reads, writes and downloads lies in /work:
#   docker build --tag noise-scaling . && docker run --rm --user "$(id -u)" --volume "$PWD:/work" noise-scaling --help
FROM python:3.11-slim
WORKDIR /noise-scaling

# PyTorch's own index has the build without CUDA, which is gigabytes smaller.
COPY constraints.txt .
RUN pip install --no-cache-dir --no-deps --constraint constraints.txt \
    --index-url https://download.pytorch.org/whl/cpu torch

COPY . .
RUN pip install --no-cache-dir --constraint constraints.txt --editable .

# Any user can write there.
ENV HOME=/tmp NUMBA_CACHE_DIR=/tmp MPLCONFIGDIR=/tmp NOISE_SCALING_CACHE=/work/.cache
WORKDIR /work
ENTRYPOINT ["noise-scaling"]
