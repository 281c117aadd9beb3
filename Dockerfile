# The command line with its pinned versions, for the CPU. The working folder and what is downloaded lie in /work:
#   docker build --tag noise-scaling . && docker run --rm --user "$(id -u)" --volume "$PWD:/work" noise-scaling --help
FROM python:3.11-slim

# PyTorch's own index has the build without CUDA, which is gigabytes smaller.
COPY constraints.txt /tmp/
RUN pip install --no-cache-dir --no-deps --constraint /tmp/constraints.txt \
    --index-url https://download.pytorch.org/whl/cpu torch

COPY . /tmp/noise-scaling
RUN pip install --no-cache-dir --constraint /tmp/constraints.txt /tmp/noise-scaling && rm -r /tmp/noise-scaling

# Writable for any user.
ENV HOME=/tmp NUMBA_CACHE_DIR=/tmp/numba MPLCONFIGDIR=/tmp/matplotlib NOISE_SCALING_CACHE=/work/.cache/noise-scaling
WORKDIR /work
ENTRYPOINT ["noise-scaling"]
