# KALE with Airflow, Spark and everything that the steps need. Build with --build-arg EXTRA=gpu for the GPU worker.
FROM python:3.11.15-slim-bookworm

ARG EXTRA=""
RUN apt-get update -qq \
    && apt-get install -qq -y --no-install-recommends openjdk-17-jre-headless procps \
       $([ -z "$EXTRA" ] || echo gcc g++ libc6-dev) \
    && rm -rf /var/lib/apt/lists/* \
    && pip install --no-cache-dir uv==0.13.9 \
    && useradd --create-home --uid 50000 kale \
    && install -d -o kale /opt/kale /opt/airflow /opt/airflow/shared /data /objects

USER kale
WORKDIR /opt/kale
ENV PATH=/opt/kale/.venv/bin:$PATH \
    AIRFLOW_HOME=/opt/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/kale/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/kale/plugins \
    AIRFLOW__CORE__LOAD_EXAMPLES=False \
    PYSPARK_PYTHON=/opt/kale/.venv/bin/python \
    HF_HOME=/data/models \
    KALE_CAPTION__VLLM_PYTHON=${EXTRA:+/opt/kale/.venv-vllm/bin/python}

# The locks first: the packages stay in the cache of the build while the code changes. For GPUs every package is PyPI's,
# built for CUDA 13; vLLM has an environment of its own, as its pins do not fit beside ours, and a C compiler.
COPY --chown=kale lock lock
# Where torch for CPUs comes from: PyTorch's own index. A mirror of it, or a folder, can be named instead.
ARG TORCH="--torch-backend cpu --require-hashes -r lock/torch-cpu.txt"
RUN uv venv --python /usr/local/bin/python .venv \
    && install="uv pip install --no-cache --compile-bytecode --no-deps" \
    && if [ -z "$EXTRA" ]; then \
       $install --require-hashes -r lock/image.txt && $install $TORCH; \
       else \
       $install --require-hashes -r lock/image-gpu.txt \
       && uv venv --python /usr/local/bin/python .venv-vllm \
       && VIRTUAL_ENV=.venv-vllm $install --require-hashes -r lock/vllm-gpu.txt; \
       fi
COPY --chown=kale . .
RUN uv pip install --no-cache --no-deps --no-build-isolation -e . \
    && bash -c 'source scripts/common.sh && mend_torchvision .venv'
