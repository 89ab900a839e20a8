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

# The lock first: the packages stay in the cache of the build while the code changes. vLLM has an environment of its
# own, as its pins do not fit beside ours, and a C compiler for its kernels. Both are built for CUDA 13.
COPY --chown=kale lock lock
RUN uv venv --python /usr/local/bin/python .venv \
    && uv pip install --no-cache --compile-bytecode --no-deps --require-hashes -r lock/image.txt \
    && uv pip install --no-cache --compile-bytecode --torch-backend "$([ -n "$EXTRA" ] && echo cu130 || echo cpu)" \
       $(grep -E '^torch(vision)?==' lock/requirements.txt) \
    && if [ -n "$EXTRA" ]; then \
       uv venv --python /usr/local/bin/python .venv-vllm \
       && VIRTUAL_ENV=.venv-vllm uv pip install --no-cache --compile-bytecode --torch-backend cu130 -r lock/vllm-gpu.txt; \
       fi
COPY --chown=kale . .
RUN uv pip install --no-cache --no-deps -e .
