# KALE with Airflow, Spark and everything that the steps need. Build with --build-arg EXTRA=gpu for the GPU worker.
FROM python:3.11.13-slim-bookworm

ARG EXTRA=""
RUN apt-get update -qq \
    && apt-get install -qq -y --no-install-recommends openjdk-17-jre-headless procps \
    && rm -rf /var/lib/apt/lists/* \
    && pip install --no-cache-dir uv==0.8.22 \
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
    HF_HOME=/data/models

# The lock first: the packages stay in the cache of the build while the code changes.
COPY --chown=kale lock lock
RUN uv venv --python /usr/local/bin/python .venv \
    && uv pip install --no-cache --compile-bytecode --torch-backend "$([ -n "$EXTRA" ] && echo cu128 || echo cpu)" \
       --override lock/overrides.txt -r lock/requirements.txt
COPY --chown=kale . .
RUN uv pip install --no-cache --no-deps -e . \
    && if [ -n "$EXTRA" ]; then uv pip install --no-cache "vllm>=0.30"; fi
